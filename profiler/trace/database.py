"""A read-only SQLite database of which nothing is taken for granted: any table and any column may be missing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from profiler.errors import TraceError
from profiler.files import state_of
from profiler.trace import bulk
from profiler.trace.arrays import MISSING, Int64Array, IntArray, distinct, take
from profiler.trace.guard import TIME_LIMIT_VARIABLE, TimeLimit, harden, plain_tables, query_seconds, quoted, restrict

# sqlite-utils imports pandas where it is installed, half a second that opening a trace has no use for; None makes it do without
_PANDAS = sys.modules.get("pandas")  # the command line's stand-in, where it is not the library itself
if "pandas.core" not in sys.modules:
    sys.modules["pandas"] = None  # type: ignore[assignment]
try:
    import sqlite_utils
finally:
    if _PANDAS is not None:
        sys.modules["pandas"] = _PANDAS
    elif "pandas.core" not in sys.modules:
        del sys.modules["pandas"]

__all__ = ["MISSING", "Database"]
MAX_CHECKED_BYTES = 1 << 26
"""Larger files are checked on request only: the check reads the whole file, in about 3 s per GB."""
_ROWS_AT_ONCE = 50_000
_MIN_ROW_BYTES = 4  # a pointer of two bytes, the payload's size and the row's number
_Result = TypeVar("_Result")
MAX_NAME = 1 << 20
"""Characters of the longest name that is read. Names of CUTLASS kernels have some thousands, payloads of ranges tens of thousands."""
_LARGE_TABLE = 50_000
"""Rows from which a table is read by :mod:`profiler.trace.bulk`."""
DURATION_BITS = 40
_MAX_TIME = 1 << 61
_MAX_KEY = 1 << 22
_ENDS = 5_000
_MANY_STRINGS = 20_000
"""Ids from which all of StringIds is read at once."""


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
        self._counts: dict[str, int] = {}
        self._limit = TimeLimit(query_seconds())
        self._uri = uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
        with self._errors():
            # a Trace that a dashboard keeps is read from several threads in turn, so the check is off and a lock is used
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            try:
                self._opened = path.open("rb")
                # a cache may drop a trace without closing it
                self._close_file = weakref.finalize(self, self._opened.close)
                self._state = state_of(self._opened.fileno())
                self._size = self._state[2] if self._state else 0
                self._texts = harden(connection, self._limit, label)
                self._limit.start()
                self.tables: Mapping[str, frozenset[str]] = plain_tables(connection, label)
                restrict(connection, self.tables)
                self._db = sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)
                self.structure = "not checked, as the file is large (python -m profiler info --check TRACE does)"
                if self._size <= MAX_CHECKED_BYTES:
                    self.check_structure()
                self.check_is_at_path()
            except BaseException:
                connection.close()
                if hasattr(self, "_close_file"):
                    self._close_file()
                raise

    def close(self) -> None:
        self._db.conn.close()
        self._close_file()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
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

    def _check_unchanged(self) -> None:
        if self._opened.closed:
            raise sqlite3.ProgrammingError("the trace was closed")
        now = state_of(self._opened.fileno())
        if now is None or self._state is None or now[:4] != self._state[:4]:
            raise TraceError(
                f"{self.label}: was changed while it was being read.", "Wait until it is written, and open it again."
            )

    def check_is_at_path(self) -> None:
        """For whoever reads the file by its path, too: that the path still names the file that was opened, and it is as it was.

        Raises:
            TraceError: another file has taken its place, or it was changed.
        """
        self._check_unchanged()
        if state_of(self._path) != state_of(self._opened.fileno()):
            raise TraceError(f"{self.label}: was replaced by another file while it was being read.", "Open it again.")

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is there with all of these columns."""
        return table in self.tables and self.tables[table].issuperset(columns)

    def count(self, table: str, where: str = "", values: Sequence[Any] = ()) -> int:
        """Rows in a table (0 when the table is missing), optionally of those that satisfy ``where``."""
        if table not in self.tables:
            return 0
        if not where and table in self._counts:
            return self._counts[table]
        # NOT INDEXED: an index that somebody added, or that is damaged, could count differently
        sql = f"SELECT count(*) FROM {quoted(table)} NOT INDEXED {f'WHERE {where}' if where else ''}"  # noqa: S608 - quoted; where is the program's
        found = int(self.rows(sql, values)[0][0])
        if not where:
            self._counts[table] = found
        return found

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. The SQL is the program's own; values that come from a trace are bound."""
        found: list[tuple[Any, ...]] = []
        with self._lock, self._errors():
            self._check_unchanged()
            self._limit.start()
            self._texts.reset()
            cursor = self._db.execute(sql, list(values))
            while part := cursor.fetchmany(_ROWS_AT_ONCE):
                found += part
                if len(found) > self._size // _MIN_ROW_BYTES:  # pages are referred to more than once
                    raise TraceError(
                        f"{self.label}: damaged: it gives more rows than a file of its size can hold.",
                        "Copy or export it again.",
                    )
            self._texts.reset()
            self._check_unchanged()
        return found

    def integers(
        self, table: str, columns: Sequence[str], where: str = "", values: Sequence[Any] = ()
    ) -> dict[str, IntArray]:
        """Integer columns as arrays in row order; NULL and columns that are not there become :data:`MISSING`.

        Columns are int64, or int32 where the table is large and all values fit.

        Raises:
            TraceError: a value is text, a fraction, or does not fit.
        """
        present = list(dict.fromkeys(c for c in columns if self.has(table, c)))
        if not present:
            n = self.count(table, where, values)
            return {c: np.broadcast_to(np.int64(MISSING), n) if n else np.empty(0, dtype=np.int64) for c in columns}
        found = self._many_integers(table, present, where) if not values else None
        arrays = found if found is not None else self._few_integers(table, present, where, values)
        n = len(arrays[present[0]])
        if not where:
            self._counts[table] = n
        for column in columns:
            if column not in arrays:
                arrays[column] = np.broadcast_to(np.int64(MISSING), n) if n else np.empty(0, dtype=np.int64)
        return arrays

    def _few_integers(
        self, table: str, columns: Sequence[str], where: str, values: Sequence[Any]
    ) -> dict[str, IntArray]:
        picked = ", ".join(f"coalesce({quoted(c)}, {MISSING})" for c in columns)
        sql = f"SELECT {picked} FROM {quoted(table)} NOT INDEXED {f'WHERE {where}' if where else ''}"  # noqa: S608 - as above
        rows = self.rows(sql, values)
        series = zip(*rows) if rows else ((),) * len(columns)
        return {column: self._as_int64(table, column, s) for column, s in zip(columns, series)}

    def _many_integers(self, table: str, columns: Sequence[str], where: str) -> dict[str, IntArray] | None:
        """The same for a large table; None where it is small, or something in it needs the plain way and its messages."""
        bounds = self.rowids(table)
        if bounds is None or bounds[1] - bounds[0] < _LARGE_TABLE:
            return None
        picked = [quoted(c) for c in columns]
        select = _select(table, where)
        found = self._in_bulk(lambda: bulk.integers(self._uri, select, picked, bounds, table, self._tick))
        return None if found is None else dict(zip(columns, found[0]))

    def with_text_places(
        self, table: str, columns: Sequence[str], text: str, where: str, apart: tuple[str, int]
    ) -> tuple[dict[str, IntArray], dict[str, IntArray]] | None:
        """Integer columns, all of them there, of a large table's rows; and under the name of a text column their rowids.

        The rowid is :data:`MISSING` where the row has no text. None where :meth:`integers` and :meth:`texts` have to do it.

        Args:
            apart: one of the columns and a value; the rows with it, which are few, come second.
        """
        bounds = self.rowids(table)
        if bounds is None or bounds[1] - bounds[0] < _LARGE_TABLE:
            return None
        picked = [*(quoted(c) for c in columns), f"(CASE WHEN {quoted(text)} IS NOT NULL THEN rowid END)"]
        select = _select(table, where)
        few = quoted(apart[0]), apart[1]
        read = self._in_bulk(lambda: bulk.integers(self._uri, select, picked, bounds, table, self._tick, few))
        if read is None:
            return None
        rows, others = (dict(zip([*columns, text], values)) for values in read)
        return rows, others

    def texts_at(self, table: str, column: str, rowids: IntArray) -> list[str]:
        """The texts of a few rows, in the order of their rowids."""
        marks = ",".join("?" * len(rowids))
        sql = f"SELECT {quoted(column)} FROM {quoted(table)} NOT INDEXED WHERE rowid IN ({marks}) ORDER BY rowid"  # noqa: S608 - quoted
        found = [text for (text,) in self.rows(sql, [int(r) for r in rowids])]
        self._check_lengths(table, found)
        return [str(text) for text in found]

    def _in_bulk(self, reading: Callable[[], _Result]) -> _Result | None:
        """A bulk reading under the rules of :meth:`rows`: of an unchanged file, and not for ever.

        It opens the file by its path. None where another file has that path by now (the connection still reads the one that was
        opened), or where something in the table needs the plain way and its messages.
        """
        before = state_of(self._path)
        if before is None or before != state_of(self._opened.fileno()):
            return None
        self._check_unchanged()
        self._limit.start()
        try:
            found = reading()
        except bulk.BulkError:
            return None
        self._check_unchanged()
        return found if state_of(self._path) == before else None

    def _tick(self) -> None:
        if self._limit.is_over():
            raise TraceError(
                f"{self.label}: a query took more than {self._limit.seconds:g} s and was ended.",
                f"If the file is sound and only large, set {TIME_LIMIT_VARIABLE} to more seconds.",
            )

    def packed_durations(self, table: str, key: str) -> tuple[Int64Array, int, int] | None:
        """For every row of a large table ``key × 2**DURATION_BITS + (end - start)``, in no particular order; the first start; the last end.

        One value a row is read much faster than four: that no row starts before the first or ends after the last, SQLite checks. None
        where the table is small, or a row does not fit: a NULL, a text, a negative duration or one of more than 18 minutes. Then
        :meth:`integers` does it, or says what is wrong.
        """
        bounds = self.rowids(table) if self.has(table, "start", "end", key) else None
        if bounds is None or bounds[1] - bounds[0] < _LARGE_TABLE:
            return None
        # first of the rows at both ends of the table, where they are as a rule; of all rows where one lies outside
        tried = None
        for where in (f"rowid < {bounds[0] + _ENDS} OR rowid > {bounds[1] - _ENDS}", "true"):
            sql = f'SELECT min("start"), max("end") FROM {quoted(table)} NOT INDEXED WHERE {where}'  # noqa: S608 - quoted
            first, last = self.rows(sql)[0]
            if (first, last) == tried or not all(isinstance(t, int) and abs(t) <= _MAX_TIME for t in (first, last)):
                return None
            numbers = self._packed(table, key, bounds, first, last)
            if numbers is not None:
                return numbers, first, last
            tried = (first, last)
        return None

    def _packed(self, table: str, key: str, bounds: tuple[int, int], first: int, last: int) -> Int64Array | None:
        name, limit = quoted(key), 1 << DURATION_BITS
        # text is greater than any number, so it fails the comparisons; a fraction makes the sum a fraction, which is refused
        times = " AND ".join(f'"{c}" BETWEEN {first} AND {last}' for c in ("start", "end"))
        fits = f'{times} AND "end" - "start" BETWEEN 0 AND {limit - 1} AND {name} BETWEEN 0 AND {_MAX_KEY}'
        read = _select(table)(f'CASE WHEN {fits} THEN {name} * {limit} + ("end" - "start") END', "")
        return self._in_bulk(lambda: bulk.naturals(self._uri, read, bounds, table, self._tick))

    def rowids(self, table: str) -> tuple[int, int] | None:
        """The smallest and the largest rowid of a table that is there; None where a column takes that name, or the table has none."""
        if {c.lower() for c in self.tables[table]} & {"rowid", "_rowid_", "oid"}:
            return None
        name = quoted(table)
        try:
            low, high = self.rows(
                f"SELECT (SELECT min(rowid) FROM {name}), (SELECT max(rowid) FROM {name})"  # noqa: S608 - quoted
            )[0]
        except TraceError:
            return None  # WITHOUT ROWID
        if low is None or high is None or high - low > self._size:  # a row takes bytes, so numbers were left out
            return None
        return int(low), int(high)

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

    def at(self, table: str, columns: Sequence[str], places: IntArray) -> dict[str, IntArray]:
        """Integer columns of the rows at some places (0: the first) in row order; see :meth:`integers`."""
        bounds = self.rowids(table) if self.has(table) else None
        if bounds is None or bounds[1] - bounds[0] + 1 != self.count(table):
            return {c: take(values, places) for c, values in self.integers(table, columns).items()}
        parts = []
        for first in range(0, len(places), 500):
            rowids = [int(p) + bounds[0] for p in places[first : first + 500]]
            part = self.integers(table, columns, f"rowid IN ({','.join('?' * len(rowids))})", rowids)
            order = np.argsort(np.argsort(rowids, kind="stable"), kind="stable")  # rows come by rowid
            parts.append({c: values[order] for c, values in part.items()})
        return {c: np.concatenate([part[c] for part in parts] or [np.empty(0, np.int64)]) for c in columns}

    def texts(self, table: str, column: str, where: str = "") -> tuple[IntArray, list[str]]:
        """A text column as codes in row order (-1: NULL) and the distinct texts; both empty when all are NULL."""
        name = quoted(column)
        given = f"{name} IS NOT NULL{f' AND ({where})' if where else ''}"
        if not self.rows(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE {given})")[0][0]:  # noqa: S608 - as above
            return np.empty(0, dtype=np.int32), []
        bounds = self.rowids(table)
        if bounds is not None and bounds[1] - bounds[0] >= _LARGE_TABLE:
            is_long = f"length({name}) > {bulk.MAX_TEXT}"
            mark = f"CASE WHEN {is_long} THEN {bulk.TOO_LONG} ELSE {name} IS NULL END"
            picked = f"{mark}, CASE WHEN {is_long} THEN '' ELSE coalesce({name}, '') END"
            read = _select(table, where)(picked, "")
            check = self._texts.check_large_table
            found = self._in_bulk(lambda: bulk.texts(self._uri, read, bounds, table, self._tick, check))
            if found is not None:
                return found
        sql = f"SELECT {name} FROM {quoted(table)} {f'WHERE {where}' if where else ''}"  # noqa: S608 - as above
        places: dict[object, int] = {None: -1}
        codes = [places.setdefault(text, len(places) - 1) for (text,) in self.rows(sql)]
        self._check_lengths(table, places)
        return np.asarray(codes, dtype=np.int32), [str(text) for text in places if text is not None]

    def is_empty(self, table: str) -> bool:
        """Whether the table is missing or has no row."""
        if table not in self.tables:
            return True
        return not self.rows(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)})")[0][0]  # noqa: S608 - quoted

    def strings(self, ids: IntArray) -> dict[int, str]:
        """The text of these ids from StringIds; ids that are not there are left out."""
        if not self.has("StringIds", "id", "value"):
            return {}
        wanted = [int(i) for i in distinct(ids) if i != MISSING]
        if len(wanted) > _MANY_STRINGS:
            everything = self.rows("SELECT id, value FROM StringIds")
            asked = set(wanted)
            found = {int(key): str(value) for key, value in everything if key in asked and value is not None}
            self._check_lengths("StringIds", found.values())
            return found
        found = {}
        for first in range(0, len(wanted), 500):
            part = wanted[first : first + 500]
            marks = ",".join("?" * len(part))
            for key, value in self.rows(f"SELECT id, value FROM StringIds WHERE id IN ({marks})", part):  # noqa: S608 - marks
                if value is not None:
                    found[int(key)] = str(value)
        self._check_lengths("StringIds", found.values())
        return found

    def _check_lengths(self, table: str, texts: Iterable[object]) -> None:
        longest = max((len(text) for text in texts if isinstance(text, (str, bytes))), default=0)
        if longest > MAX_NAME:
            raise TraceError(
                f"{self.label}: table {table} holds a name of {longest:,} characters, and at most {MAX_NAME:,} are read.",
                "No compiler and no program writes such names: the file is damaged, or was changed after the export.",
            )


def _select(table: str, where: str = "") -> bulk.Select:
    """SQL for parts of a table; names in what is picked are quoted, conditions the program's own."""

    def select(picked: str, also: str) -> bulk.Read:
        conditions = "".join(f" AND ({condition})" for condition in (where, also) if condition)

        def read(low: int, high: int) -> str:
            rows = f"rowid BETWEEN {low} AND {high}{conditions}"
            return f"SELECT {picked} FROM {quoted(table)} NOT INDEXED WHERE {rows} ORDER BY rowid"  # noqa: S608 - see above

        return read

    return select
