"""One trace and everything that is computed of it, each part on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import pandas as pd

from profiler.analysis.run.facts import RunFacts, run_facts
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.kernels import KernelSummary, classified_names, summarise_kernels
from profiler.analysis.run.launches import LaunchReport, launch_report
from profiler.analysis.run.tensor_cores import TensorCoreReport, tensor_core_report
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
    def kernels(self) -> KernelSummary:
        return summarise_kernels(self.trace, self.inferences)

    @cached_property
    def tensor_cores(self) -> TensorCoreReport:
        return tensor_core_report(self.trace, self.inferences)

    @cached_property
    def launches(self) -> LaunchReport:
        return launch_report(self.trace, self.inferences)

    @cached_property
    def categories(self) -> pd.DataFrame:
        """A row a category: ``category``, ``kernels`` and ``time_ns`` per inference (means over the inferences, exact sums ÷ n)."""
        n = self.inferences.count
        kinds = classified_names(self.trace)["category"]
        if not n or not len(kinds):
            return pd.DataFrame({"category": pd.Series(dtype=object), "kernels": [], "time_ns": []})
        counts, times = self.inferences.kernels_by_name
        table = pd.DataFrame({"kernels": counts, "time_ns": times})[counts > 0].groupby(kinds[counts > 0]).sum() / n
        return table.rename_axis("category").reset_index()

    def compute_and_release(self) -> None:
        """Compute everything that a comparison needs, and forget the frames on the way, so that they are never all in memory."""
        _ = self.facts, self.inferences
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
