"""Any column may hold any type: every figure or a clear error, and never a wrong figure without a word."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler.errors import TraceError
from profiler.trace import Trace
from tests.support.exercise import exercise
from tests.support.make_trace import SCHEMA, TraceMaker, every_table, simple

Open = Callable[[TraceMaker], Trace]
ODD = {
    "NULL": None, "text": "x", "a number as text": "7", "empty": "", "blob": b"\xff\x00", "a number as blob": b"7", "real": 0.5,
    "infinity": float("inf"), "largest": 2**63 - 1, "smallest": -(2**63), "negative": -1,
}  # fmt: skip
COLUMNS = {table: [part.split()[0] for part in columns.split(", ")] for table, columns in SCHEMA.items()}
METRICS = [(table, column) for table in ("GPU_METRICS", "TARGET_INFO_GPU_METRICS") for column in COLUMNS[table]]
# of every table one column for each value, another one each time
SOME = [(table, COLUMNS[table][n % len(COLUMNS[table])], odd) for table in COLUMNS for n, odd in enumerate(ODD)]


def _with_value(path: Path, table: str, column: str, value: object) -> Path:
    """An export in which the first row of a table holds a value; its columns have no type that would change it."""
    every_table().write(path)
    columns = ", ".join(f'"{c}"' for c in COLUMNS[table])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE plain ({columns})")
        db.execute(f'INSERT INTO plain SELECT {columns} FROM "{table}"')
        db.execute(f'DROP TABLE "{table}"')
        db.execute(f'ALTER TABLE plain RENAME TO "{table}"')
        db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = 1', (value,))
        assert db.total_changes
    return path


@pytest.mark.parametrize(("table", "column"), METRICS)
def test_a_gpu_metric_of_any_type_is_read_or_left_out(table: str, column: str, tmp_path: Path) -> None:
    for odd, value in ODD.items():
        path = _with_value(tmp_path / f"{odd}.sqlite", table, column, value)
        found = exercise(path)
        assert found["describe"]["kernels"] == 12


@pytest.mark.parametrize(("table", "column", "odd"), SOME)
def test_any_column_may_hold_any_type(table: str, column: str, odd: str, tmp_path: Path) -> None:
    with contextlib.suppress(TraceError):  # which names table, column and value
        exercise(_with_value(tmp_path / "t.sqlite", table, column, ODD[odd]))


def test_what_is_left_out_of_the_metrics_is_said(opened: Open) -> None:
    maker = simple()
    maker.metric("Tensor Active [Throughput %]", [(0, 10), (100, "x"), (None, 5), (200, 60)])
    maker.metric("DRAM Read Throughput [Throughput %]", [(0, 10)], type_id=None)
    trace = opened(maker)
    series = trace.gpu_metrics.tensor_active()
    assert series is not None and series.values.tolist() == [10, 60] and trace.gpu_metrics.dram_read() is None
    said = [w.message for w in trace.warnings if w.id.startswith("gpu-metrics-")]
    assert (
        len(said) == 2
        and "'DRAM Read Throughput [Throughput %]' is left out" in said[0]
        and said[1].startswith("2 of 4 samples")
    )
