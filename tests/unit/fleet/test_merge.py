"""Merged statistics against all executions together, and the explanation of an excess against plain arithmetic."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.fleet.merge import because, excess, group_row, merge_kernels
from profiler.fleet.outliers import OutlierRule

durations = st.lists(st.lists(st.integers(1, 10**7), min_size=1, max_size=12), min_size=1, max_size=6)


def _tables(executions: list[list[int]], category: str = "gemm") -> tuple[pd.DataFrame, pd.DataFrame]:
    """A trace a list; one kernel name, one inference a trace."""
    names = [f"t{i}" for i in range(len(executions))]
    sums = [float(sum(e)) for e in executions]
    traces = pd.DataFrame(
        {"group": "g", "trace": names, "basis": "inference", "kernels": [len(e) for e in executions], "inferences": 1,
         "kernel_time_ns": sums, "latency_p50_ns": sums, "latency_mean_ns": sums, "gpu_span_mean_ns": sums, "gpu_busy_mean_ns": sums,
         "gpu_idle_mean_ns": 0.0, "kernel_time_mean_ns": sums, "compute_time_mean_ns": sums, "graph_time_mean_ns": 0.0,
         "memcpy_time_mean_ns": 0.0, "memset_time_mean_ns": 0.0}
    )  # fmt: skip
    kernels = pd.DataFrame(
        {"group": "g", "trace": names, "name": "k", "short_name": "k", "category": category, "tensor_cores": "yes", "rule": "r",
         "count": [len(e) for e in executions], "per_inference": [float(len(e)) for e in executions],
         "total_ns": [sum(e) for e in executions], "mean_ns": [statistics.fmean(e) for e in executions],
         "min_ns": [min(e) for e in executions], "max_ns": [max(e) for e in executions],
         "stddev_ns": [statistics.stdev(e) if len(e) > 1 else 0.0 for e in executions], "time_ns": sums}
    )  # fmt: skip
    return traces, kernels


@given(durations)
def test_merged_statistics_are_those_of_all_executions(executions: list[list[int]]) -> None:
    every = [d for e in executions for d in e]
    row = merge_kernels(*_tables(executions))[0]
    assert (row["count"], row["total_ns"], row["min_ns"], row["max_ns"]) == (
        len(every),
        sum(every),
        min(every),
        max(every),
    )
    assert row["mean_ns"] == pytest.approx(statistics.fmean(every))
    assert row["stddev_ns"] == pytest.approx(statistics.stdev(every) if len(every) > 1 else 0.0, rel=1e-6, abs=1e-6)
    sums = [sum(e) for e in executions]
    assert (row["time_min_ns"], row["time_max_ns"]) == (min(sums), max(sums))
    assert row["time_median_ns"] == statistics.median(sums)
    if len(sums) > 1:
        assert row["time_cv_pct"] == pytest.approx(100 * statistics.stdev(sums) / statistics.fmean(sums))


def test_a_trace_without_the_kernel_counts_as_zero() -> None:
    traces, kernels = _tables([[10], [10], [10]])
    row = merge_kernels(traces, kernels[kernels["trace"] != "t2"])[0]
    assert (row["traces"], row["traces_with"], row["time_min_ns"]) == (3, 2, 0.0)


def test_traces_that_hide_their_kernels_take_no_part() -> None:
    traces, kernels = _tables([[10], [20]])
    traces["kernels"] = [1, None]
    assert merge_kernels(traces, kernels)[0]["traces"] == 1
    assert merge_kernels(traces.assign(kernels=None), kernels) == []


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=9), st.integers(1, 10**6))
def test_the_parts_add_up_to_the_excess(usual: list[int], mine: int) -> None:
    traces, kernels = _tables([[u] for u in [*usual, mine]])
    rows = excess(f"t{len(usual)}", traces, kernels)
    (latency,) = [r for r in rows if r["level"] == "latency"]
    assert latency["excess_ns"] == pytest.approx(mine - statistics.median(usual))
    assert sum(r["excess_ns"] for r in rows if r["level"] == "part") == pytest.approx(latency["excess_ns"], abs=1e-6)
    for level in ("category", "kernel"):
        (row,) = [r for r in rows if r["level"] == level]
        assert row["excess_ns"] == pytest.approx(mine - statistics.median(usual))


def test_more_launches_are_said() -> None:
    traces, kernels = _tables([[10] * 4, [10] * 4, [10] * 4, [10] * 12])
    said = because(excess("t3", traces, kernels), "latency_p50_ns")
    assert (
        said is not None
        and "kernel k +0.0800 µs (100 % of the kernels’ excess), launched 12 times per inference" in said
    )


def test_the_slow_rank_of_a_collective() -> None:
    """All ranks have the same latency; the slow one computes for longer and waits for less."""
    compute, waiting = _tables([[100_000]] * 5 + [[180_000]]), _tables([[90_000]] * 5 + [[10_000]], "communication")
    traces, kernels = (
        compute[0],
        pd.concat([compute[1], waiting[1].assign(name="ncclDevKernel_AllReduce")], ignore_index=True),
    )
    total = [190_000.0] * 6
    for column in ("latency_p50_ns", "latency_mean_ns", "gpu_span_mean_ns", "gpu_busy_mean_ns", "kernel_time_mean_ns"):
        traces[column] = total
    rows = excess("t5", traces, kernels)
    assert because(rows, "compute_time_mean_ns") == (
        "category gemm +80 µs (100 % of the kernels’ excess); kernel k +80 µs (100 % of the kernels’ excess); "
        "communication −80 µs, as the other ranks wait for it"
    )


def test_group_row() -> None:
    traces, _ = _tables([[10], [10], [40]])
    row = group_row(traces, [], OutlierRule())
    assert (row["traces"], row["judged"], row["kernels"]) == (3, False, 3)
    assert row["reason"] == "3 traces are too few to call one an outlier; 5 are needed."
    assert row["latency_p50_ns_cv_pct"] == pytest.approx(100 * statistics.stdev([10, 10, 40]) / 20)
    assert group_row(traces.assign(kernels=[1, None, 1]), [], OutlierRule(min_traces=3))["kernels"] is None
