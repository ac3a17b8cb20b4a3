"""The driver of the fuzzer counts what fails and goes on; the fuzzer itself is not needed for that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz import run


def test_failures_are_counted_by_place_and_one_input_of_each_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def target(data: bytes) -> None:
        if data == b"a":
            raise ValueError("first")
        if data:
            raise KeyError("second")

    ended: list[int] = []
    monkeypatch.setattr(run.os, "_exit", ended.append)
    counting = run._Counting(target, 0, tmp_path / "names", tmp_path / "names.result.json")
    for data in (b"", b"a", b"a", b"bb"):
        counting(data)
    found = json.loads((tmp_path / "names.result.json").read_text())
    assert found["runs"] == 4 and ended == [0] * 4
    assert sorted(e["count"] for e in found["errors"].values()) == [1, 2]
    assert sorted(Path(e["input"]).read_bytes() for e in found["errors"].values()) == [b"a", b"bb"]
    assert capsys.readouterr().err.count("Traceback") == 2


def test_a_failure_is_said_and_gives_exit_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"ValueError in x.py:1": {"count": 3, "said": "no", "input": "crash-1"}}
    monkeypatch.setattr(
        run,
        "_run",
        lambda name, args: {"target": name, "runs": 5, "cpu_s": 1, "errors": error if name == "layers" else {}},
    )
    monkeypatch.setattr(run.sys, "argv", ["run", "names", "layers", "--jobs", "2", "--corpus", str(tmp_path)])
    assert run.main() == 1
    out = capsys.readouterr().out
    assert "names: 5 runs, 1 s, unexpected errors: 0" in out and out.endswith("unexpected errors: 3\n")
