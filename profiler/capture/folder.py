"""Folders that are there whole or not at all: written as ``NAME.partial``, renamed when everything is in place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import lzma
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from profiler.errors import OutputError

MARKER = ".profiler-partial"
MIN_FREE_BYTES = 256 << 20
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, or write elsewhere with -o.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or write elsewhere with -o.",
    errno.EEXIST: "A file is in the way: choose another folder with -o.",
    errno.ENOTDIR: "A file is in the way: choose another folder with -o.",
    errno.EROFS: "This file system is read-only: write elsewhere with -o.",
    errno.EACCES: "You may not write there: choose another folder with -o, or correct its permissions.",
    errno.EPERM: "You may not write there: choose another folder with -o, or correct its permissions.",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures to write into an :class:`OutputError` with the cause and the way out."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Check the folder, its permissions and the free space.")
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).", remedy) from error


def check_free(path: Path, needed_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse to start what would only fill the disk.

    Raises:
        OutputError: less is free than ``needed_bytes`` where ``path`` lies.
    """
    place = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise OutputError(
            f"{place}: {free / 2**20:,.0f} MiB are free, and a recording needs {needed_bytes / 2**20:,.0f} MiB "
            "for its raw report and export.",
            "Free some space, or write elsewhere with -o.",
        )


@contextlib.contextmanager
def new_folder(target: Path, force: bool = False, holds: str = "manifest.json", kind: str = "a run") -> Iterator[Path]:
    """A folder to fill; it becomes ``target`` when the block ends without an error, and is removed otherwise.

    Args:
        force: replace ``target`` if it exists (it stays untouched until the new one is complete).
        holds: the file by which a folder of this kind is known; a folder without it is never replaced.
        kind: what such a folder is, for messages.

    Raises:
        OutputError: it exists and ``force`` is not given, cannot be written, or somebody else is writing it.
    """
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already.", "Choose another folder with -o, or give --force to replace it.")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file, and a folder was expected.", "Choose another name with -o.")
    if target.is_dir() and any(target.iterdir()) and not (target / holds).is_file():
        raise OutputError(
            f"{target}: is not {kind} (it holds no {holds}), so it is not replaced.",
            "Choose another folder with -o.",
        )
    partial = target.with_name(f"{target.name}.partial")
    with contextlib.ExitStack() as stack:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if partial.exists() and not (partial / MARKER).exists():
                raise OutputError(
                    f"{partial}: is in the way, and this program did not make it.",
                    "Rename it, or choose another folder with -o.",
                )
            partial.mkdir(exist_ok=True)
            lock = stack.enter_context((partial / MARKER).open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    raise OutputError(
                        f"{partial}: another process is writing there.",
                        "Wait for it, or choose another folder with -o.",
                    ) from error
            for left in partial.iterdir():  # of a run that was killed
                if left.name != MARKER:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield partial
            with writing(target):
                (partial / MARKER).unlink()
                _swap(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _swap(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.replace(target)
        return
    old = target.with_name(f"{target.name}.replaced-{os.getpid()}")
    target.replace(old)
    try:
        partial.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: with the cause and the way out.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def compress(source: Path, target: Path) -> None:
    """Compress with xz; ``source`` stays. Level 6 with a large dictionary suits tables of integers."""
    with writing(target), source.open("rb") as raw, lzma.open(target, "wb", preset=6) as packed:
        _copy(raw, packed)


def _copy(source: IO[bytes], sink: IO[bytes]) -> None:
    shutil.copyfileobj(source, sink, 1 << 20)
