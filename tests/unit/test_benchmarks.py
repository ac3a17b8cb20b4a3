"""The benchmarks' traces hold what they say; nothing here is timed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from benchmarks import reading
from benchmarks.generate import AFTER, BEFORE, generate
from profiler.analysis.compare import compare
from profiler.analysis.fusion.ledger import fusion
from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from tests.support.traces import bundled


@pytest.mark.parametrize(("run", "per_inference"), [(BEFORE, 174), (AFTER, 58)])
def test_a_generated_trace_is_the_recording_repeated(tmp_path: Path, run: str, per_inference: int) -> None:
    path = tmp_path / "made.sqlite"
    contents = generate(path, 10_000, run)
    assert contents.kernels >= 10_000 and contents.kernels == contents.inferences * per_inference
    with open_trace(path) as made, open_trace(bundled(run)) as recorded:
        assert made.database.tables == recorded.database.tables
        ours, theirs = Run(made), Run(recorded)
        assert (ours.kernels.count, ours.inferences.count) == (contents.kernels, contents.inferences)
        assert (made.api_call_count, made.nvtx_range_count) == (contents.launch_calls, contents.ranges)
        assert made.database.count("GPU_METRICS") == contents.metric_samples
        times = contents.inferences // theirs.inferences.count
        counts = [dict(zip(a.kernels.by_name["name"], a.kernels.by_name["count"])) for a in (ours, theirs)]
        assert counts[0] == {name: n * times for name, n in counts[1].items()}
        assert ours.inferences.kernels_per_inference == theirs.inferences.kernels_per_inference
        assert (made.kernels["api_call"] >= 0).all()
        first = theirs.inferences.table.drop(columns="text").reset_index(drop=True)
        head = ours.inferences.table.drop(columns="text").head(len(first)).reset_index(drop=True)
        assert head.equals(first)  # the first repetition is the recording itself


def test_generated_traces_make_a_comparison_and_a_ledger(tmp_path: Path) -> None:
    for run in (BEFORE, AFTER):
        generate(tmp_path / f"{run}.sqlite", 3_000, run)
    with open_trace(tmp_path / f"{BEFORE}.sqlite") as before, open_trace(tmp_path / f"{AFTER}.sqlite") as after:
        sides = Run(before), Run(after)
        ledger = fusion(*sides)
        assert ledger.coverage("before").kernels == sides[0].kernels.count
        metric = compare(*sides).metric("kernels_per_inference")
        assert (metric.before, metric.after) == (174, 58)
        for side in sides:
            side.compute_and_release()  # what is computed stays; what was forgotten is read again
        assert compare(*sides).metric("kernels_per_inference") == metric
        assert sides[0].trace.kernel_count == len(sides[0].trace.kernels)


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "there.sqlite"
    sqlite3.connect(path).close()
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        generate(path, 10)
    assert path.read_bytes() == b"mine"


def test_the_floor_of_reading_is_measured_of_every_table(tmp_path: Path) -> None:
    path = tmp_path / "trace.sqlite"
    contents = generate(path, 5_000)
    rows = reading.measured(path)
    assert [row[0] for row in rows] == list(reading.TABLES)
    assert (rows[0][1], rows[2][1]) == (contents.kernels, contents.launch_calls)
    assert all(isinstance(s, float) and s > 0 for row in rows for s in row[3:])
