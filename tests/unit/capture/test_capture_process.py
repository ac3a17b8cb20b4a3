"""Children: their output, their end, the end of all that they started; and folders that are whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from profiler.capture import folder as folders
from profiler.capture.folder import MARKER, check_free, new_folder, write_json
from profiler.capture.process import Finished, child_error, python_for, run, run_module
from profiler.errors import MissingToolError, OutputError, ProfilerError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_of_both_streams_and_the_status() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert done.exit_code == 3 and {"out", "err"} <= set(done.output.split()) and "exit status 3" in done.how


def test_lines_arrive_while_it_runs() -> None:
    lines: list[str] = []
    run(python("for i in range(3): print('line', i)"), on_line=lines.append)
    assert lines == ["line 0", "line 1", "line 2"]


def test_a_lot_of_output_does_not_block() -> None:
    done = run(python("print('x' * 5_000_000); print('end')"))
    assert done.exit_code == 0 and done.output.endswith("end\n") and len(done.output) <= 1 << 16


def test_the_whole_family_is_ended(tmp_path: Path) -> None:
    """A grandchild in a session of its own, as nsys makes one, is ended too."""
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    done = run(python(code), timeout_s=1.5)
    pid = int((tmp_path / "pid").read_text())
    assert done.timed_out and "did not finish" in done.how
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_an_interrupt_is_passed_on_after_the_child_has_ended(tmp_path: Path) -> None:
    called: list[str] = []
    told = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    code = f"import os, signal, time; {told}; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run(python(code), before_kill=lambda: called.append("told"))
    assert called == ["told"] and not alive(int((tmp_path / "pid").read_text()))


def test_errors_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "import sys; print('noise'); print('error: the plan is of version 8.6\\n  Build it again.', file=sys.stderr); sys.exit(1)"
    )
    with pytest.raises(ProfilerError) as caught:
        run_module(sys.executable, "failing", [], environment={"PYTHONPATH": str(tmp_path)})
    assert (caught.value.message, caught.value.hint) == ("the plan is of version 8.6", "Build it again.")


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("Traceback\ntorch.OutOfMemoryError: CUDA out of memory.", "smaller --batch"),
        ("ModuleNotFoundError: No module named 'tensorrt'", "lacks tensorrt"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("RuntimeError: Found no NVIDIA driver on your system", "nvidia-smi"),
    ],
)
def test_hints(output: str, hint: str) -> None:
    error = child_error("the run", Finished(("python",), 1, output, 1.0))
    assert "exit status 1" in error.message and hint in str(error.hint)


def test_signals_are_named() -> None:
    assert "SIGKILL" in run(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).how
    assert signal.SIGKILL


def test_missing_programs(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="cannot be started"):
        run([str(tmp_path / "none")])
    with pytest.raises(MissingToolError, match="no such Python"):
        python_for("no-such-python")
    assert python_for(None) == sys.executable


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(ZeroDivisionError), new_folder(target) as partial:
        (partial / "half").write_text("x")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with new_folder(target) as partial:
        (partial / "manifest.json").write_text("{}")
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["manifest.json"] and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_is_there_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    with pytest.raises(OutputError, match="exists already"), new_folder(target):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(target, force=True):
        raise ZeroDivisionError
    assert (target / "manifest.json").read_text() == "old"
    with new_folder(target, force=True) as partial:
        (partial / "manifest.json").write_text("new")
    assert (target / "manifest.json").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_no_run_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("thesis")
    with pytest.raises(OutputError, match="is not a run"), new_folder(tmp_path, force=True):
        pass
    (tmp_path / "x.partial").mkdir()
    with pytest.raises(OutputError, match="in the way"), new_folder(tmp_path / "x"):
        pass
    assert (tmp_path / "precious").exists() and (tmp_path / "x.partial").exists()


def test_leftovers_of_a_killed_run_are_cleared_and_live_ones_respected(tmp_path: Path) -> None:
    left = tmp_path / "run.partial"
    (left / "work").mkdir(parents=True)
    (left / MARKER).touch()
    (left / "work" / "report").write_text("x")
    with new_folder(tmp_path / "run") as partial:
        assert [p.name for p in partial.iterdir()] == [MARKER]
        (partial / "manifest.json").write_text("{}")
        target = f"Path({str(tmp_path / 'run')!r})"
        code = (
            f"from pathlib import Path\nfrom profiler.capture.folder import new_folder\nwith new_folder({target}): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another process is writing there" in other.stderr
        assert (partial / "manifest.json").exists()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_failures_to_write_name_cause_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError) as caught, new_folder(tmp_path / "deep" / "run"):
        pass
    assert remedy in str(caught.value.hint) and str(tmp_path / "deep" / "run") in caught.value.message


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: type("U", (), {"free": 1 << 20})())
    with pytest.raises(OutputError, match="1 MiB are free"):
        check_free(tmp_path / "not" / "there")


def test_json_without_figures_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
