"""Kernel statistics per name and per category."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from profiler.analysis.names.classify import classify
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import count_codes, first_of_each, grouped_statistics, statistics_of_runs
from profiler.analysis.tabular import Tabular
from profiler.errors import TraceError
from profiler.lazy import cached_property
from profiler.text import duration, plural
from profiler.trace import Trace
from profiler.trace.arrays import in_pieces
from profiler.trace.columns import Table

if TYPE_CHECKING:
    import pandas as pd

MAX_NAMES = 250_000
"""Distinct names of kernels in one trace; programs that compile kernels as they run have some thousands."""
_classified: WeakKeyDictionary[Trace, Table] = WeakKeyDictionary()
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, repr=False)
class KernelSummary(Tabular):
    """Statistics over all kernels of a trace.

    Attributes:
        names: a row a demangled name, by total time: ``name``, ``short_name``, ``category``, ``category_rule``,
            ``precision``, ``tensor_cores``, ``rule``, ``count``, ``per_inference`` (None without inferences),
            ``total_ns``, ``mean_ns``, ``median_ns``, ``min_ns``, ``max_ns``, ``stddev_ns`` (sample standard deviation, as
            ``nsys stats`` gives it; 0 for a single kernel), ``share_of_kernel_time_pct``, ``share_of_wall_time_pct``.
        make_categories: makes :attr:`categories`, which not every verb prints.
        total_ns: sum of all kernel durations; kernels that ran at the same time count twice.
        wall_ns: first kernel start to last kernel end, the base of ``share_of_wall_time_pct``.
        per_inference: kernels per inference, with a note when the inferences differ.
    """

    names: Table
    make_categories: Callable[[], Table] = field(compare=False)
    count: int
    total_ns: int
    wall_ns: int
    inferences: int | None
    per_inference: float | None
    per_inference_note: str | None

    @property
    def by_name(self) -> pd.DataFrame:
        """:attr:`names` as a frame."""
        return self.names.frame()

    @cached_property
    def categories(self) -> Table:
        """The figures of :attr:`names` per category."""
        return self.make_categories()

    @property
    def by_category(self) -> pd.DataFrame:
        """:attr:`categories` as a frame."""
        return self.categories.frame()

    @property
    def summary(self) -> str:
        per = "" if self.per_inference is None else f", {self.per_inference:g} per inference"
        return f"{plural(self.count, 'kernel')} of {plural(len(self.by_name), 'name')}, {duration(self.total_ns)}{per}"

    def to_frame(self) -> pd.DataFrame:
        """A row a kernel name: :attr:`by_name`."""
        return self.by_name


def classified_names(trace: Trace) -> pd.DataFrame:
    """:func:`classifications` as a frame."""
    return classifications(trace).frame()


def classifications(trace: Trace) -> Table:
    """A row a distinct demangled name, in the order of the codes of :attr:`Trace.kernels`: its classification.

    Columns: ``name``, ``short_name``, ``category``, ``category_rule``, ``precision``, ``tensor_cores``, ``rule``.

    Raises:
        TraceError: there are more than :data:`MAX_NAMES`.
    """
    if trace not in _classified:
        names = trace.events.kernels["name"]
        first = first_of_each(names.codes, len(names.texts))
        _classified[trace] = _classified_table(trace, names.texts, trace.events.short_names(first))
    return _classified[trace]


def _classified_table(trace: Trace, names: list[str], short_names: list[str]) -> Table:
    if len(names) > MAX_NAMES:
        raise TraceError(
            f"{trace.path}: holds kernels of {len(names):,} different names, and at most {MAX_NAMES:,} are classified.",
            "No program has so many: the file is damaged, or was changed after the export.",
        )
    sms = {gpu.sm for gpu in trace.session.gpus}
    sm = sms.pop() if len(sms) == 1 else None
    with _one_at_a_time:  # two traces often have the same names, which are looked at once
        found = [classify(name, short, sm) for name, short in zip(names, short_names)]
    columns = ("category", "category_rule", "precision", "tensor_cores", "rule")
    return Table({"name": names, "short_name": short_names, **{c: [getattr(f, c) for f in found] for c in columns}})


def kernel_statistics(trace: Trace) -> KernelSummary:
    """The same without looking for inferences: only names and durations are read where the trace is large."""
    packed = trace.events.kernel_durations()
    if packed is None:
        return summarise_kernels(trace, None)
    classes = _classified_table(trace, packed.names, packed.short_names)
    of_names = {**classes, **statistics_of_runs(packed.durations_ns, packed.counts)}

    def of_kinds() -> dict[str, Any]:
        ends = np.cumsum(packed.counts)
        runs = [packed.durations_ns[a:b] for a, b in zip(ends - packed.counts, ends)]
        kinds = sorted(set(classes["category"]))
        groups = [[run for run, kind in zip(runs, classes["category"]) if kind == one] for one in kinds]
        merged = np.concatenate([np.sort(np.concatenate(group)) for group in groups])
        sizes = np.asarray([sum(map(len, group)) for group in groups], dtype=np.int64)
        return {"category": kinds, **statistics_of_runs(merged, sizes)}

    return _summary(of_names, of_kinds, packed.last_ns - packed.first_ns, None)


def summarise_kernels(trace: Trace, inferences: Inferences | None) -> KernelSummary:
    """Count and time every kernel of a trace, whether inside an inference or not; ``per_inference`` counts those inside."""
    kernels, classes = trace.events.kernels, classifications(trace)
    codes = kernels["name"].codes
    wall = _last_end(kernels) - int(kernels["start_ns"].min()) if len(kernels) else 0
    of_names = _statistics(kernels["duration_ns"], codes, len(classes), inferences)
    names = {**classes.take(of_names.pop("code")), **of_names}

    def of_kinds() -> dict[str, Any]:
        kinds = sorted(set(classes["category"]))
        of_name = np.asarray([kinds.index(kind) for kind in classes["category"]], dtype=np.int8)
        kernels = trace.events.kernels  # not kept here: a comparison gives them up
        codes = kernels["name"].codes
        found = _statistics(kernels["duration_ns"], of_name[codes] if len(codes) else codes, len(kinds), inferences)
        return {"category": [kinds[k] for k in found.pop("code")], **found}

    return _summary(names, of_kinds, wall, inferences)


def _last_end(kernels: Table) -> int:
    starts, durations = kernels["start_ns"], kernels["duration_ns"]
    return max(in_pieces(len(kernels), lambda piece: int((starts[piece] + durations[piece]).max())))


def _statistics(
    durations: npt.NDArray[np.int64], codes: npt.NDArray[np.integer[Any]], n: int, inferences: Inferences | None
) -> dict[str, Any]:
    found = dict(grouped_statistics(codes, durations, n))
    if inferences is not None and inferences.count:
        held = count_codes(codes, n, inferences.of_kernel >= 0)
        found["per_inference"] = held[found["code"]] / inferences.count
    return found


def _summary(
    names: dict[str, Any], kinds: Callable[[], dict[str, Any]], wall: int, inferences: Inferences | None
) -> KernelSummary:
    total = int(names["total_ns"].sum())
    of_names = _finished(names, "name", total, wall)
    per, note = (None, None) if inferences is None else inferences.kernels_per_inference
    found = None if inferences is None else inferences.count or None
    count = int(names["count"].sum())

    def of_kinds() -> Table:
        return _finished(kinds(), "category", total, wall)

    return KernelSummary(of_names, of_kinds, count, total, wall, found, per, note)


def _finished(columns: dict[str, Any], key: str, total: int, wall: int) -> Table:
    """Statistics with their shares, by total time."""
    times, labels = columns["total_ns"], columns[key]
    for share, base in (("share_of_kernel_time_pct", total), ("share_of_wall_time_pct", wall)):
        columns[share] = 100.0 * times / base if base else np.full(len(times), np.nan)
    columns.setdefault("per_inference", [None] * len(times))
    order = sorted(range(len(times)), key=lambda k: (-int(times[k]), labels[k]))
    first = [*(c for c in columns if c in _NAMED), *_FIGURES]
    return Table(columns).take(np.asarray(order, dtype=np.int64), first)


_NAMED = ("name", "short_name", "category", "category_rule", "precision", "tensor_cores", "rule")
_FIGURES = (
    "count", "per_inference", "total_ns", "mean_ns", "median_ns", "min_ns", "max_ns", "stddev_ns", "share_of_kernel_time_pct",
    "share_of_wall_time_pct",
)  # fmt: skip
