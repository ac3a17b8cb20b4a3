"""Names and texts that would not fit into memory, and expressions in the schema that would be run: refused, naming the limit."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from profiler.errors import TraceError
from profiler.trace import database, guard, open_trace
from tests.support.make_trace import TraceMaker, simple


@pytest.mark.parametrize("large_tables", [False, True])
@pytest.mark.parametrize("where", ["kernel", "registered range", "range", "call"])
def test_an_endless_name_is_refused(
    where: str, large_tables: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_NAME", 1_000)
    monkeypatch.setattr(database, "_LARGE_TABLE", 0 if large_tables else 50_000)
    maker, name = simple(), "x" * 1_001
    if where == "kernel":
        maker.kernel(10**6, 5, name=name)
    elif where == "call":
        maker.launch(10**6, name=name)
    elif where == "range":
        maker.add("NVTX_EVENTS", start=10**6, end=10**6 + 5, eventType=59, text=name)
    else:
        maker.add("NVTX_EVENTS", start=10**6, end=10**6 + 5, eventType=59, textId=maker.string(name))
    with (
        open_trace(maker.write(tmp_path / "t.sqlite")) as trace,
        pytest.raises(TraceError, match="a name of 1,001 characters, and at most 1,000 are read"),
    ):
        _ = trace.kernels


def test_names_that_together_take_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_MAX_TEXTS", 10_000)
    maker = TraceMaker()
    for n in range(100):
        maker.kernel(10 * n, 5, name=f"kernel_{n}_" + "x" * 100)
    with (
        open_trace(maker.write(tmp_path / "t.sqlite")) as trace,
        pytest.raises(TraceError, match="more than 10,000 bytes"),
    ):
        _ = trace.kernels


@pytest.mark.parametrize("large_tables", [False, True])
def test_names_in_the_ranges_that_together_take_too_much_are_refused(
    large_tables: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_MAX_TEXTS", "_MAX_TEXTS_OF_A_LARGE_TABLE"):
        monkeypatch.setattr(guard, limit, 10_000_000)
    monkeypatch.setattr(database, "_LARGE_TABLE", 0 if large_tables else 50_000)
    maker = simple()
    for n in range(1_100):
        maker.add("NVTX_EVENTS", start=10 * n, end=10 * n + 5, eventType=59, text=f"step {n:8} " + "x" * 10_000)
    with (
        open_trace(maker.write(tmp_path / "t.sqlite")) as trace,
        pytest.raises(TraceError, match="more than 10,000,000 bytes"),
    ):
        _ = trace.nvtx_ranges


def test_a_text_that_repeats_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_MAX_TEXTS", 1_000_000)
    maker = simple()
    for n in range(2_000):
        maker.add("NVTX_EVENTS", start=10 * n, end=10 * n + 5, eventType=59, text="x" * 10_000)
    with open_trace(maker.write(tmp_path / "t.sqlite")) as trace:
        assert (trace.nvtx_ranges["text"] == "x" * 10_000).sum() == 2_000


@pytest.mark.parametrize("table", ["NVTX_EVENTS", "somebody's"])
@pytest.mark.parametrize("case", ["check", "computed"])
def test_expressions_in_a_schema_are_refused(case: str, table: str, tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    endless = "length(hex(hex(hex(a)))) > 0"
    column = f"b CHECK ({endless})" if case == "check" else f"b AS ({endless})"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f'DROP TABLE IF EXISTS "{table}"')
        db.execute(f'CREATE TABLE "{table}" (a, {column})')
    with pytest.raises(TraceError, match="changed after the export"):
        open_trace(path)


def test_the_word_check_in_a_name_or_a_comment_is_none(tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE other (\"check\" TEXT DEFAULT 'check', [check it] TEXT) -- check (this)")
    with open_trace(path) as trace:
        assert trace.kernel_count == 12
