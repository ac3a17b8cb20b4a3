from __future__ import annotations

from collections.abc import Callable

import pytest

from profiler.analysis.run.finding import find_inferences
from profiler.errors import UsageError
from profiler.trace import Trace
from tests.support.make_trace import PID, TID, TraceMaker, simple, whole_graphs

Open = Callable[[TraceMaker], Trace]


def test_found_by_themselves(opened: Open) -> None:
    found = find_inferences(opened(simple(inferences=5, kernels=3)))
    assert (found.count, found.label, found.kernels_per_inference) == (5, "iter#", (3.0, None))
    assert found.kernels_outside == 0


def test_outer_range_beats_inner_and_warm_up_comes_last(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(6):
        begin = i * 1000
        maker.range("warm-up" if i < 3 else "inference", begin, begin + 900)
        for layer in range(2):
            maker.range(f"layer{layer}", begin + 100 + layer * 300, begin + 300 + layer * 300)
            maker.kernel(begin + 200 + layer * 300, 10, launched=begin + 150 + layer * 300)
    found = find_inferences(opened(maker))
    assert (found.label, found.count, found.kernels_per_inference[0], found.kernels_outside) == ("inference", 3, 2.0, 6)


def test_steps_inside_epochs_are_preferred_by_name(opened: Open) -> None:
    maker = TraceMaker()
    for epoch in range(2):
        maker.range(f"epoch {epoch}", epoch * 10_000, epoch * 10_000 + 9_000)
        for step in range(4):
            begin = epoch * 10_000 + step * 2_000
            maker.range(f"step {step}", begin, begin + 1_900)
            maker.kernel(begin + 100, 10, launched=begin + 50)
    found = find_inferences(opened(maker))
    assert (found.label, found.count) == ("step #", 8)


def test_a_kernel_belongs_to_the_inference_that_launched_it(opened: Open) -> None:
    """It may run long after the range closed: nothing was synchronised."""
    maker = TraceMaker()
    for i in range(2):
        maker.range(f"iter{i}", i * 100, i * 100 + 90)
        maker.kernel(10_000 + i * 50, 40, launched=i * 100 + 10)
    found = find_inferences(opened(maker))
    assert found.of_kernel.tolist() == [0, 1]
    assert found.table["latency_ns"].tolist() == [10_040, 9_990]


def test_times_of_an_inference(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(2):
        begin = i * 10_000
        maker.range(f"iter{i}", begin, begin + 2_000)
        maker.kernel(begin + 100, 100, launched=begin + 10, streamId=1)
        maker.kernel(begin + 150, 100, launched=begin + 20, streamId=2)  # overlaps on another stream
        correlation = maker.launch(begin + 30, name="cudaMemsetAsync_v3020")
        maker.add(
            "CUPTI_ACTIVITY_KIND_MEMSET",
            start=begin + 400,
            end=begin + 450,
            bytes=64,
            correlationId=correlation,
            globalPid=PID,
        )
    table = find_inferences(opened(maker)).table
    assert table["latency_ns"].tolist() == [2_000, 2_000]
    assert table["gpu_span_ns"].tolist() == [350, 350]
    assert table["gpu_busy_ns"].tolist() == [200, 200]
    assert table["gpu_idle_ns"].tolist() == [150, 150]
    assert table["kernel_time_ns"].tolist() == [200, 200]
    assert table[["kernels", "launches", "memsets", "memcpys"]].to_numpy().tolist() == [[2, 2, 1, 0]] * 2


def test_unequal_inferences_are_stated(opened: Open) -> None:
    maker = simple(inferences=3, kernels=4)
    maker.kernel(1_000 + 8_000, 10, launched=1_000 + 950)
    per, note = find_inferences(opened(maker), "iter*").kernels_per_inference
    assert per == pytest.approx(13 / 3)
    assert note is not None and "13 kernels ÷ 3 inferences is not a whole number" in note and "4 to 5" in note


def test_unequal_inferences_with_a_whole_mean_are_stated_too(opened: Open) -> None:
    maker = simple(inferences=2, kernels=4)
    for k in range(2):
        maker.kernel(9_000 + k, 10, launched=1_900 + k)
    per, note = find_inferences(opened(maker), "iter*").kernels_per_inference
    assert per == 5.0 and note is not None and "do not have the same number" in note


@pytest.mark.parametrize("pattern", ["iter*", r"iter\d", "iter", "iter?"])
def test_pattern_is_a_shell_pattern_or_a_regular_expression(opened: Open, pattern: str) -> None:
    assert find_inferences(opened(simple()), pattern).count == 3


def test_of_nested_matches_the_outermost_counts(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(2):
        maker.range("run", i * 1000, i * 1000 + 900)
        maker.range("run", i * 1000 + 100, i * 1000 + 800)
        maker.kernel(i * 1000 + 500, 10)
    assert find_inferences(opened(maker), "run").count == 2


def test_pattern_without_a_match_lists_the_ranges(opened: Open) -> None:
    with pytest.raises(UsageError, match="no NVTX range") as caught:
        find_inferences(opened(simple()), "nothing*")
    assert "iter#" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="not a regular expression"):
        find_inferences(opened(simple()), "iter[")


def test_start_end_ranges_hold_the_work_of_their_process(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(3):
        maker.range(f"request {i}", i * 1000, i * 1000 + 900, kind=60)
        maker.kernel(i * 1000 + 500, 10, launched=i * 1000 + 400, tid=TID + 5)
        maker.kernel(i * 1000 + 600, 10, launched=i * 1000 + 450, tid=TID + (9 << 24))  # another process
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference[0], found.kernels_outside) == (3, 1.0, 3)


def test_without_launches_the_time_on_the_gpu_decides_and_that_is_said(opened: Open) -> None:
    maker = simple()
    maker.without_tables = {"CUPTI_ACTIVITY_KIND_RUNTIME"}
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference[0]) == (3, 4.0)
    assert "placed by the time at which it ran" in found.statement


def test_no_ranges_and_no_repeated_ranges_are_stated(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(100, 10)
    found = find_inferences(opened(maker))
    assert found.count == 0 and "no NVTX ranges" in found.statement
    maker.range("once", 0, 1000)
    found = find_inferences(opened(maker))
    assert found.count == 0 and "--nvtx PATTERN" in found.statement


def test_whole_graphs_count_as_the_work_of_an_inference(opened: Open) -> None:
    maker = whole_graphs()
    found = find_inferences(opened(maker))
    assert found.count == 3
    assert found.table["gpu_span_ns"].tolist() == [400, 400, 400]
