"""Opening files that somebody named, and reading streams that may be larger than they say.

A pipe is not waited on and a device not read; compressed files are read piece by piece, with a bound on memory. What they unpack to is
bounded by the callers, with :func:`chunks`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from profiler.errors import ProfilerError, TraceError

XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY_BYTES = 1 << 29
"""An .xz file names the memory that its reader needs, up to 4 GiB; xz -9 asks for 65 MiB."""
_CHUNK = 1 << 20
_XZ_CHUNK = 1 << 16


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
        raise TraceError(f"{shown(path)}: no such file.", f"Check the path; expected {what}.") from None
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
                f"Copy it to a file first; expected {what}.",
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
        raise TraceError(f"{shown(path)}: larger than {most:,} bytes, the limit for {what}.")
    return content


def shown(path: Path) -> str:
    """A path in a message; one that no file system takes is cut."""
    return str(path)[:500]


def _folder(path: Path, what: str) -> TraceError:
    return TraceError(f"{shown(path)}: is a folder; expected {what}.", "Name the file inside it.")


def chunks(stream: IO[bytes], most: int, too_large: ProfilerError) -> Iterator[bytes]:
    """The pieces of a stream.

    Raises:
        ProfilerError: ``too_large``, before a piece that would make it more than ``most`` bytes.
    """
    read = 0
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if read > most:
            raise too_large
        yield chunk


def decompressor(head: bytes) -> tuple[str, Callable[[BinaryIO], IO[bytes]]] | None:
    """The name of the compression that a file with these first bytes has, and what opens it; None for anything else."""
    if head.startswith(XZ_MAGIC):
        return "xz", open_xz
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd", _open_zstd
    if head.startswith(b"\x1f\x8b"):
        return "gzip", lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    return None


def open_xz(file: BinaryIO) -> IO[bytes]:
    """The content of an .xz file as a stream; reading raises LZMAError or EOFError where it is damaged or cut off."""
    return io.BufferedReader(_Xz(file), _XZ_CHUNK)


def _open_zstd(file: BinaryIO) -> IO[bytes]:
    import zstandard  # noqa: PLC0415 - only for this kind of file

    # frames that ask for a window above 128 MiB are refused by the library itself
    return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


class _Xz(io.RawIOBase):
    """lzma.open takes no limit of memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = _new_xz()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b"\0") or self._file.read(_XZ_CHUNK).lstrip(b"\0")
                if not rest:
                    return 0
                self._decompressor = _new_xz()  # streams and their padding may follow one another
            elif self._decompressor.needs_input:
                rest = self._file.read(_XZ_CHUNK)
                if not rest:
                    raise EOFError("the compressed data ends before its end mark")
            else:
                rest = b""
            data = self._decompressor.decompress(rest, len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)


def _new_xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
