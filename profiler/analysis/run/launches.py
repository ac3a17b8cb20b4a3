"""What it costs to get work onto the GPU: launch calls, waiting, and gaps in which the GPU idles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import grouped_statistics
from profiler.analysis.tabular import Tabular
from profiler.text import plural
from profiler.trace import Trace
from profiler.trace.columns import Table

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


def launch_report(trace: Trace, inferences: Inferences, max_gaps: int = 100) -> LaunchReport:
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
    return LaunchReport(window, table, inferences.launch_to_start_ns, _gaps(trace, inferences, max_gaps), busy)


def _gaps(trace: Trace, inferences: Inferences, most: int) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - for frames only

    found = pd.concat([_no_gaps(), *(_gaps_in(trace, work, most) for work in inferences.work())])
    return found.sort_values("duration_ns", ascending=False, kind="stable", ignore_index=True).head(most)


def _no_gaps() -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - for frames only

    kinds = {"inference": np.int32, "start_ns": np.int64, "duration_ns": np.int64, "after": str, "before": str}
    return pd.DataFrame({column: [] for column in kinds}).astype(kinds)


def _gaps_in(trace: Trace, work: Table, most: int) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - for frames only

    inference, reach = work["inference"], work["reach_ns"]
    is_first = np.ones(len(work), dtype=bool)
    is_first[1:] = inference[1:] != inference[:-1]
    at = np.flatnonzero(work["opens"] & ~is_first)
    lengths = work["start_ns"][at] - reach[at - 1]
    if len(at) > most:
        longest = lengths >= np.partition(lengths, len(lengths) - most)[len(lengths) - most]
        at, lengths = at[longest], lengths[longest]
    at = at[np.argsort(-lengths, kind="stable")[:most]]
    ends, begins = work["end_ns"], np.flatnonzero(is_first)
    before = [
        _last_to_end(ends, reach, int(begins[np.searchsorted(begins, row, side="right") - 1]), int(row)) for row in at
    ]
    return pd.DataFrame(
        {
            "inference": inference[at],
            "start_ns": reach[at - 1],
            "duration_ns": work["start_ns"][at] - reach[at - 1],
            "after": _names(trace, work, np.asarray(before, dtype=np.int64)),
            "before": _names(trace, work, at),
        }
    )


def _last_to_end(ends: np.ndarray, reach: np.ndarray, first: int, gap: int) -> int:
    """The work that ended last before a gap: the latest row of the inference that reached as far as all before it."""
    return first + int(np.flatnonzero(ends[first:gap] == reach[first:gap])[-1])


def _names(trace: Trace, work: Table, places: np.ndarray) -> list[str]:
    sources, rows = work["source"].take(places), work["row"][places]
    kernels = sources.are("kernels")
    short = iter(trace.events.short_names(rows[kernels]))
    others = {"memcpys": "memory copy", "memsets": "memory set", "graph_traces": "CUDA graph"}
    return [next(short) if is_kernel else others[source] for is_kernel, source in zip(kernels, sources.to_list())]
