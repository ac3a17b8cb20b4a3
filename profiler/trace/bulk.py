"""Reading columns of large tables: SQLite rows to Arrow batches to NumPy, without a Python object per value.

:class:`profiler.trace.database.Database` decides what may be read; this module only reads faster. The choice of ADBC and what it was
measured against are in docs/performance.md. Columns are kept as small as they can be, as a trace has tens of millions of rows: an integer
column becomes int32 where all values fit, and one that holds a single value takes no memory.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from profiler import progress
from profiler.trace.arrays import MISSING, IntArray

_Part = TypeVar("_Part")

TOO_LONG = 2
_BATCH_ROWS = 1 << 16
_MAX_WORKERS = 4
_ENDED = -1  # among the numbers of rows: the others stop
_SETTINGS = ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0", "temp_store=MEMORY")
_INT32 = np.iinfo(np.int32)


class BulkError(Exception):
    """The fast way cannot read this; the plain way can, or says what is wrong."""


def integers(
    uri: str, sql: str, columns: int, bounds: tuple[int, int], what: str, tick: Callable[[], None]
) -> list[IntArray]:
    """Integer columns of a query.

    Args:
        uri: of the database, as SQLite understands it, with ``mode=ro``.
        sql: a SELECT of ``columns`` integer expressions with a condition on rowid that has two ``?``.
        bounds: smallest and largest rowid.
        what: is being read, for :mod:`profiler.progress`.
        tick: called a few times a second; what it raises ends the reading.

    Returns:
        An array a column, in rowid order; NULL is :data:`MISSING`.

    Raises:
        BulkError: a value is not an integer, or the file cannot be read so.
    """
    done: list[int] = []
    low, high = bounds
    made = [_Column(high - low + 1) for _ in range(columns)]

    def part(rowids: tuple[int, int]) -> int:
        at = rowids[0] - low
        for batch in _batches(uri, sql, rowids, done):
            for column, values in zip(made, batch.columns):
                column.put(at, _to_numpy(values))
            at += len(batch)
        return at - (rowids[0] - low)

    counts = _in_parts(part, bounds, what, done, tick)
    places = [rowids[0] - low for rowids in _split(*bounds)]
    return [column.joined(list(zip(places, counts))) for column in made]


def texts(
    uri: str, sql: str, bounds: tuple[int, int], what: str, tick: Callable[[], None]
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A text column as codes in rowid order (-1: NULL) and the distinct texts.

    Args:
        sql: as for :func:`integers`, with two expressions: whether the text is NULL (or :data:`TOO_LONG`), and the text ('' for NULL).

    Raises:
        BulkError: a value is not text in UTF-8, or the file cannot be read so.
    """

    done: list[int] = []

    def part(rowids: tuple[int, int]) -> tuple[list[npt.NDArray[np.int32]], dict[str, int]]:
        places: dict[str, int] = {}
        pieces = []
        for batch in _batches(uri, sql, rowids, done):
            coded = batch.column(1).dictionary_encode()
            own = [places.setdefault(text, len(places)) for text in coded.dictionary.to_pylist()]
            codes = np.asarray(own, dtype=np.int32)[coded.indices.to_numpy()]
            marks = batch.column(0).to_numpy()
            if (marks == TOO_LONG).any():
                raise BulkError("a text is too long")
            pieces.append(np.where(marks == 1, np.int32(-1), codes))
        return pieces, places

    everything: list[npt.NDArray[np.int32]] = []
    places: dict[str, int] = {}
    for pieces, own in _in_parts(part, bounds, what, done, tick):
        table = np.asarray([*(places.setdefault(text, len(places)) for text in own), -1], dtype=np.int32)
        everything += [table[piece] for piece in pieces]
    return np.concatenate(everything or [np.empty(0, np.int32)]), list(places)


def _batches(uri: str, sql: str, rowids: tuple[int, int], done: list[int]) -> Iterator[Any]:
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415 - 0.1 s, for large tables only

    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(f"PRAGMA {setting}")
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
        cursor.execute(sql, rowids)
        for batch in cursor.fetch_record_batch():
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
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415 - as above

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
    except (adbc.Error, OSError, ValueError, TypeError) as error:  # UnicodeError is a ValueError
        raise BulkError(str(error)) from error


def _split(low: int, high: int) -> list[tuple[int, int]]:
    """The rowids in equal parts, one a processor."""
    parts = max(1, min(_MAX_WORKERS, os.cpu_count() or 1, (high - low) // _BATCH_ROWS))
    edges = [low + (high - low + 1) * k // parts for k in range(parts + 1)]
    return [(a, b - 1) for a, b in itertools.pairwise(edges)]


def _to_numpy(values: Any) -> IntArray:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_null(values.type) or values.null_count == len(values):
        return np.full(len(values), MISSING, dtype=np.int64)
    if not pa.types.is_int64(values.type):
        raise BulkError(f"{values.type} where whole numbers were expected")
    validity, data = values.buffers()
    numbers = np.frombuffer(data, dtype=np.int64, count=len(values), offset=8 * values.offset)
    if not values.null_count:
        return numbers
    # NumPy, not fill_null: Arrow's allocator keeps what threads that have ended freed
    bits = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")
    return np.where(bits[values.offset : values.offset + len(values)], numbers, MISSING)


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
