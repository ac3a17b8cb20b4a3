"""Inferences of programs whose ranges say little: work of another thread alone, and layers that repeat inside an inference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profiler.analysis.run.finding import find_inferences
from profiler.trace import Trace
from tests.support.make_trace import TID, TraceMaker

KERNELS = ("void conv(float *)", "void norm(float *)", "void act(float *)")
MS = 1_000_000


def passes(n: int, layers: int, prefix: Callable[[int], str] | None = None, tid: int = TID) -> TraceMaker:
    """``n`` passes, 5 ms apart, of equal layers of three kernels, 22 µs apart."""
    maker = TraceMaker()
    for i in range(n):
        for k in range(3 * layers):
            at = 10 * MS + i * 5 * MS + k * 22_000
            if prefix:
                maker.range(prefix(i * 3 * layers + k), at, at + 20_000, tid=tid)
            maker.kernel(at + 3_000, 15_000, name=KERNELS[k % 3], launched=at + 500, tid=tid)
    return maker


@pytest.mark.parametrize(
    "prefix",
    [
        None,
        lambda k: f"aten::linear, seq = {k}",
        lambda k: ("cudnnConvolutionForward", "cublasGemmEx", "ncclAllReduce")[k % 3],
    ],
    ids=["no ranges", "operations", "libraries"],
)
def test_layers_that_repeat_are_not_taken_for_inferences(
    opened: Callable[[TraceMaker], Trace], prefix: Callable[[int], str] | None
) -> None:
    found = find_inferences(opened(passes(4, 20, prefix)))
    assert (found.count, found.kernels_per_inference[0]) == (4, 60)
    assert "inferred" in found.statement and "the pause before each" in found.statement


def test_layers_without_a_pause_stay_what_repeats(opened: Callable[[TraceMaker], Trace]) -> None:
    maker = TraceMaker()
    for k in range(60):
        maker.kernel(k * 22_000 + 3_000, 15_000, name=KERNELS[k % 3], launched=k * 22_000 + 500)
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference[0]) == (20, 3) and "inferred" in found.statement


def test_ranges_hold_the_work_of_the_only_thread_that_launches(opened: Callable[[TraceMaker], Trace]) -> None:
    maker = passes(8, 5, tid=TID + 5)
    for i in range(8):
        maker.range(f"request {i}", 10 * MS + i * 5 * MS - 1_000, 10 * MS + i * 5 * MS + 400_000)
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference[0]) == (8, 15)
    assert "request #" in found.statement and "launched by other threads" in found.statement
