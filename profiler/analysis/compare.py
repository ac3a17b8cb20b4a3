"""Before and after side by side, per inference. Nothing here assumes that the two share a kernel name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.pair import PairCheck, check_pair
from profiler.analysis.run.run import Run
from profiler.analysis.run.whole import WholeTrace
from profiler.analysis.statistics import two_modes
from profiler.analysis.tabular import Tabular
from profiler.text import number

Modes = tuple[tuple[int, float], tuple[int, float]]
_LARGE_GROUP = 1 / 3
NO_INFERENCES = "its inferences cannot be identified"


@dataclass(frozen=True)
class Metric:
    """One line of a comparison.

    Attributes:
        before, after: in ``unit``; None when unknown, and then ``reason`` says why.
        ratio: before ÷ after; None when either is unknown or after is 0.
        source: where the figure comes from: tables, window, statistic.
        before_range, after_range: smallest and largest value of the inferences, where the figure is a median of them.
        before_modes, after_modes: number and median of each of the two groups that the inferences fall into, where they do. Where
            the smaller group is a third or more, the median says nothing and is None.
    """

    id: str
    label: str
    unit: str
    before: float | None
    after: float | None
    ratio: float | None
    reason: str | None
    source: str
    before_range: tuple[float, float] | None = None
    after_range: tuple[float, float] | None = None
    before_modes: Modes | None = None
    after_modes: Modes | None = None


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Two runs side by side."""

    before: Run
    after: Run
    metrics: tuple[Metric, ...]
    warnings: tuple[str, ...]
    pair: PairCheck
    """Whether the two are a pair at all: without that there is no ratio."""
    refusals: tuple[str, ...] = field(default=())
    """Why kernel counts were not compared; empty when they were."""

    def metric(self, metric_id: str) -> Metric:
        """One line of the comparison.

        Raises:
            KeyError: there is no such line; the message lists those that there are.
        """
        for metric in self.metrics:
            if metric.id == metric_id:
                return metric
        raise KeyError(f"no metric {metric_id!r}; there are: {', '.join(m.id for m in self.metrics)}")

    @property
    def summary(self) -> str:
        return f"{self.before.facts.title} → {self.after.facts.title}, {len(self.metrics)} metrics"

    def to_frame(self) -> pd.DataFrame:
        """A row a metric: ``id``, ``label``, ``unit``, ``before``, ``after``, ``ratio`` (before ÷ after), ``reason``, ``source``."""
        return pd.DataFrame([asdict(m) for m in self.metrics]).drop(
            columns=["before_range", "after_range", "before_modes", "after_modes"]
        )


_Value = tuple["float | None", "str | None", "tuple[float, float] | None", "Modes | None"]
_Getter = Callable[[Run], _Value]


@dataclass(frozen=True)
class _Definition:
    """How one metric is made.

    Attributes:
        needs_kernels: it means nothing when kernels are hidden inside graph launches.
        no_ratio: why the two values must not be divided; "" where they may.
        of_either: of the inferences, or without them of the whole trace: one of each must not be divided.
    """

    id: str
    label: str
    unit: str
    source: str
    value: _Getter
    needs_kernels: bool = False
    no_ratio: str = ""
    of_either: bool = False

    def evaluate(self, before: Run, after: Run, refusal: str | None, pair: PairCheck) -> Metric:
        if self.needs_kernels and refusal:
            return Metric(self.id, self.label, self.unit, None, None, None, refusal, self.source)
        (b, b_why, b_range, b_modes), (a, a_why, a_range, a_modes) = self.value(before), self.value(after)
        reasons = [f"{side}: {why}" for side, why in (("before", b_why), ("after", a_why)) if why]
        none = pair.refusal or self.no_ratio or ("after is 0" if a == 0 else "")
        if self.needs_kernels and "dla" in pair.codes:
            none = none or "a part of the engine runs on the DLA, which nsys records no kernels of"
        if self.of_either and bool(before.inferences.count) != bool(after.inferences.count):
            none = none or "one is of the inferences, the other of the whole trace"
        if b is not None and a is not None and none:
            reasons.append(f"no ratio: {none}")
        ratio = b / a if b is not None and a and not none else None
        reason = "; ".join(reasons) or None
        ranges = (b_range, a_range, b_modes, a_modes)
        return Metric(self.id, self.label, self.unit, b, a, ratio, reason, self.source, *ranges)


def compare(before: Run, after: Run) -> Comparison:
    """Compare two traces, per inference.

    Kernel counts, kernel times and what is derived from them are refused (None with the reason) when one side recorded
    CUDA graphs as single events, as that side's kernels are not in its trace. Without inferences on a side the whole traces are
    put side by side as well (``trace.…``). Runs of different models have no ratio.
    """
    sides = (before, after)
    pair = check_pair(before, after)
    hidden = [s.trace.graph_level_message for s in sides if s.trace.has_hidden_graph_kernels]
    refusals = tuple(dict.fromkeys(hidden))
    seen = {category for s in sides for category in s.categories["category"]}
    definitions = [*_definitions(), *_category_definitions(seen)]
    if not all(s.inferences.count for s in sides):
        definitions += _whole_definitions(sides)
    refusal = refusals[0] if refusals else None
    metrics = tuple(d.evaluate(before, after, refusal, pair) for d in definitions)
    return Comparison(before, after, metrics, tuple(_warnings(before, after, pair, refusals)), pair, refusals)


def _definitions() -> list[_Definition]:
    median, mean = "median of the inferences", "inside the inferences ÷ inferences"
    latency = f"NVTX range of the inference to the end of its last GPU work, {median}; host time, nsys attached"
    by_name = "share of kernel time whose name is judged so by the rules; inferred from names"
    sampled = "mean of nsys's GPU metric samples inside the GPU spans of the inferences"
    wait = "start of the launch call to start of the kernel, median; of a graph its first kernel"
    new = _Definition
    return [
        new("latency", "Latency", "ms", latency, _median("latency_ns", 1e-6)),
        new(
            "gpu_span", "GPU span", "ms", f"first GPU work starts to last ends, {median}", _median("gpu_span_ns", 1e-6)
        ),
        new("kernels_per_inference", "Kernels", "kernels", f"kernels launched {mean}", _kernels_per_inference, True),
        new(
            "launches_per_inference", "Launch calls", "calls", f"launch calls of the CUDA API {mean}", _mean("launches")
        ),
        new("kernel_time", "Kernel time", "ms", f"sum of durations, {median}", _median("kernel_time_ns", 1e-6), True),
        new("gpu_busy", "GPU busy", "%", f"union of all GPU work ÷ GPU span, {median}", _busy, True),
        new("gpu_idle", "GPU idle", "ms", f"gaps inside the GPU span, {median}", _median("gpu_idle_ns", 1e-6), True),
        new(
            "launch_time",
            "Launch call time",
            "ms",
            f"host time, {median}; nsys attached",
            _median("launch_time_ns", 1e-6),
        ),
        new("launch_to_start", "Launch to start", "us", wait, _launch_wait, of_either=True),
        new("tensor_cores_yes", "Time using Tensor Cores (by name)", "%", by_name, _share("yes"), True, of_either=True),
        new("tensor_cores_no", "Time not using them (by name)", "%", by_name, _share("no"), True, of_either=True),
        new("tensor_cores_unknown", "Time undecided (by name)", "%", by_name, _share("unknown"), True, of_either=True),
        new("tensor_active", "Tensor Active (sampled)", "%", sampled, _tensor_active, of_either=True),
        new("memcpys_per_inference", "Memory copies", "copies", f"memory copies {mean}", _mean("memcpys")),
        new(
            "memcpy_bytes_per_inference",
            "Bytes copied",
            "bytes",
            f"bytes of memory copies {mean}",
            _mean("memcpy_bytes"),
        ),
        new("memsets_per_inference", "Memory sets", "sets", f"memory sets {mean}", _mean("memsets")),
    ]


def _whole_definitions(sides: tuple[Run, Run]) -> list[_Definition]:
    """Everything that was recorded: sums are not divided, as the traces may hold different numbers of inferences; shares are."""
    how = "sum over the whole trace"
    sums = "each trace is summed as a whole, and they may hold different numbers of inferences"

    def one(
        key: str, label: str, unit: str, value: Callable[[WholeTrace], float | None], hidden: bool = True
    ) -> _Definition:
        share = unit == "%"
        source = "share over the whole trace" if share else how
        return _Definition(
            f"trace.{key}", f"Whole trace: {label}", unit, source, _whole(value), hidden, "" if share else sums
        )

    found = [
        one("kernels", "kernels", "kernels", lambda w: w.kernels),
        one("kernel_time", "kernel time", "ms", lambda w: w.kernel_time_ns / 1e6),
        one("gpu_span", "GPU span", "ms", lambda w: w.span_ns / 1e6, False),
        one("gpu_busy", "GPU busy", "%", lambda w: w.busy_pct, False),
        one("launches", "launch calls", "calls", lambda w: w.launches, False),
        one("memcpys", "memory copies", "copies", lambda w: w.memcpys, False),
        one("memcpy_bytes", "bytes copied", "bytes", lambda w: w.memcpy_bytes, False),
        one("memcpy_time", "time of memory copies", "ms", lambda w: w.memcpy_time_ns / 1e6, False),
        one("memsets", "memory sets", "sets", lambda w: w.memsets, False),
    ]
    seen = {category for side in sides for category in side.whole.categories}
    for category, label in CATEGORY_LABELS.items():
        if category in seen:
            found.append(one(f"time.{category}", f"time in {label}", "ms", partial(_time_ms, category=category)))
            found.append(one(f"share.{category}", f"share of {label}", "%", partial(_share_of, category=category)))
    return found


def _time_ms(whole: WholeTrace, category: str) -> float:
    return whole.time_ns(category) / 1e6


def _share_of(whole: WholeTrace, category: str) -> float | None:
    return whole.share_pct(category)


def _whole(value: Callable[[WholeTrace], float | None]) -> _Getter:
    def get(side: Run) -> _Value:
        found = value(side.whole)
        return (None if found is None else float(found)), (None if found is not None else "no GPU work"), None, None

    return get


def _category_definitions(seen: set[str]) -> list[_Definition]:
    how = "÷ inferences; category from the kernel name"
    median = "of each inference, median; category from the kernel name"
    found = []
    for category, label in CATEGORY_LABELS.items():
        if category in seen:
            time, count = _category_time(category), _category_count(category)
            found.append(
                _Definition(f"time.{category}", f"Time in {label}", "ms", f"sum of durations {median}", time, True)
            )
            found.append(
                _Definition(f"kernels.{category}", f"Kernels in {label}", "kernels", f"kernels {how}", count, True)
            )
    return found


def _busy(side: Run) -> _Value:
    return side.launches.busy_pct, _no_inferences(side), None, None


def _share(verdict: str) -> _Getter:
    def value(side: Run) -> _Value:
        share = side.tensor_cores.share_pct(verdict)
        return share, None if share is not None else "no kernels", None, None

    return value


def _no_inferences(side: Run) -> str | None:
    if not side.inferences.count:
        return NO_INFERENCES
    return None if side.inferences.table["gpu_span_ns"].notna().any() else "no GPU work inside the inferences"


def _median(column: str, scale: float) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, NO_INFERENCES, None, None
        return _middle(side.inferences.table[column].dropna().to_numpy(dtype=float) * scale)

    return value


def _middle(values: npt.NDArray[np.float64]) -> _Value:
    """The median of a figure over the inferences, unless they fall into two groups of which neither is the smaller by far."""
    if not len(values):
        return None, "no GPU work inside the inferences", None, None
    spread = (float(values.min()), float(values.max()))
    modes = two_modes(values)
    if modes is None:
        return float(np.median(values)), None, spread, None
    (n_low, low), (n_high, high) = modes
    said = f"the inferences fall into two groups, {n_low:,} around {number(low)} and {n_high:,} around {number(high)}"
    if min(n_low, n_high) >= _LARGE_GROUP * len(values):
        return None, f"{said}; a median would be neither", spread, modes
    return float(np.median(values)), said, spread, modes


def _mean(column: str) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, NO_INFERENCES, None, None
        series = side.inferences.table[column]
        return float(series.sum()) / side.inferences.count, None, (float(series.min()), float(series.max())), None

    return value


def _kernels_per_inference(side: Run) -> _Value:
    value, note = side.inferences.kernels_per_inference
    if value is None:
        return None, NO_INFERENCES, None, None
    if not side.trace.kernel_count:
        return None, side.trace.no_kernels_reason, None, None
    counts = side.inferences.table["kernels"]
    return value, note, (float(counts.min()), float(counts.max())), None


def _launch_wait(side: Run) -> _Value:
    wait = side.launches.launch_to_start_ns
    return (wait["median"] / 1e3, None, None, None) if wait else (None, "no kernel with a recorded launch", None, None)


def _tensor_active(side: Run) -> _Value:
    sampled = side.tensor_cores.sampled
    return sampled.value_pct, sampled.reason, None, None


def _category_count(category: str) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, NO_INFERENCES, None, None
        return float(side.categories.set_index("category")["kernels"].get(category, 0.0)), None, None, None

    return value


def _category_time(category: str) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, NO_INFERENCES, None, None
        if category not in side.category_times:
            return 0.0, None, None, None
        return _middle(side.category_times[category].to_numpy(dtype=float) * 1e-6)

    return value


def _warnings(before: Run, after: Run, pair: PairCheck, refusals: tuple[str, ...]) -> list[str]:
    found = [*refusals, *([pair.refusal] if pair.refusal else []), *pair.warnings]
    for label, side in (("before", before), ("after", after)):
        per, note = side.inferences.kernels_per_inference
        if per is None or note:
            found.append(f"{label}: {note}")
        found += [f"{label}: {said}" for said in side.inferences.notes]
        if side.trace.no_kernels_reason and not side.trace.graph_level_only:
            found.append(f"{label}: {side.trace.no_kernels_reason}")
        found += [
            f"{label}: {w.message}"
            for w in side.trace.warnings
            if w.id not in ("no-kernels", "graph-level", "environment")
        ]
        manifest = side.facts.manifest
        found += [f"{label}: {note}" for note in (manifest.warnings if manifest else ())]
    return list(dict.fromkeys(found))
