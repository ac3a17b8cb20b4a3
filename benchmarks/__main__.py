"""``python -m benchmarks``: what the commands take, as whole processes, beside plain SQL and nsys, on generated traces."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.cases import (
    CASES,
    EXCERPT,
    GROUP_BY,
    LARGEST,
    METRIC_ROWS,
    RIVALS,
    RIVALS_OF,
    SMALL,
    TARGETS,
    WHOLE,
    Case,
    Target,
    filled,
)
from benchmarks.generate import AFTER, BEFORE, generate, unpack
from benchmarks.process import Taken, Visits, measure
from tests.support.serving import chromium

_DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_ENOUGH_S = 60
"""What takes longer in one turn is not run again."""

Measured = dict[tuple[str, int], list[Taken]]
"""Runs by command and size."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--kernels", type=int, nargs="*", default=[100_000, 1_000_000], help="kernels a trace (default: 100000 1000000)"
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="turns (default: 3); nothing longer than a minute is repeated"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the traces are kept; by default a folder that goes afterwards"
    )
    parser.add_argument("--only", nargs="+", choices=[c.name for c in CASES], help="only these commands")
    parser.add_argument(
        "--pairs-up-to", type=int, metavar="N", help="compare, fusion and report only on traces of up to N kernels"
    )
    parser.add_argument("--without-nsys", action="store_true", help="leave nsys out")
    parser.add_argument(
        "--without-dashboard", action="store_true", help="leave the dashboard out, which needs Chromium and Playwright"
    )
    parser.add_argument("--write", action="store_true", help=f"also write the tables to {_DOCUMENT.name}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profiler-benchmarks-") as temporary:
        folder = (args.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with_nsys = not args.without_nsys and shutil.which("nsys") is not None
        load = os.getloadavg()[0]
        measured: Measured = {}
        visits: Visits = {}
        for size in (SMALL, *args.kernels):
            alone = args.pairs_up_to is not None and size > args.pairs_up_to
            names = [c.name for c in CASES if c.name in (args.only or [c.name]) and not (alone and c.is_of_pair)]
            _turns(size, folder, args.repeat, names, with_nsys, measured)
        if not args.only and not args.without_dashboard and chromium():
            visits = _dashboard(args.kernels, folder, args.repeat, args.pairs_up_to, measured)
    text = _report(measured, visits, load, with_nsys)
    print(text)
    if args.write:
        _write(text)
    return 0


def _turns(size: int, folder: Path, repeat: int, names: list[str], with_nsys: bool, into: Measured) -> None:
    """Commands and their rivals take turns, so that what else the machine does falls on all of them."""
    cases = [c for c in CASES if c.name in names and (c.sizes is None or size in c.sizes)]
    if not cases:
        return
    traces = _traces(size, folder, cases)
    for turn in range(repeat):
        for case in cases:
            _run(case.name, size, case.arguments, traces, turn, into)
            for rival in RIVALS_OF.get(case.name, ()):
                if (with_nsys or rival == GROUP_BY) and size <= LARGEST.get(rival, size):
                    _run(rival, size, RIVALS[rival], traces, turn, into)


def _run(name: str, size: int, arguments: tuple[str, ...], traces: dict[str, Path], turn: int, into: Measured) -> None:
    runs = into.setdefault((name, size), [])
    if turn and runs and runs[-1].wall_s > _ENOUGH_S:
        return
    bytecode = traces["before"].parent / "bytecode"
    if not runs and size == SMALL:  # the first start compiles the modules
        measure(filled(arguments, traces), bytecode)
    runs.append(measure(filled(arguments, traces), bytecode))
    print(f"{name}, {_size(size)}: {runs[-1].wall_s:.2f} s", file=sys.stderr, flush=True)


def _dashboard(sizes: list[int], folder: Path, repeat: int, pairs_up_to: int | None, into: Measured) -> Visits:
    """Start it again for each turn; the first one compiles the modules and does not count."""
    from benchmarks import dashboard  # noqa: PLC0415 - a process counts what its parent held before it: keep that small

    visits: Visits = {}
    for turn in range(repeat + 1):
        taken, visits = dashboard.bundled_pair()
        taken |= dashboard.empty_app()
        for name, one in taken.items():
            print(f"{name}: {one.wall_s:.2f} s", file=sys.stderr, flush=True)
            if turn:
                into.setdefault((name, SMALL), []).append(one)
    for size in sizes:
        if pairs_up_to is None or size <= pairs_up_to:
            before, after = (folder / f"{run}-{size}.sqlite" for run in (BEFORE, AFTER))
            for name, whole in ((EXCERPT, False), (WHOLE, True)):
                if whole or dashboard.opens_as_excerpt(before):
                    into[name, size] = [dashboard.large_pair(before, after, whole)]
                    print(f"{name}, {_size(size)}: {into[name, size][0].wall_s:.2f} s", file=sys.stderr, flush=True)
    return visits


def _made(make: Callable[..., object], *args: object) -> None:
    """Call a function in a process of its own: what this one held would count as memory of the processes that it measures."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(make, *args).result()


def _traces(size: int, folder: Path, cases: list[Case]) -> dict[str, Path]:
    found = {}
    for side, run in (("before", BEFORE), ("after", AFTER)):
        if side == "after" and not any(case.is_of_pair for case in cases):
            continue
        found[side] = folder / f"{run}-{size}.sqlite"
        if not found[side].exists():
            _made(unpack, run, found[side]) if size == SMALL else _made(generate, found[side], size, run)
    if any("{metrics}" in argument for case in cases for argument in case.arguments):
        found["metrics"] = folder / f"{BEFORE}-metrics-{METRIC_ROWS}.sqlite"
        if not found["metrics"].exists():
            _made(generate, found["metrics"], 0, BEFORE, METRIC_ROWS)
    return found


def _report(measured: Measured, visits: Visits, load: float, with_nsys: bool) -> str:
    nsys = f"nsys: {_nsys_version()}." if with_nsys else "nsys was not measured."
    shared = (
        ", so other programs may have been running, and the seconds may be longer than on an idle machine"
        if load > 1
        else ""
    )
    lines = [
        f"Measured on {datetime.date.today():%d %B %Y}: {os.cpu_count()} processors ({_processor()}), "
        f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after{shared}; Python {platform.python_version()}, which adds "
        f"the first ten million integers in {_additions_s():.2f} s. {nsys}",
        "",
        "Targets, from the medians. Ratios are also given in CPU time, which says more if other programs were running. "
        "“of SQLite GROUP BY” is without the start of each: for the command what it takes on "
        "the bundled recording is subtracted, for Python's `sqlite3` the same.",
        "",
        _table(
            [_target_row(t, measured) for t in TARGETS],
            ("command", "kernels", "figure", "measured", "in CPU time", "target", "reached"),
        ),
        "",
        "All processes, medians; CPU and peak memory are those of the process and everything it starts:",
        "",
        _table(
            [_row(key, runs) for key, runs in measured.items()],
            ("process", "kernels", "wall s", "CPU s", "peak MB", "runs"),
        ),
    ]
    sizes = sorted({size for _, size in measured if size != SMALL})
    if len(sizes) > 1:
        rows = [[c.name, *_growth(c.name, sizes, measured)] for c in CASES if (c.name, sizes[-1]) in measured]
        lines += [
            "",
            "Growth, CPU s, and in brackets the times that is of the size before:",
            "",
            _table(rows, ("command", *map(_size, sizes))),
        ]
    if visits:
        rows = [[page, *(f"{v:.2f}" for one in both for v in (one.wall_s, one.cpu_s))] for page, both in visits.items()]
        lines += [
            "",
            "Pages of the dashboard with the bundled pair, in Chromium, from the click to the last change; CPU time is the "
            "server's (last turn):",
            "",
            _table(rows, ("page", "first visit, s", "CPU s", "again, s", "CPU s")),
        ]
    return "\n".join(lines)


def _target_row(target: Target, measured: Measured) -> list[str] | None:
    ours = measured.get((target.case, target.size))
    if not ours:
        return None
    is_least = target.figure == "faster than"
    found, in_cpu_time = _figure(target, measured, _wall), _figure(target, measured, _cpu)
    figure = f"{target.figure} {target.rival}" if target.rival else target.figure
    if found is None:
        return None
    unit = "×" if target.rival else ""
    reached = found >= target.limit if is_least else found <= target.limit
    return [
        target.case, _size(target.size), figure, f"{found:.3g}{unit}",
        f"{in_cpu_time:.3g}×" if target.rival and in_cpu_time is not None else "", f"{'≥' if is_least else '≤'} {target.limit:g}{unit}",
        "yes" if reached else "no",
    ]  # fmt: skip


def _figure(target: Target, measured: Measured, taken: Callable[[list[Taken]], float]) -> float | None:
    ours = measured[target.case, target.size]
    if target.rival is None:
        if target.figure == "peak MB":
            return max(t.peak_bytes for t in ours) / 1e6
        return _wall(ours) if target.figure == "wall s" else _cpu(ours)
    rival = measured.get((target.rival, target.size))
    if not rival:
        return None
    if target.figure == "faster than":
        return taken(rival) / taken(ours)
    starts = [measured.get((name, SMALL)) for name in (target.case, target.rival)]
    if not starts[0] or not starts[1]:
        return None
    return (taken(ours) - taken(starts[0])) / (taken(rival) - taken(starts[1]))


def _wall(runs: list[Taken]) -> float:
    return statistics.median(t.wall_s for t in runs)


def _cpu(runs: list[Taken]) -> float:
    return statistics.median(t.cpu_s for t in runs)


def _row(key: tuple[str, int], runs: list[Taken]) -> list[str]:
    peak = max(t.peak_bytes for t in runs)
    return [key[0], _size(key[1]), f"{_wall(runs):.2f}", f"{_cpu(runs):.2f}", f"{peak / 1e6:,.0f}", str(len(runs))]


def _growth(name: str, sizes: list[int], measured: Measured) -> list[str]:
    found: list[str] = []
    before: float | None = None
    for size in sizes:
        runs = measured.get((name, size))
        cpu = _cpu(runs) if runs else None
        factor = f" ({cpu / before:.1f}×)" if cpu and before else ""
        found.append("" if cpu is None else f"{cpu:.2f}{factor}")
        before = cpu
    return found


def _size(size: int) -> str:
    return "bundled" if size == SMALL else f"{size:,}"


def _table(rows: list[list[str] | None] | list[list[str]], headings: tuple[str, ...]) -> str:
    lines = [list(headings), ["---"] * len(headings), *(row for row in rows if row is not None)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _additions_s() -> float:
    """How fast the machine is: the seconds of one cannot be compared with another's."""
    begun, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return time.process_time() - begun


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _nsys_version() -> str:
    return subprocess.run(["nsys", "--version"], capture_output=True, text=True, check=True).stdout.strip().split()[-1]


def _write(text: str) -> None:
    before, _, rest = _DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _DOCUMENT.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
