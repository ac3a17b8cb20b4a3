"""Sound traces that are extreme in one way: every verb ends with a result or a refusal that names the limit."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from pathlib import Path

import pytest

from profiler.analysis.fusion import ledger
from profiler.analysis.run import kernels
from profiler.cli.main import main
from profiler.trace import open_trace
from tests.robustness.extremes import CASES, OUTPUTS, UNEXPECTED, VERBS, kernel_names, nested_ranges

SHARE = 200  # of the full size
IN_PROCESS = [verb for verb in VERBS if verb[0] != "fleet" and "html" not in verb]


@pytest.mark.parametrize("case", CASES)
def test_every_verb_ends(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, size = CASES[case]
    traces = [tmp_path / "before.sqlite", tmp_path / "after.sqlite"]
    for trace in traces:
        write(trace, max(size // SHARE, 1))
    for verb, *words in IN_PROCESS:
        arguments = [str(traces[k]) for k in range(words.count("T"))]
        if verb in OUTPUTS:
            arguments += ["-o", str(tmp_path / OUTPUTS[verb]), "--force"]
        assert main([verb, *arguments]) in (0, 1), verb
        assert UNEXPECTED not in capsys.readouterr().err, verb


def test_every_kernel_of_its_own_name_is_in_the_ledger_once(tmp_path: Path) -> None:
    paths = [tmp_path / "before.sqlite", tmp_path / "after.sqlite"]
    for path in paths:
        kernel_names(path, 3_000, lambda k: f"void kernel_{k}<float, {k}>(float *, int)")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["fusion", *map(str, paths), "--format", "json"]) == 0
    rows = json.loads(out.getvalue())["rows"]
    assert sum(row["before"]["kernels"] for row in rows if row["before"]) == 300  # of each of the ten inferences
    assert {row["status"] for row in rows} <= {"kept", "unexplained"}


@pytest.mark.parametrize("deep", [30, 300])
def test_a_kernel_lies_in_all_ranges_of_its_stack(deep: int, tmp_path: Path) -> None:
    nested_ranges(tmp_path / "t.sqlite", 20 * deep, deep)
    with open_trace(tmp_path / "t.sqlite") as trace:
        assert [len(trace.nvtx_path(row)) for row in trace.kernels["nvtx"]] == [deep] * 20


def test_a_trace_is_written_whole(tmp_path: Path) -> None:
    kernel_names(tmp_path / "t.sqlite", 100, str)
    with contextlib.closing(sqlite3.connect(tmp_path / "t.sqlite")) as db:
        assert db.execute(
            "SELECT count(*), count(DISTINCT demangledName) FROM CUPTI_ACTIVITY_KIND_KERNEL"
        ).fetchone() == (100, 100)


def test_a_ledger_of_too_many_units_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger, "MAX_UNITS", 20)
    paths = [tmp_path / "before.sqlite", tmp_path / "after.sqlite"]
    for path in paths:
        kernel_names(path, 300, lambda k: f"void kernel_{k}<float>(float *)")
    assert main(["fusion", *map(str, paths)]) == 1
    assert "holds 30 units of work, and a ledger is made of at most 20" in capsys.readouterr().err


def test_too_many_names_of_kernels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels, "MAX_NAMES", 99)
    kernel_names(tmp_path / "t.sqlite", 100, lambda k: f"void kernel_{k}<float>(float *)")
    assert main(["kernels", str(tmp_path / "t.sqlite")]) == 1
    assert "holds kernels of 100 different names, and at most 99 are classified" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "t.sqlite")]) == 0
