"""What it costs to get work onto the GPU: launch calls, waiting, and gaps in which the GPU idles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import grouped_statistics
from profiler.analysis.tabular import Tabular
from profiler.text import plural
from profiler.trace import Trace

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class LaunchReport(Tabular):
    """Launch costs of one trace.

    Attributes:
        window: what the figures are about, in words.
        calls: a row a launch API: ``name``, ``count``, ``per_inference``, ``total_ns``, ``median_ns`` (host time inside the call).
        launch_to_start_ns: median, 90th percentile and maximum of the time from the start of the launch call to the
            start of the kernel; of a CUDA graph only its first kernel counts. None where the trace holds no launches.
        gaps: times inside an inference in which no GPU work ran, longest first: ``inference``, ``start_ns``,
            ``duration_ns``, ``after`` and ``before`` (the kernels around it).
        busy_pct: GPU busy time over GPU span, median of the inferences; None without inferences.
    """

    window: str
    calls: pd.DataFrame
    launch_to_start_ns: dict[str, float] | None
    gaps: pd.DataFrame
    busy_pct: float | None

    @property
    def summary(self) -> str:
        return (
            f"{plural(int(self.calls['count'].sum()), 'launch call')}, {plural(len(self.gaps), 'gap')}; {self.window}"
        )

    def to_frame(self) -> pd.DataFrame:
        """A row a launch API: :attr:`calls`."""
        return self.calls


def launch_report(trace: Trace, inferences: Inferences) -> LaunchReport:
    """Measure launches and gaps inside the inferences; without inferences, over the whole trace."""
    launches = inferences.launch_calls
    codes, names = launches["name"].codes, launches["name"].texts
    if inferences.count:
        codes = np.where(launches["inference"] >= 0, codes, -1)
    window = inferences.statement if inferences.count else "the whole trace"
    found = grouped_statistics(codes, launches["duration_ns"], len(names)).frame()
    table = found[["count", "total_ns", "median_ns"]]
    table.insert(0, "name", [names[code] for code in found["code"]])
    table.insert(2, "per_inference", table["count"] / inferences.count if inferences.count else None)
    table = table.sort_values("total_ns", ascending=False, ignore_index=True)
    busy = None
    if inferences.count:
        spans = inferences.table.dropna(subset=["gpu_span_ns"])
        if len(spans):
            shares = (100.0 * spans["gpu_busy_ns"] / spans["gpu_span_ns"].where(spans["gpu_span_ns"] > 0)).dropna()
            busy = float(shares.median()) if len(shares) else None
    return LaunchReport(window, table, inferences.launch_to_start_ns, _gaps(trace, inferences), busy)


def _gaps(trace: Trace, inferences: Inferences) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - for frames only

    gaps = inferences.gpu_spans.gaps
    columns = {
        "inference": np.asarray([gap.inference for gap in gaps], dtype=np.int32),
        "start_ns": np.asarray([gap.start_ns for gap in gaps], dtype=np.int64),
        "duration_ns": np.asarray([gap.duration_ns for gap in gaps], dtype=np.int64),
        "after": _names(trace, [gap.after for gap in gaps]),
        "before": _names(trace, [gap.before for gap in gaps]),
    }
    return pd.DataFrame(columns).astype({"after": str, "before": str})


def _names(trace: Trace, work: Sequence[tuple[str, int]]) -> list[str]:
    rows = np.asarray([row for source, row in work if source == "kernels"], dtype=np.int64)
    short = iter(trace.events.short_names(rows))
    others = {"memcpys": "memory copy", "memsets": "memory set", "graph_traces": "CUDA graph"}
    return [next(short) if source == "kernels" else others[source] for source, _ in work]
