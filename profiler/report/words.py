"""What a metric of the comparison says, in words. Texts are plain: whoever shows them escapes them."""

from __future__ import annotations

from profiler.analysis.compare import Metric
from profiler.text import COUNTS, signed, times, with_unit

HEADLINES = (
    "latency",
    "kernel_time",
    "kernels_per_inference",
    "launches_per_inference",
    "gpu_idle",
    "tensor_cores_yes",
    "tensor_active",
)


def change(metric: Metric) -> str:
    """“3.11× fewer”, “9.04× lower”, “+97.8 points”; an em dash where there is nothing to say."""
    if metric.before is None or metric.after is None:
        return "unknown"
    if metric.unit == "%":
        return signed(metric.after - metric.before, "points")
    if metric.ratio is None or metric.ratio == 0:
        return "—"
    if metric.unit in COUNTS and metric.ratio != 1:
        return f"{times(metric.ratio)} fewer" if metric.ratio > 1 else f"{times(1 / metric.ratio)} more"
    return lower_or_higher(metric.before, metric.after) or "—"


def lower_or_higher(before: float | None, after: float | None) -> str | None:
    """“2.20× lower”, “1.30× higher” or “the same”; None without a ratio."""
    if not before or not after:
        return None
    if before == after:
        return "the same"
    return f"{times(before / after)} lower" if before > after else f"{times(after / before)} higher"


def before_after(metric: Metric) -> tuple[str, str]:
    """Both values as text; a unit that they share stands once, behind the second."""
    return _pair(metric.before, metric.after, metric.unit)


def _pair(first: float | None, second: float | None, unit: str) -> tuple[str, str]:
    one, other = with_unit(first, unit), with_unit(second, unit)
    figure, _, its_unit = one.partition(" ")
    return (figure if its_unit and other.endswith(f" {its_unit}") else one), other


def spread(metric: Metric, side: str) -> str | None:
    """“0.535 to 0.561 ms over the inferences”; None where a figure has no spread."""
    found = metric.before_range if side == "before" else metric.after_range
    if found is None:
        return None
    if found[0] == found[1]:
        return f"{with_unit(found[1], metric.unit)} in every inference"
    return f"{' to '.join(_pair(*found, metric.unit))} over the inferences"
