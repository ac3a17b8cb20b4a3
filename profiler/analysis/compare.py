"""Before and after side by side, per inference. Nothing here assumes that the two share a kernel name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.run import Run
from profiler.analysis.tabular import Tabular


@dataclass(frozen=True)
class Metric:
    """One line of a comparison.

    Attributes:
        before, after: in ``unit``; None when unknown, and then ``reason`` says why.
        ratio: before ÷ after; None when either is unknown or after is 0.
        source: where the figure comes from: tables, window, statistic.
        before_range, after_range: smallest and largest value of the inferences, where the figure is a median of them.
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


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Two runs side by side."""

    before: Run
    after: Run
    metrics: tuple[Metric, ...]
    warnings: tuple[str, ...]
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
        return pd.DataFrame([asdict(m) for m in self.metrics]).drop(columns=["before_range", "after_range"])


_Value = tuple["float | None", "str | None", "tuple[float, float] | None"]
_Getter = Callable[[Run], _Value]


@dataclass(frozen=True)
class _Definition:
    """How one metric is made. ``needs_kernels``: it means nothing when kernels are hidden inside graph launches."""

    id: str
    label: str
    unit: str
    source: str
    value: _Getter
    needs_kernels: bool = False

    def evaluate(self, before: Run, after: Run, refusal: str | None) -> Metric:
        if self.needs_kernels and refusal:
            return Metric(self.id, self.label, self.unit, None, None, None, refusal, self.source)
        (b, b_why, b_range), (a, a_why, a_range) = self.value(before), self.value(after)
        reasons = [f"{side}: {why}" for side, why in (("before", b_why), ("after", a_why)) if why]
        if b is not None and a == 0:
            reasons.append("no ratio: after is 0")
        ratio = b / a if b is not None and a else None
        reason = "; ".join(reasons) or None
        return Metric(self.id, self.label, self.unit, b, a, ratio, reason, self.source, b_range, a_range)


def compare(before: Run, after: Run) -> Comparison:
    """Compare two traces, per inference.

    Kernel counts, kernel times and what is derived from them are refused (None with the reason) when one side recorded
    CUDA graphs as single events, as that side's kernels are not in its trace.
    """
    sides = (before, after)
    hidden = [s.trace.graph_level_message for s in sides if s.trace.has_hidden_graph_kernels]
    refusals = tuple(dict.fromkeys(hidden))
    seen = {category for s in sides for category in s.categories["category"]}
    definitions = [*_definitions(), *_category_definitions(seen)]
    metrics = tuple(d.evaluate(before, after, refusals[0] if refusals else None) for d in definitions)
    return Comparison(before, after, metrics, tuple(_warnings(before, after, refusals)), refusals)


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
        new("launch_to_start", "Launch to start", "us", wait, _launch_wait),
        new("tensor_cores_yes", "Time using Tensor Cores (by name)", "%", by_name, _share("yes"), True),
        new("tensor_cores_no", "Time not using them (by name)", "%", by_name, _share("no"), True),
        new("tensor_cores_unknown", "Time undecided (by name)", "%", by_name, _share("unknown"), True),
        new("tensor_active", "Tensor Active (sampled)", "%", sampled, _tensor_active),
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


def _category_definitions(seen: set[str]) -> list[_Definition]:
    how = "÷ inferences; category from the kernel name"
    found = []
    for category, label in CATEGORY_LABELS.items():
        if category in seen:
            time, count = _category(category, "time_ns", 1e-6), _category(category, "kernels", 1.0)
            found.append(
                _Definition(f"time.{category}", f"Time in {label}", "ms", f"sum of durations {how}", time, True)
            )
            found.append(
                _Definition(f"kernels.{category}", f"Kernels in {label}", "kernels", f"kernels {how}", count, True)
            )
    return found


def _busy(side: Run) -> _Value:
    return side.launches.busy_pct, _no_inferences(side), None


def _share(verdict: str) -> _Getter:
    def value(side: Run) -> _Value:
        share = side.tensor_cores.share_pct(verdict)
        return share, None if share is not None else "no kernels", None

    return value


def _no_inferences(side: Run) -> str | None:
    if not side.inferences.count:
        return side.inferences.statement
    return None if side.inferences.table["gpu_span_ns"].notna().any() else "no GPU work inside the inferences"


def _median(column: str, scale: float) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, side.inferences.statement, None
        series = side.inferences.table[column].dropna() * scale
        if not len(series):
            return None, "no GPU work inside the inferences", None
        return float(series.median()), None, (float(series.min()), float(series.max()))

    return value


def _mean(column: str) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, side.inferences.statement, None
        series = side.inferences.table[column]
        return float(series.sum()) / side.inferences.count, None, (float(series.min()), float(series.max()))

    return value


def _kernels_per_inference(side: Run) -> _Value:
    value, note = side.inferences.kernels_per_inference
    if value is None:
        return None, note, None
    if not side.trace.kernel_count:
        return None, side.trace.no_kernels_reason, None
    counts = side.inferences.table["kernels"]
    return value, note, (float(counts.min()), float(counts.max()))


def _launch_wait(side: Run) -> _Value:
    wait = side.launches.launch_to_start_ns
    return (wait["median"] / 1e3, None, None) if wait else (None, "no kernel with a recorded launch", None)


def _tensor_active(side: Run) -> _Value:
    sampled = side.tensor_cores.sampled
    return sampled.value_pct, sampled.reason, None


def _category(category: str, column: str, scale: float) -> _Getter:
    def value(side: Run) -> _Value:
        if not side.inferences.count:
            return None, side.inferences.statement, None
        found = side.categories.set_index("category")[column]
        return float(found.get(category, 0.0)) * scale, None, None

    return value


def _warnings(before: Run, after: Run, refusals: tuple[str, ...]) -> list[str]:
    found = list(refusals)
    for what, name in (("GPU", "gpu"), ("batch size", "batch"), ("input shape", "input_shape")):
        b, a = getattr(before.facts, name), getattr(after.facts, name)
        unknown = [side for side, value in (("before", b), ("after", a)) if value is None]
        if unknown:
            found.append(
                f"The {what} of {' and '.join(unknown)} is not known, so it may differ. State it in a manifest beside the trace."
            )
        elif b != a:
            found.append(
                f"The {what} differs: {_shown(b)} before, {_shown(a)} after. The figures compare different work."
            )
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
    if before.trace.path.resolve() == after.trace.path.resolve():
        found.append("Before and after are the same file.")
    return list(dict.fromkeys(found))


def _shown(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)
