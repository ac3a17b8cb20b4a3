"""One command as a whole process: its wall time, the CPU time and the peak memory of all processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_EVERY_S = 0.02
_LOOKING_SHARE = 0.02
"""Of the time: a look goes through all processes of the machine, and what is measured has to do without the processor meanwhile."""
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Taken:
    """What a process took, with everything it started. ``peak_bytes``: resident memory, pages that are shared counted once a process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


Visits = dict[str, tuple[Taken, Taken]]
"""By page of the dashboard: its first visit, and a second one after all others."""


def measure(command: Sequence[str], bytecode: Path) -> Taken:
    """Run a command to its end, in an empty folder of its own for what it writes.

    Args:
        command: ``{folder}`` stands for that folder.
        bytecode: where Python keeps compiled modules, as an installed program has them.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as messages, tempfile.TemporaryDirectory(prefix="profiler-benchmarks-") as folder:
        begun = time.perf_counter()
        writes = any("{folder}" in part for part in command)
        command = [part.replace("{folder}", folder) for part in command]
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages, env=environment)
        peaks = [0]
        watcher = threading.Thread(target=watch, args=(process.pid, peaks), daemon=True)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.join()
        messages.seek(0)
        if process.returncode:
            said = messages.read().decode("utf-8", "replace").strip()[-500:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said}")
        if writes and not any(Path(folder).iterdir()):  # nsys ends with 0 when a report fails
            raise RuntimeError(f"{' '.join(command)} wrote nothing")
        return Taken(wall, used.ru_utime + used.ru_stime, max(peaks[0], used.ru_maxrss * _MAXRSS_BYTES))


def watch(pid: int, peaks: list[int]) -> None:
    """Note the most memory that the process and its descendants had together, until it has ended."""
    try:
        root = psutil.Process(pid)
        while root.status() != psutil.STATUS_ZOMBIE:
            begun, held = time.perf_counter(), 0
            for one in (root, *root.children(recursive=True)):
                try:
                    held += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peaks[0] = max(peaks[0], held)
            time.sleep(max(_LOOK_EVERY_S, (time.perf_counter() - begun) / _LOOKING_SHARE))
    except psutil.NoSuchProcess:
        return
