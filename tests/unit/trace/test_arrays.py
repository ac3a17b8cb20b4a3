"""Array tools of large tables."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.trace import arrays
from profiler.trace.arrays import MAX_NS, MISSING, are_in_order, difference, encode, in_pieces, timed_rows

pytestmark = pytest.mark.usefixtures("small_pieces")
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)), max_size=50))
def test_encode_gives_back_the_values(values: list[int]) -> None:
    array = np.asarray(values, dtype=np.int64)
    codes, distinct = encode(array)
    assert distinct[codes].tolist() == values if values else not len(codes)
    assert distinct.tolist() == sorted(set(values))


def test_missing_is_the_smallest_integer() -> None:
    assert MISSING == -(2**63)


def test_pieces_are_worked_on_by_several_threads_and_come_in_order() -> None:
    seen: set[str] = set()
    both = threading.Barrier(2, timeout=20)

    def work(piece: slice) -> tuple[int, int]:
        seen.add(threading.current_thread().name)
        both.wait()  # two at the same time
        assert in_pieces(11, lambda inner: inner.stop) == [5, 10, 11]  # inside a piece one after the other
        return piece.start, piece.stop

    if arrays._workers(os.getpid())._max_workers < 2:
        pytest.skip("one processor")
    assert in_pieces(20, work) == [(0, 5), (5, 10), (10, 15), (15, 20)]
    assert len(seen) > 1 and threading.current_thread().name not in seen


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_order_is_seen_over_the_edges_of_pieces(values: list[int]) -> None:
    assert are_in_order(np.asarray(values, dtype=np.int64)) == (values == sorted(values))


@given(st.lists(st.tuples(INTEGERS, INTEGERS), max_size=30), st.booleans())
def test_timed_rows_and_differences(pairs: list[tuple[int, int]], in_order: bool) -> None:
    pairs = sorted(pairs) if in_order else pairs
    starts, ends = (np.asarray([p[k] for p in pairs], dtype=np.int64) for k in (0, 1))
    good = [k for k, (a, b) in enumerate(pairs) if -MAX_NS <= a <= b <= MAX_NS]
    rows, left_out, total = timed_rows(starts, ends)
    found = list(range(len(pairs))) if rows is None else rows.tolist()
    assert found == sorted(good, key=lambda k: pairs[k][0]) and left_out == len(pairs) - len(good)
    assert total == pytest.approx(sum(pairs[k][1] - pairs[k][0] for k in good))
    exact = [pairs[k][1] - pairs[k][0] for k in found]
    durations = difference(ends[found], starts[found], small=True)
    assert durations.tolist() == exact
    assert (durations.dtype == np.int32) == (max(exact, default=0) < 2**31)
