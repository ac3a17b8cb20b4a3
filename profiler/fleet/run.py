"""The whole of it: find, read in parallel, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from profiler.errors import UsageError
from profiler.fleet import cluster
from profiler.fleet.assemble import Settings, assemble
from profiler.fleet.discover import Found, find_traces
from profiler.fleet.identity import check_keys, identify
from profiler.fleet.measure import Broken, Task, TraceFigures
from profiler.fleet.results import FleetResult

Outcome = TraceFigures | Broken


def run_fleet(
    folder: Path,
    settings: Settings | None = None,
    workers: int | None = None,
    memory_limit: int | None = None,
    scheduler: str | None = None,
    on_found: Callable[[Found], None] | None = None,
    on_notes: Callable[[Iterable[str]], None] | None = None,
    on_outcome: Callable[[Outcome, int, int], None] | None = None,
) -> FleetResult:
    """Read all traces of a folder in parallel and compare those of equal programs.

    Local workers are started as new processes, which import the main module again: a script that calls this needs the usual
    ``if __name__ == "__main__":``.

    Args:
        workers, memory_limit: see :func:`profiler.fleet.cluster.local`.
        scheduler: an existing cluster instead, see :func:`profiler.fleet.cluster.existing`.
        on_found: called with what lies in the folder, before anything is read.
        on_notes: called with what the user should know about the cluster.
        on_outcome: called after each trace with what came of it, how many are done, and how many there are.

    Raises:
        UsageError: no folder, no trace in it, or settings that do not fit.
        ProfilerError: the cluster cannot be used; a single trace that cannot be read is in the result instead.
    """
    settings = settings or Settings()
    check_keys(settings.group_by or (), settings.identity)
    found = find_traces(folder)
    if on_found is not None:
        on_found(found)
    if not found.traces:
        raise UsageError(f"{folder}: contains no readable trace.", "Expected .sqlite exports, plain or compressed.")
    root = folder.resolve()
    identities = identify(found.traces, settings.identity)
    tasks = [Task(str(root), name, identities[name], settings.nvtx) for name in found.traces]
    opened: AbstractContextManager[cluster.Cluster] = (
        cluster.existing(scheduler, root, tasks)
        if scheduler is not None
        else cluster.local(len(tasks), workers, memory_limit)
    )
    outcomes: list[Outcome] = []
    with opened as where:
        if on_notes is not None:
            on_notes(where.notes)
        for outcome in cluster.read_all(where, tasks):
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome, len(outcomes), len(tasks))
    return assemble(root.name, found, outcomes, settings, where.how)
