"""NVTX ranges: nesting, and which range a host thread was in at a given time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Int64Array = npt.NDArray[np.int64]

# Event types, from the ENUM_NSYS_EVENT_TYPE table of an export
PUSH_POP = 59
START_END = 60
DOMAIN = 75
_NVTXT_PUSH_POP = 70  # ranges imported from NVTXT text files
_NVTXT_START_END = 71

KINDS = {
    PUSH_POP: "push/pop",
    START_END: "start/end",
    _NVTXT_PUSH_POP: "push/pop",
    _NVTXT_START_END: "start/end",
}
"""Event types that are ranges, and how each kind nests."""


@dataclass(frozen=True)
class NvtxIndex:
    """For every thread, the innermost push/pop range at each moment.

    Attributes:
        parent: for each row of the ranges frame, the row of the enclosing push/pop range of its thread, or -1.
        level: nesting depth, 0 for an outermost range.
    """

    parent: Int64Array
    level: Int64Array
    _changes: dict[int, tuple[Int64Array, Int64Array]]

    @classmethod
    def build(cls, ranges: pd.DataFrame) -> NvtxIndex:
        """Nest the push/pop ranges of each thread by time, across NVTX domains, as the Nsight timeline draws them.

        Args:
            ranges: columns ``start_ns``, ``end_ns`` (open ranges already closed at the end of the trace), ``tid``,
                ``kind``.

        Ranges of a thread that overlap without nesting (a pop that was lost) are nested in order of their start.
        Start/end ranges do not nest and have level 0 and no parent.
        """
        n = len(ranges)
        parent = np.full(n, -1, dtype=np.int64)
        level = np.zeros(n, dtype=np.int64)
        changes: dict[int, tuple[Int64Array, Int64Array]] = {}
        starts = ranges["start_ns"].to_numpy(dtype=np.int64)
        ends = ranges["end_ns"].to_numpy(dtype=np.int64)
        tids = ranges["tid"].to_numpy(dtype=np.int64)
        nests = ranges["kind"].to_numpy() == "push/pop"
        order = np.lexsort((np.arange(n), -ends, starts, tids))
        order = order[nests[order]]
        for rows in np.split(order, np.flatnonzero(np.diff(tids[order])) + 1):
            if len(rows):
                changes[int(tids[rows[0]])] = _sweep(rows, starts, ends, parent, level)
        return cls(parent, level, changes)

    def innermost(self, tids: Int64Array, times_ns: Int64Array) -> Int64Array:
        """The row of the innermost range of thread ``tids[i]`` that holds ``times_ns[i]`` (start <= t < end), or -1."""
        found = np.full(len(times_ns), -1, dtype=np.int64)
        for tid, (when, what) in self._changes.items():
            mine = np.flatnonzero(tids == tid)
            found[mine] = what[np.searchsorted(when, times_ns[mine], side="right") - 1]
        return found

    def path(self, row: int) -> list[int]:
        """Rows from the outermost range down to ``row``."""
        rows: list[int] = []
        while row >= 0:
            rows.append(row)
            row = int(self.parent[row])
        return rows[::-1]


def _sweep(
    rows: Int64Array, starts: Int64Array, ends: Int64Array, parent: Int64Array, level: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Walk one thread's ranges by start; fill ``parent`` and ``level``; return when the innermost range changes, and to what."""
    when: list[int] = [np.iinfo(np.int64).min]  # before everything there is no range
    what: list[int] = [-1]
    stack: list[int] = []

    def close_until(time: int) -> None:
        while stack and int(ends[stack[-1]]) <= time:
            end = int(ends[stack.pop()])
            while stack and int(ends[stack[-1]]) <= end:  # one that should have closed before the range inside it
                stack.pop()
            when.append(end)
            what.append(stack[-1] if stack else -1)

    for row in rows.tolist():
        start = int(starts[row])
        close_until(start)
        parent[row] = stack[-1] if stack else -1
        level[row] = len(stack)
        if int(ends[row]) > start:
            stack.append(row)
            when.append(start)
            what.append(row)
    close_until(np.iinfo(np.int64).max)
    return np.asarray(when, dtype=np.int64), np.asarray(what, dtype=np.int64)
