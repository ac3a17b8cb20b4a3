"""One measurement in a process of its own: ``python -m benchmarks.steps NAME BEFORE AFTER`` prints a line of JSON."""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from profiler.analysis.compare import compare
from profiler.analysis.fusion.ledger import build_ledger
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.kernels import kernel_statistics
from profiler.analysis.run.run import Run
from profiler.report.documents import ledger_document
from profiler.trace import open_trace

GROUP_BY, SUMMARY = "SQLite: GROUP BY name, count and sum", "kernel summary, all statistics"
ATTRIBUTION, COMPARE = "attribution and per-inference table", "compare, both traces"
LEDGER, FIRST_VIEW = "fusion ledger, both traces", "dashboard, first view (overview)"
_BYTES = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def _group_by(before: Path, after: Path) -> int:
    connection = sqlite3.connect(before.absolute().as_uri() + "?mode=ro", uri=True)
    sql = 'SELECT demangledName, count(*), sum("end" - start) FROM CUPTI_ACTIVITY_KIND_KERNEL GROUP BY demangledName'
    rows = connection.execute(sql).fetchall()
    connection.close()
    return sum(row[1] for row in rows)


def _summary(before: Path, after: Path) -> int:
    with open_trace(before) as trace:
        return int(kernel_statistics(trace)["count"].sum())


def _attribution(before: Path, after: Path) -> int:
    with open_trace(before) as trace:
        return int(find_inferences(trace).table["kernels"].sum())


def _compare(before: Path, after: Path) -> int:
    with open_trace(before) as first, open_trace(after) as second:
        sides = Run(first), Run(second)
        for side in sides:
            side.compute_and_release()
        compare(*sides)
        return sides[0].kernels.count


def _ledger(before: Path, after: Path) -> int:
    with open_trace(before) as first, open_trace(after) as second:
        ledger_document(ledger := build_ledger(Run(first), Run(second)))
        return ledger.coverage("before").kernels


def _first_view(before: Path, after: Path) -> int:
    from benchmarks.pages import first_view  # noqa: PLC0415 - Streamlit

    return first_view(before, after)


_STEPS: dict[str, Callable[[Path, Path], int]] = {
    GROUP_BY: _group_by,
    SUMMARY: _summary,
    ATTRIBUTION: _attribution,
    COMPARE: _compare,
    LEDGER: _ledger,
    FIRST_VIEW: _first_view,
}
NAMES = tuple(_STEPS)


def main(argv: list[str]) -> None:
    if argv[0] == "--process":
        who, step = resource.RUSAGE_CHILDREN, lambda: subprocess.run(argv[1:], check=True, stdout=sys.stderr) and 0
    else:
        who, step = resource.RUSAGE_SELF, lambda: _STEPS[argv[0]](Path(argv[1]), Path(argv[2]))
        import adbc_driver_sqlite.dbapi  # noqa: F401, PLC0415 - imports are not timed
    first, begun = resource.getrusage(who), time.perf_counter()
    kernels = step()
    seconds, last = time.perf_counter() - begun, resource.getrusage(who)
    cpu = last.ru_utime + last.ru_stime - first.ru_utime - first.ru_stime
    print(
        json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": last.ru_maxrss * _BYTES, "kernels": kernels})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
