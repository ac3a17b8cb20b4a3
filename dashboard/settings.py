"""What the server was started with, by environment variables. Nothing that a browser sends changes any of it.

``PROFILER_TRACES``   a folder of traces and results, whose runs the dashboard opens with
``PROFILER_CAPTURE``  "1": the page Capture may start recordings on this machine
``PROFILER_PYTHONS``  interpreters that it may use beside its own, separated as in PATH
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

FOLDER_VARIABLE = "PROFILER_TRACES"
CAPTURE_VARIABLE = "PROFILER_CAPTURE"
PYTHONS_VARIABLE = "PROFILER_PYTHONS"


def folder() -> Path | None:
    """The folder of traces that the server was started with."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else None


def roots() -> tuple[Path, ...]:
    """The folders that may be read from: the working directory, and the folder that the server was started with."""
    given = folder()
    return tuple(dict.fromkeys(p.resolve() for p in (given, Path.cwd()) if p is not None))


def is_readable_from(path: Path) -> bool:
    """Whether a path lies in one of :func:`roots`, links followed."""
    try:
        return any(path.resolve().is_relative_to(root) for root in roots())
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL in the name
        return False


def may_capture() -> bool:
    """Whether the server was started to record."""
    return os.environ.get(CAPTURE_VARIABLE) == "1"


def pythons() -> list[str]:
    """The interpreters that a recording may use: this one, and those that the configuration names."""
    given = os.environ.get(PYTHONS_VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys([sys.executable, *(found for name in given if name and (found := shutil.which(name)))]))
