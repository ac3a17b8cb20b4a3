"""Any schema, any values: the figures of plain SQL, or a clear error."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.errors import ProfilerError
from tests.support.exercise import exercise
from tests.support.make_trace import PID, SCHEMA, TID, TraceMaker
from tests.support.plain_sql import KERNELS, kernel_figures

TABLES = sorted(set(SCHEMA) - {"StringIds"})
COLUMNS = [(t, c.split()[0]) for t in TABLES for c in SCHEMA[t].split(", ")]
TIMES = st.integers(0, 100_000) | st.sampled_from([0, -1, 2**62, 2**63 - 1, -(2**63) + 1])
TEXTS = st.sampled_from(
    ["iter0", "iter1", "layer1.conv", "TensorRT", "cudaLaunchKernel_v7000", "Tensor Active [Throughput %]", ""]
) | st.text(max_size=8)


def _value(draw: Any, maker: TraceMaker, column: str) -> Any:
    name, kind = column.split()[:2]
    if name in ("start", "end", "timestamp", "rawTimestamp"):
        return draw(TIMES)
    if kind == "TEXT":
        return draw(TEXTS)
    if name.lower().endswith(("name", "nameid", "textid")):
        return maker.string(draw(TEXTS))
    if name in ("globalPid", "globalTid"):
        return (PID if name == "globalPid" else TID) + (draw(st.integers(0, 1)) << 24)
    if name == "eventType":
        return draw(st.sampled_from([59, 60, 34, 75]))
    return draw(st.integers(0, 6) | st.sampled_from([-1, 2**63 - 1]))


@st.composite
def traces(draw: Any) -> TraceMaker:
    maker = TraceMaker(
        without_tables=draw(st.sets(st.sampled_from(TABLES), max_size=4)),
        without_columns=draw(
            st.sets(st.sampled_from([c for c in COLUMNS if c[1] not in ("start", "end")]), max_size=8)
        ),
    )
    for table in draw(
        st.lists(
            st.sampled_from([*TABLES, KERNELS, KERNELS, "NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME"]), max_size=30
        )
    ):
        row = {c.split()[0]: _value(draw, maker, c) for c in SCHEMA[table].split(", ")}
        optional = [c.split()[0] for c in SCHEMA[table].split(", ") if "NOT NULL" not in c]
        for name in draw(st.sets(st.sampled_from(optional), max_size=2)) if optional else ():
            row[name] = None
        maker.add(table, **row)
    return maker


@settings(suppress_health_check=list(HealthCheck))
@given(traces())
def test_any_trace_gives_the_figures_of_plain_sql_or_an_error(maker: TraceMaker) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = maker.write(Path(folder) / "t.sqlite")
        try:
            summary = exercise(path)["kernel summary"]
        except ProfilerError as error:
            assert error.message.startswith(str(path))
            return
        if not isinstance(summary, ProfilerError):
            wanted = kernel_figures(path)
            assert (summary.count, summary.total_ns) == (wanted["count"], wanted["total_ns"])
