"""Files and folders that are there whole or not at all, their digests, and private temporary folders.

Standard library only, Python 3.9 and newer: what runs beside TensorRT writes with it, too.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from profiler.errors import OutputError, UsageError

try:
    import fcntl
except ImportError:  # Windows: temporary folders go when their process ends as it should, and not otherwise
    fcntl = None  # type: ignore[assignment]

MARKER = ".profiler-partial"
MIN_FREE_BYTES = 256 << 20
_CHUNK = 1 << 20
_MAX_PREFIX = 40  # characters of a name in that of its temporary file: names end at 255 bytes
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, or write elsewhere.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or write elsewhere.",
    errno.EEXIST: "A file is in the way: choose another name.",
    errno.ENOTDIR: "A file is in the way: choose another folder.",
    errno.ENOENT: "Name a file in a folder that exists.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EROFS: "This file system is read-only: write elsewhere.",
    errno.EACCES: "You may not write there: choose another folder, or correct its permissions.",
    errno.EPERM: "You may not write there: choose another folder, or correct its permissions.",
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def cannot_write(target: Path, error: OSError) -> OutputError:
    """An error that says why ``target`` cannot be written, and the way out."""
    remedy = _REMEDIES.get(error.errno or 0, "Check the folder, its permissions and the free space.")
    return OutputError(f"{str(target)[:500]}: cannot be written ({error.strerror or error}).", remedy)


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn every failure inside into the :class:`OutputError` of :func:`cannot_write`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(target, error) from error


def beside(path: Path, ending: str) -> Path:
    """The file that belongs to another one: ``PLAN.build.json`` beside ``PLAN``."""
    return path.with_name(f"{path.name}.{ending}")


def make_parent(target: Path) -> None:
    """Make the folder of a target, with those above it.

    Raises:
        OutputError: it cannot be made.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)


# -- what may be replaced ------------------------------------------------------------------------------------


def check_target(target: Path, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work is done, a target that must not be written.

    Args:
        force: a regular file that exists may be replaced.
        inputs: files that the same command reads; the target must be none of them.

    Raises:
        UsageError: it exists and ``force`` is not given, it is one of the inputs, or a link, a folder, a device or a pipe.
        OutputError: no file can have that name.
    """
    kind = _kind_of_other(target)
    if kind is not None:
        raise UsageError(*_only_regular(target, kind))
    for path in inputs:
        with contextlib.suppress(OSError, ValueError):
            if target.samefile(path):
                raise UsageError(
                    f"{target}: is read by this command, and an input is never replaced.", "Choose another name."
                )
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target}: exists already.", "Choose another name, or give --force to replace it.")


def _kind_of_other(target: Path) -> str | None:
    """What the target is in words, where it is no regular file; None where it is one or does not exist."""
    try:
        mode = os.lstat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise cannot_write(target, error) from error
    kinds = {stat.S_IFREG: None, stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device, a pipe or a socket")


def _only_regular(target: Path, kind: str) -> tuple[str, str]:
    return f"{target}: is {kind}, and only a regular file is replaced.", "Choose another name."


# -- files ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_file(target: Path, replace: bool = True) -> Iterator[Path]:
    """An empty temporary file to write, in the target's folder; it becomes the target when the block ends without an error.

    Args:
        replace: a regular file that exists is replaced; without it, one that has come to exist is an error.

    Raises:
        OutputError: the folder is missing, read-only or full, or the target is no regular file.
    """
    kind = _kind_of_other(target)
    if kind is not None:
        raise OutputError(*_only_regular(target, kind))
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:_MAX_PREFIX]}.", suffix=".partial")
        os.close(handle)
    except OSError as error:
        raise cannot_write(target, error) from error
    partial = Path(name)
    try:
        yield partial
        # mkstemp makes the file private; the result is an ordinary file, as open() would have made it
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        with writing(target):
            _move(partial, target, replace)
    except OSError as error:
        if error.errno in NO_ROOM or error.filename == name:
            raise cannot_write(target, error) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _move(partial: Path, target: Path, replace: bool) -> None:
    if not replace:
        try:
            os.link(partial, target)  # unlike a rename, it fails where the target has come to exist
            return
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or os.path.lexists(target):
                raise
    partial.replace(target)


def write_file(target: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text as UTF-8, half characters (from a file name, say) as ``\\udcff``.

    Raises:
        OutputError: with the cause and the way out.
    """
    with atomic_file(target) as partial, writing(target):
        partial.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def write_json(target: Path, document: Any) -> None:
    """Write a document, whole or not at all. NaN and infinity are refused: JSON has no such numbers."""
    write_file(target, json.dumps(document, indent=2, allow_nan=False) + "\n")


def compress_xz(source: Path, target: Path, replace: bool = True) -> None:
    """Compress a file, whole or not at all; ``source`` stays. Level 6 with a large dictionary suits tables of integers."""
    with atomic_file(target, replace) as partial, writing(target), contextlib.ExitStack() as files:
        packed = files.enter_context(lzma.open(partial, "wb", preset=6))
        shutil.copyfileobj(files.enter_context(source.open("rb")), packed, _CHUNK)


State = tuple[int, int, int, int, int]


def state_of(file: Path | int) -> State | None:
    """Device, inode, size and times of a file (or of an open one); None when it has gone.

    Two equal states mean the same content, unless somebody sets clocks back: writing changes the fourth, and renaming the fifth.
    """
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


# -- folders -------------------------------------------------------------------------------------------------


def check_free_space(path: Path, needed_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse to start what would only fill the disk.

    Raises:
        OutputError: less is free than ``needed_bytes`` where ``path`` lies.
    """
    place = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise OutputError(
            f"{place}: {free / 2**20:,.0f} MiB are free, and at least {needed_bytes / 2**20:,.0f} MiB are needed.",
            "Free some space, or write elsewhere with -o.",
        )


@contextlib.contextmanager
def atomic_folder(
    target: Path, force: bool = False, holds: str = "manifest.json", kind: str = "a run"
) -> Iterator[Path]:
    """A folder ``NAME.partial`` to fill; it becomes ``target`` when the block ends without an error, and is removed otherwise.

    Args:
        force: replace ``target`` if it exists (it stays untouched until the new one is complete).
        holds: the file by which a folder of this kind is known; a folder without it is never replaced.
        kind: what such a folder is, for messages.

    Raises:
        OutputError: it exists and ``force`` is not given, cannot be written, or somebody else is writing it.
    """
    if target.is_symlink():
        raise OutputError(f"{target}: is a link; expected a folder.", "Choose another folder with -o.")
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already.", "Choose another folder with -o, or give --force to replace it.")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; expected a folder.", "Choose another name with -o.")
    if target.is_dir() and any(target.iterdir()) and not (target / holds).is_file():
        raise OutputError(
            f"{target}: is not {kind} (it holds no {holds}), so it is not replaced.",
            "Choose another folder with -o.",
        )
    partial = target.with_name(f"{target.name}.partial")
    with contextlib.ExitStack() as stack:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(partial) and (partial.is_symlink() or not (partial / MARKER).exists()):
                raise OutputError(
                    f"{partial}: is in the way, and this program did not make it.",
                    "Rename it, or choose another folder with -o.",
                )
            partial.mkdir(exist_ok=True)
            lock = stack.enter_context((partial / MARKER).open("w"))
            if not _lock(lock.fileno()):
                raise OutputError(
                    f"{partial}: another process is writing there.", "Wait for it, or choose another folder with -o."
                )
            for left in partial.iterdir():  # of a run that was killed
                if left.name != MARKER:
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield partial
            with writing(target):
                (partial / MARKER).unlink()
                _swap(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _lock(handle: int) -> bool:
    """Take the lock of an open file unless somebody else holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _swap(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.replace(target)
        return
    replaced = target.with_name(f"{target.name}.replaced-{os.getpid()}")
    target.replace(replaced)
    try:
        partial.replace(target)
    except OSError:
        replaced.replace(target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


# -- private temporary folders -------------------------------------------------------------------------------
# Each holds a lock for as long as its process lives. A process that makes its first folder removes those of this user that nobody
# locks any more: what a killed process left behind.

_PREFIX = "profiler-"
_LOCK = ".lock"
_locks: dict[Path, int] = {}
"""The open lock file of each folder of this process."""


def make_private_folder(kind: str) -> Path:
    """Make a temporary folder that only this user can enter. Remove it with :func:`remove_private_folder`."""
    _remove_abandoned_once()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
    if fcntl is not None:
        unnamed = folder / f"{_LOCK}.new"  # gets its name when it is locked: nobody takes it for one left behind
        handle = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        unnamed.rename(folder / _LOCK)
        _locks[folder] = handle
    return folder


def remove_private_folder(folder: Path) -> None:
    """Remove a folder and what is in it; one that is gone already is no error."""
    shutil.rmtree(folder, ignore_errors=True)
    handle = _locks.pop(folder, None)
    if handle is not None:
        os.close(handle)


@contextlib.contextmanager
def private_folder(kind: str) -> Iterator[Path]:
    """A temporary folder that only this user can enter, for the length of the block."""
    folder = make_private_folder(kind)
    try:
        yield folder
    finally:
        remove_private_folder(folder)


def remove_own_folders() -> None:
    """Remove all private folders of this process."""
    for folder in list(_locks):
        remove_private_folder(folder)


def remove_abandoned_folders() -> list[Path]:
    """Remove the private folders of this user whose process has ended, and say which."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*") if fcntl is not None else ():
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or folder in _locks:
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _lock(handle):
                    shutil.rmtree(folder)
                    removed.append(folder)
            finally:
                os.close(handle)
    return removed


@lru_cache(maxsize=1)
def _remove_abandoned_once() -> None:
    remove_abandoned_folders()
