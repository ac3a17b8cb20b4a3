"""``capture -- COMMAND``: any command is recorded, on a machine made of scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from profiler.cli import main as cli
from tests.support.machine import Machine, listing, read, recorded


def call(*arguments: str | Path) -> int:
    return cli.main([str(a) for a in arguments])


def test_any_command_is_recorded(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "secret place" / "mine.py"
    script.parent.mkdir()
    script.write_text("import sys; print('hello', *sys.argv[1:])")
    assert (
        call("capture", "-o", tmp_path / "run", "--title", "mine", "--", sys.executable, script, "--token", "s3cret")
        == 0
    )
    out, err = capsys.readouterr()
    assert "hello --token s3cret" in err and "40 kernels; inferences: " in out
    assert listing(tmp_path / "run") == ["manifest.json", "trace.sqlite.xz"]
    document = read(tmp_path / "run" / "manifest.json")
    assert (
        document["title"] == "mine"
        and "batch" not in document
        and not any(word in json.dumps(document) for word in ("secret place", "s3cret"))
    )
    assert "mine.py" in document["source"] and document["sanitised"]["tables_dropped"] is not None
    argv = next(c for c in machine.calls("nsys") if c[:1] == ["profile"] and str(script) in c)
    assert "--capture-range=none" in argv and not any(a.startswith("--capture-range-end") for a in argv)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--", sys.executable, "-c", "import sys; print('bad things'); sys.exit(3)"], 1, "bad things"),
        (["--", "no-such-program"], 2, "no such program"),
        (["--framework", "pytorch", "--", "true"], 2, "Leave them out"),
        ([], 2, "nothing to record"),
        (["--title", "x", "--framework", "pytorch"], 2, "are for another command"),
    ],
)
def test_commands_that_cannot_be_recorded(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert call("capture", "-o", tmp_path / "run", *arguments) == status
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_command_without_gpu_work_is_refused(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.folder / "report.sqlite").unlink()
    recorded(machine.folder / "report.sqlite", kernels=0)
    assert call("capture", "-o", tmp_path / "run", "--", "true") == 1
    assert "holds no GPU work" in capsys.readouterr().err and not (tmp_path / "run").exists()
