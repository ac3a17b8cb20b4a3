"""Verdicts by name against what ncu counted on an H200 (tests/data/ncu; docs/verification.md says how it was made)."""

from __future__ import annotations

import csv
import io
import lzma

import pytest

from profiler.analysis.names.classify import classify
from tests.support.traces import DATA

ROWS = list(
    csv.DictReader(io.StringIO(lzma.decompress((DATA / "ncu" / "h200.tsv.xz").read_bytes()).decode()), delimiter="\t")
)
RUNS = sorted({row["run"] for row in ROWS})


@pytest.mark.parametrize("run", RUNS)
def test_every_verdict_agrees_with_the_counters(run: str) -> None:
    mine = [row for row in ROWS if row["run"] == run]
    assert len(mine) >= 10
    wrong = []
    for row in mine:
        executions, used = int(row["executions"]), int(row["with_matrix_instructions"])
        assert used in (0, executions)
        expected = "yes" if used else "no"
        if classify(row["name"], None, 90).tensor_cores != expected:
            wrong.append((row["name"], expected))
    assert not wrong


def test_the_pipe_is_busy_without_any_matrix_instruction() -> None:
    """Why a sampled Tensor Active of 1 % proves nothing: HFMA2.MMA runs on the same pipe."""
    fp32 = [row for row in ROWS if row["run"] == "torch-fp32-b8"]
    assert sum(int(row["matrix_instructions"]) for row in fp32) == 0
    assert sum(int(row["hfma2_instructions"]) for row in fp32) > 100_000
