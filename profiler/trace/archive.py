"""Unpacking a .zip that somebody sent, such as a run's folder: bounded, and only into the folder that was named.

What a file inside says of itself (its size, its kind, its place) is not believed: bytes are counted as they come out, links and devices
are refused, and so is every name that is not a plain path below the folder.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from profiler.errors import TraceError
from profiler.trace.streams import chunks, open_regular, shown

ZIP_MAGIC = b"PK\x03\x04"
_END_RECORD = b"PK\x05\x06"
_END_RECORD_BYTES = 22
_MAX_COMMENT_BYTES = 65_535
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_MAX_NAME = 255
_MAX_DEPTH = 16


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes:
        files: number of entries.
        total_bytes: of all files together, unpacked.
        ratio: unpacked bytes by bytes of the archive, from ``free_of_ratio_bytes`` on. Real traces compress to a seventh up to a fifteenth.
    """

    files: int = 2_000
    total_bytes: int = 16 * 2**30
    ratio: int = 250
    free_of_ratio_bytes: int = 1 << 28
    spare_bytes: int = 1 << 28


def extract_zip(path: Path, into: Path, limits: Limits | None = None) -> list[Path]:
    """Unpack a .zip.

    Args:
        into: an existing, empty folder.
        limits: defaults to :class:`Limits`.

    Returns:
        The files, by name. Folders that hold no file are not made.

    Raises:
        TraceError: not a .zip, damaged, encrypted, too large, or with a name, a link or a device that leads out of the folder. Then
            nothing is left in it.
    """
    limits = limits or Limits()
    try:
        with open_regular(path, "a .zip archive") as file:
            return _extract(path, file, into, limits)
    except BaseException as error:
        for left in into.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TraceError(f"{shown(path)}: could not be unpacked to {into} ({error.strerror or error}).") from error
        if isinstance(error, (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)):
            raise TraceError(
                f"{shown(path)}: not a .zip archive, or damaged ({error}).", "Copy or pack it again."
            ) from error
        raise


def _extract(path: Path, file: BinaryIO, into: Path, limits: Limits) -> list[Path]:
    size = file.seek(0, 2)
    _check_directory(path, file, size, limits)
    most = min(
        limits.total_bytes,
        max(limits.free_of_ratio_bytes, limits.ratio * size),
        max(shutil.disk_usage(into).free - limits.spare_bytes, 0),
    )
    too_large = TraceError(
        f"{shown(path)}: unpacks to more than {most:,} bytes, from {size:,}.",
        "Unpack it yourself if you trust it, and open the folder.",
    )
    found: dict[str, Path] = {}
    written = 0
    with zipfile.ZipFile(file) as archive:
        for entry, parts in _entries(path, archive, limits):
            target = into.joinpath(*parts)
            same = "/".join(parts).casefold()
            if same in found or any("/".join(parts[:n]).casefold() in found for n in range(1, len(parts))):
                raise _refused(path, entry.filename, "a name that is there twice")
            found[same] = target
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as sink:
                for chunk in chunks(source, most - written, too_large):
                    sink.write(chunk)
                written += sink.tell()
    return sorted(found.values())


def _check_directory(path: Path, file: BinaryIO, size: int, limits: Limits) -> None:
    """The list of entries is read as a whole by zipfile, so its size is looked at before. (Layout: APPNOTE.TXT, 4.3.16.)"""
    file.seek(max(0, size - _END_RECORD_BYTES - _MAX_COMMENT_BYTES))
    end = file.read()
    at = end.rfind(_END_RECORD)
    if at < 0 or len(end) - at < _END_RECORD_BYTES:
        raise zipfile.BadZipFile("no list of its files at its end")
    listed = int.from_bytes(end[at + 12 : at + 16], "little")
    # 0xFFFFFFFF stands for "see the 64-bit record": an archive that needs one for its list is refused, too
    if listed > limits.files * 1_000:
        raise TraceError(f"{shown(path)}: its list of files takes {listed:,} bytes.", _TOO_MANY.format(limits.files))
    file.seek(0)


_TOO_MANY = "Expected the files of one run or study, at most {:,}."


def _entries(path: Path, archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    entries = archive.infolist()
    if len(entries) > limits.files:
        raise TraceError(f"{shown(path)}: holds {len(entries):,} files.", _TOO_MANY.format(limits.files))
    for entry in entries:
        name = entry.orig_filename  # ``filename`` ends at a NUL
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(path, name, "a link, a pipe or a device")
        if entry.flag_bits & _ENCRYPTED:
            raise _refused(path, name, "an encrypted file")
        if entry.compress_type not in _METHODS:
            raise _refused(path, name, "a file packed in a way other than stored or deflated")
        parts = PurePosixPath(name).parts
        plain = all(c.isprintable() and c not in '\\:*?"<>|' for c in name)
        if not parts or not plain or name.startswith("/") or ".." in parts or len(parts) > _MAX_DEPTH:
            raise _refused(path, name, "a name that is no plain path below its folder")
        if max(len(p.encode()) for p in parts) > _MAX_NAME:
            raise _refused(path, name, "a name that is too long")
        if not entry.is_dir():
            yield entry, parts


def _refused(path: Path, name: str, what: str) -> TraceError:
    return TraceError(
        f"{shown(path)}: holds {what}: {name[:120]!r}.", "Unpack it yourself if you trust it, and open the folder."
    )
