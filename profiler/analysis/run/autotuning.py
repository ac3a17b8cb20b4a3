"""What choosing the fastest tactic saved, from the times that TensorRT measured while it built the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from profiler.analysis.run.run import Run
from profiler.trace.build_log import TacticTable
from profiler.trace.manifest import companion


@dataclass(frozen=True)
class Autotuning:
    """Auto-tuning per layer.

    Attributes:
        layers: a row a layer of the engine whose candidates the log holds: ``layer``, ``candidates``, ``formats`` (combinations
            tried), ``chosen_kernel``, ``chosen_ms``, ``fastest_ms``, ``median_ms``, ``slowest_ms``, ``saved_ms`` (median − chosen).
        untimed: layers of the engine without candidates of their own, as an equal configuration had been timed before.
        chosen_ms, median_ms: sums over ``layers``.
    """

    table: TacticTable
    layers: pd.DataFrame
    untimed: int
    chosen_ms: float
    median_ms: float


def autotuning(table: TacticTable) -> Autotuning:
    """Summarise a build log's tactic table; times are milliseconds as TensorRT measured them."""
    rows = table.rows[(table.rows["kind"] != "reformat") & table.rows["time_ms"].notna()]
    chosen = rows[rows["chosen"] == True]  # noqa: E712 - the column also holds missing values
    found = []
    for layer, group in rows.groupby("layer", sort=False):
        used = chosen[chosen["layer"] == layer]
        if not len(used):
            continue
        best = used.sort_values("time_ms").iloc[0]
        times = group["time_ms"]
        found.append(
            {
                "layer": layer,
                "candidates": len(group),
                "formats": group["formats"].nunique(),
                "chosen_kernel": best["kernel"] if isinstance(best["kernel"], str) else None,
                "chosen_ms": float(best["time_ms"]),
                "fastest_ms": float(times.min()),
                "median_ms": float(times.median()),
                "slowest_ms": float(times.max()),
                "saved_ms": float(times.median() - best["time_ms"]),
            }
        )
    columns = [
        "layer",
        "candidates",
        "formats",
        "chosen_kernel",
        "chosen_ms",
        "fastest_ms",
        "median_ms",
        "slowest_ms",
        "saved_ms",
    ]
    layers = pd.DataFrame(found, columns=columns)
    untimed = int((~table.layers["timed"].astype(bool)).sum()) if len(table.layers) else 0
    return Autotuning(table, layers, untimed, float(layers["chosen_ms"].sum()), float(layers["median_ms"].sum()))


def build_log_of(analysis: Run) -> Path | None:
    """The build log beside a trace: the file that its manifest names as ``build_log``."""
    return companion(analysis.trace.path, analysis.facts.manifest, "build_log")
