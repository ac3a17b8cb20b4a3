"""The same of two runs at the same time."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from profiler.analysis.run.run import Run


def for_each_run(task: Callable[..., object], runs: Sequence[Run], *others: Iterable[Any]) -> None:
    """Call ``task(run, …)`` for every run, in threads: NumPy and SQLite hold the interpreter only between their calls.

    One after the other if one of them is so large (:attr:`Trace.is_large`) that the frames of two would take too much memory.

    Args:
        others: further arguments of the task, one for each run.

    Raises:
        Exception: what the task of the first run that failed raised, when all are done.
    """
    calls = list(zip(runs, *others, strict=True))
    if any(run.trace.is_large for run in runs):
        for call in calls:
            task(*call)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - imports logging

    with ThreadPoolExecutor(max(len(calls), 1)) as pool:
        futures = [pool.submit(contextvars.copy_context().run, task, *call) for call in calls]
    for future in futures:
        future.result()
