from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.workloads import latency
from tests.support.workload import Clock


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.floats(0, 100))
def test_percentile_is_numpys(values: list[float], percent: float) -> None:
    assert latency.percentile(sorted(values), percent) == pytest.approx(float(np.percentile(values, percent)))


def test_describe() -> None:
    found = latency.describe([4.0, 1.0, 2.0, 3.0])
    assert (found.p50, found.min, found.max, found.mean, found.n) == (2.5, 1, 4, 2.5, 4)
    assert found.stddev == pytest.approx(statistics.stdev([1, 2, 3, 4]))
    assert found.p90 == pytest.approx(3.7) and found.p99 == pytest.approx(3.97)
    assert latency.describe([2.0]).stddev is None
    assert set(found.as_json()) == {"p50", "p90", "p99", "mean", "min", "max", "stddev", "n"}


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="values"):
        latency.describe([])


def test_latency_waits_for_each_and_throughput_does_not() -> None:
    clock = Clock()
    found = latency.measure_latency(clock, 25, 0.0)
    assert found.n == 25 and found.p50 == 2.0
    assert clock.waits >= 25
    clock.waits = 0
    throughput = latency.measure_throughput(clock, 8, 100, 0.0)
    assert throughput["n"] == 100 and clock.waits <= 4
    assert throughput["ms_per_inference"] == pytest.approx(1.01)
    assert throughput["images_per_s"] == pytest.approx(8000 / 1.01)


def test_throughput_lasts_as_long_as_asked() -> None:
    assert latency.measure_throughput(Clock(), 1, 10, 1.0)["n"] == pytest.approx(910, abs=20)  # 1.1 ms in the probe


def test_the_number_of_iterations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MAX_ITERATIONS", 50)
    assert latency.measure_latency(Clock(), 10, 60.0).n == 50
    assert latency.measure_throughput(Clock(), 1, 10, 60.0)["n"] == 50
