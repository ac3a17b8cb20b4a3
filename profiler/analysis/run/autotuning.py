"""What choosing the fastest tactic saved, from the times that TensorRT measured while it built the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from profiler.analysis.run.run import Run
from profiler.text import number, shorten
from profiler.trace.build_log import TacticTable
from profiler.trace.manifest import companion

COLUMNS = (
    "layer",
    "label",
    "candidates",
    "failed",
    "formats",
    "chosen_kernel",
    "chosen_ms",
    "fastest_ms",
    "median_ms",
    "slowest_ms",
    "saved_ms",
)
_LABEL_CHARACTERS = 60


@dataclass(frozen=True)
class Autotuning:
    """Auto-tuning per layer. Times are milliseconds, as TensorRT measured them.

    Attributes:
        layers: a row a layer of the engine whose candidates the log holds: ``layer``, ``label`` (short, different for every layer),
            ``candidates`` (valid ones, which ran), ``failed`` (those that TensorRT timed as infinite), ``formats`` (combinations tried),
            ``chosen_kernel``, ``chosen_ms``, ``fastest_ms``, ``median_ms`` and ``slowest_ms`` of the valid candidates of the same layer,
            ``saved_ms`` (median − chosen). What was chosen is missing where the log ends before the list of the engine's layers.
        untimed: layers of the engine without candidates of their own, as an equal configuration had been timed before.
        chosen_ms: sum over ``layers``; None where none is known.
    """

    table: TacticTable
    layers: pd.DataFrame
    untimed: int
    chosen_ms: float | None

    def in_words(self) -> str:
        """How the chosen candidates compare with the others of their layers. No sum over medians: one slow layer would rule it."""
        untimed = (
            f" ({self.untimed} more have no candidates of their own: an equal configuration had been timed before)"
            if self.untimed
            else ""
        )
        text = f"{len(self.layers)} layers whose candidates were timed{untimed}."
        known = self.layers[self.layers["chosen_ms"] > 0]
        if self.chosen_ms is None or known.empty:
            return f"{text} Which candidates were chosen, the log does not say."
        median, slowest = known["median_ms"] / known["chosen_ms"], known["slowest_ms"] / known["chosen_ms"]
        return (
            f"{text} The chosen candidates take {number(self.chosen_ms * 1e3, 'µs')} together. The median candidate of a layer takes "
            f"{number(float(median.median()))} times as long as the chosen one (median over the layers; {number(float(median.min()))} to "
            f"{number(float(median.max()))}), the slowest {number(float(slowest.median()))} times ({number(float(slowest.min()))} to "
            f"{number(float(slowest.max()))})."
        )


def autotuning(table: TacticTable) -> Autotuning:
    """Summarise a build log's tactic table."""
    rows = table.rows[table.rows["kind"] != "reformat"]
    found = []
    for layer, group in rows.groupby("layer", sort=False):
        times = group["time_ms"].dropna()
        used = group[group["chosen"].fillna(False).astype(bool) & group["time_ms"].notna()].sort_values("time_ms")
        if times.empty or (used.empty and len(table.layers)):
            continue  # TensorRT took the layer into another one, so it is not in the engine
        chosen_ms = float(used["time_ms"].iloc[0]) if len(used) else np.nan
        kernel = used["kernel"].iloc[0] if len(used) else None
        found.append(
            {
                "layer": layer,
                "candidates": len(times),
                "failed": len(group) - len(times),
                "formats": group["formats"].nunique(),
                "chosen_kernel": kernel if isinstance(kernel, str) else None,
                "chosen_ms": chosen_ms,
                "fastest_ms": float(times.min()),
                "median_ms": float(times.median()),
                "slowest_ms": float(times.max()),
                "saved_ms": float(times.median()) - chosen_ms,
            }
        )
    labels = layer_labels(str(row["layer"]) for row in found)
    layers = pd.DataFrame(
        [{**row, "label": label} for row, label in zip(found, labels, strict=True)], columns=list(COLUMNS)
    )
    untimed = int((~table.layers["timed"].astype(bool)).sum()) if len(table.layers) else 0
    known = layers["chosen_ms"].dropna()
    return Autotuning(table, layers, untimed, float(known.sum()) if len(known) else None)


def layer_labels(names: Iterable[str]) -> list[str]:
    """A short name for each layer, all different: ``features.2.conv.0.0 Conv+Clip`` for a layer that was fused from ONNX nodes."""
    labels: dict[str, None] = {}
    seen = Counter[str]()
    for name in names:
        short = label = _label(name)
        while label in labels:
            seen[short] += 1
            label = f"{short} ({seen[short] + 1})"
        labels[label] = None
    return list(labels)


def _label(name: str) -> str:
    nodes = [part.split("/")[1:] for part in name.split(" + ") if part.startswith("/")]
    if not nodes or name.startswith("{"):
        return shorten(name, _LABEL_CHARACTERS)
    path: list[str] = []
    for scope in nodes[0][:-1]:  # /layer1/layer1.0/conv1/Conv: each scope repeats the one around it
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return shorten(f"{'.'.join(path)} {'+'.join(node[-1] for node in nodes)}".strip(), _LABEL_CHARACTERS)


def build_log_of(analysis: Run) -> Path | None:
    """The build log beside a trace: the file that its manifest names as ``build_log``."""
    return companion(analysis.trace.path, analysis.facts.manifest, "build_log")
