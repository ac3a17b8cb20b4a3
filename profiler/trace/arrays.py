"""Columns as arrays that are no larger than they need to be.

A trace has tens of millions of rows: a column that holds one value takes no memory, codes are as small as their number allows, and what
needs a copy is done in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]
"""Which rows: their numbers, or a mark each."""
MISSING = np.iinfo(np.int64).min
"""Stands for NULL in integer columns: no nsys field can hold it."""
MAX_NS = 2**61
"""73 years: a time beyond is a mark for "none" or damage."""
PIECE = 1 << 20
"""Rows that are worked on at once, where copies of all would take too much memory."""
PROCESS_MASK = ~0xFFFFFF
"""A globalTid without its low 24 bits is the globalPid."""


def is_constant(values: npt.NDArray[Any]) -> bool:
    """Whether the array is one value, repeated without memory (as :func:`profiler.trace.bulk.integers` makes them)."""
    return bool(len(values) > 0 and values.strides == (0,))


def take(values: npt.NDArray[Any], rows: Rows | None) -> npt.NDArray[Any]:
    """``values[rows]``; None takes all. A constant column stays one."""
    if rows is None:
        return values
    if is_constant(values) and len(rows) and rows.dtype != bool:
        return np.broadcast_to(values[0], len(rows))
    chosen: npt.NDArray[Any] = values[rows]
    return chosen


def distinct(values: IntArray) -> IntArray:
    """The sorted distinct values. (np.unique imports np.ma, a tenth of what starting a verb takes.)"""
    if is_constant(values):
        return np.asarray(values[:1])
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def encode(values: IntArray) -> tuple[npt.NDArray[Any], IntArray]:
    """Codes (as small as they can be) and the sorted distinct values: ``distinct[codes] == values``."""
    if not len(values):
        return np.empty(0, dtype=np.int8), np.empty(0, dtype=np.int64)
    if is_constant(values):
        return np.broadcast_to(np.int8(0), len(values)), np.asarray(values[:1])
    low, high = int(values.min()), int(values.max())
    span = high - low + 1
    if span > max(1 << 16, 2 * len(values)):
        found = distinct(values)
        return np.searchsorted(found, values).astype(_smallest(len(found))), found
    seen = np.zeros(span, dtype=bool)
    for piece in _pieces(values):
        seen[piece - low] = True
    there = np.flatnonzero(seen)
    table = np.zeros(span, dtype=_smallest(len(there)))
    table[there] = np.arange(len(there))
    codes: npt.NDArray[Any] = np.empty(len(values), dtype=table.dtype)
    for at, piece in zip(range(0, len(values), PIECE), _pieces(values)):
        codes[at : at + len(piece)] = table[piece - low]
    return codes, there + low


def _pieces(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (values[at : at + PIECE] for at in range(0, len(values), PIECE))


def _smallest(n: int) -> type[np.signedinteger[Any]]:
    """The integer type for codes 0 … n - 1."""
    if n <= 1 << 7:
        return np.int8
    return np.int16 if n <= 1 << 15 else np.int32


def is_time(values: IntArray) -> npt.NDArray[np.bool_]:
    """Whether each is a time that a recording can have: present, and such that no difference of two overflows."""
    return (values >= -MAX_NS) & (values <= MAX_NS)


def minus_one_for_missing(values: IntArray) -> IntArray:
    if is_constant(values):
        return np.broadcast_to(np.int64(-1), len(values)) if values[0] == MISSING else values
    if values.dtype != np.int64:
        return values
    found = np.where(values == MISSING, -1, values)
    limits = np.iinfo(np.int32)
    is_small = len(found) and found.min() >= limits.min and found.max() <= limits.max
    return found.astype(np.int32) if is_small else found


def difference(ends: IntArray, starts: IntArray, small: bool = False) -> IntArray:
    """``ends - starts``; as int32 where that is asked for and possible."""
    found = ends.astype(np.int64, copy=False) - starts
    return found.astype(np.int32) if small and found.max(initial=0) <= np.iinfo(np.int32).max else found


def process_of(tids: IntArray) -> IntArray:
    if is_constant(tids):
        return np.broadcast_to(np.int64(-1 if tids[0] == -1 else int(tids[0]) & PROCESS_MASK), len(tids))
    return np.where(tids == -1, -1, tids.astype(np.int64, copy=False) & PROCESS_MASK)


def timed_rows(starts: IntArray, ends: IntArray) -> tuple[IntArray | None, int, float]:
    """The rows with a start and an end that are times, in order, by start; None when that is all rows as they are.

    Returns:
        The rows; how many were left out; the sum of the durations of the others, as a float, as it may not fit into 64 bits.
    """
    good: npt.NDArray[np.bool_] | None = None
    total = 0.0
    for at in range(0, len(starts), PIECE):
        first, last = starts[at : at + PIECE], ends[at : at + PIECE]
        fine = (first >= -MAX_NS) & (last >= first) & (last <= MAX_NS)
        if not fine.all():
            good = np.ones(len(starts), dtype=bool) if good is None else good
            good[at : at + PIECE] = fine
            first, last = first[fine], last[fine]
        total += float(np.sum(last.astype(np.int64, copy=False) - first, dtype=np.float64))
    rows = None if good is None else np.flatnonzero(good)
    left_out = 0 if rows is None else len(starts) - len(rows)
    kept = take(starts, rows)
    if (
        len(kept) < 2
        or is_constant(kept)
        or all(
            (kept[at + 1 : at + PIECE + 1] >= kept[at : at + PIECE][: len(kept) - at - 1]).all()
            for at in range(0, len(kept), PIECE)
        )
    ):
        return rows, left_out, total
    order = np.argsort(kept, kind="stable")
    return (order if rows is None else rows[order]), left_out, total
