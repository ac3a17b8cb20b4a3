"""One trace and everything that is computed of it, each part on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.run.facts import RunFacts, run_facts
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.kernels import KernelSummary, classified_names, summarise_kernels
from profiler.analysis.run.launches import LaunchReport, launch_report
from profiler.analysis.run.tensor_cores import TensorCoreReport, tensor_core_report
from profiler.analysis.run.whole import WholeTrace, whole_trace
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.trace import Trace, open_trace


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
        return run_facts(self.trace)

    @cached_property
    def inferences(self) -> Inferences:
        return find_inferences(self.trace, self.nvtx, self.inference_count)

    @cached_property
    def range_texts(self) -> frozenset[tuple[str, str]]:
        """Domain and text of the NVTX ranges, each pair once (at most 50,000)."""
        ranges = self.trace.nvtx_ranges
        domains, texts = ranges["domain"].cat, ranges["text"].cat
        width = max(len(texts.categories), 1)
        pairs = np.unique(domains.codes.to_numpy().astype(np.int64) * width + texts.codes.to_numpy())
        return frozenset(
            (str(domains.categories[p // width]), str(texts.categories[p % width])) for p in pairs[:50_000]
        )

    @cached_property
    def whole(self) -> WholeTrace:
        """Figures of everything that was recorded, for a run whose inferences cannot be told apart."""
        return whole_trace(self.trace)

    @cached_property
    def kernels(self) -> KernelSummary:
        return summarise_kernels(self.trace, self.inferences)

    @cached_property
    def tensor_cores(self) -> TensorCoreReport:
        return tensor_core_report(self.trace, self.inferences)

    @cached_property
    def launches(self) -> LaunchReport:
        return launch_report(self.trace, self.inferences)

    @cached_property
    def category_times(self) -> pd.DataFrame:
        """Kernel time per inference (a row each) and category (a column each), in ns."""
        n, kinds = self.inferences.count, pd.Categorical(classified_names(self.trace)["category"])
        codes = self._category_codes(kinds)
        times = sum_by_code(codes, self.trace.kernels["duration_ns"].to_numpy(), n * len(kinds.categories))
        return pd.DataFrame(times.reshape(n, len(kinds.categories)), columns=list(kinds.categories))

    @cached_property
    def categories(self) -> pd.DataFrame:
        """A row a category: ``category``, per inference ``kernels`` (sum ÷ n) and ``time_ns`` (median over the inferences)."""
        n, kinds = self.inferences.count, pd.Categorical(classified_names(self.trace)["category"])
        if not n or not len(kinds):
            return pd.DataFrame({"category": pd.Series(dtype=object), "kernels": [], "time_ns": []})
        width = len(kinds.categories)
        counts = count_codes(self._category_codes(kinds), n * width).reshape(n, width).sum(axis=0)
        medians = np.median(self.category_times.to_numpy(), axis=0)
        table = pd.DataFrame({"category": kinds.categories, "kernels": counts / n, "time_ns": medians})
        found: pd.DataFrame = table[counts > 0].reset_index(drop=True)
        return found

    def _category_codes(self, kinds: pd.Categorical) -> npt.NDArray[np.int64]:
        names, of = self.trace.kernels["name"].cat.codes.to_numpy(), self.inferences.of_kernel
        return np.where(of >= 0, of.astype(np.int64) * len(kinds.categories) + kinds.codes.astype(np.int64)[names], -1)

    def compute_and_release(self) -> None:
        """Compute everything that a comparison needs, and forget the frames on the way, so that they are never all in memory."""
        _ = self.facts, self.inferences, self.range_texts
        if not self.inferences.count:
            _ = self.whole
        self.trace.release("nvtx_ranges", "nvtx_index")
        _ = self.inferences.launch_calls, self.inferences.launch_to_start_ns
        self.trace.release("api_calls")
        _ = self.inferences.table, self.launches
        self.inferences.__dict__.pop("launch_calls", None)
        _ = self.kernels, self.tensor_cores, self.categories, self.inferences.kernels_per_inference
        _ = self.inferences.outside, self.inferences.notes
        self.trace.release("kernels", "memcpys", "memsets", "graph_traces", "gpu_metrics")


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
