"""One trace and everything that is computed of it, each part on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from profiler.analysis.run.facts import RunFacts, run_facts
from profiler.analysis.run.inferences import Inferences, find_inferences
from profiler.analysis.run.kernels import KernelSummary, classified_names, summarise_kernels
from profiler.analysis.run.launches import LaunchReport, launch_report
from profiler.analysis.run.tensor_cores import TensorCoreReport, tensor_core_report
from profiler.trace import Trace


@dataclass(frozen=True)
class Run:
    """Everything about one trace that the comparison and the pages use; each part is computed on first use."""

    trace: Trace
    nvtx: str | None = None

    @cached_property
    def facts(self) -> RunFacts:
        return run_facts(self.trace)

    @cached_property
    def inferences(self) -> Inferences:
        return find_inferences(self.trace, self.nvtx)

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

    def settle(self) -> None:
        """Compute everything that a comparison needs, and forget the frames on the way, so that they are never all in memory."""
        _ = self.facts, self.inferences
        self.trace.release("nvtx_ranges", "nvtx_index")
        _ = self.inferences.launch_calls, self.inferences.launch_to_start_ns
        self.trace.release("api_calls")
        _ = self.inferences.table, self.launches
        self.inferences.__dict__.pop("launch_calls", None)
        _ = self.kernels, self.tensor_cores, self.categories, self.inferences.kernels_per_inference
        self.trace.release("kernels", "memcpys", "memsets", "graph_traces", "gpu_metrics")
