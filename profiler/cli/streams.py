"""Standard output and standard error as they are found: full, closed, or of a locale that lacks most characters."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.errors import EXIT_FAILED, EXIT_OK, OutputError
from profiler.files import cannot_write
from profiler.text import visible

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_OUTPUT = Path("standard output")


class _Closed(io.TextIOBase):
    """Standard output of a process that was started without one: it takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


class Parser(argparse.ArgumentParser):
    """A parser whose help is written as results are: argparse ignores an output that takes nothing."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stdout:
            write(message)
        else:
            super()._print_message(message, file)


def prepare() -> None:
    """Make both streams usable: what the encoding lacks is written ``\\uXXXX``, and no file takes the place of a closed one."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # kept: else a database that is opened becomes standard output
        pass
    os.close(free)
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(text: str, encoding: str | None = None) -> None:
    """Write a result to standard output.

    Args:
        encoding: of a document that says itself how it is encoded; else that of the locale.

    Raises:
        OutputError: standard output is full or closed.
        BrokenPipeError: its reader went away.
    """
    try:
        if encoding is not None and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding=encoding)
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(error) from error


def output_error(error: OSError) -> OutputError:
    """What is said when standard output cannot be written; what it still holds is dropped."""
    drop_output()
    return cannot_write(_OUTPUT, error)


def say(line: str) -> None:
    """One line on standard error; where that takes nothing, the result is still worth having."""
    with contextlib.suppress(OSError):
        print(visible(line), file=sys.stderr, flush=True)


def say_error(message: str, hint: str | None = None) -> None:
    """An error, and the way out of it."""
    say(f"error: {message}")
    if hint:
        say(f"  {hint}")


def drop_output() -> None:
    """Let nothing more reach standard output: Python would fail on what it still holds when it ends."""
    _drop(1)


def finish(status: int) -> int:
    """Write what the streams still hold; the exit status, which is no success where that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            found = cannot_write(_OUTPUT, error)
            say_error(found.message, found.hint)
        drop_output()
        status = EXIT_FAILED if status == EXIT_OK else status
    try:
        sys.stderr.flush()
    except OSError:
        _drop(2)
    return status


def _drop(number: int) -> None:
    empty = os.open(os.devnull, os.O_WRONLY)
    os.dup2(empty, number)
    os.close(empty)
