"""Sound files with odd content: tables and columns missing, values at their limits. Each gives the right figures or a clear error."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.analysis.run.finding import find_inferences
from profiler.errors import ProfilerError, TraceError, UsageError
from profiler.trace import open_trace
from tests.support.exercise import exercise
from tests.support.make_trace import PID, SCHEMA, TID, TraceMaker, every_table
from tests.support.plain_sql import KERNELS, kernel_figures

OPTIONAL = [
    (table, column.split()[0])
    for table, columns in SCHEMA.items()
    for column in columns.split(", ")
    if (table, column.split()[0]) not in ((KERNELS, "start"), (KERNELS, "end"))
]


def check(path: Path) -> dict[str, Any]:
    """Compute everything; the kernels' figures must be those of plain SQL."""
    found, wanted = exercise(path), kernel_figures(path)
    summary = found["kernel summary"]
    assert not isinstance(summary, ProfilerError), summary
    assert (summary.count, summary.total_ns) == (wanted["count"], wanted["total_ns"])
    for row in summary.by_name.itertuples():
        if row.name in wanted["median_ns"]:
            assert row.median_ns == wanted["median_ns"][row.name]
    assert bool(wanted["dropped"]) == any(
        "have no valid start" in w.message and "kernels" in w.message for w in found["warnings"]
    )
    return found


@pytest.mark.parametrize("table", SCHEMA)
def test_any_table_may_be_missing(table: str, tmp_path: Path) -> None:
    maker = every_table()
    maker.without_tables = {table}
    found = check(maker.write(tmp_path / "t.sqlite"))
    assert found["describe"]["kernels"] == (0 if table == KERNELS else 12)
    if table == KERNELS:
        assert "recorded as single events" in found["warnings"][0].message


@pytest.mark.parametrize(("table", "column"), OPTIONAL)
def test_any_column_may_be_missing(table: str, column: str, tmp_path: Path) -> None:
    maker = every_table()
    maker.without_columns = {(table, column)}
    if (table, column) == ("StringIds", "value"):  # the maker fills both
        maker.without_tables, maker.without_columns = {"StringIds"}, set()
    if (table, column) == ("StringIds", "id"):
        pytest.skip("the id is the table's key")
    check(maker.write(tmp_path / "t.sqlite"))


@pytest.mark.parametrize("column", ["start", "end"])
def test_kernels_without_times_are_all_left_out_and_it_is_said(column: str, tmp_path: Path) -> None:
    maker = every_table()
    maker.without_columns = {(KERNELS, column)}
    found = exercise(maker.write(tmp_path / "t.sqlite"))
    assert found["kernel summary"].count == 0
    assert any("12 kernels have no valid start and end" in w.message for w in found["warnings"])


def test_no_metadata_as_before_2021(tmp_path: Path) -> None:
    maker = every_table()
    maker.without_tables = {"META_DATA_EXPORT", "META_DATA_CAPTURE", "TARGET_INFO_GPU", "TARGET_INFO_SYSTEM_ENV"}
    found = check(maker.write(tmp_path / "t.sqlite"))
    assert found["describe"]["nsys_version"] is None and found["describe"]["gpus"][0]["name"] == "Tesla V100"


def _times(start: Any, end: Any) -> Callable[[TraceMaker], None]:
    return lambda maker: maker.add(
        KERNELS,
        start=start,
        end=end,
        correlationId=1,
        globalPid=PID,
        demangledName=maker.string("void odd<float>(float *)"),
    )


TOP = 2**63 - 1
ODD_TIMES = {
    "start = end": (5_000, 5_000),
    "negative duration": (6_000, 5_000),
    "largest times": (TOP - 10, TOP),
    "as large as can be": (2**61 - 10, 2**61),
    "smallest times": (-(2**63) + 1, -(2**63) + 5),
    "from the smallest to the largest": (-(2**63) + 1, TOP),
    "negative times": (-1_000, -900),
    "zero": (0, 0),
}


@pytest.mark.parametrize("case", ODD_TIMES)
def test_times_at_their_limits(case: str, tmp_path: Path) -> None:
    maker = every_table()
    _times(*ODD_TIMES[case])(maker)
    check(maker.write(tmp_path / "t.sqlite"))


@pytest.mark.parametrize(
    "table", ["CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_MEMCPY", "NVTX_EVENTS", "GPU_METRICS"]
)
@pytest.mark.parametrize("value", [TOP, -(2**63), -(2**63) + 1, -1])
def test_other_times_and_numbers_at_their_limits(table: str, value: int, tmp_path: Path) -> None:
    maker = every_table()
    columns = {c.split()[0] for c in SCHEMA[table].split(", ")}
    for column in sorted(columns - {"text"}):
        row = dict(maker.rows[table][0])
        maker.add(table, **{**row, column: value})
    found = exercise(maker.write(tmp_path / "t.sqlite"))
    assert found["kernel summary"].count == 12
    assert found["kernel summary"].total_ns == 3 * (100 + 110 + 120 + 130)


def test_sums_that_64_bits_do_not_hold_are_refused_and_not_wrapped(tmp_path: Path) -> None:
    maker = every_table()
    for _ in range(3):
        _times(0, 2**61 - 5)(maker)
    path = maker.write(tmp_path / "t.sqlite")
    summary = exercise(path)["kernel summary"]
    assert isinstance(summary, TraceError) and "add up to more than" in summary.message


@pytest.mark.parametrize(
    "value", ["12", "abc", b"\xff\xfe", 1.5, float("inf")], ids=["digits", "text", "bytes", "fraction", "infinite"]
)
@pytest.mark.parametrize("column", ["start", "end", "correlationId", "demangledName", "streamId", "gridX"])
def test_wrong_kinds_of_values_are_an_error_that_names_them(value: Any, column: str, tmp_path: Path) -> None:
    maker = every_table()
    row = dict(maker.rows[KERNELS][0])
    maker.rows[KERNELS].append({**row, column: value})
    path = maker.write(tmp_path / "t.sqlite")
    if value == "12":  # SQLite itself turns digits into a number in an INTEGER column
        exercise(path)
        return
    with open_trace(path) as trace, pytest.raises(TraceError, match=f"table {KERNELS}, column {column}: found"):
        _ = trace.kernels
        trace.kernel_details(np.arange(len(trace.kernels)))  # what is read on demand, such as grids


ODD_NAMES: dict[str, str | bytes | None] = {
    "NULL": None,
    "empty": "",
    "100 kB": "void k<" + "x" * 100_000 + ">(float *)",
    "100 kB of digits": "1" * 100_000 + "ab",
    "100 kB of brackets": "<" * 100_000,
    "not UTF-8": b"void k\xff\xfe<float>(\x80)",
    "UTF-16": "void k<float>()".encode("utf-16"),
    "surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "NUL inside": "void k\0<float>(float *)",
    "right to left": "void \u202ek<float>\u202c(float *)",
    "terminal": "\x1b]0;owned\x07\x1b[31mred",
    "lines": "one\ntwo\r\nthree\u2028four",
    "emoji": "🔥" * 100,
}


@pytest.mark.parametrize("case", ODD_NAMES)
def test_odd_names_of_kernels_ranges_and_calls(case: str, tmp_path: Path) -> None:
    maker, name = every_table(), ODD_NAMES[case]
    text = maker.string(name) if name is not None else None
    for i in range(4):
        begin = 50_000 + i * 1_000
        maker.add("NVTX_EVENTS", start=begin, end=begin + 900, eventType=59, globalTid=TID, domainId=0, textId=text)
        maker.kernel(begin + 300, 100, launched=begin + 10, demangledName=text, shortName=text)
        maker.add(
            "CUPTI_ACTIVITY_KIND_RUNTIME",
            start=begin,
            end=begin + 5,
            globalTid=TID,
            correlationId=900 + i,
            nameId=text or 0,
        )
    found = check(maker.write(tmp_path / "t.sqlite"))
    assert len(found["nvtx_ranges"]) == 7


def test_names_that_replace_to_the_same_text_stay_one_row_each_or_are_summed(tmp_path: Path) -> None:
    maker = TraceMaker()
    for raw in (b"k\xff", b"k\xfe"):
        maker.kernel(100, 10, demangledName=maker.string(raw), shortName=maker.string(raw))
    found = exercise(maker.write(tmp_path / "t.sqlite"))
    assert found["kernel summary"].by_name["count"].sum() == 2


def test_processes_with_equal_correlation_ids(tmp_path: Path) -> None:
    maker = TraceMaker()
    pids = [PID + (i << 24) for i in range(5)]
    for i, pid in enumerate(pids):
        tid = pid + 7
        for j in range(3):
            begin = 1_000 + j * 10_000
            maker.range(f"iter{j}", begin, begin + 9_000, tid=tid)
            maker.launch(begin + 100 + i, tid=tid, correlation=j + 1)
            maker.kernel(begin + 500, 100 + i, tid=tid, correlation=j + 1, streamId=i)
    with open_trace(maker.write(tmp_path / "t.sqlite")) as trace:
        kernels, calls = trace.kernels, trace.api_calls
        assert (calls["pid"].to_numpy()[kernels["api_call"].to_numpy()] == kernels["pid"].to_numpy()).all()
        ranges = trace.nvtx_ranges
        assert (ranges["pid"].to_numpy()[kernels["nvtx"].to_numpy()] == kernels["pid"].to_numpy()).all()
    check(tmp_path / "t.sqlite")


def test_several_gpus_and_mig_slices(tmp_path: Path) -> None:
    maker = TraceMaker()
    for index in range(4):
        name = "NVIDIA H100 80GB HBM3" if index < 2 else "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
        maker.gpu(name, index=index)
        for j in range(3):
            maker.kernel(1_000 * j + 100, 50 + index, deviceId=index, contextId=index)
        maker.metric(
            "Tensor Active [Throughput %]",
            [(100 * k, 10 * index) for k in range(40)],
            metric_id=5,
            type_id=281479271677952 + index,
        )
    path = maker.write(tmp_path / "t.sqlite")
    found = check(path)
    assert [g["name"] for g in found["describe"]["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 2 + [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    ] * 2
    with open_trace(path) as trace:
        assert {gpu: set(trace.gpu_metrics.tensor_active(gpu).values) for gpu in range(4)} == {
            0: {0},
            1: {10},
            2: {20},
            3: {30},
        }  # type: ignore[union-attr]


def test_unclosed_and_overlapping_ranges(tmp_path: Path) -> None:
    maker = every_table()
    maker.range("never closed", 500, None)
    maker.range("a", 60_000, 61_000)
    maker.range("b", 60_500, 61_500)  # a pop was lost
    maker.range("backwards", 62_000, 61_000)
    maker.range("nothing", 60_000, 60_000)
    found = check(maker.write(tmp_path / "t.sqlite"))
    said = " ".join(w.message for w in found["warnings"])
    assert "1 NVTX ranges were still open" in said and "1 NVTX ranges have no valid start and end" in said


def test_ranges_nested_10000_deep(tmp_path: Path) -> None:
    maker = TraceMaker()
    for depth in range(10_000):
        maker.range("r", depth, 100_000 - depth)
    maker.kernel(50_100, 10, launched=50_000)
    found = check(maker.write(tmp_path / "t.sqlite"))
    assert len(found["nvtx_ranges"]) == 10_000


def test_duplicated_metric_names_do_not_multiply_samples(tmp_path: Path) -> None:
    maker = every_table()
    maker.rows["TARGET_INFO_GPU_METRICS"] *= 1_000
    with open_trace(maker.write(tmp_path / "t.sqlite")) as trace:
        assert len(trace.gpu_metrics.tensor_active().values) == 60  # type: ignore[union-attr]


def test_a_pattern_that_takes_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiler.analysis.run.candidates._PATTERN_SECONDS", 0.2)
    maker = every_table()
    maker.range("a" * 5_000 + "!", 40_000, 41_000)
    with open_trace(maker.write(tmp_path / "t.sqlite")) as trace:
        for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){20}b"):
            with pytest.raises(UsageError, match=r"took more than 0\.2 s"):
                find_inferences(trace, pattern)


@pytest.mark.parametrize(
    ("value", "version"),
    [("12040", "12.4"), ("13000", "13.0"), ("\u00b2", None), ("9" * 5_000, None), ("", None), ("-1", None)],
)
def test_versions_of_cuda(value: str, version: str | None, tmp_path: Path) -> None:
    path = every_table().write(tmp_path / "t.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE TARGET_INFO_SYSTEM_ENV (name TEXT, value TEXT)")
        db.execute("INSERT INTO TARGET_INFO_SYSTEM_ENV VALUES ('CudaDriverVersion', ?)", (value,))
    assert exercise(path)["describe"]["cuda_version"] == version
