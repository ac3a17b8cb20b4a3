"""What reading the columns of a large trace takes at least: ``python -m benchmarks.reading TRACE`` prints a table.

CPU seconds, the best of three: counting the rows in SQLite; the largest value of every column in SQLite, which unpacks them all and
hands over one row; all values through ADBC on one thread; and the reading of :mod:`profiler.trace.bulk`, in which columns with one value
stay in SQLite.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from profiler.trace import arrow
from profiler.trace.database import Database

TABLES = {
    "CUPTI_ACTIVITY_KIND_KERNEL": ("start", "end", "globalPid", "correlationId", "deviceId", "demangledName"),
    "NVTX_EVENTS": ("start", "end", "eventType", "globalTid", "domainId", "jsonTextId", "textId"),
    "CUPTI_ACTIVITY_KIND_RUNTIME": ("start", "end", "globalTid", "correlationId", "nameId"),
}
"""The columns that comparing two traces reads of the three largest tables."""
_TIMES, _BATCH_ROWS = 3, 1 << 16


def measured(path: Path) -> list[list[object]]:
    """A row a table: its name, rows, columns, and CPU seconds of the four readings."""
    with contextlib.closing(Database(path, path.name)) as found, contextlib.closing(sqlite3.connect(path)) as plain:
        wanted = {table: [c for c in columns if found.has(table, c)] for table, columns in TABLES.items()}
        return [
            [table, found.count(table), len(columns), *map(_cpu_s, _readings(found, plain, path, table, columns))]
            for table, columns in wanted.items()
            if columns
        ]


def _readings(
    found: Database, plain: sqlite3.Connection, path: Path, table: str, columns: list[str]
) -> tuple[Callable[[], object], ...]:
    names, largest = (", ".join(form.format(c) for c in columns) for form in ('"{}"', 'max("{}")'))
    return (
        lambda: plain.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone(),
        lambda: plain.execute(f"SELECT {largest} FROM {table}").fetchone(),
        lambda: _through_adbc(path, f"SELECT {names} FROM {table}"),
        lambda: found.integers(table, columns),
    )


def _through_adbc(path: Path, sql: str) -> int:
    with arrow.opened(f"file:{path}?mode=ro") as connection:
        return sum(len(batch) for batch in connection.batches(sql, _BATCH_ROWS))


def _cpu_s(reading: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TIMES):
        begun = time.process_time()
        reading()
        taken.append(time.process_time() - begun)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("trace", type=Path, help="an nsys SQLite export, unpacked")
    rows = measured(parser.parse_args().trace)
    rows.append(["together", "", "", *(sum(float(str(row[k])) for row in rows) for k in range(3, 7))])
    headers = ("table", "rows", "columns", "count(*)", "largest values", "through ADBC", "as the commands read")
    print(tabulate(rows, headers=headers, floatfmt=".2f", intfmt=",", tablefmt="github"))


if __name__ == "__main__":
    main()
