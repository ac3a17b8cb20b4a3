"""Excerpts of large traces: what is in them is as it was, and they say what they are."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.analysis.compare import compare
from profiler.analysis.run.run import Run
from profiler.errors import TraceError
from profiler.trace import excerpt, open_trace
from tests.support.make_trace import PID, SCHEMA, TraceMaker, simple, whole_graphs
from tests.support.traces import RUNS, bundled

KERNELS, CALLS = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME"


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows are a large trace, and 300 rows an excerpt."""
    monkeypatch.setattr(excerpt, "LARGE_ROWS", 10)
    monkeypatch.setattr(excerpt, "_WANTED_ROWS", 300)


def _per_inference(path: Path, as_excerpt: bool) -> tuple[pd.DataFrame, excerpt.Excerpt | None]:
    with open_trace(path, excerpt=as_excerpt) as trace:
        table = Run(trace).inferences.table.set_index(["text", "start_ns"])
        return table, trace.excerpt


def test_its_inferences_are_those_of_the_trace(tmp_path: Path) -> None:
    path = simple(inferences=200, kernels=4).write(tmp_path / "a.sqlite")
    digest = hashlib.sha256(path.read_bytes()).digest()
    whole, none = _per_inference(path, False)
    part, made = _per_inference(path, True)
    assert none is None and made is not None
    assert 20 <= len(part) <= 40  # 300 of 1,800 rows
    pd.testing.assert_frame_equal(part, whole.loc[part.index])
    middle = whole.index.get_indexer(part.index)
    assert abs(middle.mean() - 100) < 5
    assert made.of_kernels == 800 and 4 * len(part) <= made.kernels <= 4 * len(part) + 8
    assert hashlib.sha256(path.read_bytes()).digest() == digest and [p.name for p in tmp_path.iterdir()] == ["a.sqlite"]


@pytest.mark.parametrize("run", RUNS)
def test_of_the_bundled_runs(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundled(run)
    with open_trace(path) as trace:
        rows = trace.kernel_count + trace.api_call_count + trace.nvtx_range_count + trace.graph_trace_count
    monkeypatch.setattr(excerpt, "_WANTED_ROWS", rows // 2)
    whole, _ = _per_inference(path, False)
    with open_trace(path, excerpt=True) as trace:
        assert trace.excerpt is not None
        assert 0 < trace.excerpt.kernels < trace.excerpt.of_kernels
        analysis = Run(trace)
        part = analysis.inferences.table.set_index(["text", "start_ns"])
        assert len(part) < len(whole)
        pd.testing.assert_frame_equal(part, whole.loc[part.index])
        assert analysis.facts.manifest is not None and analysis.facts.title.endswith(" (excerpt)")
        assert (trace.kernels["api_call"] >= 0).all()
        assert len(part)


def test_what_it_says(tmp_path: Path) -> None:
    path = simple(inferences=200).write(tmp_path / "a.sqlite")
    with open_trace(path, excerpt=True) as trace, open_trace(path) as other:
        assert trace.path == path and trace.is_large
        found = compare(Run(trace), Run(other))
        said = [w for w in found.warnings if "Excerpt" in w]
        assert said == [f"before: {trace.excerpt.statement}"] if trace.excerpt else False
        assert trace.excerpt is not None
        assert f"{trace.kernel_count:,} of 800 kernels" in trace.excerpt.statement
        made = trace.file.database
        assert made.parent != path.parent and made.exists()
    assert not made.exists() and not made.parent.exists()


def test_of_whole_graphs(tmp_path: Path) -> None:
    path = whole_graphs(inferences=200).write(tmp_path / "a.sqlite")
    with open_trace(path, excerpt=True) as trace:
        assert trace.excerpt is not None and trace.graph_level_only
        assert 0 < len(trace.graph_traces) == trace.excerpt.kernels < trace.excerpt.of_kernels == 200
        assert "of 200 CUDA graphs" in trace.excerpt.statement


def test_a_trace_that_is_not_large_is_opened_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpt, "LARGE_ROWS", 10_000)
    path = simple(inferences=200).write(tmp_path / "a.sqlite")
    with open_trace(path, excerpt=True) as trace:
        assert trace.excerpt is None and not trace.is_large and trace.kernel_count == 800


def test_a_trace_without_gpu_work_is_opened_whole(tmp_path: Path) -> None:
    maker = TraceMaker()
    for i in range(50):
        maker.launch(i * 100)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is None and trace.api_call_count == 50


def test_work_whose_launches_are_elsewhere_is_opened_whole(tmp_path: Path) -> None:
    maker = TraceMaker()
    for i in range(100):
        maker.kernel(i * 100, 50, correlation=i)
        maker.launch(i * 100, correlation=1000 + i)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is None and trace.kernel_count == 100


def test_equal_correlation_ids_of_two_processes(tmp_path: Path) -> None:
    maker = TraceMaker()
    for process in range(2):
        tid = PID + (process << 24) + 7
        for i in range(400):
            at = 10_000 + i * 1_000 + process * 200_000  # the second starts half-way
            maker.launch(at, tid=tid, correlation=i + 1)
            maker.kernel(at + 50, 100, tid=tid, correlation=i + 1)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is not None
        called = trace.api_calls[["pid", "correlation_id"]].drop_duplicates()
        assert len(trace.kernels) == len(called) and set(trace.kernels["pid"]) == {PID, PID + (1 << 24)}
        assert (trace.kernels["api_call"] >= 0).all()


def test_events_that_name_things_are_kept_and_cut_ranges_are_not(tmp_path: Path) -> None:
    maker = simple(inferences=200)
    maker.range("profiler", 0, None, kind=75, domainId=3)
    maker.range("all of it", 0, 3_000_000)
    maker.range("never closed", 1_000_000, None)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        texts = {str(t) for t in trace.nvtx_ranges["text"].cat.categories}
        assert "all of it" not in texts and "never closed" not in texts
        assert trace.database.count("NVTX_EVENTS", "eventType = 75") == 1
        assert len(Run(trace).inferences.table)


def test_samples_of_gpu_metrics_around_it(tmp_path: Path) -> None:
    maker = simple(inferences=2_000)
    maker.metric("Tensor Active [Throughput %]", ((t, 50) for t in range(0, 20_000_000, 1_000)))
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is not None
        series = trace.gpu_metrics.tensor_active()
        assert series is not None
        first, last = trace.excerpt.start_ns, trace.excerpt.end_ns
        assert series.timestamps_ns[0] <= first and series.timestamps_ns[-1] >= last
        assert len(series.timestamps_ns) < 5_000


@pytest.mark.parametrize(
    "missing",
    [
        (KERNELS, "globalPid"), (KERNELS, "correlationId"), (CALLS, "globalTid"), (CALLS, "correlationId"), (CALLS, "nameId"),
        ("NVTX_EVENTS", "eventType"), ("NVTX_EVENTS", "text"), (KERNELS, "shortName"), ("NVTX_EVENTS", "end"), (CALLS, "start"),
    ],
    ids=lambda m: f"{m[0].rpartition('_')[2]}.{m[1]}",
)  # fmt: skip
def test_without_a_column(missing: tuple[str, str], tmp_path: Path) -> None:
    maker = simple(inferences=200)
    maker.without_columns.add(missing)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is None or 0 < trace.kernel_count == trace.excerpt.kernels < 800
        Run(trace).compute_and_release()


@pytest.mark.parametrize("table", [t for t in SCHEMA if t != KERNELS])
def test_without_a_table(table: str, tmp_path: Path) -> None:
    maker = simple(inferences=200)
    maker.without_tables.add(table)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is not None and 0 < trace.kernel_count < 800


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = simple(inferences=200).write(tmp_path / "a.sqlite")
    folder = tmp_path / "private"

    def made(kind: str) -> Path:
        folder.mkdir()
        (folder / "trace.sqlite").mkdir()  # so that no database can be written there
        return folder

    monkeypatch.setattr(excerpt, "make_private_folder", made)
    with pytest.raises(TraceError, match="no excerpt of it could be made"):
        open_trace(path, excerpt=True)
    assert not folder.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([KERNELS, CALLS, "NVTX_EVENTS"]),
            st.sampled_from(["start", "end", "correlationId", "globalPid", "globalTid", "eventType"]),
            st.integers(0, 700),
            st.sampled_from([None, "text", b"\xff", 1.5, -(2**63), 2**63 - 1, 0]),
        ),
        max_size=12,
    )
)
def test_odd_values_give_figures_or_an_error_of_ours(
    rows: list[tuple[str, str, int, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = simple(inferences=200).write(tmp_path_factory.mktemp("odd") / "a.sqlite")
    with sqlite3.connect(path) as connection:
        for table, column, row, value in rows:
            try:
                connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (value, row))
            except sqlite3.Error:  # not in this table, or not NULL
                continue
    connection.close()
    try:
        with open_trace(path, excerpt=True) as trace:
            Run(trace).compute_and_release()
    except TraceError as error:
        assert str(path) in str(error)


def test_a_kernel_that_ends_at_the_end_of_time(tmp_path: Path) -> None:
    maker = simple(inferences=200)
    maker.metric("Tensor Active [Throughput %]", [(t, 50) for t in range(0, 2_000_000, 10_000)])
    maker.kernel(1_000_000, 2**63 - 1 - 1_000_000)
    with open_trace(maker.write(tmp_path / "a.sqlite"), excerpt=True) as trace:
        assert trace.excerpt is not None
        assert len(trace.kernels) == trace.excerpt.kernels - 1  # left out, with a warning, as ever
