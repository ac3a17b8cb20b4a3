"""Figures as text."""

from __future__ import annotations

import pytest

from profiler.analysis.compare import Metric
from profiler.report.words import before_after, spread
from profiler.text import with_unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4.2312, "ms", "4.23 ms"),
        (0.1, "ms", "0.100 ms"),
        (0.0279, "ms", "27.9 µs"),
        (-0.00457, "ms", "-4.57 µs"),
        (0.0, "ms", "0 ms"),
        (26.1, "us", "26.1 µs"),
        (174.0, "kernels", "174"),
        (2.69e9, "bytes", "2.69 GB"),
        (None, "ms", "—"),
    ],
)
def test_a_figure_is_in_the_unit_that_reads_best(value: float | None, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


def metric(before: float, after: float, spread_before: tuple[float, float]) -> Metric:
    return Metric("id", "label", "ms", before, after, before / after, None, "source", before_range=spread_before)


def test_a_shared_unit_stands_once_and_two_stand_both() -> None:
    assert before_after(metric(4.87, 0.539, (4.7, 5.7))) == ("4.87", "0.539 ms")
    assert before_after(metric(0.256, 0.0279, (0.2, 0.3))) == ("0.256 ms", "27.9 µs")
    assert spread(metric(4.87, 0.539, (4.74, 5.72)), "before") == "4.74 to 5.72 ms over the inferences"
    assert spread(metric(0.1, 0.1, (0.09, 0.12)), "before") == "90 µs to 0.120 ms over the inferences"
