"""Running a child process: its output kept, its whole family ended when the run is given up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from profiler.errors import MissingToolError, ProfilerError
from profiler.resources import IMPORT_ROOT

_TAIL_BYTES = 64 << 10
_POLL_S = 0.1
_GRACE_S = 5.0


@dataclass(frozen=True)
class Finished:
    """A child that has ended.

    Attributes:
        exit_code: negative for a signal, as :mod:`subprocess` gives it.
        output: the end of what it printed on both streams, at most 64 KiB.
        seconds: wall-clock time.
        timed_out: it was ended because its time was up.
    """

    exit_code: int
    output: str
    seconds: float
    timed_out: bool = False

    def last_lines(self, n: int = 8) -> str:
        """The last non-empty lines, for an error message; progress bars that overwrite themselves count once."""
        lines = [line.rsplit("\r", 1)[-1].rstrip() for line in self.output.replace("\r\n", "\n").splitlines()]
        return " | ".join([line.strip() for line in lines if line.strip()][-n:]) or "nothing"

    @property
    def how(self) -> str:
        if self.timed_out:
            return f"did not finish in {self.seconds:.0f} s and was ended"
        if self.exit_code < 0:
            return f"was ended by signal {signal.Signals(-self.exit_code).name}"
        return f"ended with exit status {self.exit_code}"


def child_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a workload: this package importable, output not held back."""
    environment = dict(os.environ)
    paths = [str(IMPORT_ROOT), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    environment["PYTHONUNBUFFERED"] = "1"
    environment.update(changes or {})
    return environment


def run(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
    before_kill: Callable[[], None] | None = None,
    cwd: Path | None = None,
) -> Finished:
    """Run a child to its end.

    Args:
        on_line: called with each line that it prints, for progress.
        before_kill: called before the child's family is ended, when the time is up or on an interrupt.

    Raises:
        MissingToolError: the program cannot be started.
        KeyboardInterrupt: passed on, after the child and all that it started have been ended.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile(
        prefix="profiler-output-"
    ) as sink:  # a file: a pipe that nobody empties would block the child
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                start_new_session=True,
                cwd=cwd,
            )
        except OSError as error:
            raise MissingToolError(
                f"{argv[0]}: cannot be started ({error.strerror or error}).",
                "Check the path and that it may be executed.",
            ) from error
        lines = _Lines(sink, on_line)
        timed_out = False
        try:
            while child.poll() is None:
                lines.read()
                if timeout_s is not None and time.monotonic() - started > timeout_s:
                    timed_out = True
                    _end_family(child, before_kill)
                time.sleep(_POLL_S if time.monotonic() - started > 1 else 0.01)
        except BaseException:
            _end_family(child, before_kill)
            raise
        lines.read()
        return Finished(int(child.returncode), _tail(sink), time.monotonic() - started, timed_out)


class _Lines:
    def __init__(self, file: BinaryIO, on_line: Callable[[str], None] | None) -> None:
        self._fd, self._on_line, self._offset, self._rest = file.fileno(), on_line, 0, b""

    def read(self) -> None:
        """Pass on the lines that are complete. ``pread``, because the child writes through the same file offset."""
        while self._on_line is not None:
            block = os.pread(self._fd, _TAIL_BYTES, self._offset)
            if not block:
                return
            self._offset += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                self._on_line(line.decode("utf-8", "replace").rstrip("\r"))


def _tail(file: BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")


def _end_family(child: subprocess.Popen[bytes], before_kill: Callable[[], None] | None) -> None:
    """End the child and everything it started; nsys puts the program that it profiles into a session of its own."""
    family = set(_descendants(child.pid))
    if before_kill is not None:
        with contextlib.suppress(Exception):
            before_kill()
    for sign, grace in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        family |= set(_descendants(child.pid))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, sign)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(sign)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if child.poll() is not None and not any(map(_is_alive, family)):
                return
            time.sleep(0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM (a batch system's time limit, ``timeout``) clean up like Ctrl-C does."""

    def raise_interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, raise_interrupt)
    except ValueError:  # not in the main thread, where the caller decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def python_for(given: str | None) -> str:
    """The interpreter to use: the one given, looked up on the PATH, or this one.

    Raises:
        MissingToolError: it does not exist.
    """
    if not given:
        return sys.executable
    found = shutil.which(given)
    if found is None:
        raise MissingToolError(
            f"{given}: no such Python interpreter.", "Give the path of an interpreter, or a name on the PATH."
        )
    return found


def run_module(
    python: str,
    module: str,
    arguments: Sequence[str],
    on_line: Callable[[str], None] | None = None,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run one of this project's modules in another interpreter and insist on success.

    Raises:
        ProfilerError: it failed; the message is its own error line when it printed one, else its last lines.
    """
    shown = None if on_line is None else lambda line: on_line(line) if not line.startswith(("error: ", "  ")) else None
    done = run([python, "-m", module, *arguments], child_environment(environment), timeout_s, shown)
    if done.exit_code or done.timed_out:
        raise child_error(module, done)
    return done


def child_error(what: str, done: Finished) -> ProfilerError:
    """The error of a workload: it prints ``error: …`` and a hint, indented, as the last two lines."""
    lines = done.output.splitlines()
    at = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("error: ")), None)
    if at is not None and not done.timed_out:
        hint = lines[at + 1].strip() if at + 1 < len(lines) and lines[at + 1].startswith("  ") else None
        return ProfilerError(lines[at][len("error: ") :].strip(), hint or _hint(done.output))
    return ProfilerError(
        f"{what} {done.how}; the end of what it printed: {done.last_lines()[-1500:]}", _hint(done.output)
    )


def _hint(output: str) -> str | None:
    """What to do about the failures that people meet most."""
    text = output.lower()
    if "no module named 'profiler" in text:
        return "The interpreter cannot import this project: run from the repository's root, or install it there."
    if "no module named" in text:
        missing = text.rpartition("no module named ")[2].split()[0].strip("'\"\n.;")
        return (
            f"This interpreter lacks {missing}: install it there, or name another with --torch-python or --trt-python. "
            "`python -m profiler doctor` lists what is missing."
        )
    if "out of memory" in text or "outofmemory" in text:
        return (
            "The GPU is out of memory: use a smaller --batch, free the GPU (nvidia-smi shows who uses it), or lower --workspace "
            "for a build."
        )
    if "no space left" in text:
        return "The disk is full: free some space, or write elsewhere with -o and TMPDIR."
    if "no cuda-capable device" in text or "found no nvidia driver" in text or "no cuda gpus" in text:
        return "No GPU can be used here: check nvidia-smi and CUDA_VISIBLE_DEVICES."
    return None
