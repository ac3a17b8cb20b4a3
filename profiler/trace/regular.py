"""Opening a file that somebody named, without waiting on a pipe or reading from a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from profiler.errors import TraceError


def open_regular(path: Path, what: str) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        what: what was expected of the file, for messages: "a trace".

    Raises:
        TraceError: it is missing, a folder, a pipe, a socket or a device, or may not be read.
    """
    try:
        # a pipe opened without O_NONBLOCK would wait for a writer; the kind is asked of what was opened, not of the name
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise TraceError(f"{shown(path)}: no such file.", f"Check the path; {what} was expected.") from None
    except IsADirectoryError:
        raise _folder(path, what) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"{shown(path)}: cannot be read ({reason}).", "Check the path and its permissions.") from error
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise _folder(path, what)
        if not stat.S_ISREG(mode):
            raise TraceError(
                f"{shown(path)}: not a regular file (a pipe or a device).",
                f"Copy it to a file first; {what} was expected.",
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, what: str, most: int) -> bytes:
    """The whole content of a regular file of at most ``most`` bytes.

    Raises:
        TraceError: as for :func:`open_regular`, or the file is larger.
    """
    try:
        with open_regular(path, what) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise TraceError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    if len(content) > most:
        raise TraceError(f"{shown(path)}: larger than {most:,} bytes; {what} was expected, and none is.")
    return content


def shown(path: Path) -> str:
    """A path in a message; one that no file system takes is cut."""
    return str(path)[:500]


def _folder(path: Path, what: str) -> TraceError:
    return TraceError(f"{shown(path)}: is a folder, and {what} was expected.", "Name the file inside it.")
