"""NVTX ranges: nesting, and which range a host thread was in at a given time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.trace.arrays import PIECE, Int64Array, IntArray, distinct, gathered, in_pieces, is_constant, pieces, take

# Event types, from the ENUM_NSYS_EVENT_TYPE table of an export
PUSH_POP = 59
START_END = 60
DOMAIN = 75
MARK = 34  # a moment, not a range
_NVTXT_PUSH_POP = 70  # ranges imported from NVTXT text files
_NVTXT_START_END = 71

KINDS = {
    PUSH_POP: "push/pop",
    START_END: "start/end",
    _NVTXT_PUSH_POP: "push/pop",
    _NVTXT_START_END: "start/end",
}
"""Event types that are ranges, and how each kind nests."""

_DEEP = 32
"""Levels up to which ranges are nested level by level; real traces have about ten."""


@dataclass(frozen=True)
class NvtxIndex:
    """For every thread, the innermost push/pop range at each moment.

    Attributes:
        parent: for each row of the ranges frame, the row of the enclosing push/pop range of its thread, or -1.
        level: nesting depth, 0 for an outermost range.
    """

    parent: IntArray
    level: IntArray
    _starts: Int64Array
    _ends: Int64Array
    _threads: dict[int, IntArray | None]
    """Per thread its push/pop ranges by start, the outer of equal starts first; None: all rows as they are."""

    @classmethod
    def build(cls, ranges: Mapping[str, Any]) -> NvtxIndex:
        """Nest the push/pop ranges of each thread by time, across NVTX domains, as the Nsight timeline draws them.

        Args:
            ranges: columns ``start_ns``, ``end_ns`` (open ranges already closed at the end of the trace), ``tid``,
                ``kind`` (labels); by start.

        Ranges of a thread that overlap without nesting (a pop that was lost) are nested in order of their start.
        Start/end ranges do not nest and have level 0 and no parent.
        """
        starts, ends = (np.asarray(ranges[c], dtype=np.int64) for c in ("start_ns", "end_ns"))
        n = len(starts)
        parent = np.full(n, -1, dtype=np.int32)
        level: IntArray = np.zeros(n, dtype=np.int32)
        tids = np.asarray(ranges["tid"])
        nests = ranges["kind"].are("push/pop")
        threads: dict[int, IntArray | None] = {}
        for tid in distinct(tids):
            own = nests if is_constant(tids) else nests & (tids == tid)
            rows: IntArray | None = None if own.all() else np.flatnonzero(own)
            rows = _outer_first(rows, take(starts, rows), take(ends, rows))
            if n and (rows is None or len(rows)):
                threads[int(tid)] = rows
                _nest(rows, starts, ends, parent, level)
        if level.max(initial=0) < 1 << 7:
            level = level.astype(np.int8)
        return cls(parent, level, starts, ends, threads)

    def innermost(self, tids: IntArray, times_ns: Int64Array) -> IntArray:
        """The row of the innermost range of thread ``tids[i]`` that holds ``times_ns[i]`` (start <= t < end), or -1."""
        found = np.full(len(times_ns), -1, dtype=np.int32)
        for tid, rows in self._threads.items():
            mine = None if is_constant(tids) and tids[0] == tid else np.flatnonzero(tids == tid)
            times = take(times_ns, mine)
            # the range that was entered last, or the first around it that was not yet left
            place = np.searchsorted(take(self._starts, rows), times, side="right") - 1
            inner = place.astype(np.int32) if rows is None else np.where(place >= 0, rows[place], -1).astype(np.int32)
            over = np.flatnonzero((inner >= 0) & (self._ends[inner] <= times))
            for _ in range(_DEEP):
                inner[over] = self.parent[inner[over]]
                at = inner[over]
                over = over[(at >= 0) & (self._ends[at] <= times[over])]
            if len(over):
                inner[over] = self._first_open(inner[over], times[over])
            found[slice(None) if mine is None else mine] = inner
        return found

    def _first_open(self, rows: IntArray, times_ns: Int64Array) -> IntArray:
        """For each range the first at or around it that is open at a time. What has ended stays ended, so no step is made twice."""
        above, ends = self.parent.tolist(), self._ends.tolist()
        found = np.empty(len(rows), dtype=np.int32)
        for place in np.argsort(times_ns, kind="stable").tolist():
            row, time = int(rows[place]), int(times_ns[place])
            passed = []
            while row >= 0 and ends[row] <= time:
                passed.append(row)
                row = above[row]
            for ended in passed:
                above[ended] = row
            found[place] = row
        return found

    def nearest(self, rows: IntArray) -> IntArray:
        """For each range the nearest one among ``rows`` that is it or holds it, or -1."""
        marked = np.zeros(len(self.parent), dtype=bool)
        marked[rows] = True

        def start(piece: slice) -> IntArray:
            return np.where(marked[piece], np.arange(piece.start, piece.stop, dtype=np.int32), self.parent[piece])

        found = gathered(len(marked), np.int32, start)

        def climb(piece: slice) -> None:
            left = piece.start + np.flatnonzero(~marked[piece] & (found[piece] >= 0))
            while len(
                left
            ):  # each step doubles how far up a range has looked; what others see of it is on its way, too
                found[left] = at = found[found[left]]
                left = left[(at >= 0) & ~marked[at]]

        in_pieces(len(found), climb)
        return found

    def by_level(self, rows: IntArray) -> list[IntArray]:
        """Those rows, level by level from the outermost."""
        levels = self.level[rows]
        if levels.max(initial=0) <= np.iinfo(np.int16).max:
            levels = levels.astype(np.int16)  # which NumPy sorts by counting
        order = np.argsort(levels, kind="stable")
        return np.split(rows[order], np.flatnonzero(np.diff(levels[order])) + 1) if len(rows) else []

    def inner_first(self) -> Iterator[IntArray]:
        """All ranges that lie in others, some at a time: those of a level before those of the level around it."""
        if self.level.dtype != np.int8:  # many levels
            yield from self.by_level(np.arange(len(self.level), dtype=np.int32))[:0:-1]
            return
        for level in range(int(self.level.max(initial=0)), 0, -1):
            for at in range(0, len(self.level), PIECE):
                yield at + np.flatnonzero(self.level[at : at + PIECE] == level)

    def path(self, row: int) -> list[int]:
        """Rows from the outermost range down to ``row``."""
        rows: list[int] = []
        while row >= 0:
            rows.append(row)
            row = int(self.parent[row])
        return rows[::-1]


def _outer_first(rows: IntArray | None, starts: Int64Array, ends: Int64Array) -> IntArray | None:
    """Rows of one thread, which are by start, so that of equal starts the longer range comes first."""
    same = starts[1:] == starts[:-1]
    if not (same & (ends[1:] > ends[:-1])).any():
        return rows
    order = np.lexsort((-ends, starts))
    return order if rows is None else rows[order]


def _nest(rows: IntArray | None, starts: Int64Array, ends: Int64Array, parent: IntArray, level: IntArray) -> None:
    """Fill ``parent`` and ``level`` for one thread's ranges.

    A range is as deep as there are ranges open at its start, and lies in the last one before it that is one level up. Where
    ranges overlap without nesting, that does not hold for one of them: then it is not within its parent, and the stretch
    from one outermost range to the next is walked in order instead. So are all ranges where there are many levels.
    """
    begins, stops = take(starts, rows), take(ends, rows)
    pushed = stops > begins  # an empty range holds nothing
    depth = _open_at(begins, stops[pushed], pushed)
    deepest = int(depth.max(initial=0))
    if deepest > _DEEP:
        _sweep(np.arange(len(starts)) if rows is None else rows, starts, ends, parent, level)
        return
    around = parent if rows is None else np.full(len(begins), -1, dtype=np.int32)
    for d in range(1, deepest + 1):
        _find_outer(around, depth, pushed, d)

    def is_crossed(piece: slice) -> npt.NDArray[np.bool_]:
        part = around[piece]
        return (part >= 0) & ((stops[piece] > stops[part]) | (stops[part] <= begins[piece]))

    crossed = gathered(len(begins), bool, is_crossed)
    if rows is not None:
        parent[rows] = np.where(around >= 0, rows[around], -1)
    level[slice(None) if rows is None else rows] = depth
    if crossed.any():
        stretch = np.cumsum(depth == 0)
        again = np.flatnonzero(np.isin(stretch, stretch[crossed]))
        _sweep(again if rows is None else rows[again], starts, ends, parent, level)


def _open_at(begins: Int64Array, stops: Int64Array, pushed: npt.NDArray[np.bool_]) -> IntArray:
    """How many ranges before each are open when it begins; ``stops`` of those that were pushed is put in order."""
    stops.sort(kind="stable")  # merges: all but the outer ranges are in order already
    counts = in_pieces(len(begins), lambda piece: int(np.count_nonzero(pushed[piece])))
    before = dict(zip((piece.start for piece in pieces(len(begins))), np.cumsum([0, *counts]).tolist()))

    def of_piece(piece: slice) -> IntArray:
        own = pushed[piece]
        entered = before[piece.start] + np.cumsum(own) - own
        depth: IntArray = entered - np.searchsorted(stops, begins[piece], side="right")
        return depth

    return gathered(len(begins), np.int32, of_piece)


def _find_outer(around: IntArray, depth: IntArray, pushed: npt.NDArray[np.bool_], level: int) -> None:
    """For the ranges of a level the last one before each that is one level up."""

    def own_last(piece: slice) -> int:
        outer = np.flatnonzero((depth[piece] == level - 1) & pushed[piece])
        return piece.start + int(outer[-1]) if len(outer) else -1

    last = np.maximum.accumulate([-1, *in_pieces(len(depth), own_last)])
    before = dict(zip((piece.start for piece in pieces(len(depth))), last.tolist()))

    def fill(piece: slice) -> None:
        inner = np.flatnonzero(depth[piece] == level)
        outer = np.where(
            (depth[piece] == level - 1) & pushed[piece], np.arange(piece.start, piece.stop, dtype=np.int32), -1
        )
        outer[0] = max(int(outer[0]), before[piece.start])
        around[piece.start + inner] = np.maximum.accumulate(outer)[inner]

    in_pieces(len(depth), fill)


def _sweep(rows: IntArray, starts: Int64Array, ends: Int64Array, parent: IntArray, level: IntArray) -> None:
    """Walk ranges by start; fill ``parent`` and ``level``."""
    stack: list[int] = []
    for row in rows.tolist():
        start = int(starts[row])
        while stack and int(ends[stack[-1]]) <= start:
            end = int(ends[stack.pop()])
            while stack and int(ends[stack[-1]]) <= end:  # one that should have closed before the range inside it
                stack.pop()
        parent[row] = stack[-1] if stack else -1
        level[row] = len(stack)
        if int(ends[row]) > start:
            stack.append(row)
