"""Reading columns of large tables: SQLite rows to Arrow batches to NumPy, without a Python object per value.

:class:`profiler.trace.database.Database` decides what may be read; this module only reads faster. docs/performance.md says why ADBC was
chosen. The batches come through Arrow's C interface (:mod:`profiler.trace.arrow`), as importing pyarrow takes longer than reading a million
rows. Columns are kept as small as they can be, as a trace has tens of millions of rows: an integer column becomes int32 where all values
fit, and one that holds a single value takes no memory.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from profiler import progress
from profiler.trace.arrays import MAX_WORKERS, MISSING, Int64Array, IntArray
from profiler.trace.arrow import Batch, StreamError, opened

_Part = TypeVar("_Part")

TOO_LONG = 2
MAX_TEXT = 1 << 14
"""Characters of a text; the plain way reads longer ones."""
_BATCH_ROWS = 1 << 16
_BATCH_TEXTS = 1 << 12  # of at most 4 bytes a character: 256 MiB
_SAMPLED_ROWS = 300
_ENDED = -1  # among the numbers of rows: the others stop
_SETTINGS = ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0", "temp_store=MEMORY")
_INT32, _INT64 = np.iinfo(np.int32), np.iinfo(np.int64)

Read = Callable[[int, int], str]
"""SQL that reads the rows from one rowid to another, in their order."""
Select = Callable[[str, str], Read]
"""Such SQL for some expressions, and a further condition or ""."""


class BulkError(Exception):
    """The fast way cannot read this; the plain way can, or says what is wrong."""


def integers(
    uri: str,
    select: Select,
    columns: Sequence[str],
    bounds: tuple[int, int],
    what: str,
    tick: Callable[[], None],
    apart: tuple[str, int] | None = None,
) -> tuple[list[IntArray], list[IntArray]]:
    """Integer columns of a query.

    A column that has the same value in all rows, as device and process mostly have, is not handed over row by row: SQLite checks the
    value that a few rows suggest, and gives a mark and the rowid in place of the first other column where a row differs. Such rows
    are read again.

    Args:
        uri: of the database, as SQLite understands it, with ``mode=ro``.
        columns: integer expressions.
        bounds: smallest and largest rowid.
        what: is being read, for :mod:`profiler.progress`.
        tick: called a few times a second; what it raises ends the reading.
        apart: one of the columns and a value: rows with it are few, and are kept apart.

    Returns:
        An array a column, in rowid order; NULL is :data:`MISSING`. The same of the rows that are kept apart.

    Raises:
        BulkError: a value is not an integer, or the file cannot be read so.
    """
    done: list[int] = []
    low, high = bounds
    made = [_Column(high - low + 1) for _ in columns]
    usual = ""
    try:
        constant = _constant(uri, select, columns, bounds, apart) if low >= 0 else {}  # -1 - rowid is the mark
    except (StreamError, OSError) as error:
        raise BulkError(str(error)) from error
    varying = [k for k in range(len(columns)) if k not in constant]
    picked = [columns[k] for k in varying]
    conditions = [f"{columns[k]} IS {_literal(value)}" for k, value in constant.items()]
    if apart is not None:
        apart_at = columns.index(apart[0])
        if low < 0 or constant.get(apart_at) == apart[1]:
            raise BulkError("rows cannot be kept apart")
        conditions += [f"{apart[0]} IS NOT {apart[1]}"] if apart_at not in constant else []
    if conditions:
        usual = " AND ".join([*conditions, f"ifnull({picked[0]}, -1) >= 0"])
        picked[0] = f"CASE WHEN {usual} THEN {picked[0]} ELSE -1 - rowid END"
    read = select(", ".join(picked), "")

    def part(rowids: tuple[int, int]) -> tuple[int, list[list[IntArray]]]:
        at = rowids[0] - low
        set_apart: list[list[IntArray]] = []
        for batch in _batches(uri, read(*rowids), done):
            values: dict[int, IntArray] = {k: batch.integers(place) for place, k in enumerate(varying)}
            values |= {k: np.broadcast_to(np.int64(value), len(batch)) for k, value in constant.items()}
            n = len(batch)
            if usual and (odd := values[varying[0]] < 0).any():
                others = _rows_again(uri, select, columns, usual, -1 - values[varying[0]][odd])
                is_apart = others[apart_at] == apart[1] if apart is not None else np.zeros(len(others[0]), dtype=bool)
                kept = np.ones(n, dtype=bool)
                kept[odd] = ~is_apart
                for k, own in values.items():
                    whole = own.copy()
                    whole[odd] = others[k]
                    values[k] = whole[kept]
                n = int(np.count_nonzero(kept))
                set_apart.append([column[is_apart] for column in others])
            for k, column in enumerate(made):
                column.put(at, values[k])
            at += n
        return at - (rowids[0] - low), set_apart

    found = _in_parts(part, bounds, what, done, tick)
    places = [(rowids[0] - low, count) for rowids, (count, _) in zip(_split(*bounds), found)]
    rows_apart = [rows for _, some in found for rows in some]
    others = [np.concatenate([np.empty(0, np.int64), *(rows[k] for rows in rows_apart)]) for k in range(len(columns))]
    return [column.joined(places) for column in made], others


def _constant(
    uri: str, select: Select, columns: Sequence[str], bounds: tuple[int, int], apart: tuple[str, int] | None
) -> dict[int, int]:
    """The columns that some rows suggest to have one value, and that value; never all of them."""
    low, high = bounds
    if high - low < _SAMPLED_ROWS:
        return {}
    places = random.Random(0).sample(range(low, high + 1), _SAMPLED_ROWS)  # not at equal distances: rows may alternate
    some = f"rowid IN ({','.join(map(str, sorted(places)))})"
    if apart is not None:
        some += f" AND {apart[0]} IS NOT {apart[1]}"
    sql = select(", ".join(columns), some)(low, high)
    seen: list[set[int]] = [set() for _ in columns]
    for batch in _batches(uri, sql, []):
        for k, values in enumerate(seen):
            values.update(batch.integers(k).tolist())
    found = {k: values.pop() for k, values in enumerate(seen) if len(values) == 1}
    if len(found) == len(columns):
        found.popitem()
    return found


def _rows_again(uri: str, select: Select, columns: Sequence[str], usual: str, rowids: IntArray) -> list[IntArray]:
    """All columns of some rows, which are those near each other for which a condition is not true."""
    few = f"rowid IN ({','.join(map(str, rowids.tolist()))})" if len(rowids) <= _SAMPLED_ROWS else f"NOT ({usual})"
    sql = select(", ".join(columns), few)(int(rowids[0]), int(rowids[-1]))
    kept = [[batch.integers(k).copy() for k in range(len(columns))] for batch in _batches(uri, sql, [])]
    found = [np.concatenate([np.empty(0, np.int64), *(part[k] for part in kept)]) for k in range(len(columns))]
    if len(found[0]) != len(rowids):
        raise BulkError("a row was not found again")
    return found


def _literal(value: int) -> str:
    return "NULL" if value == MISSING else str(value)


def naturals(uri: str, read: Read, bounds: tuple[int, int], what: str, tick: Callable[[], None]) -> Int64Array | None:
    """One integer expression of the rows, in rowid order; None where one of them is NULL or negative."""
    done: list[int] = []
    low, high = bounds
    numbers = np.empty(high - low + 1, dtype=np.int64)

    def part(rowids: tuple[int, int]) -> int | None:
        at = rowids[0] - low
        for batch in _batches(uri, read(*rowids), done):
            own = batch.integers(0)
            if own.min() < 0:
                done.append(_ENDED)  # the others stop, too
                return None
            numbers[at : at + len(own)] = own
            at += len(own)
        return at - (rowids[0] - low)

    counts = _in_parts(part, bounds, what, done, tick)
    known = [count for count in counts if count is not None]
    if _ENDED in done:
        return None
    held = [numbers[r[0] - low : r[0] - low + count] for r, count in zip(_split(*bounds), known)]
    return numbers if sum(known) == len(numbers) else np.concatenate(held)


def texts(
    uri: str, read: Read, bounds: tuple[int, int], what: str, tick: Callable[[], None], check: Callable[[int], None]
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A text column as codes in rowid order (-1: NULL) and the distinct texts.

    Args:
        read: gives two expressions: whether the text is NULL (or :data:`TOO_LONG`), and the text ('' for NULL).
        check: called with the characters of the distinct texts so far; what it raises ends the reading.

    Raises:
        BulkError: a value is not text in UTF-8, or the file cannot be read so.
    """

    done: list[int] = []

    def part(rowids: tuple[int, int]) -> tuple[list[npt.NDArray[np.int32]], dict[str, int]]:
        places: dict[str, int] = {}
        pieces = []
        size = 0
        for batch in _batches(uri, read(*rowids), done, _BATCH_TEXTS):
            distinct, indices = batch.texts(1)
            size += sum(len(text) for text in distinct if text not in places)
            try:
                check(size)
            except BaseException:
                done.append(_ENDED)
                raise
            codes = np.asarray([places.setdefault(text, len(places)) for text in distinct], dtype=np.int32)[indices]
            marks = batch.integers(0)
            if (marks == TOO_LONG).any():
                raise BulkError("a text is too long")
            pieces.append(np.where(marks == 1, np.int32(-1), codes))
        return pieces, places

    everything: list[npt.NDArray[np.int32]] = []
    places: dict[str, int] = {}
    for pieces, own in _in_parts(part, bounds, what, done, tick):
        table = np.asarray([*(places.setdefault(text, len(places)) for text in own), -1], dtype=np.int32)
        everything += [table[piece] for piece in pieces]
    check(sum(map(len, places)))
    return np.concatenate(everything or [np.empty(0, np.int32)]), list(places)


def _batches(uri: str, sql: str, done: list[int], rows: int = _BATCH_ROWS) -> Iterator[Batch]:
    with opened(uri) as connection:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        for batch in connection.batches(sql, rows):
            if _ENDED in done:
                return
            done.append(len(batch))
            yield batch


def _in_parts(
    task: Callable[[tuple[int, int]], _Part],
    bounds: tuple[int, int],
    what: str,
    done: list[int],
    tick: Callable[[], None],
) -> list[_Part]:
    """The task's results for equal parts of the rowids, in order; done at the same time."""
    from concurrent.futures import ThreadPoolExecutor, wait  # noqa: PLC0415 - imports logging, for large tables only

    ranges = _split(*bounds)
    try:
        with ThreadPoolExecutor(len(ranges)) as pool:
            futures = [pool.submit(task, rowids) for rowids in ranges]
            while wait(futures, timeout=0.2).not_done:
                progress.report(what, sum(done) / (bounds[1] - bounds[0] + 1))
                try:
                    tick()
                except BaseException:
                    done.append(_ENDED)
                    raise
            progress.report(what, 1.0)
            return [future.result() for future in futures]
    except (StreamError, OSError, ValueError, TypeError) as error:  # UnicodeError is a ValueError
        raise BulkError(str(error)) from error


def _split(low: int, high: int) -> list[tuple[int, int]]:
    """The rowids in equal parts, one a processor."""
    parts = max(1, min(MAX_WORKERS, os.cpu_count() or 1, (high - low) // _BATCH_ROWS))
    edges = [low + (high - low + 1) * k // parts for k in range(parts + 1)]
    return [(a, b - 1) for a, b in itertools.pairwise(edges)]


class _Column:
    """A column that grows no more than its values need: one value, then int32, then int64.

    The arrays are as long as the table from the start, as memory that is not written to is not used, and large ones go back to the
    system when they are freed; pieces would stay with the allocator.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._lock = threading.Lock()
        self._value: np.int64 | None = None
        self._array: IntArray | None = None

    def put(self, at: int, values: IntArray) -> None:
        if not len(values):
            return
        low, high = values.min(), values.max()
        is_small = low >= _INT32.min and high <= _INT32.max
        with self._lock:
            if self._array is None:
                if low == high and self._value in (None, low):
                    self._value = low
                    return
                is_small &= self._value is None or _INT32.min <= self._value <= _INT32.max
                self._array = np.empty(self._n, dtype=np.int32 if is_small else np.int64)
                if self._value is not None:
                    self._array.fill(self._value)
            elif not is_small and self._array.dtype == np.int32:
                self._array = self._array.astype(np.int64)
            self._array[at : at + len(values)] = values

    def joined(self, parts: Sequence[tuple[int, int]]) -> IntArray:
        """The rows of all parts, given as (place, count), one after the other."""
        n = sum(count for _, count in parts)
        if self._array is None:
            return np.broadcast_to(np.int64(self._value or 0), n) if n else np.empty(0, dtype=np.int64)
        end = 0
        for at, count in parts:
            if at != end:
                self._array[end : end + count] = self._array[at : at + count]
            end += count
        return self._array[:n] if 2 * n > self._n else self._array[:n].copy()
