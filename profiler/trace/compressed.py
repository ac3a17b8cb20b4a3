"""Reading compressed files piece by piece, with a bound on memory. What they unpack to is bounded by the callers."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable
from typing import IO, BinaryIO, cast

_XZ_MEMORY_BYTES = 1 << 29
"""An .xz file names the memory that its reader needs, up to 4 GiB; xz -9 asks for 65 MiB."""
_CHUNK = 1 << 16
XZ_MAGIC = b"\xfd7zXZ\x00"


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
    return io.BufferedReader(_Xz(file), _CHUNK)


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
                rest = self._decompressor.unused_data.lstrip(b"\0") or self._file.read(_CHUNK).lstrip(b"\0")
                if not rest:
                    return 0
                self._decompressor = _new_xz()  # streams and their padding may follow one another
            elif self._decompressor.needs_input:
                rest = self._file.read(_CHUNK)
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
