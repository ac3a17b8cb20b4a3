"""Outputs on large traces come back from the cache, and only where the same would be computed."""

from __future__ import annotations

import argparse
import json
import sqlite3
from pathlib import Path

import pytest

from profiler import progress
from profiler.cli import compare, kernels, output_cache
from profiler.cli.main import main
from profiler.errors import UsageError
from tests.support.make_trace import simple


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROFILER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PROFILER_CACHE", raising=False)
    monkeypatch.setattr(output_cache, "_LEAST_BYTES", 0)
    (tmp_path / "run").mkdir()
    return simple().write(tmp_path / "run" / "a.sqlite")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of ``kernels`` that really computed."""
    seen: list[str] = []
    real = kernels.run

    def counted(args: argparse.Namespace) -> None:
        seen.append(str(args.trace))
        real(args)

    monkeypatch.setattr(kernels, "run", counted)
    return seen


def output(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    status = main([str(a) for a in argv])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_the_second_time_the_same_is_printed(trace: Path, runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first = output(capsys, "kernels", trace)
    assert first[0] == 0 and "kernel0" in first[1]
    assert output(capsys, "kernels", trace) == first
    assert len(runs) == 1
    assert output(capsys, "kernels", trace, "--top", 1) != first
    assert output(capsys, "kernels", trace, "--no-cache") == first
    assert len(runs) == 3


def test_what_is_kept_is_written_to_a_file_too(
    trace: Path, runs: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert output(capsys, "kernels", trace, "-o", tmp_path / "1")[0] == 0
    assert output(capsys, "kernels", trace, "-o", tmp_path / "2")[:2] == (0, "")
    assert (tmp_path / "1").read_text() == (tmp_path / "2").read_text() != ""
    assert len(runs) == 1
    with pytest.raises(UsageError):  # an existing file is refused before anything is done
        output_cache.run(
            argparse.Namespace(no_cache=False, output=tmp_path / "2", force=False), ("trace",), kernels.run
        )


def test_other_content_is_computed_anew(trace: Path, runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first = output(capsys, "kernels", trace)
    state = trace.stat()
    connection = sqlite3.connect(trace)
    with connection:
        connection.execute('UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" + 1 WHERE rowid = 1')
    connection.close()
    assert trace.stat().st_size == state.st_size
    assert output(capsys, "kernels", trace)[1] != first[1]
    (trace.parent / "manifest.json").write_text(
        json.dumps({"format": "profiler-run/1", "trace": "a.sqlite", "title": "T"})
    )
    output(capsys, "kernels", trace)
    assert len(runs) == 3


def test_a_switch_turns_it_off(
    trace: Path, runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILER_CACHE", "off")
    for _ in range(2):
        output(capsys, "kernels", trace)
    assert len(runs) == 2
    assert json.loads(output(capsys, "cache", "info", "--format", "json")[1])["entries"] == 0


def test_failures_are_not_kept(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        status, out, err = output(capsys, "kernels", trace, "--nvtx", "nothing has this name")
        assert (status, out) == (2, "") and "no NVTX range" in err
    assert json.loads(output(capsys, "cache", "info", "--format", "json")[1])["entries"] == 0


def test_nothing_lies_beside_the_trace_and_the_cache_can_be_cleared(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(capsys, "compare", trace, trace)
    assert [p.name for p in trace.parent.iterdir()] == ["a.sqlite"]
    info = json.loads(output(capsys, "cache", "info", "--format", "json")[1])
    assert info["entries"] == 1 and 0 < info["used_bytes"] <= info["limit_bytes"]
    assert json.loads(output(capsys, "cache", "clear", "--format", "json")[1])["removed"] == 1
    assert json.loads(output(capsys, "cache", "info", "--format", "json")[1])["entries"] == 0


def test_a_terminal_sees_progress_and_a_file_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from profiler.cli import verb as common  # noqa: PLC0415 - what is tested

    now = [0.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: now[0])
    show = common.terminal_progress()
    now[0] = 5.0
    with progress.listening(show):
        progress.report("KERNELS", 0.5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(common.sys.stderr, "isatty", lambda: True, raising=False)
    with progress.listening(show):
        progress.report("KERNELS", 0.5)
    assert "KERNELS: 50%" in capsys.readouterr().err


def test_the_verbs_that_are_kept_name_their_traces() -> None:
    assert kernels.CACHED_BY_TRACES == ("trace",) and compare.CACHED_BY_TRACES == ("before", "after")
