"""Figures as text: numbers with units, changes, spreads. Texts are plain: whoever shows them escapes them."""

from __future__ import annotations

import math

from profiler.analysis.compare import Metric

HEADLINES = (
    "latency",
    "kernel_time",
    "kernels_per_inference",
    "launches_per_inference",
    "gpu_idle",
    "tensor_cores_yes",
    "tensor_active",
)
_COUNTS = ("kernels", "calls", "copies", "sets")
_SHORT_MS = 0.1


def visible(text: str) -> str:
    """Control, direction and other unprintable characters as ``\\uXXXX``: elsewhere they would do more than be shown."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` significant digits, thousands grouped; an em dash for what is not known."""
    if value is None or math.isnan(value):
        return "—"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}"


def number_of_bytes(value: float) -> str:
    """Bytes in decimal units, as memory bandwidth is quoted."""
    for limit, factor, unit in ((1e3, 1.0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if abs(value) < limit:
            return f"{number(value / factor)} {unit}"
    return f"{number(value / 1e9)} GB"


def with_unit(value: float | None, unit: str) -> str:
    """A figure and its unit; counts go without, bytes and short times in the unit that reads best."""
    if value is None or math.isnan(value) or unit in _COUNTS:
        return number(value)
    if unit == "ms" and 0 < abs(value) < _SHORT_MS:
        value, unit = value * 1e3, "us"
    return number_of_bytes(value) if unit == "bytes" else f"{number(value)} {'µs' if unit == 'us' else unit}"


def change(metric: Metric) -> str:
    """“3.11× fewer”, “+97.8 points”; an em dash where there is nothing to say."""
    if metric.before is None or metric.after is None:
        return "unknown"
    if metric.unit == "%":
        return f"{metric.after - metric.before:+.1f} points"
    if metric.ratio is None or metric.ratio == 0:
        return "—"
    if metric.ratio == 1:
        return "the same"
    fewer = metric.unit in _COUNTS
    if metric.ratio > 1:
        return f"{number(metric.ratio)}× {'fewer' if fewer else 'less'}"
    return f"{number(1 / metric.ratio)}× more"


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
