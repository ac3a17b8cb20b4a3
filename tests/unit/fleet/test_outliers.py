"""Scores against an independent computation, and what is called an outlier."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.fleet.outliers import METRICS, OutlierRule, find_outliers, judge, modified_z_scores

LATENCY = METRICS[0]


def traces(latencies: list[float], **columns: list[float | None]) -> pd.DataFrame:
    n = len(latencies)
    frame = pd.DataFrame({m.column: [None] * n for m in METRICS}, dtype=float)
    frame = frame.assign(group="g", trace=[f"t{i}" for i in range(n)], inferences=10, latency_p50_ns=latencies)
    return frame.assign(**columns)


finite = st.floats(-1e12, 1e12, allow_nan=False).map(lambda x: round(x, 3))


@given(st.lists(finite, min_size=1, max_size=60))
def test_scores_equal_the_formula(values: list[float]) -> None:
    scores = modified_z_scores(np.asarray(values))
    median = statistics.median(values)
    distances = [abs(v - median) for v in values]
    mad, mean_ad = statistics.median(distances), statistics.fmean(distances)
    assert scores.median == pytest.approx(median)
    if mad > 0:
        expected = [0.6745 * (v - median) / mad for v in values]
    elif mean_ad > 0:
        expected = [(v - median) / (1.253314 * mean_ad) for v in values]
    else:
        expected = [0.0] * len(values)
    assert scores.score == pytest.approx(expected, rel=1e-9)


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40), st.integers(1, 1000), st.integers(-(10**9), 10**9)
)
def test_scores_do_not_depend_on_unit_or_origin(values: list[int], scale: int, shift: int) -> None:
    before, after = (
        modified_z_scores(np.asarray(v, dtype=float)) for v in (values, [scale * v + shift for v in values])
    )
    assert after.score == pytest.approx(before.score, rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(1, 1e9), min_size=2, max_size=40))
def test_sigma_is_where_the_score_is_one(values: list[float]) -> None:
    scores = modified_z_scores(np.asarray(values))
    if scores.spread > 0:
        assert scores.score * scores.sigma == pytest.approx(np.asarray(values) - scores.median, rel=1e-6, abs=1e-6)


def test_a_straggler_is_found_and_named() -> None:
    (found,) = find_outliers(traces([100, 101, 99, 100, 102, 150]), OutlierRule())
    assert (found["trace"], found["metric"], found["straggler"], found["direction"]) == (
        "t5",
        "latency_p50_ns",
        True,
        "high",
    )
    assert found["score"] == pytest.approx(0.6745 * 49.5 / 1.0)
    assert found["difference_pct"] == pytest.approx(100 * 49.5 / 100.5)


def test_a_fast_trace_is_an_outlier_and_no_straggler() -> None:
    (found,) = find_outliers(traces([100, 101, 99, 100, 102, 50]), OutlierRule())
    assert (found["direction"], found["straggler"]) == ("low", False)


def test_noise_is_no_straggler() -> None:
    """All scores may be large where everything agrees to a thousandth; the smallest effect holds them back."""
    dice = np.random.default_rng(0)
    for n in (5, 8, 64, 256):
        for _ in range(50):
            values = 1e6 * (1 + 0.005 * dice.standard_normal(n))
            assert find_outliers(traces(values.tolist()), OutlierRule()) == []
    assert find_outliers(traces([100.0] * 7 + [104.9]), OutlierRule()) == []
    assert len(find_outliers(traces([100.0] * 7 + [105.1]), OutlierRule())) == 1
    assert len(find_outliers(traces([100.0] * 7 + [104.9]), OutlierRule(min_effect_pct=4))) == 1


def test_small_groups_are_not_judged() -> None:
    assert find_outliers(traces([100, 100, 100, 900]), OutlierRule()) == []
    assert judge(traces([100, 100, 100, 900]), LATENCY, OutlierRule()) is None
    assert len(find_outliers(traces([100, 100, 100, 100, 900]), OutlierRule())) == 1
    # traces that do not have the figure do not count
    assert find_outliers(traces([100, 100, 100, 900, np.nan]), OutlierRule()) == []


def test_equal_values_have_no_outlier() -> None:
    assert find_outliers(traces([7.0] * 20, kernels_per_inference=[56.0] * 20), OutlierRule()) == []


def test_one_kernel_more_is_an_outlier() -> None:
    (found,) = find_outliers(traces([100.0] * 8, kernels_per_inference=[56.0] * 7 + [57.0]), OutlierRule())
    assert (found["metric"], found["scale"], found["straggler"]) == (
        "kernels_per_inference",
        "mean absolute deviation",
        False,
    )


def test_idle_time_is_weighed_by_the_latency() -> None:
    """A gap of 4 µs where the others have 2 µs is twice as long, and nothing in a millisecond."""
    idle = [2000.0, 2010, 1990, 2000, 2020, 4000]
    assert find_outliers(traces([1e6] * 6, gpu_idle_mean_ns=idle), OutlierRule()) == []
    assert len(find_outliers(traces([1e4] * 6, gpu_idle_mean_ns=idle), OutlierRule())) == 1


def test_the_99th_percentile_needs_a_hundred_inferences() -> None:
    frame = traces([100.0] * 6, latency_p99_ns=[100.0, 101, 99, 100, 101, 500])
    assert find_outliers(frame, OutlierRule()) == []
    assert [o["metric"] for o in find_outliers(frame.assign(inferences=100), OutlierRule())] == ["latency_p99_ns"]


@given(st.lists(st.floats(1, 1e9), min_size=5, max_size=30))
def test_the_band_is_where_no_outlier_is(values: list[float]) -> None:
    judged = judge(traces(values), LATENCY, OutlierRule())
    assert judged is not None
    outside = np.abs(judged.values - judged.scores.median) > judged.reach * (1 + 1e-9)
    assert (
        not (outside & ~judged.far).any()
        and (
            outside | ~judged.far | np.isclose(np.abs(judged.values - judged.scores.median), judged.reach, rtol=1e-6)
        ).all()
    )


def test_rule_of_a_document() -> None:
    assert OutlierRule.of({"threshold": 4.0, "min_effect_pct": "x", "min_traces": -1}) == OutlierRule(threshold=4.0)
    assert OutlierRule.of(None) == OutlierRule()
