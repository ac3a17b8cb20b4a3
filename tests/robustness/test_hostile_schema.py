"""Files that were made to break the reader: what stands in place of a table, and what SQL could do there."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from profiler.errors import TraceError
from profiler.trace import open_trace
from tests.support.exercise import exercise
from tests.support.make_trace import simple
from tests.support.plain_sql import KERNELS


def _changed(path: Path, *statements: str, writable_schema: bool = False) -> Path:
    simple().write(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        if writable_schema:
            db.execute("PRAGMA writable_schema=ON")
        db.executescript(f"BEGIN; {'; '.join(statements)}; COMMIT")
    return path


REFUSED = {
    "view": (f"ALTER TABLE {KERNELS} RENAME TO real", f"CREATE VIEW {KERNELS} AS SELECT * FROM real"),
    "view in small letters": (
        f"ALTER TABLE {KERNELS} RENAME TO real",
        f"CREATE VIEW {KERNELS.lower()} AS SELECT * FROM real",
    ),
    "endless view": (
        "DROP TABLE NVTX_EVENTS",
        "CREATE VIEW NVTX_EVENTS AS WITH RECURSIVE n(start) AS (SELECT 1 UNION ALL SELECT start + 1 FROM n) SELECT start, 59 FROM n",
    ),
    "virtual table": (
        "DROP TABLE NVTX_EVENTS",
        "CREATE VIRTUAL TABLE NVTX_EVENTS USING fts5(start, end, eventType, text)",
    ),
    "computed column": (
        "DROP TABLE NVTX_EVENTS",
        "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER AS (start + 1), eventType INTEGER, text AS (hex(zeroblob(900000000))))",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_table_is_refused_where_nsys_has_one(case: str, tmp_path: Path) -> None:
    path = _changed(tmp_path / "t.sqlite", *REFUSED[case])
    with pytest.raises(TraceError, match="where nsys writes a plain table"):
        open_trace(path)


def test_a_virtual_table_that_is_declared_as_a_table_is_refused(tmp_path: Path) -> None:
    path = _changed(
        tmp_path / "t.sqlite",
        "UPDATE sqlite_master SET sql = 'CREATE/**/VIRTUAL TABLE NVTX_EVENTS USING fts5(start)' WHERE name = 'NVTX_EVENTS'",
        writable_schema=True,
    )
    with pytest.raises(TraceError):
        open_trace(path)


def test_views_of_the_users_own_do_no_harm_and_are_not_read(tmp_path: Path) -> None:
    path = _changed(
        tmp_path / "t.sqlite",
        f"CREATE VIEW my_kernels AS SELECT * FROM {KERNELS}",
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        f"CREATE TRIGGER t AFTER INSERT ON {KERNELS} BEGIN DELETE FROM {KERNELS}; END",
    )
    assert len(exercise(path)["kernels"]) == 12
    with open_trace(path) as trace:
        assert not {"my_kernels", "endless"} & set(trace.database.tables)
        with pytest.raises(TraceError, match=r"prohibited|not authorized"):
            trace.database.rows("SELECT * FROM my_kernels")


def test_an_index_of_the_users_own_does_not_decide_a_count(tmp_path: Path) -> None:
    """An index that holds fewer entries than its table: SQLite counts whichever is smaller."""
    path = _changed(tmp_path / "t.sqlite", f"CREATE INDEX few ON {KERNELS} (start) WHERE start > 20000")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'few'", (f"CREATE INDEX few ON {KERNELS} (start)",))
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute(f"SELECT count(*) FROM {KERNELS}").fetchone()[0] < 12
    try:
        found = exercise(path)
    except TraceError as error:
        assert "damaged" in error.message
    else:
        assert found["describe"]["kernels"] == 12


def test_more_tables_than_any_export_has(tmp_path: Path) -> None:
    path = _changed(tmp_path / "t.sqlite", *(f"CREATE TABLE t{i} (x)" for i in range(5_001)))
    with pytest.raises(TraceError, match="more than 5,000 tables"):
        open_trace(path)


FORBIDDEN = [
    "CREATE TABLE x (y)",
    f"INSERT INTO {KERNELS} (start, end) VALUES (1, 2)",
    f"DELETE FROM {KERNELS}",
    "ATTACH DATABASE '/tmp/other' AS other",
    "SELECT load_extension('/tmp/evil.so')",
    "PRAGMA writable_schema=ON",
    "PRAGMA trusted_schema=ON",
    "PRAGMA query_only=OFF",
    "SELECT sql FROM sqlite_master",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "SELECT randomblob(900000000)",
    "SELECT zeroblob(900000000)",
    "VACUUM INTO '/tmp/x.sqlite'",
    "CREATE TEMP TABLE x (y)",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_only_select_from_tables_works_on_the_connection(sql: str, tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    before = path.read_bytes()
    with (
        open_trace(path) as trace,
        pytest.raises(TraceError, match=r"not authorized|prohibited|interrupted|cannot be read"),
    ):
        trace.database.rows(sql)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["t.sqlite"]
