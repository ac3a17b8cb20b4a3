"""``python -m benchmarks``: how long the tool takes beside plain SQL and nsys, on generated traces, in one run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from benchmarks.generate import AFTER, BEFORE, generate
from benchmarks.steps import ATTRIBUTION, GROUP_BY, NAMES, SUMMARY

SUMMARY_REPORT, NVTX_REPORT = "cuda_gpu_kern_sum", "nvtx_kern_sum"
_RIVALS = {SUMMARY: SUMMARY_REPORT, ATTRIBUTION: NVTX_REPORT}
_TOO_LARGE_FOR_NVTX = 10**9  # nvtx_kern_sum took 1.5 GB at one million kernels
_HEADINGS = ("what", "kernels", "min s", "median s", "min CPU s", "peak MB", "of GROUP BY", "times faster than nsys")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--kernels", type=int, nargs="+", default=[100_000, 1_000_000], help="kernels a trace (default: 100000 1000000)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; nsys once (default: 3)")
    parser.add_argument(
        "--folder", type=Path, help="where the traces are made and kept; by default a folder that goes afterwards"
    )
    parser.add_argument("--only", nargs="+", help="only these, by the first words of their names")
    parser.add_argument(
        "--without-nsys", action="store_true", help="leave nsys out, which takes minutes and much memory at 10 million"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profiler-benchmarks-") as temporary:
        folder = args.folder or Path(temporary)
        for kernels in args.kernels:
            before, after = (_trace(folder, kernels, run) for run in (BEFORE, AFTER))
            rows = _measure(before, after, args.repeat, args.only, not args.without_nsys)
            print(tabulate(rows, headers=_HEADINGS, floatfmt=".3g"), flush=True)
            print()
    if args.without_nsys or shutil.which("nsys") is None:
        print("nsys was not measured" + ("." if args.without_nsys else ": there is none on the PATH."))
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end. Each run is a process of its own, timed without the "
        "start of Python and imports, with the file in memory; nsys is timed as a whole."
        if hasattr(os, "getloadavg")
        else ""
    )
    return 0


def _trace(folder: Path, kernels: int, run: str) -> Path:
    path = folder / f"{run}-{kernels}.sqlite"
    if not path.exists():
        print(f"making {path.name} …", file=sys.stderr, flush=True)
        generate(path, kernels, run)
    return path


def _measure(before: Path, after: Path, repeat: int, only: list[str] | None, with_nsys: bool) -> list[list[object]]:
    """The measurements take turns, so that what else the machine does falls on all of them."""
    taken: dict[str, list[dict[str, float]]] = {}
    steps: list[tuple[str, Callable[[], dict[str, float]]]] = [
        (name, lambda name=name: _child(name, before, after))
        for name in NAMES
        if not only or any(name.startswith(o) for o in only)
    ]
    reports = [SUMMARY_REPORT] if before.stat().st_size > _TOO_LARGE_FOR_NVTX else [SUMMARY_REPORT, NVTX_REPORT]
    nsys = [(f"nsys stats --report {report}", report) for report in reports] if with_nsys else []
    for turn in range(repeat):
        for name, step in steps:
            taken.setdefault(name, []).append(step())
        if turn == 0 and shutil.which("nsys"):
            for name, report in nsys:
                taken[name] = [_nsys(before, report)]
    kernels = max(int(t["kernels"]) for times in taken.values() for t in times if t.get("kernels")) if taken else 0
    best = {name: min(t["seconds"] for t in times) for name, times in taken.items()}
    rows: list[list[object]] = []
    for name, times in taken.items():
        seconds = [t["seconds"] for t in times]
        group = best.get(GROUP_BY)
        rival = best.get(f"nsys stats --report {_RIVALS[name]}") if name in _RIVALS else None
        rows.append(
            [
                name, f"{kernels:,}", min(seconds), statistics.median(seconds), min(t["cpu_seconds"] for t in times),
                round(max(t["peak_bytes"] for t in times) / 1e6), best[name] / group if group and name in (GROUP_BY, SUMMARY) else None,
                rival / best[name] if rival else None,
            ]
        )  # fmt: skip
    return rows


def _child(name: str, before: Path, after: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.steps", name, str(before), str(after)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _nsys(trace: Path, report: str) -> dict[str, float]:
    """nsys writes beside its output, so it gets a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="profiler-benchmarks-") as folder:
        command = [
            "nsys",
            "stats",
            "--report",
            report,
            "--format",
            "csv",
            "--output",
            f"{folder}/out",
            "--force-export=false",
            str(trace),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.steps", "--process", *command],
            check=True,
            capture_output=True,
            text=True,
        )
        if not any(Path(folder).iterdir()):  # nsys ends with 0 when a report fails
            raise RuntimeError(f"nsys made no {report}: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
