"""A new database beside somebody else's, which is only read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

_ENCODINGS = {2: "UTF-16le", 3: "UTF-16be"}


@contextmanager
def attached(source: Path, target: Path) -> Iterator[sqlite3.Connection]:
    """A new database ``main`` at ``target``, with the SQLite file ``source`` attached read-only as ``source``.

    Raises:
        sqlite3.Error, OSError: one of them cannot be opened.
    """
    with source.open("rb") as file:
        head = file.read(60).ljust(60, b"\0")
    # a database that was left in WAL mode is opened as it lies there: SQLite would otherwise create files beside it
    mode = f"mode=ro{'&immutable=1' if 2 in (head[18], head[19]) else ''}"
    uri = f"file:{quote(os.fsencode(target.absolute()))}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        encoding = _ENCODINGS.get(int.from_bytes(head[56:60], "big"), "UTF-8")
        # the encodings must agree; nothing in the source's schema is run, and its pages are not believed
        for setting in (
            f"encoding='{encoding}'",
            "journal_mode=OFF",
            "synchronous=OFF",
            "trusted_schema=OFF",
            "cell_size_check=ON",
            "mmap_size=0",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("ATTACH ? AS source", (f"file:{quote(os.fsencode(source.absolute()))}?{mode}",))
        yield connection
