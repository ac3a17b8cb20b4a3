"""Kernel statistics per name and per category."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.names.classify import classify
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import count_codes, first_of_each, grouped_statistics, statistics_of_runs
from profiler.analysis.tabular import Tabular
from profiler.text import duration, plural
from profiler.trace import Trace
from profiler.trace.database import DURATION_BITS

_classified: WeakKeyDictionary[Trace, pd.DataFrame] = WeakKeyDictionary()


@dataclass(frozen=True, repr=False)
class KernelSummary(Tabular):
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

    @property
    def summary(self) -> str:
        per = "" if self.per_inference is None else f", {self.per_inference:g} per inference"
        return f"{plural(self.count, 'kernel')} of {plural(len(self.by_name), 'name')}, {duration(self.total_ns)}{per}"

    def to_frame(self) -> pd.DataFrame:
        """A row a kernel name: :attr:`by_name`."""
        return self.by_name


def classified_names(trace: Trace) -> pd.DataFrame:
    """A row a distinct demangled name, in category order of :attr:`Trace.kernels`: its classification.

    Columns: ``name``, ``short_name``, ``category``, ``category_rule``, ``precision``, ``tensor_cores``, ``rule``.
    """
    if trace not in _classified:
        kernels = trace.kernels
        names = [str(n) for n in kernels["name"].cat.categories]
        first = first_of_each(kernels["name"].cat.codes.to_numpy(), len(names))
        short = [str(n) for n in kernels["short_name"].iloc[first]]
        sms = {gpu.sm for gpu in trace.session.gpus}
        sm = sms.pop() if len(sms) == 1 else None
        found = [classify(name, other, sm) for name, other in zip(names, short)]
        _classified[trace] = pd.DataFrame(
            {
                "name": names,
                "short_name": short,
                "category": [f.category for f in found],
                "category_rule": [f.category_rule for f in found],
                "precision": [f.precision for f in found],
                "tensor_cores": [f.tensor_cores for f in found],
                "rule": [f.rule for f in found],
            }
        )
    return _classified[trace]


def kernel_statistics(trace: Trace) -> pd.DataFrame:
    """The statistics of all kernels per demangled name alone, without inferences and classification: the cheapest summary.

    Columns: ``name``, ``count``, ``total_ns``, ``mean_ns``, ``median_ns``, ``min_ns``, ``max_ns``, ``stddev_ns``, as in
    :class:`KernelSummary`; by total time.
    """
    packed = trace.kernel_durations()
    if packed is None:
        names = trace.kernels["name"].cat
        codes, durations = names.codes.to_numpy(), trace.kernels["duration_ns"].to_numpy()
        table = grouped_statistics(codes, durations, len(names.categories))
        table.insert(0, "name", [str(names.categories[i]) for i in table.index])
    else:
        labels, keys = packed
        ids = np.asarray(sorted(labels), dtype=np.int64)
        ends = np.searchsorted(keys, (ids + 1) << DURATION_BITS)
        keys &= (1 << DURATION_BITS) - 1
        table = statistics_of_runs(keys, np.diff(ends, prepend=0))
        table.insert(0, "name", [labels[int(i)] for i in ids])
    return table.sort_values(["total_ns", "name"], ascending=[False, True], ignore_index=True)


def summarise_kernels(trace: Trace, inferences: Inferences) -> KernelSummary:
    """Count and time every kernel of a trace, whether inside an inference or not; ``per_inference`` counts those inside."""
    kernels = trace.kernels
    classes = classified_names(trace)
    codes = kernels["name"].cat.codes.to_numpy()
    total = int(kernels["duration_ns"].sum())
    wall = int(kernels["end_ns"].max() - kernels["start_ns"].min()) if len(kernels) else 0
    by_name = _statistics(kernels, codes, len(classes), inferences, total, wall)
    by_name = classes.join(by_name, how="right").sort_values(
        ["total_ns", "name"], ascending=[False, True], ignore_index=True
    )
    categories = pd.Categorical(classes["category"])
    n = len(categories.categories)
    of_name = categories.codes.astype(np.int8)
    by_category = _statistics(kernels, of_name[codes] if len(codes) else codes, n, inferences, total, wall)
    by_category.insert(0, "category", [categories.categories[i] for i in by_category.index])
    by_category = by_category.sort_values(["total_ns", "category"], ascending=[False, True], ignore_index=True)
    per, note = inferences.kernels_per_inference
    return KernelSummary(by_name, by_category, len(kernels), total, wall, inferences.count or None, per, note)


def _statistics(
    kernels: pd.DataFrame, codes: npt.NDArray[np.integer], n: int, inferences: Inferences, total: int, wall: int
) -> pd.DataFrame:
    table = grouped_statistics(codes, kernels["duration_ns"].to_numpy(), n)
    if inferences.count:
        held = count_codes(codes, n, inferences.of_kernel >= 0)
        table.insert(1, "per_inference", held[table.index.to_numpy()] / inferences.count)
    else:
        table.insert(1, "per_inference", None)
    table["share_of_kernel_time_pct"] = 100.0 * table["total_ns"] / total if total else np.nan
    table["share_of_wall_time_pct"] = 100.0 * table["total_ns"] / wall if wall else np.nan
    return table
