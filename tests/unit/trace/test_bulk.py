"""The fast way of reading large tables against the plain one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler import progress
from profiler.errors import TraceError
from profiler.trace import bulk, database, open_trace
from profiler.trace.arrays import MISSING
from profiler.trace.database import DURATION_BITS, Database
from tests.support.make_trace import simple

INTEGERS = st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1), st.integers(-3, 3))


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_LARGE_TABLE", 0)
    monkeypatch.setattr(bulk, "_BATCH_ROWS", 7)
    monkeypatch.setattr(bulk, "_SAMPLED_ROWS", 3)


def table(
    path: Path, rows: list[tuple[object, ...]], columns: str = "a INTEGER, b INTEGER, c TEXT", options: str = ""
) -> Path:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"CREATE TABLE StringIds ({columns}) {options}")
        connection.executemany(f"INSERT INTO StringIds VALUES ({','.join('?' * len(columns.split(',')))})", rows)
    connection.close()
    return path


@given(st.lists(st.tuples(INTEGERS, INTEGERS, st.one_of(st.none(), st.text(max_size=3))), max_size=60))
def test_fast_and_plain_reading_agree(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]) -> None:
    found = Database(table(tmp_path_factory.getbasetemp() / "agree.sqlite", rows), "agree")
    try:
        for where in ("", "b > 0"):
            fast, plain = (
                found._many_integers("StringIds", ["a", "b"], where),
                found._few_integers("StringIds", ["a", "b"], where, ()),
            )
            if len(rows) > 1:
                assert fast is not None
            for column in fast or {}:
                assert fast is not None and fast[column].tolist() == plain[column].tolist()
        codes, texts = found.texts("StringIds", "c")
        if len(codes):
            assert [texts[c] if c >= 0 else None for c in codes] == [r[2] for r in rows]
        else:
            assert all(r[2] is None for r in rows)
    finally:
        found.close()


def mostly_one(*others: int | None) -> st.SearchStrategy[list[tuple[object, ...]]]:
    """Rows of which the second column is 1, but for some."""
    row = st.tuples(st.one_of(st.just(7), INTEGERS), st.sampled_from([1, 1, 1, 1, 1, *others]), st.none())
    return st.lists(row, min_size=10, max_size=90)


@given(mostly_one(2, None))
def test_a_column_with_one_value_and_the_rows_that_differ_are_read_right(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    found = Database(table(tmp_path_factory.getbasetemp() / "constant.sqlite", rows), "constant")
    try:
        for where in ("", "b IS NOT NULL", "a = 7"):
            for columns in (["a", "b"], ["b", "a"], ["b"]):
                fast = found._many_integers("StringIds", columns, where)
                plain = found._few_integers("StringIds", columns, where, ())
                assert fast is not None and {c: v.tolist() for c, v in fast.items()} == {
                    c: v.tolist() for c, v in plain.items()
                }
    finally:
        found.close()


def test_a_column_with_one_value_is_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    batches = bulk._batches
    monkeypatch.setattr(bulk, "_batches", lambda uri, sql, *rest: asked.append(sql) or batches(uri, sql, *rest))
    found = Database(table(tmp_path / "one.sqlite", [(n, 5, None) for n in range(60)]), "one")
    assert found.integers("StringIds", ["b", "a"])["b"].tolist() == [5] * 60
    found.close()
    some_rows, *parts = [sql.partition(" FROM ")[0] for sql in asked]
    assert some_rows == 'SELECT "b", "a"'
    assert set(parts) == {'SELECT CASE WHEN "b" IS 5 AND ifnull("a", -1) >= 0 THEN "a" ELSE -1 - rowid END'}


@given(mostly_one(2, 75, None))
def test_rows_are_kept_apart_in_the_same_pass(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    found = Database(table(tmp_path_factory.getbasetemp() / "apart.sqlite", rows), "apart")
    try:
        for columns in (["a", "b"], ["b", "a"], ["b"]):
            read = found.with_text_places("StringIds", columns, "c", "", ("b", 75))
            assert read is not None
            for part, where in zip(read, ("b IS NOT 75", "b = 75"), strict=True):
                plain = found._few_integers("StringIds", columns, where, ())
                assert {c: part[c].tolist() for c in columns} == {c: v.tolist() for c, v in plain.items()}
                assert set(part["c"].tolist()) <= {MISSING}
    finally:
        found.close()


@pytest.mark.parametrize("bad", ["text", 2.5, b"blob"])
@pytest.mark.parametrize("place", [0, 40])
def test_a_value_that_is_no_whole_number_is_an_error_whichever_way_it_is_read(
    tmp_path: Path, bad: object, place: int
) -> None:
    rows: list[tuple[object, ...]] = [(n, n, None) for n in range(60)]
    rows[place] = (bad, 0, None)
    found = Database(table(tmp_path / "bad.sqlite", rows), "bad")
    with pytest.raises(TraceError, match="column a: found"):
        found.integers("StringIds", ["a", "b"])
    found.close()


@pytest.mark.parametrize(
    ("columns", "options"),
    [("a INTEGER, rowid INTEGER, c TEXT", ""), ("a INTEGER PRIMARY KEY, b INTEGER, c TEXT", "WITHOUT ROWID")],
)
def test_a_table_without_usable_rowids_is_read_plainly(tmp_path: Path, columns: str, options: str) -> None:
    found = Database(table(tmp_path / "odd.sqlite", [(n, None, "x") for n in range(20)], columns, options), "odd")
    assert found._many_integers("StringIds", ["a"], "") is None
    assert found.integers("StringIds", ["a"])["a"].tolist() == list(range(20))
    found.close()


def test_rowids_far_apart_do_not_ask_for_memory(tmp_path: Path) -> None:
    path = table(tmp_path / "far.sqlite", [(n, n, None) for n in range(20)])
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE StringIds SET rowid = 4000000000000000000 WHERE a = 19")
    connection.close()
    found = Database(path, "far")
    assert found.integers("StringIds", ["a"])["a"].tolist() == list(range(20))
    found.close()


def test_reading_leaves_file_and_folder_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "odd name %41 #?"
    folder.mkdir()
    path = table(folder / "a.sqlite", [(n, n, "t") for n in range(50)])
    before = path.read_bytes()
    found = Database(path, "odd")
    assert found._many_integers("StringIds", ["a"], "") is not None
    found.close()
    assert path.read_bytes() == before and [p.name for p in folder.iterdir()] == ["a.sqlite"]


@pytest.mark.parametrize("ends", [1, 5_000])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2**41), st.one_of(st.none(), st.integers(-5, 2**41)), st.integers(-1, 2**23)),
        min_size=2,
        max_size=40,
    )
)
def test_packed_durations_are_right_or_not_given(
    ends: int, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int | None, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "packed.sqlite"
    made = [(s, None if d is None else s + d, k) for s, d, k in rows]
    found = Database(table(path, made, '"start" INTEGER, "end" INTEGER, k INTEGER'), "packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_ENDS", ends)
        packed = found.packed_durations("StringIds", "k")
    found.close()
    fits = all(d is not None and 0 <= d < 2**DURATION_BITS and 0 <= k <= 2**22 for _, d, k in rows)
    assert (packed is not None) == fits
    if packed is not None:
        keys, first, last = packed
        assert sorted(keys.tolist()) == sorted((k << DURATION_BITS) + (d or 0) for _, d, k in rows)
        assert (first, last) == (min(s for s, _, _ in rows), max(s + (d or 0) for s, d, _ in rows))


@pytest.mark.parametrize("bad", ["text", 2.5, b"blob", None])
@pytest.mark.parametrize("place", [0, 30, 59])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_packed_durations_of_odd_values_are_not_given(
    bad: object, place: int, column: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_ENDS", 5)
    rows: list[list[object]] = [[n, n + 1, 3] for n in range(60)]
    rows[place][column] = bad
    found = Database(table(tmp_path / "odd.sqlite", [tuple(r) for r in rows], '"start", "end", k'), "odd")
    assert found.packed_durations("StringIds", "k") is None
    found.close()


def test_statistics_are_the_same_read_fast(tmp_path: Path) -> None:
    from profiler.analysis.run.finding import find_inferences  # noqa: PLC0415 - what is tested beside
    from profiler.analysis.run.kernels import kernel_statistics, summarise_kernels  # noqa: PLC0415

    with open_trace(simple(5, 6).write(tmp_path / "a.sqlite")) as trace:
        assert trace.events.kernel_durations() is not None
        whole, alone = summarise_kernels(trace, find_inferences(trace)), kernel_statistics(trace)
    assert (alone.count, alone.total_ns, alone.wall_ns) == (whole.count, whole.total_ns, whole.wall_ns)
    for frame, other in ((alone.by_name, whole.by_name), (alone.by_category, whole.by_category)):
        pd.testing.assert_frame_equal(frame.drop(columns="per_inference"), other.drop(columns="per_inference"))


def test_progress_is_reported_in_the_asking_thread(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    found = Database(table(tmp_path / "p.sqlite", [(n, n, None) for n in range(50)]), "p")
    with progress.listening(lambda what, share: seen.append((what, share))):
        found.integers("StringIds", ["a"])
    found.close()
    assert seen[-1] == ("StringIds", 1.0)
