"""What is kept between the runs of a page's script, for all sessions; of uploads only as long as they are there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from profiler.analysis.run.run import Run

T = TypeVar("T")
P = ParamSpec("P")

HASH: dict[str | type[Any], Callable[[Any], Any]] = {str: lambda text: text.encode("utf-8", "surrogatepass")}
"""How the caches tell texts apart: names of files need not be UTF-8."""
Key = tuple[Any, ...]
"""Stands for what is computed from in the caches: nested tuples of texts and numbers, the paths of the traces among them."""
_FORGET: dict[str, dict[str, Callable[[], None]]] = {}
_RUNS: dict[str, list[weakref.ref[Run]]] = {}


def kept(
    max_entries: int, spinner: str | bool = False
) -> Callable[[Callable[Concatenate[Key, P], T]], Callable[Concatenate[Key, P], T]]:
    """Keep what a function returns, for all sessions, by its first argument; the others start with "_" and are not looked at.

    What is computed of an upload is forgotten when the upload goes (:func:`forget`).
    """

    def decorate(function: Callable[Concatenate[Key, P], T]) -> Callable[Concatenate[Key, P], T]:
        cached = st.cache_resource(max_entries=max_entries, show_spinner=spinner, hash_funcs=HASH)(function)

        @wraps(function)
        def call(key: Key, /, *args: P.args, **kwargs: P.kwargs) -> T:
            result = cached(key, *args, **kwargs)
            for path in _uploads_in(key):
                # bound to the key alone, so that it does not keep the trace
                clear = partial(cached.clear, key, *[None] * len(args))
                _FORGET.setdefault(path, {})[f"{function.__name__}{key}"] = clear
            return result

        call.clear = cached.clear  # type: ignore[attr-defined]
        return call

    return decorate


def _uploads_in(key: Key) -> set[str]:
    found = {part for part in key if isinstance(part, str) and "profiler-uploads-" in part}
    return found.union(*(_uploads_in(part) for part in key if isinstance(part, tuple)))


def forget(path: Path) -> None:
    """Forget all that was read and computed of an upload, and close it: what was unpacked of it goes."""
    for run in _RUNS.pop(str(path), ()):
        if (still_open := run()) is not None:
            still_open.trace.close()
    for clear in _FORGET.pop(str(path), {}).values():
        clear()


def opened(path: Path, run: Run) -> None:
    """An upload was read: it is closed when it goes."""
    _RUNS.setdefault(str(path), []).append(weakref.ref(run))
