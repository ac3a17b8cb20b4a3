"""A part of a trace as a new database beside it, which is only read: what an excerpt and a sanitised copy have in common."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from profiler.trace.arrays import MAX_NS
from profiler.trace.guard import TimeLimit, query_seconds, quoted
from profiler.trace.nvtx import KINDS, MARK
from profiler.trace.schema import API_CALLS, GENERIC_EVENTS, GPU_METRICS, GPU_WORK, NVTX

SAMPLES = (GPU_METRICS, GENERIC_EVENTS)
_ENCODINGS = {2: "UTF-16le", 3: "UTF-16be"}
_STEPS_BETWEEN_LOOKS = 20_000
_MARGIN_NS = 1_000_000  # GPU metrics are sampled once in up to a millisecond


@contextmanager
def attached(source: Path, target: Path) -> Iterator[sqlite3.Connection]:
    """A new database ``main`` at ``target``, with the SQLite file ``source`` attached read-only as ``source``.

    All together may take as long as one query on a trace (:func:`profiler.trace.guard.query_seconds`).

    Raises:
        sqlite3.Error, OSError: one of them cannot be opened; "interrupted" where it takes too long.
    """
    with source.open("rb") as file:
        head = file.read(60).ljust(60, b"\0")
    # a database that was left in WAL mode is opened as it lies there: SQLite would otherwise create files beside it
    mode = f"mode=ro{'&immutable=1' if 2 in (head[18], head[19]) else ''}"
    uri = f"file:{quote(os.fsencode(target.absolute()))}"
    limit = TimeLimit(query_seconds())
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        encoding = _ENCODINGS.get(int.from_bytes(head[56:60], "big"), "UTF-8")
        # the encodings must agree; nothing in the source's schema is run, and its pages are not believed
        for setting in (
            f"encoding='{encoding}'",
            "journal_mode=OFF",
            "synchronous=OFF",
            "trusted_schema=OFF",
            "cell_size_check=ON",
            "mmap_size=0",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("ATTACH ? AS source", (f"file:{quote(os.fsencode(source.absolute()))}?{mode}",))
        connection.set_progress_handler(limit.is_over, _STEPS_BETWEEN_LOOKS)
        limit.start()
        yield connection


class Window:
    """Which rows of each table belong to a window of time.

    Host activity belongs to it when it starts in it; GPU work when it was launched in it, whenever it ran, as launches are asynchronous;
    samples of metrics for as long as that work ran. Copy the tables in the order of :meth:`in_order`, and call :meth:`copied` after each.

    Args:
        connection: see :func:`attached`.
        columns: the columns of each table of the source.
        whole_ranges: NVTX ranges belong to the window only where all of them lies in it; otherwise where a part does.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        columns: Mapping[str, Collection[str]],
        start_ns: int,
        end_ns: int,
        whole_ranges: bool,
    ) -> None:
        self._connection, self._columns = connection, columns
        self._start, self._end, self._whole = start_ns, end_ns, whole_ranges
        self._launches: tuple[int, int] | None = None  # smallest and largest correlation id of the calls that are kept
        self._end_of_work = end_ns

    @staticmethod
    def in_order(tables: Iterable[str]) -> list[str]:
        """The calls first, as work is known by them, and samples last."""
        ranks = {API_CALLS: 0, **dict.fromkeys(GPU_WORK, 1), **dict.fromkeys(SAMPLES, 3)}
        return sorted(tables, key=lambda table: ranks.get(table, 2))

    def condition(self, table: str) -> tuple[str, tuple[int, ...]]:
        """SQL that is true for the rows of the window, and its values; empty where all rows are kept."""
        columns = self._columns[table]
        if table in GPU_WORK and self._launches is not None and "correlationId" in columns:
            launched = (
                "(correlationId, globalPid) IN (SELECT correlation, process FROM launched)"
                if "globalPid" in columns
                else "correlationId IN (SELECT correlation FROM launched)"
            )
            # the numbers alone leave out nearly all rows, at little cost
            return f"correlationId BETWEEN ? AND ? AND {launched}", self._launches
        if table == NVTX and {"start", "end"} <= {*columns}:
            inside, values = '"start" >= ? AND "end" <= ?', (self._start, self._end)
            if not self._whole:
                inside, values = '"start" < ? AND coalesce("end", "start") > ?', (self._end, self._start)
            if "eventType" in columns:  # other events name domains and threads
                inside = f"eventType NOT IN ({','.join(map(str, (*KINDS, MARK)))}) OR ({inside})"
            return f"({inside})", values
        if table in SAMPLES:
            clock = next((c for c in ("timestamp", "rawTimestamp") if c in columns), None)
            times = (self._start - _MARGIN_NS, self._end_of_work + _MARGIN_NS)
            return (f"{clock} BETWEEN ? AND ?", times) if clock else ("", ())
        return ('"start" BETWEEN ? AND ?', (self._start, self._end)) if "start" in columns else ("", ())

    def copied(self, table: str) -> None:
        """Tell that a table is in the new database."""
        columns = self._columns[table]
        if table == API_CALLS and {"correlationId", "globalTid", "start"} <= {*columns}:
            self._connection.execute(
                "CREATE TEMP TABLE launched (correlation, process, PRIMARY KEY (correlation, process)) WITHOUT ROWID"
            )
            self._connection.execute(
                f"INSERT OR IGNORE INTO launched SELECT correlationId, globalTid & ~16777215 FROM main.{API_CALLS} "  # noqa: S608 - a literal
                "WHERE typeof(correlationId) = 'integer' AND typeof(globalTid) = 'integer'"
            )
            low, high = self._connection.execute("SELECT min(correlation), max(correlation) FROM launched").fetchone()
            self._launches = (low, high) if low is not None else None
        elif table in GPU_WORK and "end" in columns:
            sql = f'SELECT max("end") FROM main.{quoted(table)} WHERE "end" < {MAX_NS}'  # noqa: S608 - quoted
            latest = self._connection.execute(sql).fetchone()[0]
            self._end_of_work = max(self._end_of_work, latest if isinstance(latest, int) else 0)


def note_strings(connection: sqlite3.Connection, into: str, references: Iterable[tuple[str, str]]) -> None:
    """Collect in a temporary table ``into`` the ids of StringIds to which columns of the new database refer.

    Args:
        references: tables and their columns.
    """
    connection.execute(f"CREATE TEMP TABLE {into} (id INTEGER PRIMARY KEY)")
    for table, column in references:
        connection.execute(
            f"INSERT OR IGNORE INTO {into} SELECT {quoted(column)} FROM main.{quoted(table)} "  # noqa: S608 - quoted
            f"WHERE typeof({quoted(column)}) = 'integer'"
        )
