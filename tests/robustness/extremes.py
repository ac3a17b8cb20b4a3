"""Traces that are sound but extreme in one way, of any size, and what each verb makes of them.

``python -m tests.robustness.extremes`` writes each at full size, runs the verbs on it and prints processor time and peak memory of the
whole process tree; ``--small`` does so at a hundredth of the size, ``--only NAME`` for one case. The tests use the small sizes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.support.make_trace import PID, SCHEMA, TID

SECONDS, MEGABYTES = 60, 2_000
"""What a verb may take, at full size: processor time, and memory of the process tree."""
_KERNELS, _CALLS, _RANGES = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"
_INFERENCES = 10
UNEXPECTED = "this should not have happened"


class _Writer:
    """Writes rows by the thousand; texts are numbered as they come."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF").close()
        self._db.execute("PRAGMA synchronous=OFF").close()
        self._db.execute("BEGIN")
        for table in ("StringIds", "TARGET_INFO_GPU", _KERNELS, _CALLS, _RANGES):
            self._db.execute(f"CREATE TABLE {table} ({SCHEMA[table]})")
        self._db.execute(
            "INSERT INTO TARGET_INFO_GPU (id, name, cuDevice, computeMajor, computeMinor) VALUES (0, 'GPU', 0, 9, 0)"
        )
        self._ids = itertools.count(1)
        self._call = self.text("cudaLaunchKernel")

    def text(self, value: str) -> int:
        number = next(self._ids)
        self._db.execute("INSERT INTO StringIds VALUES (?, ?)", (number, value))
        return number

    def texts(self, values: Iterable[str]) -> Iterator[int]:
        return (self.text(value) for value in values)

    def kernels(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Kernels and their launches: (launched, duration, name)."""
        for n, (at, duration, name) in enumerate(rows, 1):
            self._db.execute(
                f"INSERT INTO {_CALLS} (start, end, globalTid, correlationId, nameId) VALUES (?, ?, ?, ?, ?)",
                (at, at + 2, TID, n, self._call),
            )
            self._db.execute(
                f"INSERT INTO {_KERNELS} (start, end, deviceId, contextId, streamId, correlationId, globalPid, demangledName, "
                "shortName) VALUES (?, ?, 0, 1, 7, ?, ?, ?, ?)",
                (at + 5, at + 5 + duration, n, PID, name, name),
            )

    def ranges(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """(start, end, text)"""
        self._db.executemany(
            f"INSERT INTO {_RANGES} (start, end, eventType, globalTid, domainId, textId) VALUES (?, ?, 59, {TID}, 0, ?)",
            rows,
        )

    def own_ranges(self, rows: Iterable[tuple[int, int, str]]) -> None:
        """(start, end, text), the text in the row itself"""
        self._db.executemany(
            f"INSERT INTO {_RANGES} (start, end, eventType, globalTid, domainId, text) VALUES (?, ?, 59, {TID}, 0, ?)",
            rows,
        )

    def inferences(self, length: int, n: int = _INFERENCES) -> None:
        """Ranges "iter 0" … around all that is launched from 0 to ``length``."""
        each = -(-length // n)
        self.ranges((k * each, (k + 1) * each - 1, self.text(f"iter {k}")) for k in range(n))

    def close(self) -> None:
        self._db.execute("COMMIT")
        self._db.close()


def kernel_names(path: Path, n: int, name: Callable[[int], str]) -> None:
    """``n`` kernels, each of a name of its own."""
    writer = _Writer(path)
    writer.inferences(100 * n)
    writer.kernels((100 * k + 10, 50, name_id) for k, name_id in enumerate(writer.texts(map(name, range(n)))))
    writer.close()


def long_kernel_name(path: Path, characters: int) -> None:
    kernel_names(path, 20, lambda k: "k" * characters if k == 7 else f"void gemm_{k}<float>(float *)")


def unused_texts(path: Path, megabytes: int) -> None:
    """Texts of a megabyte in StringIds, to which kernels refer, too."""
    kernel_names(path, megabytes, lambda k: f"void k{k}<" + "x" * 1_000_000 + ">()")


def range_names(path: Path, n: int) -> None:
    """Every range has a name of its own, as where each holds a step's number; a kernel in each."""
    writer = _Writer(path)
    writer.ranges(
        (100 * k, 100 * k + 90, text) for k, text in enumerate(writer.texts(f"part {k} of {k * 7}x" for k in range(n)))
    )
    kernel = writer.text("void add<float>(float *)")
    writer.kernels((100 * k + 10, 50, kernel) for k in range(n))
    writer.close()


def range_texts(path: Path, n: int, characters: int) -> None:
    """Ranges that have their texts themselves, each another one, as ``torch.cuda.nvtx`` writes them; a kernel in each."""
    writer = _Writer(path)
    writer.own_ranges((100 * k, 100 * k + 90, f"step {k} " + "x" * characters) for k in range(n))
    kernel = writer.text("void add<float>(float *)")
    writer.kernels((100 * k + 10, 50, kernel) for k in range(n))
    writer.close()


def nested_ranges(path: Path, n: int, deep: int) -> None:
    """``n`` ranges in stacks of ``deep``, one after another, a kernel at the bottom of each stack."""
    writer = _Writer(path)
    texts = [writer.text(f"level {k}") for k in range(deep)]
    kernel = writer.text("void add<float>(float *)")
    stacks, each = max(n // deep, 1), 4 * deep + 100
    for s in range(stacks):
        at = s * each
        writer.ranges((at + k, at + each - 1 - k, texts[k]) for k in range(deep))
    writer.kernels((s * each + deep + 10, 20, kernel) for s in range(stacks))
    writer.close()


def overlapping_ranges(path: Path, n: int) -> None:
    """Ranges that are all open at the same time without nesting: each starts and ends a little after the one before."""
    writer = _Writer(path)
    text = writer.text("overlap")
    writer.inferences(20 * n)
    writer.ranges((k * 10, n * 10 + k * 10, text) for k in range(n))
    kernel = writer.text("void add<float>(float *)")
    writer.kernels((20 * k + 5, 4, kernel) for k in range(n))
    writer.close()


CASES: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "100,000 kernel names": (
        lambda path, n: kernel_names(path, n, lambda k: f"void kernel_{k}<float, {k}>(float *, int)"),
        100_000,
    ),
    "1,000,000 kernel names": (
        lambda path, n: kernel_names(path, n, lambda k: f"void at::native::kernel_{k}<float>(T1)"),
        1_000_000,
    ),
    "5,000 names of 10 kB": (
        lambda path, n: kernel_names(path, n, lambda k: f"void f{k}<" + "a::b<c>, " * 1_100 + ">()"),
        5_000,
    ),
    "a kernel name of 60 MB": (long_kernel_name, 60_000_000),
    "250 MB of names": (unused_texts, 250),
    "1,000,000 range names": (range_names, 1_000_000),
    "60,000 range texts of 20 kB": (lambda path, n: range_texts(path, n, 20_000), 60_000),
    "195,000 range texts of 1 kB": (lambda path, n: range_texts(path, n, 1_000), 195_000),
    "1,000,000 ranges, 300 deep": (lambda path, n: nested_ranges(path, n, 300), 1_000_000),
    "1,000,000 ranges, 30,000 deep": (lambda path, n: nested_ranges(path, n, 30_000), 1_000_000),
    "20,000 overlapping ranges": (overlapping_ranges, 20_000),
}
"""What is written, and its full size."""
VERBS = (
    ("info", "T"), ("kernels", "T"), ("tensor-cores", "T"), ("compare", "T", "T"), ("fusion", "T", "T"), ("report", "T", "T"),
    ("report", "T", "T", "--format", "html"), ("timeline", "T", "T"), ("sanitize", "T"), ("fleet", "FOLDER"),
)  # fmt: skip
OUTPUTS = {"sanitize": "copy.sqlite", "timeline": "timeline.json", "fleet": "fleet"}


def tree_memory(pid: int) -> int:
    """Memory of a process and its descendants in bytes: the sum of their proportional or else resident sets."""
    total, left = 0, [pid]
    while left:
        pid = left.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{pid}/task").iterdir():
                left += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return total


def measured(command: list[str], seconds: float) -> tuple[int | None, float, int, str]:
    """Exit status (None: it was ended), processor time in s and peak memory in MB of a command's process tree, and its last message."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PROFILER_CACHE_BYTES": "0"}
    peak = 0
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=messages, env=environment, start_new_session=True
        )
        until = time.monotonic() + seconds
        timer = threading.Event()
        while process.poll() is None and time.monotonic() < until and peak < 8 * MEGABYTES * 1_000_000:
            peak = max(peak, tree_memory(process.pid))
            timer.wait(0.05)
        ended = process.poll()
        if ended is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        messages.seek(0)
        lines = messages.read().decode("utf-8", "replace").strip().splitlines()
    said = next((line for line in lines if "error" in line), lines[-1] if lines else "")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended, cpu, max(peak // 1_000_000, 0), said


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.extremes", description=__doc__)
    parser.add_argument("--only", action="append", help="a case whose name holds this; may be given several times")
    parser.add_argument("--verb", action="append", help="only these verbs")
    parser.add_argument("--small", action="store_true", help="a hundredth of the size")
    parser.add_argument("--folder", type=Path, help="where the traces are written (default: a temporary folder)")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="profiler-extremes-") as temporary:
        folder = (args.folder or Path(temporary)) / "traces"
        folder.mkdir(parents=True, exist_ok=True)
        for name, (write, size) in CASES.items():
            if args.only and not any(part in name for part in args.only):
                continue
            trace = folder / "trace.sqlite"
            write(trace, max(size // 100, 1) if args.small else size)
            print(f"{name} ({trace.stat().st_size / 1e6:,.0f} MB)", flush=True)
            for verb, *words in VERBS:
                if args.verb and verb not in args.verb:
                    continue
                places = {"T": str(trace), "FOLDER": str(folder)}
                command = [sys.executable, "-m", "profiler", verb, *(places.get(word, word) for word in words)]
                if verb in OUTPUTS:
                    command += ["-o", str(folder.parent / OUTPUTS[verb]), "--force"]
                status, cpu, memory, said = measured(command, 3 * SECONDS)
                is_good = status in (0, 1) and UNEXPECTED not in said and cpu <= SECONDS and memory <= MEGABYTES
                failed += not is_good
                shown = " ".join([verb, *(w for w in words if w.startswith("--") or w == "html")])
                mark, end = "" if is_good else "! ", "ended" if status is None else status
                print(f"  {mark}{shown}: {end}, {cpu:.1f} s, {memory:,} MB  {said[:150]}", flush=True)
            trace.unlink()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
