"""Kernel statistics, Tensor Core report, launches and comparison, on made traces whose figures can be worked out by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.analysis.compare import compare
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.kernels import summarise_kernels
from profiler.analysis.run.launches import launch_report
from profiler.analysis.run.run import Run
from profiler.analysis.run.tensor_cores import tensor_core_report, tensor_core_types
from profiler.trace import Trace
from profiler.trace.session import Gpu
from tests.support.kernel_names import FFMA, HMMA
from tests.support.make_trace import PID, TraceMaker, simple, whole_graphs

Open = Callable[[TraceMaker], Trace]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**9)), min_size=1, max_size=40))
def test_statistics_are_those_of_the_standard_library(opened: Open, kernels: list[tuple[str, int]]) -> None:
    maker = TraceMaker()
    for place, (name, duration) in enumerate(kernels):
        maker.kernel(place * 100, duration, name)
    trace = opened(maker)
    summary = summarise_kernels(trace, find_inferences(trace))
    trace.path.unlink()
    assert summary.total_ns == sum(d for _, d in kernels)
    for row in summary.by_name.itertuples():
        mine = [d for n, d in kernels if n == row.name]
        assert (row.count, row.total_ns, row.min_ns, row.max_ns) == (len(mine), sum(mine), min(mine), max(mine))
        assert row.mean_ns == pytest.approx(statistics.fmean(mine))
        assert row.median_ns == statistics.median(mine)
        assert row.stddev_ns == pytest.approx(statistics.stdev(mine) if len(mine) > 1 else 0.0, abs=1e-6)
    assert summary.by_category["total_ns"].sum() == summary.total_ns
    assert summary.by_name["share_of_kernel_time_pct"].sum() == pytest.approx(100.0 if summary.total_ns else 0.0)


def test_totals_beyond_the_precision_of_a_float_are_exact(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(0, 2**53 + 1, "big")
    maker.kernel(1, 2, "big")
    trace = opened(maker)
    summary = summarise_kernels(trace, find_inferences(trace))
    assert summary.by_name["total_ns"].tolist() == [2**53 + 3]


def test_per_inference_counts_kernels_inside_inferences_only(opened: Open) -> None:
    maker = simple(inferences=3, kernels=2)
    maker.kernel(100, 10, "void kernel0<float>(float *)", launched=50)
    trace = opened(maker)
    by_name = summarise_kernels(trace, find_inferences(trace)).by_name.set_index("name")
    assert by_name.loc["void kernel0<float>(float *)", ["count", "per_inference"]].tolist() == [4, 1.0]


def _tensor_trace() -> TraceMaker:
    maker = TraceMaker()
    maker.gpu()
    for i in range(2):
        begin = i * 10_000
        maker.range(f"iter{i}", begin, begin + 5_000)
        maker.kernel(begin + 1_000, 300, HMMA, launched=begin + 100)
        maker.kernel(begin + 2_000, 600, FFMA, launched=begin + 200)
        maker.kernel(begin + 3_000, 100, "Kernel", launched=begin + 300)
    maker.metric(
        "Tensor Active [Throughput %]", [(t, 80 if 1_000 < t % 10_000 <= 1_300 else 0) for t in range(0, 20_000, 50)]
    )
    return maker


def test_name_verdicts_and_samples_are_two_figures(opened: Open) -> None:
    trace = opened(_tensor_trace())
    report = tensor_core_report(trace, find_inferences(trace))
    assert [report.share_pct(v) for v in ("yes", "no", "unknown")] == [30.0, 60.0, 10.0]
    inside = [80 if 1_000 < t <= 1_300 else 0 for t in range(1_000, 3_101, 50)]
    assert report.sampled.samples == 2 * len(inside)
    assert report.sampled.value_pct == pytest.approx(statistics.fmean(inside))
    assert report.sampled.frequency_hz == pytest.approx(2e7)


def test_eligible_kernels_are_listed_with_their_precision(opened: Open) -> None:
    trace = opened(_tensor_trace())
    (row,) = tensor_core_report(trace, find_inferences(trace)).eligible.itertuples()
    assert (row.name, row.category, row.precision, row.time_ns) == (FFMA, "convolution", "fp32", 1_200)
    assert "TF32" in row.why


def test_nothing_is_eligible_on_a_gpu_without_tensor_cores(opened: Open) -> None:
    maker = _tensor_trace()
    maker.rows["TARGET_INFO_GPU"] = []
    maker.gpu("Tesla P100", 6, 0)
    trace = opened(maker)
    assert not len(tensor_core_report(trace, find_inferences(trace)).eligible)


def test_missing_samples_have_a_reason(opened: Open) -> None:
    trace = opened(simple())
    sampled = tensor_core_report(trace, find_inferences(trace)).sampled
    assert sampled.value_pct is None and "--gpu-metrics-devices" in (sampled.reason or "")
    maker = simple()
    maker.metric("Tensor Active [Throughput %]", [(10**12, 5)])
    trace = opened(maker)
    sampled = tensor_core_report(trace, find_inferences(trace)).sampled
    assert (sampled.value_pct, sampled.samples) == (None, 0) and "No sample" in (sampled.reason or "")


def test_launches_gaps_and_waits(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(2):
        begin = i * 10_000
        maker.range(f"iter{i}", begin, begin + 5_000)
        maker.kernel(begin + 1_000, 100, "first", launched=begin + 900)
        maker.kernel(begin + 1_500, 100, "second", launched=begin + 1_000)
    trace = opened(maker)
    report = launch_report(trace, find_inferences(trace))
    (call,) = report.calls.itertuples()
    assert (call.name, call.count, call.per_inference, call.total_ns) == ("cudaLaunchKernel", 4, 2.0, 20)
    assert report.launch_to_start_ns == {"median": 300.0, "p90": 500.0, "max": 500.0, "count": 4.0}
    assert report.gaps[["duration_ns", "after", "before"]].to_numpy().tolist() == [[400, "first", "second"]] * 2
    assert report.busy_pct == pytest.approx(100 * 200 / 600)


spans = st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(0, 25))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(spans, min_size=1, max_size=15))
def test_busy_idle_and_gaps_agree_with_counting_instants(opened: Open, kernels: list[tuple[int, int, int]]) -> None:
    maker = TraceMaker()
    for i in range(2):
        maker.range(f"iter{i}", i * 1000, i * 1000 + 500)
    for place, (i, start, duration) in enumerate(kernels):
        maker.kernel(i * 1000 + 100 + start, duration, f"k{place}", launched=i * 1000 + place)
    trace = opened(maker)
    inferences = find_inferences(trace, "iter*")
    gaps = launch_report(trace, inferences).gaps
    trace.close()
    trace.path.unlink()
    for i, row in inferences.table.iterrows():
        mine = [(s, s + d) for j, s, d in kernels if j == i]
        if not mine:
            assert pd.isna(row["gpu_span_ns"])
            continue
        instants = {t for a, b in mine for t in range(a, b)}
        low, high = min(a for a, _ in mine), max(b for _, b in mine)
        assert (row["gpu_span_ns"], row["gpu_busy_ns"]) == (high - low, len(instants))
        assert row["gpu_idle_ns"] == gaps.loc[gaps["inference"] == i, "duration_ns"].sum() == high - low - len(instants)


def test_of_a_graph_only_the_first_kernel_waits_for_the_launch(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(2):
        maker.range(f"iter{i}", i * 10_000, i * 10_000 + 5_000)
        correlation = maker.launch(i * 10_000 + 100, name="cudaGraphLaunch_v10000")
        for node in range(5):
            maker.kernel(i * 10_000 + 1_000 + 100 * node, 50, correlation=correlation)
    trace = opened(maker)
    report = launch_report(trace, find_inferences(trace))
    assert report.launch_to_start_ns is not None
    assert (report.launch_to_start_ns["median"], report.launch_to_start_ns["count"]) == (900.0, 2.0)


def test_comparison_needs_no_common_name(opened: Open) -> None:
    before, after = simple(inferences=4, kernels=6), _tensor_trace()
    result = compare(Run(opened(before)), Run(opened(after)))
    kernels = result.metric("kernels_per_inference")
    assert (kernels.before, kernels.after, kernels.ratio) == (6.0, 3.0, 2.0)
    time = result.metric("kernel_time")
    assert (time.before, time.after) == (pytest.approx(750e-6), pytest.approx(1e-3))
    assert sum(m.after or 0 for m in result.metrics if m.id.startswith("time.")) == pytest.approx(1e-3)


def test_differences_and_unknowns_are_warned_about(opened: Open) -> None:
    other = simple()
    other.rows["TARGET_INFO_GPU"] = []
    other.gpu("Tesla T4", 7, 5)
    warnings = " ".join(compare(Run(opened(simple())), Run(opened(other))).warnings)
    assert "The GPU differs: NVIDIA H200 before, Tesla T4 after" in warnings
    assert "The batch size of before and after is not known" in warnings
    assert "The input shape of before and after is not known" in warnings


def test_batch_is_read_from_what_tensorrt_leaves_in_the_trace(opened: Open) -> None:
    maker = simple()
    layers = (
        '{"Name": "conv", "Inputs": [{"Name": "input", "Dimensions": [4, 3, 8, 8]}], "Outputs": [{"Name": "mid", "Dimensions": [4, 9]}]}',
        '{"Name": "fc", "Inputs": [{"Name": "mid", "Dimensions": [4, 9]}], "Outputs": [{"Name": "out", "Dimensions": [4, 2]}]}',
        "not json",
        "[1, 2]",
    )
    maker.range("TensorRT", 0, None, kind=75, domainId=1)
    for n, layer in enumerate(layers):
        maker.range(f"layer{n}", 1_000 + n, 1_001 + n, domainId=1, jsonTextId=maker.string(layer))
    facts = Run(opened(maker)).facts
    assert (facts.framework, facts.batch, facts.input_shape) == ("TensorRT", 4, (4, 3, 8, 8))
    assert facts.origin["batch"] == "trace"


def test_kernel_counts_are_refused_when_graphs_hide_them(opened: Open) -> None:
    maker = whole_graphs()
    for i in range(3):  # one kernel outside the graph: a count that would mislead
        maker.kernel(i * 1000 + 500, 10, launched=i * 1000 + 20)
    result = compare(Run(opened(simple())), Run(opened(maker)))
    assert result.refusals and "--cuda-graph-trace=node" in result.refusals[0]
    for metric_id in ("kernels_per_inference", "kernel_time", "tensor_cores_yes", "gpu_idle"):
        metric = result.metric(metric_id)
        assert (metric.before, metric.after, metric.ratio) == (None, None, None) and "--cuda-graph-trace" in (
            metric.reason or ""
        )
    assert result.metric("launches_per_inference").after == 2.0


def test_zero_after_has_no_ratio_but_a_reason(opened: Open) -> None:
    before = simple()
    before.add(
        "CUPTI_ACTIVITY_KIND_MEMSET",
        start=2_000,
        end=2_010,
        bytes=4,
        globalPid=PID,
        correlationId=before.launch(1_500, name="cudaMemset"),
    )
    metric = compare(Run(opened(before)), Run(opened(simple()))).metric("memsets_per_inference")
    assert metric.before == pytest.approx(1 / 3) and metric.after == 0 and metric.ratio is None and metric.reason


@pytest.mark.parametrize(
    ("gpu", "types"),
    [
        (("NVIDIA GeForce GTX 1080 Ti", 61), ()),
        (("NVIDIA GeForce GTX 1650", 75), ()),
        (("Quadro T1000", 75), ()),
        (("Tesla V100-SXM2-16GB", 70), ("FP16",)),
        (("Tesla T4", 75), ("FP16", "INT8")),
        (("NVIDIA A100-SXM4-80GB", 80), ("TF32", "FP16", "BF16", "INT8", "FP64")),
        (("NVIDIA GeForce RTX 3090", 86), ("TF32", "FP16", "BF16", "INT8")),
        (("NVIDIA H200", 90), ("TF32", "FP16", "BF16", "INT8", "FP8", "FP64")),
        (("NVIDIA GeForce RTX 5090", 120), ("TF32", "FP16", "BF16", "INT8", "FP8")),
        (("some GPU", None), None),
    ],
)
def test_types_of_tensor_cores(gpu: tuple[str, int | None], types: tuple[str, ...] | None) -> None:
    assert tensor_core_types(Gpu(0, gpu[0], None, gpu[1], None, None, None, None)) == types


@pytest.mark.parametrize(
    ("name", "major", "minor", "said"),
    [("NVIDIA GeForce GTX 1660", 7, 5, None), ("Tesla T4", 7, 5, "FP16 or INT8"), ("Tesla V100", 7, 0, "; FP16 would")],
)
def test_advice_fits_the_gpu(opened: Open, name: str, major: int, minor: int, said: str | None) -> None:
    maker = TraceMaker()
    maker.gpu(name, major, minor)
    maker.kernel(100, 100, name="volta_sgemm_128x64_nn")
    trace = opened(maker)
    eligible = tensor_core_report(trace, find_inferences(trace)).eligible
    assert len(eligible) == (0 if said is None else 1)
    if said is not None:
        assert said in eligible["why"].iloc[0] and "TF32" not in eligible["why"].iloc[0]
