from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from profiler.errors import TraceError
from profiler.trace import Trace
from tests.support.make_trace import PID, SCHEMA, TID, TraceMaker, simple

Open = Callable[[TraceMaker], Trace]
OTHER = TID + (3 << 24)  # a thread of another process


def test_kernel_carries_names_launch_and_nvtx_path(opened: Open) -> None:
    maker = TraceMaker()
    maker.range("step", 0, 1000)
    maker.range("conv", 100, 200, registered=True)
    maker.kernel(5000, 40, "void conv<float, (int)3>(float *)", launched=150, streamId=13, gridX=7)
    (kernel,) = opened(maker).kernels.itertuples()
    trace = opened(maker)
    assert (kernel.start_ns, kernel.duration_ns, kernel.stream_id) == (5000, 40, 13)
    assert trace.kernel_details(np.array([0]))[["grid_x", "registers"]].to_numpy().tolist() == [[7, -1]]
    assert (kernel.name, kernel.short_name) == ("void conv<float, (int)3>(float *)", "conv")
    assert trace.api_calls["name"].iloc[kernel.api_call] == "cudaLaunchKernel"
    assert trace.nvtx_path(kernel.nvtx) == ("step", "conv")


def test_equal_correlation_ids_of_two_processes_are_kept_apart(opened: Open) -> None:
    maker = TraceMaker()
    for tid, text, at in ((TID, "mine", 100), (OTHER, "theirs", 200)):
        maker.range(text, at, at + 50, tid=tid)
        maker.launch(at + 10, tid=tid, correlation=1)
        maker.kernel(at + 1000, 5, tid=tid, correlation=1)
    trace = opened(maker)
    assert [trace.nvtx_path(r) for r in trace.kernels["nvtx"]] == [("mine",), ("theirs",)]


def test_threads_do_not_share_push_pop_ranges(opened: Open) -> None:
    maker = TraceMaker()
    maker.range("main thread", 0, 1000, tid=TID)
    maker.kernel(500, 5, launched=400, tid=TID + 1)
    assert opened(maker).kernels["nvtx"].tolist() == [-1]


def test_unclosed_range_lasts_to_the_end_and_is_reported(opened: Open) -> None:
    maker = TraceMaker()
    maker.range("open", 0, None)
    maker.kernel(900, 100, launched=800)
    trace = opened(maker)
    assert trace.nvtx_ranges["end_ns"].tolist() == [1000]
    assert trace.nvtx_path(trace.kernels["nvtx"].iloc[0]) == ("open",)
    assert "nvtx-open" in {w.id for w in trace.warnings}


def test_domains_are_named_per_process(opened: Open) -> None:
    maker = TraceMaker()
    maker.range("TensorRT", -5, None, kind=75, domainId=1)
    maker.range("layer", 0, 10, domainId=1)
    maker.range("mine", 0, 20)
    ranges = opened(maker).nvtx_ranges
    assert dict(zip(ranges["text"], ranges["domain"])) == {"layer": "TensorRT", "mine": ""}


def test_kernels_without_valid_times_are_left_out_and_reported(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(100, 10)
    maker.kernel(200, -1)
    maker.kernel(-(2**62), 2**62 + 2**62)
    maker.kernel(300, 0)
    trace = opened(maker)
    assert trace.kernels["duration_ns"].tolist() == [10, 0]
    assert any("2 kernels have no valid start and end" in w.message for w in trace.warnings)


def test_text_in_a_number_column_is_an_error(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(100, 10, streamId="seven")
    with pytest.raises(TraceError, match="column streamId: found 'seven' where a whole number was expected"):
        _ = opened(maker).kernels


@pytest.mark.parametrize("table", sorted(set(SCHEMA) - {"CUPTI_ACTIVITY_KIND_KERNEL"}))
def test_every_table_but_the_kernels_may_be_missing(opened: Open, table: str) -> None:
    maker = simple()
    maker.without_tables = {table}
    trace = opened(maker)
    assert len(trace.kernels) == 12
    assert trace.kernels["duration_ns"].sum() == 3 * (100 + 110 + 120 + 130)
    _ = (
        trace.nvtx_ranges,
        trace.session,
        trace.memcpys,
        trace.memsets,
        trace.graph_traces,
        trace.gpu_metrics,
        trace.warnings,
    )


OPTIONAL = [
    (table, column.split()[0])
    for table, columns in SCHEMA.items()
    for column in columns.split(", ")
    if table in ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS", "TARGET_INFO_GPU")
    and column.split()[0] not in ("start", "end")
]


@pytest.mark.parametrize(("table", "column"), OPTIONAL)
def test_every_column_but_the_times_may_be_missing(opened: Open, table: str, column: str) -> None:
    maker = simple()
    maker.without_columns = {(table, column)}
    trace = opened(maker)
    assert trace.kernels["duration_ns"].sum() == 3 * (100 + 110 + 120 + 130)
    _ = trace.nvtx_ranges, trace.session, trace.warnings
    if (table, column) == ("CUPTI_ACTIVITY_KIND_KERNEL", "globalPid"):
        assert (trace.kernels["api_call"] >= 0).all()  # one process only: the correlation id is enough


def test_names_that_are_not_there_are_said_to_be_missing(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(100, 10, demangledName=999, shortName=999)
    maker.kernel(200, 10, demangledName=None, shortName=None)
    maker.kernel(300, 10, demangledName=None)
    assert opened(maker).kernels["name"].tolist() == ["(name 999 is not in StringIds)", "(no name)", "kernel"]


def test_text_that_is_not_utf8_is_read(opened: Open) -> None:
    maker = TraceMaker()
    maker.kernel(100, 10)
    maker.rows["CUPTI_ACTIVITY_KIND_KERNEL"][0]["demangledName"] = maker.string(b"k\xffl")
    assert opened(maker).kernels["name"].tolist() == ["k\ufffdl"]


def test_graphs_recorded_whole_hide_their_kernels(opened: Open) -> None:
    maker = TraceMaker()
    correlation = maker.launch(100, name="cudaGraphLaunch_v10000")
    maker.add(
        "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
        start=200,
        end=300,
        correlationId=correlation,
        globalPid=PID,
        deviceId=0,
        streamId=7,
    )
    trace = opened(maker)
    assert trace.graph_level_only
    assert "--cuda-graph-trace=node" in (trace.no_kernels_reason or "")


def test_kernels_of_a_graph_share_its_launch(opened: Open) -> None:
    maker = TraceMaker()
    correlation = maker.launch(100, name="cudaGraphLaunch_v10000")
    for node in range(3):
        maker.kernel(200 + 10 * node, 5, correlation=correlation, graphNodeId=(1 << 33) + node)
    trace = opened(maker)
    assert trace.kernels["api_call"].tolist() == [0, 0, 0]
    assert trace.kernels["graph_node_id"].tolist() == [(1 << 33) + n for n in range(3)]
