"""Private temporary folders that go even when the process that made them was killed.

Each holds a lock for as long as its process lives. A process that makes its first folder removes those of this user that nobody locks
any more: what a killed dashboard left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders go when their process ends as it should, and not otherwise
    fcntl = None  # type: ignore[assignment]

_PREFIX = "profiler-"
_LOCK = ".lock"
_held: dict[Path, int] = {}


def private_folder(kind: str) -> Path:
    """Make a folder that only this user can enter. Remove it with :func:`remove`."""
    _sweep_once()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
    if fcntl is not None:
        unnamed = (
            folder / f"{_LOCK}.new"
        )  # it gets its name when it is locked, so that nobody takes it for one left behind
        handle = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        unnamed.rename(folder / _LOCK)
        _held[folder] = handle
    return folder


def remove(folder: Path) -> None:
    """Remove a folder and what is in it; one that is gone already is no error."""
    shutil.rmtree(folder, ignore_errors=True)
    handle = _held.pop(folder, None)
    if handle is not None:
        os.close(handle)


def sweep() -> list[Path]:
    """Remove the folders of this user whose process has ended, and say which."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*") if fcntl is not None else ():
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or folder in _held:
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed.append(folder)
            finally:
                os.close(handle)
    return removed


@lru_cache(maxsize=1)
def _sweep_once() -> None:
    sweep()
