"""How far a long reading is, for whoever wants to show it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Listener = Callable[[str, float], None]
"""Called with what is being read and the share that is done, 0 to 1, in the thread that asked for the reading."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside, long readings of this thread call ``listener`` a few times a second."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(what: str, share: float) -> None:
    listener = _listener.get()
    if listener is not None:
        listener(what, min(max(share, 0.0), 1.0))
