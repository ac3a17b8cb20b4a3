"""Figures as text."""

from __future__ import annotations

import pytest

from profiler.analysis.compare import Metric
from profiler.report.words import before_after, spread
from profiler.text import at_most, number, plural, signed, with_unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4.2312, "ms", "4.23 ms"),
        (0.1, "ms", "0.100 ms"),
        (0.0279, "ms", "27.9 µs"),
        (-0.00457, "ms", "−4.57 µs"),
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


def test_one_way_to_write_a_number() -> None:
    assert [number(v) for v in (1740, 1740.0, 1234.5, -0.25, 0.0, -0.0, None, float("nan"), float("inf"))] == [
        "1,740", "1,740", "1,234", "−0.250", "0", "0", "—", "—", "—",
    ]  # fmt: skip
    assert [number(v) for v in (3e-9, -2.5e-8, 1e-6)] == ["3e−09", "−2.5e−08", "0.000001"]  # never a 0 that is none
    assert number(97.8, "%") == "97.8 %"
    assert [signed(v, "µs") for v in (0.5, -0.5, 0.0)] == ["+0.500 µs", "−0.500 µs", "0 µs"]
    assert [at_most(v, "ms") for v in (0.6, 4.2, 0.538560, 1e9, 100.0)] == [
        "0.6 ms", "4.2 ms", "0.53856 ms", "1,000,000,000 ms", "100 ms",
    ]  # fmt: skip


def test_one_is_singular() -> None:
    assert [plural(n, "kernel") for n in (0, 1, 1.0, 1.5, 1200)] == [
        "0 kernels", "1 kernel", "1 kernel", "1.50 kernels", "1,200 kernels",
    ]  # fmt: skip
    assert plural(2, "copy", "copies") == "2 copies"
