"""The export for Perfetto, against the Trace Event Format and against plain SQL."""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from profiler.analysis.fusion.counterparts import Counterparts
from profiler.analysis.fusion.ledger import fusion
from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import Timeline
from profiler.report.chrome_trace import TimelineWindow, chrome_trace, compressed
from profiler.trace import open_trace
from tests.support.hostile import ATTACKS, hostile_pair
from tests.support.make_trace import TraceMaker
from tests.support.traces import bundled

REQUIRED = {
    "M": {"ph", "name", "pid", "tid", "args"},
    "X": {"ph", "name", "cat", "pid", "tid", "ts", "dur", "args"},
    "s": {"ph", "name", "cat", "pid", "tid", "ts", "id"},
    "f": {"ph", "name", "cat", "pid", "tid", "ts", "id", "bp"},
}


def side_of(path: Path, index: int, low: int = 0, high: int | None = None) -> TimelineWindow:
    timeline = Timeline(Run(open_trace(path)))
    part = timeline.inference(index)
    return TimelineWindow(timeline, part, low, part.length_ns if high is None else high)


def check_format(document: bytes) -> list[dict[str, Any]]:
    """The rules of the format that a viewer relies on; written from its description, not from our writer."""
    whole = json.loads(document, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert whole["displayTimeUnit"] == "ns"
    events: list[dict[str, Any]] = whole["traceEvents"]
    threads, named, slices, flows = set(), set(), defaultdict(list), defaultdict(list)
    for event in events:
        assert set(event) == REQUIRED[event["ph"]], event
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
            if event["name"] == "thread_name":
                assert (event["pid"], event["tid"]) not in named
                named.add((event["pid"], event["tid"]))
            continue
        assert event["ts"] >= 0 and event.get("dur", 0) >= 0
        assert round(event["ts"] * 1e3) == pytest.approx(event["ts"] * 1e3, abs=1e-4)  # whole nanoseconds
        threads.add((event["pid"], event["tid"]))
        if event["ph"] == "X":
            slices[event["pid"], event["tid"]].append((round(event["ts"] * 1e3), round(event["dur"] * 1e3)))
        else:
            assert isinstance(event["id"], int)  # Perfetto takes a text for a hexadecimal number, and drops any other
            flows[event["id"]].append(event)
    assert threads <= named
    for spans in slices.values():  # no two events of a thread overlap
        ordered = sorted(spans)
        assert all(a[0] + a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    for pair in flows.values():
        assert [e["ph"] for e in pair] == ["s", "f"] and pair[0]["ts"] <= pair[1]["ts"]
        for end in pair:  # each end is inside a slice of its thread
            at = round(end["ts"] * 1e3)
            assert any(s <= at <= s + d for s, d in slices[end["pid"], end["tid"]])
    return events


@pytest.fixture(scope="module")
def pair() -> tuple[dict[str, TimelineWindow], Counterparts]:
    sides = {
        "before": side_of(bundled("torch-fp32-eager-b8"), 3),
        "after": side_of(bundled("trt-int8-stream-b8"), 1),
    }
    analyses = [s.timeline.analysis for s in sides.values()]
    return sides, Counterparts(fusion(*analyses))


def test_before_and_after_are_two_processes(pair: tuple[dict[str, TimelineWindow], Counterparts]) -> None:
    events = check_format(chrome_trace(*pair))
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names[1].startswith("before: PyTorch FP32") and names[2].startswith("after: TensorRT INT8")
    threads = {(e["pid"], e["args"]["name"]) for e in events if e["name"] == "thread_name"}
    assert {
        (1, "stream 7"),
        (1, "NVTX 4"),
        (2, "stream 13"),
        (2, "NVTX 2"),
        (2, "launch calls, host thread 1"),
    } <= threads
    kernels = [e for e in events if e["ph"] == "X" and "rule" in e["args"]]
    assert [sum(e["pid"] == p for e in kernels) for p in (1, 2)] == [174, 56]
    assert all(e["args"]["Tensor Cores (by name)"] in ("yes", "no", "unknown") for e in kernels)
    assert sum(e["ph"] == "s" for e in events) == 174 + 56
    conv = next(e for e in kernels if e["pid"] == 2 and e["args"]["module"] == "conv1")
    assert "conv1.weight" in conv["args"]["layer"] and conv["args"]["status"] == "kept"
    assert {e["args"]["module"] for e in kernels if e["pid"] == 1} >= {"layer1.0.conv1", "layer1.0.bn1", "maxpool"}


@pytest.mark.parametrize("run", ["torch-fp32-eager-b8", "trt-int8-graph-b8", "torch-fp16-compile-b8"])
def test_kernels_and_times_are_those_of_the_file(run: str, tmp_path: Path) -> None:
    side = side_of(bundled(run), 2)
    events = check_format(chrome_trace({"before": side}))
    path = tmp_path / "plain.sqlite"
    path.write_bytes(lzma.decompress(bundled(run).read_bytes()))
    low, high = side.part.origin_ns, side.part.origin_ns + side.part.length_ns
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT k.start, k.end, s.value FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN StringIds s ON s.id = k.demangledName "
            "WHERE k.end > ? AND k.start < ? ORDER BY k.start, k.end",
            (low, high),
        ).fetchall()
    found = sorted(
        (low + round(e["ts"] * 1e3), low + round((e["ts"] + e["dur"]) * 1e3), e["args"]["name"])
        for e in events
        if e["ph"] == "X" and "rule" in e["args"]
    )
    assert found == sorted((max(a, low), min(b, high), name) for a, b, name in rows)


def test_a_window_cuts_what_reaches_over_its_edge() -> None:
    side = side_of(bundled("torch-fp32-eager-b8"), 0, 500_000, 900_000)
    events = check_format(chrome_trace({"before": side}))
    slices = [e for e in events if e["ph"] == "X"]
    assert min(e["ts"] for e in slices) == 500 and max(e["ts"] + e["dur"] for e in slices) == pytest.approx(900)
    whole = next(e for e in slices if e["name"] == "inference 0")
    assert whole["args"]["cut at the window"] and whole["args"]["whole duration, ns"] > 400_000


def test_overlapping_kernels_of_a_stream_get_threads_of_their_own(tmp_path: Path) -> None:
    maker = TraceMaker()
    for inference in range(2):
        begin = inference * 10_000
        maker.range(f"iter{inference}", begin, begin + 9_000)
        for start, length in ((100, 500), (200, 100), (350, 500), (900, 10)):
            maker.kernel(begin + start, length, launched=begin + 10)
    events = check_format(chrome_trace({"before": side_of(maker.write(tmp_path / "graph.sqlite"), 0)}))
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert [n for n in names if n.startswith("stream")] == ["stream 7", "stream 7 (2)"]
    assert sum(n.startswith("launch calls, host thread 1") for n in names) == 4  # the made calls overlap as well


def test_names_are_data(tmp_path: Path) -> None:
    sides = {name: side_of(path, 1) for name, path in zip(("before", "after"), hostile_pair(tmp_path))}
    events = check_format(chrome_trace(sides))
    held = {e["args"]["name"] for e in events if e["ph"] == "X" and "rule" in e["args"]}
    assert {n for n in ATTACKS if len(n) < 1_000} <= held
    assert max(map(len, held)) <= 10_000


def test_the_same_window_gives_the_same_file(pair: tuple[dict[str, TimelineWindow], Counterparts]) -> None:
    document = chrome_trace(*pair)
    assert compressed(document) == compressed(chrome_trace(*pair))
    assert gzip.decompress(compressed(document)) == document
