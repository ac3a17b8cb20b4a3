"""A read-only SQLite database of which nothing is taken for granted: any table and any column may be missing."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import sqlite_utils

from profiler.errors import TraceError
from profiler.trace.guard import TIME_LIMIT_VARIABLE, TimeLimit, harden, plain_tables, query_seconds, quoted, restrict

Int64Array = npt.NDArray[np.int64]
MISSING = np.iinfo(np.int64).min
"""Stands for NULL in integer columns: no nsys field can hold it."""
MAX_CHECKED_BYTES = 1 << 26
"""Larger files are checked on request only: the check reads the whole file, in about 3 s per GB."""
_ROWS_AT_ONCE = 50_000
_MIN_ROW_BYTES = 4  # a pointer of two bytes, the payload's size and the row's number


class Database:
    """Columns out of an nsys export.

    The connection is read-only and hardened (:mod:`profiler.trace.guard`); only plain tables are read. A view or a virtual table that
    stands where nsys puts a table could compute anything, so it is refused; others are passed over. A file that changes while it is
    read would give figures of two states: that is an error, too.

    Args:
        path: the SQLite file.
        label: what error messages call it: the file that the user gave.
        immutable: open without locks (needed for a database left in WAL mode).

    Attributes:
        structure: whether the file's structure was checked, in words.

    Raises:
        TraceError: not a database, damaged, locked, or holding views or virtual tables in the place of tables.
    """

    def __init__(self, path: Path, label: str, immutable: bool = False) -> None:
        self.label = label
        self._path = path
        self._lock = threading.Lock()
        self._limit = TimeLimit(query_seconds())
        uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
        with self._errors():
            # a Trace that a dashboard keeps is read from several threads in turn, so the check is off and a lock is used
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            try:
                self._state = self._file_state()
                self._size = self._state[1] if self._state else 0
                harden(connection, self._limit)
                self._limit.start()
                self.tables: Mapping[str, frozenset[str]] = plain_tables(connection, label)
                restrict(connection, self.tables)
                self._db = sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)
                self.structure = "not checked, as the file is large (python -m profiler info --check TRACE does)"
                if self._size <= MAX_CHECKED_BYTES:
                    self.check_structure()
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        self._db.conn.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            if str(error) == "interrupted":
                raise TraceError(
                    f"{self.label}: a query took more than {self._limit.seconds:g} s and was ended.",
                    f"If the file is sound and only large, set {TIME_LIMIT_VARIABLE} to more seconds.",
                ) from error
            raise TraceError(
                f"{self.label}: cannot be read as an SQLite database ({error}).",
                "If it is still being written, wait; if it is damaged, copy or export it again.",
            ) from error

    def check_structure(self) -> None:
        """Check that every page of the file is where it belongs: damage there can make SQLite pass over rows without an error.

        The values themselves carry no checksum, so a bit that flipped inside one cannot be noticed.

        Raises:
            TraceError: the structure is damaged.
        """
        with self._lock, self._errors():
            self._limit.start()
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise TraceError(
                f"{self.label}: the database is damaged ({' '.join(found.split())[:200]}).",
                "Its figures could be wrong without notice. Copy or export it again.",
            )
        self.structure = "sound"

    def _file_state(self) -> tuple[int, int, int] | None:
        """What changes when somebody writes to the file; None when it has gone, which an open file does not mind."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _check_unchanged(self) -> None:
        now = self._file_state()
        if now is not None and self._state is not None and now[0] == self._state[0] and now != self._state:
            raise TraceError(
                f"{self.label}: was changed while it was being read.", "Wait until it is written, and open it again."
            )

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is there with all of these columns."""
        return table in self.tables and self.tables[table].issuperset(columns)

    def count(self, table: str, where: str = "", values: Sequence[Any] = ()) -> int:
        """Rows in a table (0 when the table is missing), optionally of those that satisfy ``where``."""
        if table not in self.tables:
            return 0
        # NOT INDEXED: an index that somebody added, or that is damaged, could count differently
        sql = f"SELECT count(*) FROM {quoted(table)} NOT INDEXED {f'WHERE {where}' if where else ''}"  # noqa: S608 - quoted; where is the program's
        return int(self.rows(sql, values)[0][0])

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. The SQL is the program's own; values that come from a trace are bound."""
        found: list[tuple[Any, ...]] = []
        with self._lock, self._errors():
            self._check_unchanged()
            self._limit.start()
            cursor = self._db.execute(sql, list(values))
            while part := cursor.fetchmany(_ROWS_AT_ONCE):
                found += part
                if len(found) > self._size // _MIN_ROW_BYTES:  # pages are referred to more than once
                    raise TraceError(
                        f"{self.label}: damaged: it gives more rows than a file of its size can hold.",
                        "Copy or export it again.",
                    )
            self._check_unchanged()
        return found

    def integers(
        self, table: str, columns: Sequence[str], where: str = "", values: Sequence[Any] = ()
    ) -> dict[str, Int64Array]:
        """Integer columns as int64 arrays in row order; NULL and columns that are not there become :data:`MISSING`.

        Raises:
            TraceError: a value is text, a fraction, or does not fit.
        """
        present = [c for c in columns if self.has(table, c)]
        if not present:
            n = self.count(table, where, values)
            return {c: np.full(n, MISSING, dtype=np.int64) for c in columns}
        picked = ", ".join(f"coalesce({quoted(c)}, {MISSING})" for c in present)
        sql = f"SELECT {picked} FROM {quoted(table)} NOT INDEXED {f'WHERE {where}' if where else ''}"  # noqa: S608 - as above
        rows = self.rows(sql, values)
        arrays: dict[str, Int64Array] = {}
        for column, series in zip(present, zip(*rows) if rows else ((),) * len(present)):
            arrays[column] = self._as_int64(table, column, series)
        for column in columns:
            arrays.setdefault(column, np.full(len(rows), MISSING, dtype=np.int64))
        return arrays

    def _as_int64(self, table: str, column: str, series: Sequence[Any]) -> Int64Array:
        array: npt.NDArray[Any] | None
        try:
            array = np.asarray(series) if series else np.empty(0, dtype=np.int64)
        except ValueError:  # bytes among numbers
            array = None
        if array is None or array.dtype.kind != "i":
            odd = next((v for v in series if not isinstance(v, int)), None)
            raise TraceError(
                f"{self.label}: table {table}, column {column}: found {str(odd)[:80]!r} where a whole number was expected.",
                "The file was changed after the export, or is damaged. Export the report again.",
            )
        return array.astype(np.int64, copy=False)

    def strings(self, ids: Int64Array) -> dict[int, str]:
        """The text of these ids from StringIds; ids that are not there are left out."""
        if not self.has("StringIds", "id", "value"):
            return {}
        wanted = [int(i) for i in np.unique(ids) if i != MISSING]
        found: dict[int, str] = {}
        for first in range(0, len(wanted), 500):
            part = wanted[first : first + 500]
            marks = ",".join("?" * len(part))
            for key, value in self.rows(f"SELECT id, value FROM StringIds WHERE id IN ({marks})", part):  # noqa: S608 - marks
                if value is not None:
                    found[int(key)] = str(value)
        return found
