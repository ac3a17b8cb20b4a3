"""Queries on SQLite through the ADBC driver, and what they give as NumPy arrays, by Arrow's C data interface.

The structures are those of https://arrow.apache.org/docs/format/CDataInterface.html and CStreamInterface.html. Only what is needed to read
columns of integers and texts is here.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from profiler.trace.arrays import MISSING, Int64Array, IntArray


class StreamError(Exception):
    """The driver gave an error, or values that are not of the type that was expected."""


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_P = ctypes.POINTER
_Schema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", _P(_P(_Schema))), ("dictionary", _P(_Schema)),
    ("release", ctypes.CFUNCTYPE(None, _P(_Schema))), ("private_data", ctypes.c_void_p),
]  # fmt: skip
_Array._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64), ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("buffers", _P(ctypes.c_void_p)), ("children", _P(_P(_Array))), ("dictionary", _P(_Array)),
    ("release", ctypes.CFUNCTYPE(None, _P(_Array))), ("private_data", ctypes.c_void_p),
]  # fmt: skip
_Stream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, _P(_Stream), _P(_Schema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, _P(_Stream), _P(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, _P(_Stream))), ("release", ctypes.CFUNCTYPE(None, _P(_Stream))),
    ("private_data", ctypes.c_void_p),
]  # fmt: skip


class Batch:
    """Some rows of a result. Its arrays are gone when the next batch is asked for."""

    def __init__(self, array: _Array, formats: list[bytes]) -> None:
        self._array, self._formats = array, formats

    def __len__(self) -> int:
        return int(self._array.length)

    def integers(self, column: int) -> IntArray:
        """A column of integers; NULL is :data:`profiler.trace.arrays.MISSING`.

        Raises:
            StreamError: it is of another type.
        """
        values, kind = self._array.children[column].contents, self._formats[column]
        n = int(values.length)
        if kind == b"n" or values.null_count == n:
            return np.full(n, MISSING, dtype=np.int64)
        if kind != b"l":
            raise StreamError(f"Arrow type {kind!r} where whole numbers were expected")
        numbers: Int64Array = _view(values.buffers[1], 8 * (n + values.offset), np.int64)[values.offset :]
        if not values.null_count:
            return numbers
        bits = np.unpackbits(_view(values.buffers[0], (n + values.offset + 7) // 8, np.uint8), bitorder="little")
        return np.where(bits[values.offset : values.offset + n].astype(bool), numbers, MISSING)

    def texts(self, column: int) -> tuple[list[str], Int64Array]:
        """A column of texts without NULL: the distinct ones, and for each row which it is.

        Raises:
            StreamError: it is of another type.
            UnicodeError: a text is not UTF-8.
        """
        values, kind = self._array.children[column].contents, self._formats[column]
        if kind != b"u":
            raise StreamError(f"Arrow type {kind!r} where texts were expected")
        n, first = int(values.length), int(values.offset)
        ends = _view(values.buffers[1], 4 * (n + first + 1), np.int32)[first:]
        content = ctypes.string_at(values.buffers[2], int(ends[-1])) if ends[-1] else b""
        places: dict[bytes, int] = {}
        edges = ends.tolist()
        codes = [places.setdefault(content[a:b], len(places)) for a, b in itertools.pairwise(edges)]
        return [text.decode() for text in places], np.asarray(codes, dtype=np.int64)


def _view(address: int | None, n_bytes: int, kind: Any) -> Any:
    if not n_bytes or address is None:
        return np.empty(0, dtype=kind)
    buffer: Any = (ctypes.c_char * n_bytes).from_address(address)
    return np.frombuffer(buffer, dtype=kind)


class Connection:
    """A connection to an SQLite database through ADBC."""

    def __init__(self, database: Any) -> None:
        from adbc_driver_manager import AdbcConnection, AdbcStatement  # noqa: PLC0415 - for large tables only

        self._connection, self._new_statement = AdbcConnection(database), AdbcStatement

    def execute(self, sql: str) -> None:
        """Run a statement whose result is not wanted."""
        for _ in self.batches(sql, 1):
            pass

    def batches(self, sql: str, rows: int) -> Iterator[Batch]:
        """The result of a query, so many rows at a time."""
        with self._new_statement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})
            statement.set_sql_query(sql)
            handle, _ = statement.execute_query()
            stream = _Stream.from_address(handle.address)
            try:
                yield from _batches_of(stream)
            finally:
                stream.release(stream)

    def close(self) -> None:
        self._connection.close()


def _batches_of(stream: _Stream) -> Iterator[Batch]:
    schema = _Schema()
    _check(stream, stream.get_schema(stream, schema))
    formats = [schema.children[k].contents.format for k in range(schema.n_children)]
    schema.release(schema)
    while True:
        array = _Array()
        _check(stream, stream.get_next(stream, array))
        if not array.release:
            return
        try:
            if array.length:
                yield Batch(array, formats)
        finally:
            array.release(array)


def _check(stream: _Stream, status: int) -> None:
    if status:
        said = stream.get_last_error(stream)
        raise StreamError((said or b"").decode("utf-8", "replace") or f"error {status}")


@contextmanager
def opened(uri: str) -> Iterator[Connection]:
    """Connect to the database.

    Raises:
        StreamError: it cannot be opened.
    """
    import adbc_driver_manager  # noqa: PLC0415 - as above
    import adbc_driver_sqlite  # noqa: PLC0415 - as above

    try:
        with adbc_driver_sqlite.connect(uri) as database:
            connection = Connection(database)
            try:
                yield connection
            finally:
                connection.close()
    except adbc_driver_manager.Error as error:
        raise StreamError(str(error)) from error
