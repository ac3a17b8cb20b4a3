"""Progress of work that takes more than a moment, shown while it runs in a thread of its own.

What is cached must not draw, so the drawing is here and the work is there.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import streamlit as st

from profiler import progress
from profiler.text import markdown

Result = TypeVar("Result")
_SHOWN_AFTER_S = 0.7
_PERIOD_S = 0.2


def shown(tasks: Sequence[tuple[str, Callable[[], Result]]]) -> list[Result]:
    """The results of all tasks, which run at the same time; each has a bar with what it reads, once it takes long.

    Args:
        tasks: what each is called, and the task. It must not draw.

    Raises:
        Exception: what the first task that failed raised, when all are done.
    """
    states = [_State() for _ in tasks]
    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        futures = [
            pool.submit(contextvars.Context().run, _listened, state, task) for state, (_, task) in zip(states, tasks)
        ]
        begun, places = time.monotonic(), None
        while pending := wait(futures, timeout=_PERIOD_S).not_done:
            if time.monotonic() - begun < _SHOWN_AFTER_S:
                continue
            places = places or [st.empty() for _ in tasks]
            for place, future, state, (label, _) in zip(places, futures, states, tasks):
                if future in pending:
                    place.progress(state.share, f"{markdown(label)}: {markdown(state.what)}")
                else:
                    place.empty()
        for place in places or []:
            place.empty()
    return [future.result() for future in futures]


class _State:
    """Written by the task's thread, read by the page's."""

    def __init__(self) -> None:
        self.what, self.share = "opening", 0.0
        self._lock = threading.Lock()

    def put(self, what: str, share: float) -> None:
        with self._lock:
            self.what, self.share = (f"reading {what}" if what.isupper() else what), share


def _listened(state: _State, task: Callable[[], Result]) -> Result:
    with progress.listening(state.put):
        return task()
