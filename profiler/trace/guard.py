"""What an SQLite connection to somebody else's file may do: read plain tables, and not for ever.

The file decides what its schema says, so nothing in it is run: views, virtual tables and computed columns that stand where nsys puts
plain ones are refused, statements other than SELECT are refused by an authorizer, no extension can be loaded, and a query that takes
longer than the limit is ended. See https://www.sqlite.org/security.html for the settings.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping

from profiler.errors import TraceError, UsageError
from profiler.trace.schema import is_nsys_table

TIME_LIMIT_VARIABLE = "PROFILER_QUERY_SECONDS"
_DEFAULT_SECONDS = 900.0
"""Reading all kernels of a trace of 10 million took seconds; this ends what would never end."""
_STEPS_BETWEEN_LOOKS = 20_000
_MAX_TABLES = 5_000
_MAX_TEXT_BYTES = 1 << 26
_MAX_TEXTS = 1 << 27
"""Bytes of all different texts that one query gives."""
_MAX_TEXTS_OF_A_LARGE_TABLE = 3 << 26
"""PyTorch's ``emit_nvtx`` writes a text of its own for every operation."""
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_CHECK = re.compile(r"\bCHECK\b", re.IGNORECASE)
_PLAIN_TABLE = re.compile(r"CREATE TABLE\b", re.IGNORECASE)  # SQLite itself stores the statement with these two words

_ALLOWED_PRAGMAS = frozenset({"table_info", "table_xinfo", "quick_check", "integrity_check"})
_REFUSED_FUNCTIONS = frozenset(
    {"load_extension", "fts3_tokenizer", "edit", "readfile", "writefile", "randomblob", "zeroblob"}
)
# names are those of sqlite3_limit; Python has them from 3.11 on
_LIMITS = {
    "SQLITE_LIMIT_LENGTH": _MAX_TEXT_BYTES,
    "SQLITE_LIMIT_ATTACHED": 0,
    "SQLITE_LIMIT_TRIGGER_DEPTH": 0,
    "SQLITE_LIMIT_WORKER_THREADS": 0,
    "SQLITE_LIMIT_LIKE_PATTERN_LENGTH": 1_000,
    "SQLITE_LIMIT_EXPR_DEPTH": 100,
    "SQLITE_LIMIT_COMPOUND_SELECT": 100,
}
# from 3.12 on
_SWITCHES = {
    "SQLITE_DBCONFIG_DEFENSIVE": True,
    "SQLITE_DBCONFIG_TRUSTED_SCHEMA": False,
    "SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION": False,
    "SQLITE_DBCONFIG_ENABLE_TRIGGER": False,
    "SQLITE_DBCONFIG_ENABLE_VIEW": False,
    "SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER": False,
    "SQLITE_DBCONFIG_DQS_DDL": False,
    "SQLITE_DBCONFIG_DQS_DML": False,
}


class TimeLimit:
    """Ends a query that takes too long. One query at a time: ``start`` before each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = float("inf")

    def start(self) -> None:
        self._until = time.monotonic() + self.seconds

    def is_over(self) -> bool:
        return time.monotonic() > self._until


class TextLimit:
    """Decodes the texts of a query, and ends it when the different ones are too much for memory. ``reset`` before and after each."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._size = 0
        self._texts: dict[bytes, str] = {}

    def reset(self) -> None:
        self._size = 0
        self._texts.clear()

    def decode(self, raw: bytes) -> str:
        text = self._texts.get(raw)
        if text is None:
            self._size += len(raw)
            self._check(self._size, _MAX_TEXTS)
            text = self._texts[raw] = raw.decode("utf-8", "replace")
        return text

    def check_large_table(self, characters: int) -> None:
        """Of the different texts of a table together; characters are no more than their bytes.

        Raises:
            TraceError: they are too much.
        """
        self._check(characters, _MAX_TEXTS_OF_A_LARGE_TABLE)

    def _check(self, size: int, most: int) -> None:
        if size > most:
            raise TraceError(
                f"{self._label}: its names and other texts take more than {most:,} bytes, which is the most that is read.",
                "Record a shorter part of the program, or give its ranges fewer different names.",
            )


def query_seconds() -> float:
    """How long one query may take: ``$PROFILER_QUERY_SECONDS``, else 15 minutes.

    Raises:
        UsageError: the variable holds no positive number.
    """
    text = os.environ.get(TIME_LIMIT_VARIABLE)
    if not text:
        return _DEFAULT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"${TIME_LIMIT_VARIABLE} is {text[:40]!r}, and a positive number of seconds was expected.")
    return seconds


def harden(connection: sqlite3.Connection, limit: TimeLimit, label: str) -> TextLimit:
    """Settings for a connection that was opened read-only; :func:`restrict` follows when its tables are known."""
    texts = TextLimit(label)
    connection.text_factory = texts.decode
    for name, value in _LIMITS.items():
        if hasattr(connection, "setlimit") and hasattr(sqlite3, name):
            connection.setlimit(getattr(sqlite3, name), value)
    for name, on in _SWITCHES.items():
        if hasattr(connection, "setconfig") and hasattr(sqlite3, name):
            connection.setconfig(getattr(sqlite3, name), on)
    for setting in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {setting}").close()
    connection.set_progress_handler(limit.is_over, _STEPS_BETWEEN_LOOKS)
    return texts


def restrict(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """From now on only SELECT from these tables works, and the few pragmas that look."""
    readable = frozenset(tables)

    def authorize(action: int, first: str | None, second: str | None, database: str | None, inside: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            allowed = first in readable
        elif action == sqlite3.SQLITE_FUNCTION:
            allowed = (second or "").lower() not in _REFUSED_FUNCTIONS
        elif action == sqlite3.SQLITE_PRAGMA:
            allowed = (first or "").lower() in _ALLOWED_PRAGMAS
        else:
            allowed = action == sqlite3.SQLITE_SELECT
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)


def plain_tables(connection: sqlite3.Connection, label: str) -> Mapping[str, frozenset[str]]:
    """The columns of every plain table.

    Raises:
        TraceError: something else stands where nsys puts a table, or the schema is absurdly large.
    """
    tables: dict[str, frozenset[str]] = {}
    objects = connection.execute(
        "SELECT name, type, rootpage, sql FROM sqlite_master LIMIT ?", (_MAX_TABLES + 1,)
    ).fetchall()
    if len(objects) > _MAX_TABLES:
        raise TraceError(f"{label}: holds more than {_MAX_TABLES:,} tables; an nsys export has some dozens.", _CHANGED)
    for name, kind, root, sql in objects:
        if kind not in ("table", "view") or str(name).startswith("sqlite_"):
            continue
        is_plain = kind == "table" and bool(root) and _PLAIN_TABLE.match(str(sql)) is not None
        if kind == "table" and _CHECK.search(_QUOTED.sub(" ", str(sql))):  # would be run by a check of the structure
            raise TraceError(
                f"{label}: table {str(name)[:80]!r} has a CHECK constraint, and nsys writes none.", _CHANGED
            )
        columns = connection.execute(f"PRAGMA table_xinfo({quoted(str(name))})").fetchall() if is_plain else []
        computed = [str(row[1]) for row in columns if row[6]]
        if is_plain and not computed:
            tables[str(name)] = frozenset(str(row[1]) for row in columns)
        elif computed or is_nsys_table(str(name)):
            found = f"a table with a computed column ({computed[0][:60]!r})" if computed else _kind(kind)
            raise TraceError(
                f"{label}: holds {found} named {str(name)[:80]!r}, where nsys writes a plain table.", _CHANGED
            )
    return tables


_CHANGED = "This file was changed after the export. Export the report again."


def _kind(kind: str) -> str:
    return "a view" if kind == "view" else "a virtual table"


def quoted(identifier: str) -> str:
    """An identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'
