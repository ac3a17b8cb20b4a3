"""From the file that a user has to a plain SQLite database on disk.

Accepted: an nsys SQLite export, the same compressed with xz, zstd or gzip, and a native report
(``.nsys-rep``, ``.qdrep``) where nsys is installed. Anything made on the way (the decompressed database, the
export) goes to a private temporary folder; nothing is written beside the user's file.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from profiler.errors import TraceError
from profiler.trace import nsys_export

SQLITE_MAGIC = b"SQLite format 3\x00"
REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
COMPRESSED_SUFFIXES = (".xz", ".zst", ".gz")
TRACE_SUFFIXES = (".sqlite", ".db", *(f".sqlite{s}" for s in COMPRESSED_SUFFIXES), *REPORT_SUFFIXES)
MAX_DECOMPRESSED_BYTES = 64 * 2**30
_CHUNK = 1 << 20
_SQLITE_HEADER_BYTES = 100


@dataclass(frozen=True)
class TraceFile:
    """A SQLite database that can be opened, and where it came from.

    Attributes:
        source: the path that the user gave.
        database: the SQLite file to open; ``source`` itself when nothing had to be unpacked.
        how: how ``database`` was made from ``source``; empty when they are the same.
        write_ahead_log: the database was left in WAL mode, so it must be opened as immutable: SQLite would
            otherwise create files beside it.
    """

    source: Path
    database: Path
    how: str
    write_ahead_log: bool
    _workdir: Path | None = None

    def keep_until_gone(self, owner: object) -> Callable[[], Any]:
        """Tie the private temporary folder to ``owner``: it is removed when that object goes."""
        if self._workdir is None:
            return lambda: None
        return weakref.finalize(owner, shutil.rmtree, self._workdir, ignore_errors=True)


def prepare(path: Path, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> TraceFile:
    """Return a readable SQLite database for ``path``.

    Args:
        path: what the user gave.
        max_bytes: the largest database that is unpacked from a compressed file.

    Raises:
        TraceError: the file is missing, unreadable, empty, of another kind, damaged, or unpacks to too much.
        MissingToolError: a native report, and no nsys to export it.
    """
    _check_is_file(path)
    head = _read_head(path)
    if not head:
        raise TraceError(f"{path}: the file is empty.", "Export the report again: nsys export --type sqlite REPORT")
    if head.startswith(SQLITE_MAGIC):
        return TraceFile(path, path, "", _check_sqlite_header(path, head))
    opener = _decompressor(head)
    if opener is None and path.name.lower().endswith(REPORT_SUFFIXES):
        return _unpack(path, lambda target: nsys_export.export(path, target), "exported with nsys")
    if opener is not None:
        name, open_stream = opener
        return _unpack(path, lambda target: _decompress(path, open_stream, target, max_bytes), f"unpacked ({name})")
    raise TraceError(
        f"{path}: not an nsys trace: it starts with {head[:8]!r}, and an SQLite export starts with {SQLITE_MAGIC[:15]!r}.",
        "Expected a .sqlite export (plain, .xz, .zst or .gz) or a report with its own ending, .nsys-rep or .qdrep. "
        "If this is a renamed report, give it that ending back; an encrypted file must be decrypted first.",
    )


def _check_is_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise TraceError(
            f"{path}: no such file.", "Check the path; a trace is a .sqlite export or a .nsys-rep report."
        ) from None
    except (OSError, ValueError) as error:
        raise TraceError(f"{str(path)[:500]!r}: cannot be read ({error}).") from error
    if stat.S_ISDIR(mode):
        raise TraceError(f"{path}: is a folder, and a trace file was expected.", "Name the .sqlite file inside it.")
    if not stat.S_ISREG(mode):
        raise TraceError(f"{path}: not a regular file (a pipe or a device).", "Copy the trace to a file first.")


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SQLITE_HEADER_BYTES)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror or error}).", "Check the permissions.") from error


def _check_sqlite_header(path: Path, head: bytes) -> bool:
    """True when the database is in WAL mode. The fields' places: https://www.sqlite.org/fileformat.html#the_database_header"""
    if len(head) < _SQLITE_HEADER_BYTES:
        raise TraceError(f"{path}: cut off: {len(head)} bytes of an SQLite database.", "Copy or export it again.")
    page_size = int.from_bytes(head[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    expected = page_size * int.from_bytes(head[28:32], "big")
    actual = path.stat().st_size
    size_is_valid = head[24:28] == head[92:96]  # otherwise an old writer left the page count stale
    if size_is_valid and expected > actual:
        raise TraceError(
            f"{path}: cut off: {actual:,} bytes, and its header says {expected:,}.",
            "The copy or the export did not finish, or is still running; copy or export it again.",
        )
    for suffix in ("-wal", "-journal"):
        companion = path.with_name(path.name + suffix)
        if companion.exists() and companion.stat().st_size:
            raise TraceError(
                f"{path}: still being written, or its writer was stopped: {companion.name} lies beside it.",
                "Wait for the export to finish, or export it again.",
            )
    return head[18] == 2 or head[19] == 2


def _decompressor(head: bytes) -> tuple[str, Callable[[Path], IO[bytes]]] | None:
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz", lambda path: cast("IO[bytes]", lzma.open(path, "rb"))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd", _open_zstd
    if head.startswith(b"\x1f\x8b"):
        return "gzip", lambda path: cast("IO[bytes]", gzip.open(path, "rb"))
    return None


def _open_zstd(path: Path) -> IO[bytes]:
    import zstandard  # noqa: PLC0415 - only for this kind of file

    return cast("IO[bytes]", zstandard.open(path, "rb"))


def _decompress(path: Path, open_stream: Callable[[Path], IO[bytes]], target: Path, max_bytes: int) -> None:
    written = 0
    try:
        with open_stream(path) as source, target.open("wb") as sink:
            while chunk := source.read(_CHUNK):
                if not written and not chunk.startswith(SQLITE_MAGIC):
                    raise TraceError(
                        f"{path}: unpacks to something that is not an SQLite database (it starts with {chunk[:8]!r}).",
                        "Expected a compressed nsys SQLite export; unpack archives of several files first.",
                    )
                written += len(chunk)
                if written > max_bytes:
                    raise TraceError(
                        f"{path}: unpacks to more than {max_bytes:,} bytes.",
                        "Unpack it yourself if you trust it, and open the .sqlite file.",
                    )
                sink.write(chunk)
    except TraceError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise TraceError(f"{path}: could not be unpacked to {target.parent} ({error.strerror}).") from error
        raise TraceError(f"{path}: damaged: it does not unpack ({error}).", "Copy it again.") from error
    except Exception as error:  # the three codecs share no base class: LZMAError, ZstdError, EOFError, zlib.error
        raise TraceError(f"{path}: damaged: it does not unpack ({error}).", "Copy it again.") from error
    if not written:
        raise TraceError(f"{path}: unpacks to nothing.", "Copy or compress it again.")


def _unpack(path: Path, make: Callable[[Path], None], how: str) -> TraceFile:
    workdir = Path(tempfile.mkdtemp(prefix="profiler-"))
    try:
        database = workdir / "trace.sqlite"
        make(database)
        return TraceFile(path, database, how, _check_sqlite_header(database, _read_head(database)), workdir)
    except BaseException:
        shutil.rmtree(workdir, ignore_errors=True)
        raise
