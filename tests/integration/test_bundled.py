"""The bundled H200 traces: our figures against plain SQL, and against nsys's own statistics where it is installed."""

from __future__ import annotations

import csv
import io
import lzma
import sqlite3
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.analysis.compare import compare
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.kernels import KernelSummary, summarise_kernels
from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from profiler.trace.nsys_export import find_nsys
from tests.support.traces import RUNS, bundled

KERNELS_PER_INFERENCE = {
    "torch-fp32-b8": 174, "torch-tf32-b8": 233, "torch-fp16-b8": 280, "trt-fp32-b8": 57, "trt-tf32-b8": 57, "trt-fp16-b8": 58,
    "trt-int8-b8": 56, "trt-int8-badqdq-b8-graphnode": 150,
    "torch-fp32-eager-b8": 174, "torch-tf32-eager-b8": 233, "torch-fp16-eager-b8": 282, "trt-fp32-stream-b8": 57,
    "trt-tf32-stream-b8": 57, "trt-fp16-stream-b8": 58, "trt-fp16-graph-b8": 58, "trt-int8-stream-b8": 56, "trt-int8-graph-b8": 56,
    "torch-fp16-graph-b8": 282, "torch-fp16-compile-b8": 107, "trt-int8-badqdq-stream-b8": 75, "trt-int8-badqdq-graph-b8": 75,
    "trt86-fp32-stream-b8": 90, "trt86-tf32-stream-b8": 57, "trt86-fp16-stream-b8": 58, "trt86-fp16-graph-b8": 58,
    "trt86-int8-stream-b8": 56, "trt86-int8-graph-b8": 56, "rtx-fp32-stream-b8": 58, "rtx-fp16-stream-b8": 58, "rtx-fp16-graph-b8": 58,
    "mobilenet_v2-rtx-fp16-stream-b8": 56, "vit_b_16-torch-fp16-eager-b8": 128, "vit_b_16-rtx-fp16-stream-b8": 137,
    "mobilenet_v2-torch-fp32-eager-b8": 151, "mobilenet_v2-trt-fp16-stream-b8": 56, "mobilenet_v2-trt-fp16-graph-b8": 56,
    "mobilenet_v2-torch-fp16-eager-b8": 255, "mobilenet_v2-trt86-fp16-stream-b8": 56, "efficientnet_b0-torch-fp16-eager-b8": 369,
    "efficientnet_b0-rtx-fp16-stream-b8": 115,
    "quickgelu-torch-fp16-eager-b8": 380, "quickgelu-torch-fp16-graph-b8": 380, "quickgelu-torch-fp16-compile-b8": 107,
    "quickgelu-trt-fp16-stream-b8": 62, "quickgelu-trt-fp16-graph-b8": 62, "quickgelu-plugin-trt-fp16-stream-b8": 107,
    "quickgelu-plugin-trt-fp16-graph-b8": 107, "quickgelu-plugin-trt-int8-graph-b8": 106,
}  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(run: str, tmp_path: Path) -> Path:
    path = tmp_path / "trace.sqlite"
    path.write_bytes(lzma.decompress(bundled(run).read_bytes()))
    return path


@pytest.fixture
def rows(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database)
    yield connection
    connection.close()


def _summary(run: str) -> KernelSummary:
    with open_trace(bundled(run)) as trace:
        return summarise_kernels(trace, find_inferences(trace))


def _has_kernels(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'").fetchone())


def test_kernel_statistics_equal_plain_sql(run: str, rows: sqlite3.Connection) -> None:
    summary = _summary(run)
    if not _has_kernels(rows):
        assert run.endswith("graphlevel") and summary.count == 0
        return
    sql = """
        SELECT s.value, count(*), sum(k.end - k.start), min(k.end - k.start), max(k.end - k.start), group_concat(k.end - k.start)
        FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN StringIds s ON s.id = k.demangledName GROUP BY s.value"""
    expected = {name: rest for name, *rest in rows.execute(sql)}
    assert set(summary.by_name["name"]) == set(expected)
    for row in summary.by_name.itertuples():
        count, total, low, high, every = expected[row.name]
        durations = [int(d) for d in every.split(",")]
        assert (row.count, row.total_ns, row.min_ns, row.max_ns) == (count, total, low, high)
        assert row.median_ns == statistics.median(durations)
        assert row.stddev_ns == pytest.approx(statistics.stdev(durations) if count > 1 else 0)
    assert summary.total_ns == rows.execute("SELECT sum(end - start) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()[0]


def test_kernels_per_inference_equal_plain_sql(run: str, rows: sqlite3.Connection) -> None:
    """The kernels whose launch lies inside an iterN range of the same thread, by a plain join."""
    summary = _summary(run)
    assert summary.inferences == 10
    if not _has_kernels(rows):
        return
    sql = """
        SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL k
        JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.correlationId = k.correlationId AND (r.globalTid & ~0xFFFFFF) = k.globalPid
        JOIN NVTX_EVENTS n ON n.globalTid = r.globalTid AND r.start >= n.start AND r.start < n.end
        LEFT JOIN StringIds s ON s.id = n.textId
        WHERE n.eventType = 59 AND (coalesce(n.text, s.value) GLOB 'iter[0-9]*' OR coalesce(n.text, s.value) GLOB 'inference [0-9]*')"""
    assert summary.per_inference == rows.execute(sql).fetchone()[0] / 10 == KERNELS_PER_INFERENCE[run]
    assert summary.per_inference_note is None


@pytest.mark.nsys
def test_kernel_statistics_equal_nsys_stats(run: str, database: Path) -> None:
    nsys = find_nsys()
    if nsys is None:
        pytest.skip("no nsys on this machine")
    command = [str(nsys), "stats", "--report", "cuda_gpu_kern_sum", "--format", "csv", "--output", "-", str(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    summary = _summary(run)
    start = done.stdout.find("Time (%)")
    if not summary.count:
        assert start < 0
        return
    table = {row["Name"]: row for row in csv.DictReader(io.StringIO(done.stdout[start:])) if row.get("Name")}
    assert len(table) == len(summary.by_name)
    for row in summary.by_name.itertuples():
        theirs = table[row.name]
        assert (row.count, row.total_ns) == (int(theirs["Instances"]), int(theirs["Total Time (ns)"]))
        assert (row.min_ns, row.max_ns) == (int(theirs["Min (ns)"]), int(theirs["Max (ns)"]))
        for ours, name in ((row.mean_ns, "Avg (ns)"), (row.median_ns, "Med (ns)"), (row.stddev_ns, "StdDev (ns)")):
            assert ours == pytest.approx(float(theirs[name]), abs=0.051)  # nsys prints one decimal


@pytest.mark.parametrize(
    ("first", "second"), [("torch-fp32-eager-b8", "trt-int8-stream-b8"), ("torch-fp32-b8", "trt-int8-b8")]
)
def test_headline_of_the_default_comparison(first: str, second: str) -> None:
    with open_trace(bundled(first)) as before, open_trace(bundled(second)) as after:
        result = compare(Run(before), Run(after))
    metric = result.metric("kernels_per_inference")
    assert (metric.before, metric.after) == (174, 56)
    if second == "trt-int8-b8":
        assert not result.warnings
    else:  # what the manifests warn of is passed on
        assert any("calibrated on random data" in w for w in result.warnings)
    assert result.metric("tensor_cores_yes").before == 0
    assert (result.metric("tensor_cores_yes").after or 0) > 95


def test_graph_level_trace_is_refused_and_graph_node_is_not() -> None:
    with open_trace(bundled("torch-fp32-b8")) as before, open_trace(bundled("trt-int8-badqdq-b8-graphlevel")) as after:
        assert compare(Run(before), Run(after)).refusals
    with open_trace(bundled("torch-fp32-b8")) as before, open_trace(bundled("trt-int8-badqdq-b8-graphnode")) as after:
        result = compare(Run(before), Run(after))
        assert not result.refusals
        assert result.metric("kernels_per_inference").after == 150
        assert result.metric("launches_per_inference").after == 1


def test_bundled_traces_hold_nothing_private(rows: sqlite3.Connection) -> None:
    names = {n for (n,) in rows.execute("SELECT name FROM META_DATA_CAPTURE")}
    assert not {n for n in names if "ENVIRONMENT" in n or "COMMAND" in n or "WORKING_DIR" in n}
    system = {n for (n,) in rows.execute("SELECT name FROM TARGET_INFO_SYSTEM_ENV")}
    assert not system & {"HostName", "Hostname", "User", "UserName"}
    for table in ("PROCESSES", "ThreadNames", "ProcessStreams", "ANALYSIS_FILE"):
        assert rows.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
