from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.trace.columns import Labels, Table
from profiler.trace.nvtx import NvtxIndex

pytestmark = pytest.mark.usefixtures("small_pieces")


def table(rows: list[tuple[int, int, int]], kind: str = "push/pop") -> Table:
    ordered = np.asarray(sorted(rows, key=lambda r: r[1]), dtype=np.int64).reshape(-1, 3)
    columns = dict(zip(("tid", "start_ns", "end_ns"), ordered.T))
    return Table({**columns, "kind": Labels(np.zeros(len(rows), dtype=np.int8), [kind])})


def test_nesting_and_innermost() -> None:
    ranges = table([(1, 0, 100), (1, 10, 50), (1, 20, 30), (1, 60, 90), (2, 5, 15)])
    index = NvtxIndex.build(ranges)
    starts = ranges["start_ns"].tolist()
    assert [starts[p] if p >= 0 else None for p in index.parent] == [None, None, 0, 10, 0]
    assert index.level.tolist() == [0, 0, 1, 2, 1]
    found = index.innermost(np.array([1, 1, 1, 1, 1, 1, 2, 3]), np.array([0, 10, 25, 30, 55, 100, 15, 10]))
    assert [starts[f] if f >= 0 else None for f in found] == [0, 10, 20, 10, 0, None, None, None]


def test_start_end_ranges_do_not_nest() -> None:
    index = NvtxIndex.build(table([(1, 0, 100), (1, 10, 50)], "start/end"))
    assert index.parent.tolist() == [-1, -1]
    assert index.innermost(np.array([1]), np.array([20])).tolist() == [-1]


def test_path_runs_from_the_outermost_range() -> None:
    index = NvtxIndex.build(table([(1, 0, 100), (1, 10, 50), (1, 20, 30)]))
    assert index.path(2) == [0, 1, 2]
    assert index.path(-1) == []


@pytest.mark.parametrize("deep", [3, 40])
def test_the_nearest_marked_range_around_each(deep: int) -> None:
    index = NvtxIndex.build(table([(1, k, 1_000 - k) for k in range(deep)] + [(2, 5, 6)]))
    rows = [int(r) for r in np.flatnonzero(index.level < deep)]
    marked = rows[1:2] + rows[-1:]
    by_hand = [next((r for r in reversed(index.path(row)) if r in marked), -1) for row in rows]
    assert index.nearest(np.array(marked)).tolist() == by_hand
    assert [index.level[at].tolist() for at in index.by_level(np.array(rows[::-1]))][:2] == [[0, 0], [1]]
    assert index.by_level(np.array([], dtype=int)) == []


@st.composite
def nested(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Ranges as push and pop make them: a random walk up and down, at strictly increasing times."""
    ranges, stack = [], []
    for time, push in enumerate(draw(st.lists(st.booleans(), max_size=60))):
        if push:
            stack.append(time)
        elif stack:
            ranges.append((1, stack.pop(), time))
    return ranges


@given(nested(), st.lists(st.integers(-1, 61), max_size=30))
def test_innermost_agrees_with_a_plain_search(rows: list[tuple[int, int, int]], times: list[int]) -> None:
    ranges = table(rows)
    index = NvtxIndex.build(ranges)
    found = index.innermost(np.ones(len(times), dtype=np.int64), np.array(times, dtype=np.int64))
    for time, row in zip(times, found):
        around = [r for r in rows if r[1] <= time < r[2]]
        shortest = min(around, key=lambda r: r[2] - r[1], default=None)
        assert (None if row < 0 else tuple(int(ranges[c][row]) for c in ("tid", "start_ns", "end_ns"))) == shortest


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_any_ranges_are_nested_without_error(rows: list[tuple[int, int, int]]) -> None:
    """Lost pops make ranges that overlap; whatever comes, the result is a forest and a range that holds the time."""
    ranges = table([(t, min(a, b), max(a, b)) for t, a, b in rows])
    index = NvtxIndex.build(ranges)
    for row in range(len(ranges)):
        path = index.path(row)
        assert path[-1] == row and len(set(path)) == len(path)
    times = np.arange(-1, 52)
    found = index.innermost(np.ones(len(times), dtype=np.int64), times)
    for time, row in zip(times, found):
        if row >= 0:
            assert ranges["start_ns"][row] <= time < ranges["end_ns"][row]


@pytest.mark.parametrize("depth", [33, 40_000])
def test_deep_nesting(depth: int) -> None:
    """More levels than 16 bits hold, twice; after the innermost has ended the ones around it are found."""
    ranges = table([(1, base + n, base + 3 * depth - n) for base in (0, 3 * depth + 1) for n in range(depth)])
    index = NvtxIndex.build(ranges)
    assert index.level.tolist() == [*range(depth)] * 2
    assert index.parent.tolist() == [*range(-1, depth - 1), -1, *range(depth, 2 * depth - 1)]
    times = np.arange(3 * depth + 1)
    expected = [min(time, depth - 1, 3 * depth - time - 1) for time in times.tolist()]
    assert index.innermost(np.ones(len(times), dtype=np.int64), times).tolist() == expected


@given(nested())
def test_both_ways_of_nesting_agree(rows: list[tuple[int, int, int]]) -> None:
    ranges = table(rows)
    by_level = NvtxIndex.build(ranges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("profiler.trace.nvtx._DEEP", 0)
        in_order = NvtxIndex.build(ranges)
        times = np.arange(-1, 62)
        found = in_order.innermost(np.ones(len(times), dtype=np.int64), times)
    assert in_order.parent.tolist() == by_level.parent.tolist() and in_order.level.tolist() == by_level.level.tolist()
    assert found.tolist() == by_level.innermost(np.ones(len(times), dtype=np.int64), times).tolist()
