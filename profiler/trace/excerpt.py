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
from profiler.trace.arrays import MAX_NS
from profiler.trace.database import Database
from profiler.trace.files import TraceFile
from profiler.trace.guard import quoted
from profiler.trace.schema import API_CALLS, GRAPHS, KERNELS, NVTX, READ, STRINGS
from profiler.trace.subset import Window, attached, note_strings

_NAME_COLUMNS = ("demangledName", "shortName", "mangledName", "nameId", "textId", "jsonTextId")
LARGE_ROWS = 10_000_000
"""Kernels, API calls and NVTX ranges together, from which a trace is large: about 2.7 million kernels."""
_WANTED_ROWS = 1_500_000
_LOOKS = 10_000


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
    return sum(_rows(database, table) for table in (KERNELS, GRAPHS, API_CALLS, NVTX)) > LARGE_ROWS


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
            _copy(connection, database, Window(connection, database.tables, *window, whole_ranges=True))
            kept = connection.execute(f"SELECT count(*) FROM main.{work}").fetchone()[0]  # noqa: S608 - one of two literals
        database.check_is_at_path()
        if not kept:
            remove_private_folder(folder)
            return None
        made = replace(file, database=target, write_ahead_log=False, _workdir=folder)
        return made, Excerpt(int(kept), database.count(work), *window, "kernels" if work == KERNELS else "CUDA graphs")
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
        starts += [start for (start,) in database.rows(sql, part) if isinstance(start, int) and abs(start) < MAX_NS]
    if not starts:
        return None
    share = min(_WANTED_ROWS / sum(_rows(database, table) for table in (KERNELS, GRAPHS, API_CALLS, NVTX)), 1.0)
    ordered = sorted(starts)
    first, last = (min(int(len(ordered) * q), len(ordered) - 1) for q in (0.5 - share / 2, 0.5 + share / 2))
    return ordered[first], ordered[max(last, min(first + 1, len(ordered) - 1))]


@contextmanager
def _attached(file: TraceFile, target: Path, label: str) -> Iterator[sqlite3.Connection]:
    """A new database ``main`` with the trace as ``source``."""
    try:
        with attached(file.database, target) as connection:
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise TraceError(
            f"{label}: no excerpt of it could be made ({error}).",
            "Its temporary folder may be full (TMPDIR says where), or the trace is damaged: copy or export it again.",
        ) from error


def _copy(connection: sqlite3.Connection, database: Database, window: Window) -> None:
    columns = database.tables
    tables = window.in_order(t for t in READ if t != STRINGS and database.has(t))
    connection.execute("BEGIN")
    for at, table in enumerate(tables):
        progress.report(f"excerpt of {table}", at / len(tables))
        condition, values = window.condition(table)
        # columns as they are, without the keys and checks that the file's own statement could hold
        connection.execute(
            f"CREATE TABLE main.{quoted(table)} AS SELECT * FROM source.{quoted(table)} NOT INDEXED "  # noqa: S608 - quoted
            f"{f'WHERE {condition}' if condition else ''}",
            values,
        )
        window.copied(table)
    if database.has(STRINGS, "id", "value"):
        progress.report(f"excerpt of {STRINGS}", 0.95)
        note_strings(connection, "used", [(t, c) for t in tables for c in _NAME_COLUMNS if c in columns[t]])
        connection.execute("CREATE TABLE main.StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute(
            "INSERT OR IGNORE INTO main.StringIds SELECT id, value FROM source.StringIds NOT INDEXED "
            "WHERE id IN (SELECT id FROM used) AND typeof(id) = 'integer'"
        )
    connection.execute("COMMIT")
