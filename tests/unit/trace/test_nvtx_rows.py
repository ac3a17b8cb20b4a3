"""The ranges of NVTX_EVENTS in one pass against table by table."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace import bulk, database, nvtx_rows
from profiler.trace.database import Database
from profiler.trace.nvtx import DOMAIN, MARK, PUSH_POP, START_END

COLUMNS = ("start", "end", "eventType", "globalTid", "domainId", "textId", "text", "jsonTextId")
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "", "a\0b", "ä"]))
ROWS = st.lists(
    st.tuples(
        st.integers(0, 99),
        st.one_of(st.none(), st.integers(0, 99)),
        st.sampled_from([PUSH_POP, PUSH_POP, START_END, MARK, DOMAIN]),
        st.sampled_from([1 << 24, (2 << 24) + 5, None]),
        st.sampled_from([0, 1, 2]),
        st.sampled_from([None, 1, 2, 9]),
        TEXTS,
        st.sampled_from([None, 7]),
    ),
    max_size=40,
)


def trace(path: Path, rows: list[tuple[object, ...]], columns: tuple[str, ...] = COLUMNS) -> Database:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        connection.executemany("INSERT INTO StringIds VALUES (?, ?)", [(1, "one"), (2, "two")])
        connection.execute(f"CREATE TABLE NVTX_EVENTS ({', '.join(map(database.quoted, columns))})")
        picked = [tuple(v for c, v in zip(COLUMNS, row) if c in columns) for row in rows]
        connection.executemany(f"INSERT INTO NVTX_EVENTS VALUES ({','.join('?' * len(columns))})", picked)
    connection.close()
    return Database(path, "ranges")


def read(found: Database) -> tuple[Any, ...]:
    rows = nvtx_rows.read_ranges(found, ["start", "end", "eventType", "globalTid", "domainId", "jsonTextId"])
    return {c: v.tolist() for c, v in rows.columns.items()}, rows.texts.to_list(), rows.domains


@pytest.mark.parametrize("missing", ["", "textId", "jsonTextId", "text", "eventType", "domainId"])
@pytest.mark.parametrize("few", [0, 500])
@given(rows=ROWS)
def test_one_pass_gives_what_many_give(
    missing: str, few: int, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    columns = tuple(c for c in COLUMNS if c != missing)
    with contextlib.closing(trace(tmp_path_factory.getbasetemp() / "ranges.sqlite", rows, columns)) as found:
        plain = read(found)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "_LARGE_TABLE", 0)
            patch.setattr(bulk, "_BATCH_ROWS", 7)
            patch.setattr(bulk, "_SAMPLED_ROWS", 3)
            patch.setattr(nvtx_rows, "_FEW_TEXTS", few)
            assert read(found) == plain


@pytest.mark.parametrize("column", ["start", "globalTid", "domainId", "textId", "jsonTextId"])
@pytest.mark.parametrize("kind", [PUSH_POP, DOMAIN])
def test_an_odd_value_is_said_as_the_plain_way_says_it(column: str, kind: int, tmp_path: Path) -> None:
    rows: list[list[object]] = [[n, n + 1, PUSH_POP, 1 << 24, 0, 1, None, None] for n in range(30)]
    rows[20] = [20, 21, kind, 1 << 24, 0, 1, "text", None]
    rows[20][COLUMNS.index(column)] = "odd"
    found = trace(tmp_path / "odd.sqlite", [tuple(row) for row in rows])
    said = []
    for least in (10**9, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "_LARGE_TABLE", least)
            try:
                said.append(read(found))
            except TraceError as error:
                said.append(error.message)
    assert said[0] == said[1]
    found.close()


def test_texts_of_a_large_table_that_are_too_long_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(n, n + 1, PUSH_POP, 1 << 24, 0, 1, "x" * 40 if n == 3 else None, None) for n in range(30)]
    found = trace(tmp_path / "long.sqlite", rows)
    monkeypatch.setattr(database, "_LARGE_TABLE", 0)
    monkeypatch.setattr(database, "MAX_NAME", 30)
    with pytest.raises(TraceError, match="holds a name of 40 characters"):
        read(found)
    found.close()
