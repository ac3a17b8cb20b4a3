"""Windows of a timeline against a search through all events, and what merging keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import KERNEL, MAX_LANES, MAX_LEVELS, NVTX, Part, Timeline
from profiler.trace import Trace, open_trace
from tests.support.make_trace import TID, TraceMaker, whole_graphs
from tests.support.traces import bundled

TENSOR = (
    "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x128x32_tensor16x8x16_execute_kernel_trt"
)


def timeline_of(run: str) -> Timeline:
    return Timeline(Run(open_trace(bundled(run))))


def by_search(trace: Trace, low: int, high: int) -> set[tuple[str, int]]:
    """Every event that overlaps a span, found one by one."""
    frames = {"kernel": trace.kernels, "memcpy": trace.memcpys, "memset": trace.memsets, "graph": trace.graph_traces}
    found = set()
    for kind, frame in {**frames, "nvtx": trace.nvtx_ranges}.items():
        for row, (start, end) in enumerate(zip(frame["start_ns"], frame["end_ns"])):
            if end > low and start < high:
                found.add((kind, row))
    return found


@pytest.mark.parametrize(
    "run", ["torch-fp32-eager-b8", "trt-int8-stream-b8", "trt-int8-graph-b8", "torch-fp16-compile-b8"]
)
def test_a_window_holds_what_overlaps_it(run: str) -> None:
    timeline = timeline_of(run)
    part = timeline.inference(4)
    for low, high in ((0, part.length_ns), (part.length_ns // 3, part.length_ns // 2), (12_345, 12_346)):
        bars = timeline.window(part, low, high)
        expected = by_search(timeline.analysis.trace, part.origin_ns + low, part.origin_ns + high)
        assert {(k, int(r)) for k, r in zip(bars.frame["kind"], bars.frame["row"])} == expected
        assert bars.held + bars.held_ranges == bars.drawn + bars.drawn_ranges == len(expected)
        assert (bars.frame["count"] == 1).all() and not bars.merged


def test_the_bundled_inference_in_a_window() -> None:
    timeline = timeline_of("torch-fp32-eager-b8")
    part = timeline.inference(0)
    bars = timeline.window(part, 0, part.length_ns)
    assert bars.lanes == ("NVTX 0", "NVTX 1", "NVTX 2", "NVTX 3", "NVTX 4", "stream 7")
    assert bars.held == 174 and bars.frame[bars.frame["kind"] == KERNEL]["lane"].unique().tolist() == [5]
    nvtx = bars.frame[bars.frame["kind"] == NVTX]
    levels = timeline.analysis.trace.nvtx_index.level[nvtx["row"].to_numpy()]
    assert (levels == nvtx["lane"].to_numpy()).all()
    assert timeline.window(part, 1000, 2000).lanes == bars.lanes  # lanes stay where they are


@st.composite
def traces(draw: st.DrawFn) -> TraceMaker:
    maker = TraceMaker()
    maker.range("forward0", 0, 5_000)
    maker.range("forward1", 5_000, 10_001)
    for _ in range(draw(st.integers(1, 40))):
        start, length = draw(st.integers(20, 9_900)), draw(st.integers(0, 600))
        stream = draw(st.integers(1, 3))
        maker.kernel(start, length, draw(st.sampled_from([TENSOR, "void relu<float>(float *)"])), streamId=stream)
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, 9_000))
        maker.range("part", start, start + draw(st.integers(0, 900)), tid=TID + draw(st.integers(0, 1)), kind=60)
    return maker


@given(traces(), st.integers(0, 10_000), st.integers(1, 10_000), st.integers(1, 400))
def test_any_window_of_any_trace(tmp_path_factory: Any, maker: TraceMaker, low: int, length: int, pixels: int) -> None:
    path = maker.write(tmp_path_factory.mktemp("any") / "made.sqlite")
    with open_trace(path) as trace:
        timeline = Timeline(Run(trace))
        part = Part(0, 12_000, "all")
        single = timeline.window(part, low, low + length)
        expected = by_search(trace, low, low + length)
        assert {(k, int(r)) for k, r in zip(single.frame["kind"], single.frame["row"])} == expected
        merged = timeline.window(part, low, low + length, pixels)
        assert merged.frame["count"].sum() == len(expected)
        assert merged.frame["busy_ns"].sum() == single.frame["busy_ns"].sum()
        assert merged.lanes == single.lanes
        several = merged.frame[merged.frame["count"] > 1]
        assert ((several["busy_ns"] / several["count"]) < length / pixels).all()  # only what is narrower than a pixel
        assert ((several["end_ns"] - several["start_ns"]) < 2 * length / pixels).all()  # and starts in the same one
        assert len(merged.frame) <= len(expected)


def test_a_merged_bar_is_what_takes_most_of_its_time(opened: Callable[[TraceMaker], Trace]) -> None:
    maker = TraceMaker()
    maker.range("forward", 0, 100_000)
    for start, length, name in (
        (1000, 30, "void relu<float>(float *)"),
        (1040, 50, TENSOR),
        (1100, 10, "void relu<float>(float *)"),
    ):
        maker.kernel(start, length, name, launched=10)
    maker.kernel(50_000, 20_000, TENSOR, launched=20)
    timeline = Timeline(Run(opened(maker)))
    bars = timeline.window(Part(0, 100_000, "all"), 0, 100_000, 100)
    kernels = bars.frame[bars.frame["kind"] == KERNEL]
    assert kernels["count"].tolist() == [3, 1]
    first = kernels.iloc[0]
    assert (first["start_ns"], first["end_ns"], first["busy_ns"]) == (1000, 1110, 90)
    assert (first["category"], first["tensor_cores"]) == ("convolution", "yes")
    assert timeline.analysis.trace.kernels["name"].iloc[int(first["row"])] == TENSOR
    assert "1 bar stands for several" in bars.statement


def test_too_many_lanes_are_cut_and_that_is_said(opened: Callable[[TraceMaker], Trace]) -> None:
    maker = TraceMaker()
    for stream in range(100):
        maker.kernel(100 + stream, 10, streamId=stream)
    for depth in range(MAX_LEVELS + 4):
        maker.range(f"level{depth}", 10 + depth, 900 - depth)
    timeline = Timeline(Run(opened(maker)))
    bars = timeline.window(Part(0, 1_000, "all"), 0, 1_000)
    assert len(bars.lanes) == MAX_LANES and bars.all_lanes == 100 + MAX_LEVELS
    assert bars.lanes[0] == "NVTX 0" and bars.lanes[-1].startswith("stream")
    assert bars.held == 100 and bars.drawn == MAX_LANES - MAX_LEVELS
    assert f"{MAX_LANES} of {100 + MAX_LEVELS} lanes" in bars.statement


def test_activity_is_the_share_of_each_bin() -> None:
    timeline = timeline_of("torch-fp32-eager-b8")
    part = timeline.inference(2)
    length, bins = 2 * part.length_ns, 40  # a picture twice as long as the part
    kernels = timeline.analysis.trace.kernels
    edges = part.origin_ns + np.linspace(0, length, bins + 1)
    last = part.origin_ns + part.length_ns
    expected = []
    for a, b in itertools.pairwise(edges):
        inside = np.clip(np.minimum(kernels["end_ns"], min(b, last)) - np.maximum(kernels["start_ns"], a), 0, None)
        expected.append(min(float(inside.sum()) / (b - a), 1.0))
    assert timeline.activity(part, bins, length) == pytest.approx(expected, abs=1e-6)


def test_a_trace_of_whole_graphs_and_one_of_nothing(opened: Callable[[TraceMaker], Trace]) -> None:
    timeline = Timeline(Run(opened(whole_graphs())))
    part = timeline.inference(1)
    bars = timeline.window(part, 0, part.length_ns, 100)
    assert set(bars.frame["kind"]) == {"graph", "nvtx"}
    maker = TraceMaker()
    maker.range("only", 0, 100)
    empty = Timeline(Run(opened(maker)))
    whole = empty.whole()
    assert whole.length_ns > 0 and empty.window(whole, 0, whole.length_ns, 100).held == 0
