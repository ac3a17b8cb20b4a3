"""One trace and everything that is computed of it, each part on first use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.kernels import KernelSummary, classifications, summarise_kernels
from profiler.analysis.statistics import sum_by_code
from profiler.lazy import cached_property
from profiler.trace import Trace, open_trace
from profiler.trace.arrays import Int64Array, gathered
from profiler.trace.columns import pairs_of

if TYPE_CHECKING:  # what not every verb needs is imported when it is used
    import pandas as pd

    from profiler.analysis.run.dram import SampledBytes
    from profiler.analysis.run.facts import RunFacts
    from profiler.analysis.run.launches import LaunchReport
    from profiler.analysis.run.tensor_cores import TensorCoreReport
    from profiler.analysis.run.whole import WholeTrace


@dataclass(frozen=True, repr=False)
class Run:
    """Everything about one trace that the comparison and the pages use; each part is computed on first use.

    A context manager: leaving it closes the trace.

    Args:
        nvtx: which NVTX ranges are inferences, see :func:`find_inferences`; by default they are found.
        inference_count: how many there are, where no range says which they are.
    """

    trace: Trace
    nvtx: str | None = None
    inference_count: int | None = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.trace.close()

    def __repr__(self) -> str:
        return f"Run({str(self.trace.path)!r})"

    @cached_property
    def facts(self) -> RunFacts:
        from profiler.analysis.run.facts import run_facts  # noqa: PLC0415 - see above

        return run_facts(self.trace)

    @cached_property
    def inferences(self) -> Inferences:
        return find_inferences(self.trace, self.nvtx, self.inference_count)

    @cached_property
    def range_texts(self) -> frozenset[tuple[str, str]]:
        """Domain and text of the NVTX ranges, each pair once (at most 50,000)."""
        _, pairs = pairs_of(*(self.trace.events.nvtx_ranges[c] for c in ("domain", "text")))
        return frozenset(pairs[:50_000])

    @cached_property
    def whole(self) -> WholeTrace:
        """Figures of everything that was recorded, for a run whose inferences cannot be told apart."""
        from profiler.analysis.run.whole import whole_trace  # noqa: PLC0415 - see above

        return whole_trace(self.trace)

    @cached_property
    def kernels(self) -> KernelSummary:
        return summarise_kernels(self.trace, self.inferences)

    @cached_property
    def tensor_cores(self) -> TensorCoreReport:
        from profiler.analysis.run.tensor_cores import tensor_core_report  # noqa: PLC0415 - see above

        return tensor_core_report(self.trace, self.inferences)

    @cached_property
    def sampled_bytes(self) -> SampledBytes:
        from profiler.analysis.run.dram import sampled_bytes  # noqa: PLC0415 - see above

        return sampled_bytes(self.trace, self.inferences)

    @cached_property
    def launches(self) -> LaunchReport:
        from profiler.analysis.run.launches import launch_report  # noqa: PLC0415 - see above

        return launch_report(self.trace, self.inferences)

    @cached_property
    def category_times(self) -> pd.DataFrame:
        """Kernel time per inference (a row each) and category (a column each), in ns."""
        import pandas as pd  # noqa: PLC0415 - see above

        kinds, _, times = self._by_category
        return pd.DataFrame(times, columns=kinds)

    @cached_property
    def categories(self) -> pd.DataFrame:
        """A row a category: ``category``, per inference ``kernels`` (sum ÷ n) and ``time_ns`` (median over the inferences)."""
        import pandas as pd  # noqa: PLC0415 - see above

        n, (kinds, counts, times) = self.inferences.count, self._by_category
        if not n or not kinds:
            return pd.DataFrame({"category": pd.Series(dtype=object), "kernels": [], "time_ns": []})
        medians = np.median(times, axis=0)
        table = pd.DataFrame({"category": kinds, "kernels": counts / n, "time_ns": medians})
        found: pd.DataFrame = table[counts > 0].reset_index(drop=True)
        return found

    @cached_property
    def _by_category(self) -> tuple[list[str], Int64Array, Int64Array]:
        """The categories, how many kernels inside of inferences each has, and per inference (a row each) its kernel time in ns."""
        found = classifications(self.trace)["category"]
        kinds = sorted(set(found))
        of_name = np.asarray([kinds.index(kind) for kind in found], dtype=np.int64)
        of, kernels, n = self.inferences.of_kernel, self.trace.events.kernels, len(kinds)
        names = kernels["name"].codes

        def codes_of(piece: slice) -> Int64Array:
            inside = of[piece]
            return np.where(inside >= 0, inside * np.int64(n) + of_name[names[piece]], -1)

        codes = gathered(len(of), np.int64, codes_of) if kinds else np.empty(0, dtype=np.int64)
        times = sum_by_code(codes, kernels["duration_ns"], self.inferences.count * n).reshape(self.inferences.count, n)
        counts, _ = self.inferences.kernels_by_name
        return kinds, sum_by_code(of_name, counts, n), times

    def read_samples(self) -> None:
        """Read the GPU metrics of most figures in one pass; otherwise each is read when it is asked for."""
        from profiler.analysis.run.tensor_cores import gpu_index  # noqa: PLC0415 - see above

        self.trace.gpu_metrics.read_usual(gpu_index(self.trace))

    def compute_and_release(self, summary: bool = True) -> None:
        """Compute everything that a comparison needs, and forget the frames on the way, so that they are never all in memory.

        Args:
            summary: also the statistics per name and category, which the comparison itself does not show.
        """
        _ = self.facts, self.inferences, self.range_texts
        if not self.inferences.count:
            _ = self.whole
        self.trace.release("nvtx_ranges", "nvtx_index")
        _ = self.inferences.launch_calls, self.inferences.launch_to_start_ns
        self.trace.release("api_calls")
        _ = self.inferences.table, self.launches
        if summary:
            self.read_samples()
            _ = self.kernels.categories, self.sampled_bytes
        _ = self.tensor_cores, self.categories, self.inferences.kernels_per_inference
        _ = self.inferences.outside, self.inferences.notes
        self.release()

    def release(self) -> None:
        """Forget the frames of the trace. What was computed of them stays; what is asked for later is read again."""
        self.inferences.__dict__.pop("launch_calls", None)
        self.trace.release("nvtx_ranges", "nvtx_index", "api_calls", "kernels", "memcpys", "memsets", "graph_traces")
        # the samples of others take little memory, and reading them again takes longer than keeping them
        if self.trace.is_large:
            self.trace.release("gpu_metrics")


def open_run(path: str | Path, nvtx: str | None = None, inferences: int | None = None) -> Run:
    """Open a trace as a run: ``with open_run("trace.sqlite") as run: print(run.kernels)``.

    Args:
        path: an nsys SQLite export (plain, .xz, .zst, .gz), or a native report where nsys is installed.
        nvtx: which NVTX ranges are inferences: a shell pattern or a regular expression; by default they are found.
        inferences: how many inferences the trace holds, where no range says which they are.

    Raises:
        TraceError: it is not there, not a trace, or damaged; the message says which.
    """
    return Run(open_trace(path), nvtx, inferences)
