"""Kernel statistics per name and per category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.classify import classify
from profiler.analysis.inferences import Inferences
from profiler.trace import Trace


@dataclass(frozen=True)
class KernelSummary:
    """Statistics over all kernels of a trace.

    Attributes:
        by_name: a row a demangled name, by total time: ``name``, ``short_name``, ``category``, ``category_rule``,
            ``precision``, ``tensor_cores``, ``rule``, ``count``, ``per_inference`` (None without inferences),
            ``total_ns``, ``mean_ns``, ``median_ns``, ``min_ns``, ``max_ns``, ``stddev_ns`` (sample standard deviation, as
            ``nsys stats`` gives it; 0 for a single kernel), ``share_of_kernel_time_pct``, ``share_of_wall_time_pct``.
        by_category: the same figures per category.
        total_ns: sum of all kernel durations; kernels that ran at the same time count twice.
        wall_ns: first kernel start to last kernel end, the base of ``share_of_wall_time_pct``.
        per_inference: kernels per inference, with a note when the inferences differ.
    """

    by_name: pd.DataFrame
    by_category: pd.DataFrame
    count: int
    total_ns: int
    wall_ns: int
    inferences: int | None
    per_inference: float | None
    per_inference_note: str | None


def classified_names(trace: Trace) -> pd.DataFrame:
    """A row a distinct demangled name, in category order of :attr:`Trace.kernels`: its classification.

    Columns: ``name``, ``short_name``, ``category``, ``category_rule``, ``precision``, ``tensor_cores``, ``rule``.
    """
    kernels = trace.kernels
    names = [str(n) for n in kernels["name"].cat.categories]
    pairs = kernels[["name", "short_name"]].drop_duplicates("name")
    short = dict(zip(pairs["name"].astype(str), pairs["short_name"].astype(str)))
    sms = {gpu.sm for gpu in trace.session.gpus}
    sm = sms.pop() if len(sms) == 1 else None
    found = [classify(name, short.get(name), sm) for name in names]
    return pd.DataFrame(
        {
            "name": names,
            "short_name": [short.get(n, n) for n in names],
            "category": [f.category for f in found],
            "category_rule": [f.category_rule for f in found],
            "precision": [f.precision for f in found],
            "tensor_cores": [f.tensor_cores for f in found],
            "rule": [f.rule for f in found],
        }
    )


def summarise_kernels(trace: Trace, inferences: Inferences) -> KernelSummary:
    """Count and time every kernel of a trace, whether inside an inference or not; ``per_inference`` counts those inside."""
    kernels = trace.kernels
    classes = classified_names(trace)
    codes = kernels["name"].cat.codes.to_numpy().astype(np.int64)
    total = int(kernels["duration_ns"].sum())
    wall = int(kernels["end_ns"].max() - kernels["start_ns"].min()) if len(kernels) else 0
    by_name = _statistics(kernels, codes, inferences, total, wall)
    by_name = classes.join(by_name, how="right").sort_values(
        ["total_ns", "name"], ascending=[False, True], ignore_index=True
    )
    categories = pd.Categorical(classes["category"])
    by_category = _statistics(
        kernels, categories.codes.astype(np.int64)[codes] if len(codes) else codes, inferences, total, wall
    )
    by_category.insert(0, "category", [categories.categories[i] for i in by_category.index])
    by_category = by_category.sort_values(["total_ns", "category"], ascending=[False, True], ignore_index=True)
    per, note = inferences.kernels_per_inference
    return KernelSummary(by_name, by_category, len(kernels), total, wall, inferences.count or None, per, note)


def _statistics(
    kernels: pd.DataFrame, codes: np.ndarray, inferences: Inferences, total: int, wall: int
) -> pd.DataFrame:
    duration = kernels["duration_ns"]
    groups = duration.groupby(codes, sort=True)
    table = pd.DataFrame(
        {
            "count": groups.size(),
            "total_ns": groups.sum(),
            "mean_ns": groups.mean(),
            "median_ns": groups.median(),
            "min_ns": groups.min(),
            "max_ns": groups.max(),
            "stddev_ns": groups.std(ddof=1).fillna(0.0),
        }
    )
    if inferences.count:
        inside = inferences.of_kernel >= 0
        held = np.bincount(codes[inside], minlength=int(codes.max(initial=-1)) + 1)
        table.insert(1, "per_inference", held[table.index.to_numpy()] / inferences.count)
    else:
        table.insert(1, "per_inference", None)
    table["share_of_kernel_time_pct"] = 100.0 * table["total_ns"] / total if total else np.nan
    table["share_of_wall_time_pct"] = 100.0 * table["total_ns"] / wall if wall else np.nan
    return table
