"""Results kept between runs, in the user's cache folder.

An entry is found by a key that its maker derives from contents. It is written whole or not at all, carries a checksum, and is text: JSON
can do nothing when it is read. Several processes may use the folder at once; the entries that were used longest ago go first when it
grows beyond its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from profiler.errors import OutputError, UsageError
from profiler.files import write_file

FOLDER_VARIABLE = "PROFILER_CACHE_DIR"
LIMIT_VARIABLE = "PROFILER_CACHE_BYTES"
SWITCH_VARIABLE = "PROFILER_CACHE"
_DEFAULT_LIMIT_BYTES = 256 * 2**20
_MAX_DIGITS = 18
_SUFFIX = ".result"
_BLOCK = 1 << 26
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Usage:
    """What the cache holds."""

    folder: Path
    entries: int
    used_bytes: int
    limit_bytes: int


class Store:
    """Results by key.

    Args:
        folder: by default ``$PROFILER_CACHE_DIR``, else the user's cache folder as the platform has it.
        limit_bytes: by default ``$PROFILER_CACHE_BYTES``, else 256 MiB.

    Raises:
        UsageError: that variable holds no whole number.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int | None = None) -> None:
        named = os.environ.get(FOLDER_VARIABLE)
        self.folder = folder or Path(named or platformdirs.user_cache_dir("tensorrt-evidence", appauthor=False))
        if limit_bytes is None:
            limit_bytes = _limit_bytes()
        self.limit_bytes = limit_bytes

    def get(self, key: str) -> Any | None:
        """The result; None when there is none, or when it was damaged (then it is removed)."""
        path = self._path(key)
        try:
            checksum, _, text = path.read_bytes().partition(b"\n")
            if checksum.decode("ascii", "replace") != _digest(text):
                raise ValueError("damaged")
            found = json.loads(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return found

    def put(self, key: str, result: Any) -> None:
        """Keep a result that JSON can hold. A folder that cannot be written to, or a result beyond the limit, is no error."""
        text = json.dumps(result, allow_nan=False).encode()
        if len(text) > self.limit_bytes:
            return
        with contextlib.suppress(OSError, OutputError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self._path(key), _digest(text).encode() + b"\n" + text)
            self._evict()

    def usage(self) -> Usage:
        found = self._entries()
        return Usage(self.folder, len(found), sum(size for _, size, _ in found), self.limit_bytes)

    def clear(self) -> int:
        """Remove all entries, also what a process that was stopped left half-written; returns how many entries there were."""
        removed = 0
        for pattern in (f"*{_SUFFIX}", ".*.partial"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += path.suffix == _SUFFIX
        return removed

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last use, size, path) of each entry; one that goes meanwhile is left out."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        return found

    def _evict(self) -> None:
        entries = sorted(self._entries())
        used = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if used <= self.limit_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            used -= size


def _limit_bytes() -> int:
    given = os.environ.get(LIMIT_VARIABLE) or str(_DEFAULT_LIMIT_BYTES)
    if not given.isascii() or not given.isdigit() or len(given) > _MAX_DIGITS:
        raise UsageError(f"${LIMIT_VARIABLE} is {given[:40]!r}, and a whole number of bytes was expected.")
    return int(given)


def is_on() -> bool:
    """Whether results are kept: unless ``PROFILER_CACHE=off``."""
    return os.environ.get(SWITCH_VARIABLE, "").lower() not in ("off", "0", "no")


def content_digest(path: Path) -> str | None:
    """A digest of the whole content of a file; None when it cannot be read, or changes meanwhile.

    Every byte counts: size, times and samples can be equal where contents differ. Blocks of 64 MiB are hashed at the same time
    (BLAKE2b of the blocks' BLAKE2b), which takes about half a second a gigabyte on two processors.
    """
    try:
        before = path.stat()
        starts = range(0, before.st_size, _BLOCK)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            blocks = list(pool.map(lambda start: _block_digest(path, start), starts))
        after = path.stat()
    except OSError:
        return None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None
    return _digest(b"".join(blocks) + str(before.st_size).encode())


def key_of(parts: Sequence[str]) -> str:
    """A file name for a list of texts."""
    return _digest(json.dumps(list(parts)).encode())


def _block_digest(path: Path, start: int) -> bytes:
    state, left = hashlib.blake2b(digest_size=32), _BLOCK
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left and (chunk := file.read(min(left, _CHUNK))):
            state.update(chunk)
            left -= len(chunk)
    return state.digest()


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=32).hexdigest()
