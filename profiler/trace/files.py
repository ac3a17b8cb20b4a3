"""From the file that a user has to a plain SQLite database on disk.

Accepted: an nsys SQLite export, the same compressed with xz, zstd or gzip, and a native report
(``.nsys-rep``, ``.qdrep``) where nsys is installed. Anything made on the way (the decompressed database, the
export) goes to a private temporary folder; nothing is written beside the user's file.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from profiler.errors import TraceError
from profiler.files import make_private_folder, remove_private_folder
from profiler.trace import foreign, nsys_export
from profiler.trace.streams import chunks, decompressor, open_regular

SQLITE_MAGIC = b"SQLite format 3\x00"
REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
COMPRESSED_SUFFIXES = (".xz", ".zst", ".gz")
TRACE_SUFFIXES = (".sqlite", ".db", *(f".sqlite{s}" for s in COMPRESSED_SUFFIXES), *REPORT_SUFFIXES)
MAX_DECOMPRESSED_BYTES = 64 * 2**30
MAX_RATIO = 250
"""Real traces, also repetitive ones, were seen to compress to a seventh up to a fifteenth."""
_FREE_OF_RATIO_BYTES = 1 << 28
_SPARE_BYTES = 1 << 28
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
        return weakref.finalize(owner, remove_private_folder, self._workdir)


def prepare(path: Path, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> TraceFile:
    """Return a readable SQLite database for ``path``.

    Args:
        path: what the user gave.
        max_bytes: the largest database that is unpacked from a compressed file.

    Raises:
        TraceError: the file is missing, unreadable, empty, of another kind, damaged, or unpacks to too much.
        MissingToolError: a native report, and no nsys to export it.
    """
    head = _read_head(path)
    if not head:
        raise TraceError(f"{path}: the file is empty.", "Export the report again: nsys export --type sqlite REPORT")
    if head.startswith(SQLITE_MAGIC):
        return TraceFile(path, path, "", _check_sqlite_header(path, head))
    opener = decompressor(head)
    if opener is None and path.name.lower().endswith(REPORT_SUFFIXES):
        return _unpack(path, lambda target: nsys_export.export(path, target), "exported with nsys")
    if opener is not None:
        name, open_stream = opener
        return _unpack(path, lambda target: _decompress(path, open_stream, target, max_bytes), f"unpacked ({name})")
    refuse_foreign(path, head, path)
    raise TraceError(
        f"{path}: not an nsys trace: it starts with {head[:8]!r}, and an SQLite export starts with {SQLITE_MAGIC[:15]!r}.",
        "Expected a .sqlite export (plain, .xz, .zst or .gz) or a report with its own ending, .nsys-rep or .qdrep. "
        "If this is a renamed report, give it that ending back; an encrypted file must be decrypted first.",
    )


def _read_head(path: Path) -> bytes:
    with open_regular(path, "a trace (a .sqlite export or a .nsys-rep report)") as file:
        try:
            return file.read(foreign.HEAD_BYTES)
        except OSError as error:
            raise TraceError(f"{path}: cannot be read ({error.strerror or error}).") from error


def refuse_foreign(path: Path, head: bytes, unpacked: Path) -> None:
    """Raise with the remedy when a file is of another kind that is known; ``unpacked``: its name without the ending of a packer."""
    known = foreign.describe(unpacked, head)
    if known is not None:
        what, remedy = known
        raise TraceError(f"{path}: not an nsys trace, but {what}.", remedy)


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


def _decompress(path: Path, open_stream: Callable[[BinaryIO], IO[bytes]], target: Path, max_bytes: int) -> None:
    written = 0
    limit, why = _limit(path, target, max_bytes)
    too_large = TraceError(
        f"{path}: unpacks to more than {limit:,} bytes, {why}.",
        "Unpack it yourself if you trust it, and open the .sqlite file.",
    )
    try:
        with open_regular(path, "a trace") as packed, open_stream(packed) as source, target.open("wb") as sink:
            for chunk in chunks(source, limit, too_large):
                if not written and not chunk.startswith(SQLITE_MAGIC):
                    refuse_foreign(path, bytes(chunk[: foreign.HEAD_BYTES]), path.with_suffix(""))
                    raise TraceError(
                        f"{path}: unpacks to something that is not an SQLite database (it starts with {chunk[:8]!r}).",
                        "Expected a compressed nsys SQLite export; unpack archives of several files first.",
                    )
                sink.write(chunk)
                written += len(chunk)
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


def _limit(path: Path, target: Path, max_bytes: int) -> tuple[int, str]:
    """How many bytes may be unpacked, and which of the limits that is."""
    free = shutil.disk_usage(target.parent).free - _SPARE_BYTES
    return min(
        (max_bytes, "the most that is unpacked"),
        (
            max(_FREE_OF_RATIO_BYTES, MAX_RATIO * path.stat().st_size),
            f"which is {MAX_RATIO} times its size: no trace compresses so well",
        ),
        (max(free, 0), f"which is what the disk of {target.parent} has to spare"),
    )


def _unpack(path: Path, make: Callable[[Path], None], how: str) -> TraceFile:
    workdir = make_private_folder("trace")
    try:
        database = workdir / "trace.sqlite"
        make(database)
        return TraceFile(path, database, how, _check_sqlite_header(database, _read_head(database)), workdir)
    except BaseException:
        remove_private_folder(workdir)
        raise
