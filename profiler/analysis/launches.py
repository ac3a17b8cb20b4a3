"""What it costs to get work onto the GPU: launch calls, waiting, and gaps in which the GPU idles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.inferences import Inferences, is_launch
from profiler.trace import Trace


@dataclass(frozen=True)
class LaunchReport:
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


def launch_report(trace: Trace, inferences: Inferences, max_gaps: int = 100) -> LaunchReport:
    """Measure launches and gaps inside the inferences; without inferences, over the whole trace."""
    calls = trace.api_calls
    launches = calls[is_launch(calls["name"])]
    kernels = trace.kernels
    if inferences.count:
        launches = launches[inferences.assign_calls(launches) >= 0]
        kernels = inferences.kernels
    window = inferences.statement if inferences.count else "the whole trace"
    groups = launches.groupby("name", observed=True)["duration_ns"]
    table = pd.DataFrame({"count": groups.size(), "total_ns": groups.sum(), "median_ns": groups.median()})
    table.insert(1, "per_inference", table["count"] / inferences.count if inferences.count else None)
    table = table.reset_index().sort_values("total_ns", ascending=False, ignore_index=True)
    busy = None
    if inferences.count:
        spans = inferences.table.dropna(subset=["gpu_span_ns"])
        if len(spans):
            shares = (100.0 * spans["gpu_busy_ns"] / spans["gpu_span_ns"].where(spans["gpu_span_ns"] > 0)).dropna()
            busy = float(shares.median()) if len(shares) else None
    return LaunchReport(window, table, _launch_to_start(trace, kernels), _gaps(trace, inferences, max_gaps), busy)


def _launch_to_start(trace: Trace, kernels: pd.DataFrame) -> dict[str, float] | None:
    launched = kernels[kernels["api_call"] >= 0]
    if not len(launched):
        return None
    first = launched.drop_duplicates("api_call")  # kernels are sorted by start
    waits = first["start_ns"].to_numpy() - trace.api_calls["start_ns"].to_numpy()[first["api_call"].to_numpy()]
    return {
        "median": float(np.median(waits)),
        "p90": float(np.percentile(waits, 90)),
        "max": float(waits.max()),
        "count": float(len(waits)),
    }


def _gaps(trace: Trace, inferences: Inferences, most: int) -> pd.DataFrame:
    work = inferences.work
    inference, reach = work["inference"].to_numpy(), work["reach_ns"].to_numpy()
    first = np.ones(len(work), dtype=bool)
    first[1:] = inference[1:] != inference[:-1]
    at = np.flatnonzero(work["opens"].to_numpy() & ~first)
    lengths = work["start_ns"].to_numpy()[at] - reach[at - 1]
    at = at[np.argsort(-lengths, kind="stable")[:most]]
    # the work that ended last before the gap is the latest row that reached as far as all before it
    holds = np.maximum.accumulate(np.where(work["end_ns"].to_numpy() == reach, np.arange(len(work)), -1))
    return pd.DataFrame(
        {
            "inference": inference[at],
            "start_ns": reach[at - 1],
            "duration_ns": work["start_ns"].to_numpy()[at] - reach[at - 1],
            "after": [_name(trace, work, int(row)) for row in holds[at - 1]],
            "before": [_name(trace, work, int(row)) for row in at],
        }
    )


def _name(trace: Trace, work: pd.DataFrame, place: int) -> str:
    source, row = str(work["source"].iloc[place]), int(work["row"].iloc[place])
    if source == "kernels":
        return str(trace.kernels["short_name"].iloc[row])
    return {"memcpys": "memory copy", "memsets": "memory set"}.get(source, "CUDA graph")
