"""From a kernel to its unit and to the other side, against the ledger itself."""

from __future__ import annotations

import pytest

from profiler.analysis.fusion.counterparts import OTHER, Counterparts
from profiler.analysis.fusion.ledger import fusion
from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from tests.support.traces import bundled


@pytest.fixture(scope="module")
def links() -> Counterparts:
    before, after = (Run(open_trace(bundled(run))) for run in ("torch-fp32-eager-b8", "trt-int8-stream-b8"))
    return Counterparts(fusion(before, after))


@pytest.mark.parametrize("side", ["before", "after"])
def test_every_kernel_of_an_inference_is_in_the_row_that_counts_it(links: Counterparts, side: str) -> None:
    analysis = getattr(links.ledger, side)
    counted: dict[str, int] = {}
    for row, inference in enumerate(analysis.inferences.of_kernel.tolist()):
        held = links.row_of(side, "kernel", row)
        assert (held is not None) == (inference >= 0)
        if held is not None:
            counted[held.label] = counted.get(held.label, 0) + 1
    expected = {
        r.label: getattr(r, side).kernels for r in links.ledger.rows if getattr(r, side) and getattr(r, side).kernels
    }
    assert counted == expected


def test_what_a_fused_unit_became_and_back(links: Counterparts) -> None:
    rows = {r.label: r for r in links.ledger.rows}
    assert [r.label for r in links.partners("before", rows["maxpool"])] == ["conv1"]
    assert {r.label for r in links.partners("after", rows["conv1"])} == {"conv1", "bn1", "relu", "maxpool"}
    (kernel,) = links.work_of("after", links.partners("before", rows["maxpool"]), 3)
    name = links.ledger.after.trace.kernels["name"].iloc[kernel[1]]
    assert kernel[0] == "kernel" and name in rows["conv1"].after.kernel_names  # type: ignore[union-attr]
    assert len(links.work_of("after", [rows["conv1"]], None)) == 10


def test_links_lead_there_and_back(links: Counterparts) -> None:
    for row in links.ledger.rows:
        if row.before is None or not len(row.before.rows):
            continue
        for partner in links.partners("before", row):
            assert row in links.partners(OTHER["before"], partner), row.label


def test_work_outside_the_inferences_is_in_no_row(links: Counterparts) -> None:
    assert links.row_of("before", "kernel", 10**9) is None and links.row_of("before", "nvtx", 0) is None
