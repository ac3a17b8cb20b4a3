"""What becomes of the rows of single kinds of events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profiler.errors import TraceError
from profiler.trace import Trace
from tests.support.make_trace import PID, TraceMaker

Open = Callable[[TraceMaker], Trace]


def test_memory_copies_have_labels(opened: Open) -> None:
    maker = TraceMaker()
    correlation = maker.launch(0, name="cudaMemcpyAsync_v3020")
    maker.add(
        "CUPTI_ACTIVITY_KIND_MEMCPY", start=10, end=20, bytes=4096, copyKind=2, correlationId=correlation, globalPid=PID
    )
    (copy,) = opened(maker).memcpys.itertuples()
    assert (copy.kind, copy.bytes, copy.api_call) == ("Device-to-Host", 4096, 0)


@pytest.mark.parametrize("table", ["CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"])
@pytest.mark.parametrize("size", [-1, -(2**63) + 1, 2**48 + 1, 2**62, 2**63 - 1])
def test_impossible_sizes_are_left_out_and_said(opened: Open, table: str, size: int) -> None:
    maker = TraceMaker()
    for n, given in enumerate((size, 4096, None, size)):
        maker.add(table, start=n, end=n + 1, bytes=given)
    trace = opened(maker)
    frame = trace.memcpys if table.endswith("MEMCPY") else trace.memsets
    assert frame["bytes"].tolist() == [0, 4096, 0, 0]
    (warning,) = [w.message for w in trace.warnings if w.id.startswith("sizes-")]
    assert warning.startswith("2 memory") and "left out of every sum" in warning


def test_sizes_of_which_no_sum_is_right_are_an_error(opened: Open) -> None:
    maker = TraceMaker()
    for n in range(2**13 + 1):
        maker.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=n, end=n + 1, bytes=2**48)
    trace = opened(maker)
    with pytest.raises(TraceError, match="add up to more than two exabytes"):
        _ = trace.memcpys
