"""Folders of traces as the ranks of a run leave them, made for tests."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from profiler.fleet.assemble import Settings, assemble
from profiler.fleet.discover import find_traces
from profiler.fleet.identity import identify
from profiler.fleet.measure import Task, measure
from profiler.fleet.results import write
from tests.support.make_trace import TraceMaker, simple

SLOWED = "void kernel3<float>(float *)"
FACTOR = 3


def rank_trace(seed: int, inferences: int = 6, kernels: int = 6) -> TraceMaker:
    """A trace whose kernels scatter by 2 ns around those of every other rank."""
    maker, dice = simple(inferences, kernels), random.Random(seed)
    for row in maker.rows["CUPTI_ACTIVITY_KIND_KERNEL"]:
        row["end"] += dice.randint(-2, 2)
    return maker


def slow_down(trace: Path, name: str = SLOWED, factor: int = FACTOR) -> None:
    """Make every execution of one kernel ``factor`` times as long, by plain SQL."""
    connection = sqlite3.connect(trace)
    with connection:
        connection.execute(
            "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = start + ? * (end - start) "
            "WHERE demangledName = (SELECT id FROM StringIds WHERE value = ?)",
            (factor, name),
        )
    connection.close()


def fleet_folder(folder: Path, ranks: int = 8, slow: int | None = 5, broken: bool = True) -> Path:
    """``node00/rank0.sqlite`` and so on, four a node; one slow rank and one broken file."""
    for rank in range(ranks):
        node = folder / f"node{rank // 4:02d}"
        node.mkdir(parents=True, exist_ok=True)
        path = rank_trace(rank).write(node / f"rank{rank}.sqlite")
        if rank == slow:
            slow_down(path)
    if broken:
        (folder / "node00" / f"rank{ranks}.sqlite").write_bytes(b"this is no trace" * 100)
    return folder


def make_result(traces: Path, target: Path) -> Path:
    """Measure and merge a folder of traces as the verb does, in this process."""
    found = find_traces(traces)
    outcomes = [measure(Task(str(traces), name, who)) for name, who in identify(found.traces).items()]
    write(target, assemble(traces.name, found, outcomes, Settings(), {"cluster": "local", "workers": 1}))
    return target
