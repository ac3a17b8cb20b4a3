"""What is measured: commands as people type them, the rivals they are paired with, and the targets."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

SMALL = 0
"""In place of a number of kernels: the bundled recordings, unpacked."""
_PYTHON = sys.executable
_GROUP_BY = """
import sqlite3, sys
from pathlib import Path
connection = sqlite3.connect(Path(sys.argv[1]).absolute().as_uri() + "?mode=ro", uri=True)
sql = 'SELECT demangledName, count(*), sum("end" - start) FROM CUPTI_ACTIVITY_KIND_KERNEL GROUP BY demangledName'
print(*connection.execute(sql), sep="\\n")
"""


@dataclass(frozen=True)
class Case:
    """A command and what it is held against.

    Attributes:
        arguments: of the command; ``{before}``, ``{after}``, ``{metrics}`` are traces, ``{folder}`` an empty folder.
        sizes: kernels a trace; :data:`SMALL` for the bundled recordings; None: every size that is asked for.
    """

    name: str
    arguments: tuple[str, ...]
    sizes: tuple[int, ...] | None = None

    @property
    def is_of_pair(self) -> bool:
        return "{after}" in self.arguments


@dataclass(frozen=True)
class Target:
    """A limit on one figure of a case.

    Attributes:
        figure: "wall s", "CPU s", "peak MB", or "of" or "faster than" a rival.
        limit: the most; of "faster than" the least.
    """

    case: str
    size: int
    figure: str
    limit: float
    rival: str | None = None


def _profiler(*arguments: str) -> tuple[str, ...]:
    return (_PYTHON, "-m", "profiler", *arguments)


def _nsys(report: str) -> tuple[str, ...]:
    output = ("--format", "csv", "--output", "{folder}/out", "--force-export=false")
    return ("nsys", "stats", "--report", report, *output, "{before}")


PLAIN, FULL = "kernels --no-inferences", "kernels"
CASES = (
    Case("help", _profiler("--help"), (SMALL,)),
    Case("info", _profiler("info", "{before}")),
    Case(PLAIN, _profiler("kernels", "--no-inferences", "{before}")),
    Case(FULL, _profiler("kernels", "{before}")),
    Case("tensor-cores", _profiler("tensor-cores", "{before}")),
    Case("compare", _profiler("compare", "{before}", "{after}")),
    Case("fusion", _profiler("fusion", "{before}", "{after}")),
    Case("report", _profiler("report", "{before}", "{after}", "-o", "{folder}/report.html")),
    Case("sanitize of 1.75M metric rows", _profiler("sanitize", "{metrics}", "-o", "{folder}/copy.sqlite"), (SMALL,)),
)
GROUP_BY, SUMMARY, PROJECTION = "SQLite GROUP BY", "nsys stats cuda_gpu_kern_sum", "nsys stats nvtx_kern_sum"
RIVALS = {
    GROUP_BY: (_PYTHON, "-c", _GROUP_BY, "{before}"),
    SUMMARY: _nsys("cuda_gpu_kern_sum"),
    PROJECTION: _nsys("nvtx_kern_sum"),
}
RIVALS_OF = {PLAIN: (GROUP_BY, SUMMARY), FULL: (PROJECTION,)}
LARGEST = {PROJECTION: 2_000_000}
"""Kernels up to which a rival is run: nvtx_kern_sum takes 1.5 GB of memory for a million."""
METRIC_ROWS = 1_750_000
"""Rows of GPU metrics in the trace that is sanitised."""

UP, HEADING, CHARTS = "dashboard: server up", "dashboard: first heading", "dashboard: all charts"
EMPTY = "an empty Streamlit app: first heading"
FIRST_VISIT, AGAIN = "dashboard: slowest page, first visit", "dashboard: slowest page, again"
WHOLE, EXCERPT = "dashboard: first view, whole", "dashboard: first view, excerpt"
_MILLION = 1_000_000
TARGETS = (
    Target("help", SMALL, "CPU s", 0.35),
    Target("info", SMALL, "CPU s", 0.35),
    Target(FULL, SMALL, "CPU s", 0.35),
    Target(PLAIN, _MILLION, "of", 0.8, GROUP_BY),
    Target(PLAIN, 10 * _MILLION, "of", 0.5, GROUP_BY),
    Target(PLAIN, _MILLION, "faster than", 5, SUMMARY),
    Target(PLAIN, 10 * _MILLION, "faster than", 12, SUMMARY),
    Target(FULL, _MILLION, "faster than", 15, PROJECTION),
    Target(FULL, 10 * _MILLION, "wall s", 9),
    Target(FULL, 10 * _MILLION, "peak MB", 1000),
    Target("compare", _MILLION, "wall s", 2.5),
    Target("fusion", _MILLION, "wall s", 3),
    Target("fusion", 10 * _MILLION, "wall s", 30),
    Target("fusion", 10 * _MILLION, "peak MB", 2500),
    Target("report", SMALL, "wall s", 1.5),
    Target("report", _MILLION, "wall s", 5),
    Target("sanitize of 1.75M metric rows", SMALL, "wall s", 15),
    Target(UP, SMALL, "wall s", 1.5),
    Target(HEADING, SMALL, "wall s", 1),
    Target(CHARTS, SMALL, "wall s", 3),
    Target(AGAIN, SMALL, "CPU s", 0.4),
    Target(AGAIN, SMALL, "wall s", 0.5),
    Target(WHOLE, 10 * _MILLION, "wall s", 20),
    Target(WHOLE, 10 * _MILLION, "peak MB", 3000),
)


def filled(arguments: tuple[str, ...], traces: dict[str, Path]) -> list[str]:
    """The arguments with the paths of the traces in them."""
    found = []
    for argument in arguments:
        text = argument
        for name, path in traces.items():
            text = text.replace(f"{{{name}}}", str(path))
        found.append(text)
    return found
