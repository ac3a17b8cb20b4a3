"""The output of verbs that read large traces, kept for the next time.

The key is the content of the traces and of the JSON files beside them (manifests, layers), the arguments, and this program's own code: an
output is only ever replayed where the same would be computed. A run that fails is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from profiler import store
from profiler.cli import streams
from profiler.cli.output import check_target
from profiler.files import state_of, write_file
from profiler.fleet.code import code_digest

_LEAST_BYTES = 32 * 2**20
"""Smaller traces are analysed in the time that looking would take."""
_MAX_FILES_BESIDE = 100
_MAX_BYTES_BESIDE = 64 * 2**20
_NO_INPUT = ("output", "force", "run", "no_cache")


def run(
    args: argparse.Namespace, traces: tuple[str, ...], verb: Callable[[argparse.Namespace], int | None]
) -> int | None:
    """Run a verb, or print what it printed before.

    Args:
        traces: names of the arguments that are traces.
    """
    if args.no_cache or not store.is_on():
        return verb(args)
    check_target(args)
    inputs = _inputs(args, traces)
    states = [state_of(path) for path in inputs or ()]
    key = _key(args, inputs) if inputs else None
    if not inputs or key is None:
        return verb(args)
    kept = store.Store()
    found = kept.get(key)
    if isinstance(found, dict) and isinstance(found.get("output"), str) and isinstance(found.get("messages"), str):
        with contextlib.suppress(OSError):
            sys.stderr.write(found["messages"])
        _write(args, found["output"])
        return None
    output, messages = io.StringIO(), _Tee(sys.stderr)
    asked, args.output = args.output, None
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
            status = verb(args)
    finally:
        args.output = asked
        if output.getvalue():
            _write(args, output.getvalue())
    if not status and states == [state_of(path) for path in inputs]:  # what was read is what the key was made of
        kept.put(key, {"output": output.getvalue(), "messages": messages.text.getvalue()})
    return status


def _write(args: argparse.Namespace, text: str) -> None:
    if args.output is None:
        streams.write(text)
    else:
        write_file(args.output, text)


class _Tee(io.TextIOBase):
    """Messages go to the terminal at once, and are kept."""

    def __init__(self, through: TextIO) -> None:
        self._through = through
        self.text = io.StringIO()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._through.write(text)
        return self.text.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._through.flush()


def _inputs(args: argparse.Namespace, traces: tuple[str, ...]) -> list[Path] | None:
    """The files of which the output is made; None where it is not worth keeping."""
    paths = [Path(getattr(args, name)) for name in traces]
    try:
        if sum(path.stat().st_size for path in paths) < _LEAST_BYTES:
            return None
        inputs = [*paths, *(p for path in paths for p in _beside(path))]
    except OSError:
        return None
    inputs += [Path(v) for name, v in sorted(vars(args).items()) if name.endswith("_engine") and v is not None]
    return inputs if len(inputs) <= len(paths) + _MAX_FILES_BESIDE else None


def _key(args: argparse.Namespace, inputs: list[Path]) -> str | None:
    digests = [store.content_digest(path) for path in inputs]
    if None in digests:
        return None
    options = [f"{name}={value!r}" for name, value in sorted(vars(args).items()) if name not in _NO_INPUT]
    return store.key_of([code_digest(), *options, *(d for d in digests if d)])


def _beside(path: Path) -> list[Path]:
    """The JSON files of the trace's folder."""
    found = [p for p in sorted(path.resolve().parent.glob("*.json")) if p.is_file()]
    if sum(p.stat().st_size for p in found) > _MAX_BYTES_BESIDE:
        raise OSError("too much lies beside the trace")
    return found
