"""The middle of a very large trace as a small trace: for a first look while nobody wants to wait for all of it.

An excerpt is the host activity of a stretch of time in the middle of the recording and the GPU work that it launched, as rows of the
trace in a private temporary file. NVTX ranges count only where all of them lies inside, so that no inference is cut. Nothing is
estimated from it: every figure is that of the excerpt, and says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from profiler import progress
from profiler.errors import TraceError
from profiler.files import make_private_folder, remove_private_folder
from profiler.trace.attached import attached
from profiler.trace.database import Database
from profiler.trace.files import TraceFile
from profiler.trace.guard import TimeLimit, query_seconds, quoted
from profiler.trace.nvtx import KINDS
from profiler.trace.schema import READ

KERNELS, CALLS, RANGES = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_WORK = (KERNELS, GRAPHS, "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
_SAMPLES = ("GPU_METRICS", "GENERIC_EVENTS")
_NAME_COLUMNS = ("demangledName", "shortName", "mangledName", "nameId", "textId", "jsonTextId")
_MARK = 34  # an NVTX mark: a moment, not a range
LARGE_ROWS = 10_000_000
"""Kernels, API calls and NVTX ranges together, from which a trace is large: about 2.7 million kernels."""
_WANTED_ROWS = 1_500_000
_LOOKS = 10_000
_MARGIN_NS = 1_000_000  # GPU metrics are sampled once in up to a millisecond
_MAX_NS = 1 << 61  # a time beyond is a mark or damage
_STEPS_BETWEEN_LOOKS = 1_000_000


@dataclass(frozen=True)
class Excerpt:
    """What part of a trace was read.

    Attributes:
        kernels, of_kernels: kernels (or whole graphs, in a trace without kernels) in the excerpt and in the trace.
        start_ns, end_ns: host activity between these times of the trace's clock.
        what: is counted, in words.
    """

    kernels: int
    of_kernels: int
    start_ns: int
    end_ns: int
    what: str = "kernels"

    @property
    def statement(self) -> str:
        share = 100.0 * self.kernels / max(self.of_kernels, 1)
        return (
            f"Excerpt: {self.kernels:,} of {self.of_kernels:,} {self.what} ({share:.2g} %), those launched in "
            f"{(self.end_ns - self.start_ns) / 1e9:.3g} s in the middle of the recording. Every figure is of this excerpt alone."
        )


def is_large(database: Database) -> bool:
    """Whether a trace has so many rows that an excerpt of it is worth making. Counts by row numbers, at once."""
    return sum(_rows(database, table) for table in (KERNELS, GRAPHS, CALLS, RANGES)) > LARGE_ROWS


def excerpt_of(file: TraceFile, database: Database) -> tuple[TraceFile, Excerpt] | None:
    """Write the excerpt of a large trace to a private temporary folder.

    Args:
        file, database: the trace, opened; its views and virtual tables were refused.

    Returns:
        The file that holds the excerpt, with the same source, and what it holds. None where the trace is not large, or has no GPU
        work in its middle that could be read.

    Raises:
        TraceError: it cannot be read or written.
    """
    if not is_large(database):
        return None
    work = KERNELS if not database.is_empty(KERNELS) else GRAPHS
    window = _window(database, work)
    if window is None:
        return None
    folder = make_private_folder("excerpt")
    try:
        target = folder / "trace.sqlite"
        with _attached(file, target, database.label) as connection:
            _Copy(connection, database, window).run()
            held = connection.execute(f"SELECT count(*) FROM main.{work}").fetchone()[0]  # noqa: S608 - one of two literals
        if not held:
            remove_private_folder(folder)
            return None
        made = replace(file, database=target, write_ahead_log=False, _workdir=folder)
        return made, Excerpt(int(held), database.count(work), *window, "kernels" if work == KERNELS else "CUDA graphs")
    except BaseException:
        remove_private_folder(folder)
        raise


def _rows(database: Database, table: str) -> int:
    bounds = database.rowids(table) if database.has(table) else None
    return bounds[1] - bounds[0] + 1 if bounds else 0


def _window(database: Database, work: str) -> tuple[int, int] | None:
    """The time in the middle of the recording in which the wanted share of the work started, by evenly spaced rows."""
    bounds = database.rowids(work) if database.has(work, "start", "end") else None
    if bounds is None:
        return None
    rowids = np.unique(np.linspace(bounds[0], bounds[1], _LOOKS).astype(np.int64)).tolist()
    starts: list[int] = []
    for first in range(0, len(rowids), 500):
        part = rowids[first : first + 500]
        sql = f'SELECT "start" FROM {work} WHERE rowid IN ({",".join("?" * len(part))})'  # noqa: S608 - literals and marks
        starts += [start for (start,) in database.rows(sql, part) if isinstance(start, int) and abs(start) < _MAX_NS]
    if not starts:
        return None
    share = min(_WANTED_ROWS / sum(_rows(database, table) for table in (KERNELS, GRAPHS, CALLS, RANGES)), 1.0)
    ordered = sorted(starts)
    first, last = (min(int(len(ordered) * q), len(ordered) - 1) for q in (0.5 - share / 2, 0.5 + share / 2))
    return ordered[first], ordered[max(last, min(first + 1, len(ordered) - 1))]


@contextmanager
def _attached(file: TraceFile, target: Path, label: str) -> Iterator[sqlite3.Connection]:
    """A new database ``main`` with the trace as ``source``."""
    limit = TimeLimit(query_seconds())
    try:
        with attached(file.database, target) as connection:
            connection.set_progress_handler(limit.is_over, _STEPS_BETWEEN_LOOKS)
            limit.start()
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise TraceError(
            f"{label}: no excerpt of it could be made ({error}).",
            "Its temporary folder may be full (TMPDIR says where), or the trace is damaged: copy or export it again.",
        ) from error


class _Copy:
    """One making of an excerpt."""

    def __init__(self, connection: sqlite3.Connection, database: Database, window: tuple[int, int]) -> None:
        self._db, self._source = connection, database
        self._start, self._end = window
        self._launches: tuple[int, int] | None = None  # smallest and largest correlation id of the calls that are kept
        self._end_of_work = self._end

    def run(self) -> None:
        timed = (CALLS, RANGES, *_WORK, *_SAMPLES)
        others = [t for t in READ if t not in timed and t != "StringIds"]
        tables = [t for t in (CALLS, *_WORK, RANGES, *_SAMPLES, *others) if self._source.has(t)]
        self._db.execute("BEGIN")
        for at, table in enumerate(tables):
            progress.report(f"excerpt of {table}", at / len(tables))
            where, values = self._where(table)
            # columns as they are, without the keys and checks that the file's own statement could hold
            self._db.execute(
                f"CREATE TABLE main.{quoted(table)} AS SELECT * FROM source.{quoted(table)} NOT INDEXED {where}",  # noqa: S608 - quoted
                values,
            )
            if table == CALLS:
                self._note_launches()
            elif table in _WORK and self._source.has(table, "end"):
                sql = f'SELECT max("end") FROM main.{quoted(table)} WHERE "end" < {_MAX_NS}'  # noqa: S608 - quoted
                latest = self._db.execute(sql).fetchone()[0]
                self._end_of_work = max(self._end_of_work, latest if isinstance(latest, int) else 0)
        self._copy_strings(tables)
        self._db.execute("COMMIT")

    def _where(self, table: str) -> tuple[str, tuple[int, ...]]:
        columns = self._source.tables[table]
        if table in _WORK and self._launches is not None and "correlationId" in columns:
            launched = (
                "(correlationId, globalPid) IN (SELECT correlation, process FROM launched)"
                if "globalPid" in columns
                else "correlationId IN (SELECT correlation FROM launched)"
            )
            # the numbers alone leave out nearly all rows, at little cost
            return f"WHERE correlationId BETWEEN ? AND ? AND {launched}", self._launches
        if table == RANGES and {"start", "end"} <= columns:
            whole = '"start" >= ? AND "end" <= ?'
            if "eventType" in columns:  # other events name domains and threads
                whole = f"eventType NOT IN ({','.join(map(str, (*KINDS, _MARK)))}) OR ({whole})"
            return f"WHERE {whole}", (self._start, self._end)
        if table in _SAMPLES:
            clock = next((c for c in ("timestamp", "rawTimestamp") if c in columns), None)
            margins = (self._start - _MARGIN_NS, self._end_of_work + _MARGIN_NS)
            return (f"WHERE {clock} BETWEEN ? AND ?", margins) if clock else ("", ())
        if (table == CALLS or table in _WORK) and "start" in columns:
            return 'WHERE "start" BETWEEN ? AND ?', (self._start, self._end)
        return "", ()

    def _note_launches(self) -> None:
        if not self._source.has(CALLS, "correlationId", "globalTid", "start"):
            return
        self._db.execute(
            "CREATE TEMP TABLE launched (correlation, process, PRIMARY KEY (correlation, process)) WITHOUT ROWID"
        )
        self._db.execute(
            "INSERT OR IGNORE INTO launched SELECT correlationId, globalTid & ~16777215 FROM main.CUPTI_ACTIVITY_KIND_RUNTIME "
            "WHERE typeof(correlationId) = 'integer' AND typeof(globalTid) = 'integer'"
        )
        low, high = self._db.execute("SELECT min(correlation), max(correlation) FROM launched").fetchone()
        if low is not None:
            self._launches = (low, high)

    def _copy_strings(self, tables: list[str]) -> None:
        if not self._source.has("StringIds", "id", "value"):
            return
        progress.report("excerpt of StringIds", 0.95)
        used = [
            f"SELECT {column} FROM main.{quoted(table)}"  # noqa: S608 - quoted
            for table in tables
            for column in _NAME_COLUMNS
            if self._source.has(table, column)
        ]
        self._db.execute("CREATE TABLE main.StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        if used:
            self._db.execute(
                "INSERT OR IGNORE INTO main.StringIds SELECT id, value FROM source.StringIds NOT INDEXED WHERE id IN "  # noqa: S608 - quoted
                f"({' UNION '.join(used)}) AND typeof(id) = 'integer'"
            )
