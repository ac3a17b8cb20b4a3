"""What it costs to get work onto the GPU: launch calls, waiting, and gaps in which the GPU idles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import grouped_statistics
from profiler.analysis.tabular import Tabular
from profiler.text import plural
from profiler.trace import Trace


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
    codes = launches["name"].cat.codes.to_numpy()
    if inferences.count:
        codes = np.where(launches["inference"].to_numpy() >= 0, codes, -1)
    window = inferences.statement if inferences.count else "the whole trace"
    found = grouped_statistics(codes, launches["duration_ns"].to_numpy(), len(launches["name"].cat.categories))
    table = found[["count", "total_ns", "median_ns"]]
    table.insert(0, "name", launches["name"].cat.categories[found.index.to_numpy()])
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
    found = pd.concat([_no_gaps(), *(_gaps_in(trace, work, most) for work in inferences.work())])
    return found.sort_values("duration_ns", ascending=False, kind="stable", ignore_index=True).head(most)


def _no_gaps() -> pd.DataFrame:
    kinds = {"inference": np.int32, "start_ns": np.int64, "duration_ns": np.int64, "after": str, "before": str}
    return pd.DataFrame({column: [] for column in kinds}).astype(kinds)


def _gaps_in(trace: Trace, work: pd.DataFrame, most: int) -> pd.DataFrame:
    inference, reach = work["inference"].to_numpy(), work["reach_ns"].to_numpy()
    is_first = np.ones(len(work), dtype=bool)
    is_first[1:] = inference[1:] != inference[:-1]
    at = np.flatnonzero(work["opens"].to_numpy() & ~is_first)
    lengths = work["start_ns"].to_numpy()[at] - reach[at - 1]
    if len(at) > most:
        longest = lengths >= np.partition(lengths, len(lengths) - most)[len(lengths) - most]
        at, lengths = at[longest], lengths[longest]
    at = at[np.argsort(-lengths, kind="stable")[:most]]
    ends, begins = work["end_ns"].to_numpy(), np.flatnonzero(is_first)
    before = [
        _last_to_end(ends, reach, int(begins[np.searchsorted(begins, row, side="right") - 1]), int(row)) for row in at
    ]
    return pd.DataFrame(
        {
            "inference": inference[at],
            "start_ns": reach[at - 1],
            "duration_ns": work["start_ns"].to_numpy()[at] - reach[at - 1],
            "after": [_name(trace, work, row) for row in before],
            "before": [_name(trace, work, int(row)) for row in at],
        }
    )


def _last_to_end(ends: np.ndarray, reach: np.ndarray, first: int, gap: int) -> int:
    """The work that ended last before a gap: the latest row of the inference that reached as far as all before it."""
    return first + int(np.flatnonzero(ends[first:gap] == reach[first:gap])[-1])


def _name(trace: Trace, work: pd.DataFrame, place: int) -> str:
    source, row = str(work["source"].iloc[place]), int(work["row"].iloc[place])
    if source == "kernels":
        return str(trace.kernels["short_name"].iloc[row])
    return {"memcpys": "memory copy", "memsets": "memory set"}.get(source, "CUDA graph")
