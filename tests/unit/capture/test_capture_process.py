"""Children: their output, their end, the end of all that they started."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from profiler.capture.process import Finished, child_error, python_for, run, run_module
from profiler.errors import MissingToolError, ProfilerError


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
    # not before this process knows that its child runs: on a busy machine the child can be the faster one
    code = f"import os, signal, time; {told}; time.sleep(0.5); os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
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
    error = child_error("the run", Finished(1, output, 1.0))
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
