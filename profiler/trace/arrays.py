"""Columns as arrays that are no larger than they need to be.

A trace has tens of millions of rows: a column that holds one value takes no memory, codes are as small as their number allows, and what
needs a copy is done in pieces.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

IntArray = npt.NDArray[np.integer[Any]]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]
"""Which rows: their numbers, or a mark each."""
MISSING = np.iinfo(np.int64).min
"""Stands for NULL in integer columns: no nsys field can hold it."""
MAX_NS = 2**61
"""73 years: a time beyond is a mark for "none" or damage."""
PIECE = 1 << 18
"""Rows that are worked on at once, where copies of all would take too much memory."""
MAX_WORKERS = 4
P = TypeVar("P")
T = TypeVar("T")
PROCESS_MASK = ~0xFFFFFF
"""A globalTid without its low 24 bits is the globalPid."""


def in_pieces(n: int, work: Callable[[slice], T]) -> list[T]:
    """``work(piece)`` for every :data:`PIECE` of ``n`` rows, and the results in order; see :func:`for_each`."""
    return for_each(pieces(n), work)


def for_each(parts: Sequence[P], work: Callable[[P], T]) -> list[T]:
    """``work(part)`` for every part, and the results in order.

    Several parts are worked on at the same time, for NumPy holds the interpreter only between its calls: what ``work`` writes must be
    its part's own.
    """
    if len(parts) < 2 or _is_worker():
        return [work(part) for part in parts]
    return list(_workers(os.getpid()).map(work, parts))


def sort(values: IntArray) -> None:
    """Put a column in order, in place: of a long one a part for each processor at the same time, which NumPy's stable sort merges."""
    parts = np.array_split(values, _worker_count()) if len(values) > PIECE else [values]
    for_each(parts, lambda part: part.sort())
    if len(parts) > 1:
        values.sort(kind="stable")


def pieces(n: int) -> list[slice]:
    """``n`` rows in pieces."""
    return [slice(at, min(at + PIECE, n)) for at in range(0, n, PIECE)]


_thread = threading.local()


def _is_worker() -> bool:
    """Whether this is a thread of the pool: a worker that waited for workers could wait forever."""
    return getattr(_thread, "is_worker", False)


def _worker_count() -> int:
    return max(1, min(MAX_WORKERS, os.cpu_count() or 1))


@cache
def _workers(_process: int) -> ThreadPoolExecutor:
    """One pool a process: threads do not live on in a fork."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - imports logging, for large tables only

    return ThreadPoolExecutor(_worker_count(), "pieces", initializer=lambda: setattr(_thread, "is_worker", True))


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
    in_pieces(len(values), lambda piece: seen.__setitem__(values[piece] - low, True))
    there = np.flatnonzero(seen)
    table = np.zeros(span, dtype=_smallest(len(there)))
    table[there] = np.arange(len(there))
    return gathered(len(values), table.dtype, lambda piece: table[values[piece] - low]), there + low


def gathered(n: int, dtype: npt.DTypeLike, part: Callable[[slice], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """``n`` values of a type, piece by piece (see :func:`in_pieces`)."""
    made: npt.NDArray[Any] = np.empty(n, dtype=dtype)
    in_pieces(n, lambda piece: made.__setitem__(piece, part(piece)))
    return made


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
    if small:
        largest = np.iinfo(np.int32).max
        found: IntArray = np.empty(len(ends), dtype=np.int32)

        def fits(piece: slice) -> bool:
            exact = ends[piece].astype(np.int64, copy=False) - starts[piece]
            found[piece] = exact
            return bool(exact.max(initial=0) <= largest)

        if all(in_pieces(len(ends), fits)):
            return found
    return ends.astype(np.int64, copy=False) - starts


def process_of(tids: IntArray) -> IntArray:
    if is_constant(tids):
        return np.broadcast_to(np.int64(-1 if tids[0] == -1 else int(tids[0]) & PROCESS_MASK), len(tids))
    return np.where(tids == -1, -1, tids.astype(np.int64, copy=False) & PROCESS_MASK)


def timed_rows(starts: IntArray, ends: IntArray) -> tuple[IntArray | None, int, float]:
    """The rows with a start and an end that are times, in order, by start; None when that is all rows as they are.

    Returns:
        The rows; how many were left out; the sum of the durations of the others, as a float, as it may not fit into 64 bits.
    """

    def checked(piece: slice) -> tuple[IntArray | None, float]:
        """The rows of a piece that are good, None for all, and the sum of their durations."""
        first, last = starts[piece], ends[piece]
        fine = (first >= -MAX_NS) & (last >= first) & (last <= MAX_NS)
        good = None if fine.all() else np.flatnonzero(fine)
        durations = take(last, good).astype(np.int64, copy=False) - take(first, good)
        return good, float(np.sum(durations, dtype=np.float64))

    parts = in_pieces(len(starts), checked)
    total = sum(sum_ for _, sum_ in parts)
    rows: IntArray | None = None
    if any(good is not None for good, _ in parts):
        marked = np.ones(len(starts), dtype=bool)
        for k, (good, _) in enumerate(parts):
            if good is not None:
                marked[k * PIECE : (k + 1) * PIECE] = False
                marked[k * PIECE + good] = True
        rows = np.flatnonzero(marked)
    left_out = 0 if rows is None else len(starts) - len(rows)
    kept = take(starts, rows)
    if len(kept) < 2 or is_constant(kept) or are_in_order(kept):
        return rows, left_out, total
    order = np.argsort(kept, kind="stable")
    return (order if rows is None else rows[order]), left_out, total


def are_in_order(values: IntArray) -> bool:
    """Whether no value is smaller than the one before it."""
    before = values[:-1]
    return all(in_pieces(len(before), lambda p: bool((values[p.start + 1 : p.stop + 1] >= before[p]).all())))
