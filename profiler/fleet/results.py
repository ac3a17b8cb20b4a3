"""The folder of a result: one Parquet file a table, and ``fleet.json``. Written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from profiler.capture.folder import new_folder, writing
from profiler.errors import ProfilerError, UsageError
from profiler.fleet.tables import SCHEMAS

FORMAT = "profiler-fleet/1"
DOCUMENT = "fleet.json"
FILES = {name: f"{name}.parquet" for name in SCHEMAS}
_MAX_DOCUMENT_BYTES = 64 << 20
_MAX_TABLE_BYTES = 2 << 30


@dataclass(frozen=True)
class FleetResult:
    """What came out of a folder of traces.

    Attributes:
        document: provenance, settings, groups, stragglers and errors, as JSON has it (docs/interface.md).
        tables: by the names of :data:`profiler.fleet.tables.SCHEMAS`.
    """

    document: dict[str, Any]
    tables: Mapping[str, pa.Table]

    def frame(self, name: str) -> pd.DataFrame:
        """A table as a frame."""
        frame: pd.DataFrame = self.tables[name].to_pandas()
        return frame


def check_target(folder: Path, force: bool) -> None:
    """Refuse before any work is done what :func:`write` would refuse.

    Raises:
        UsageError: it exists and ``force`` is not given, or it holds anything but a result.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file, and a folder was expected.", "Choose another name with -o.")
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in (DOCUMENT, *FILES.values()))
    if foreign:
        raise UsageError(
            f"{folder}: holds other files than a result of fleet ({', '.join(foreign[:3])[:200]}), so it is not replaced.",
            "Choose another folder with -o.",
        )
    if not force:
        raise UsageError(f"{folder}: exists already.", "Choose another folder with -o, or give --force to replace it.")


def write(folder: Path, result: FleetResult, force: bool = False) -> None:
    """Write a result.

    Raises:
        UsageError, OutputError: it exists, is in the way, or cannot be written.
    """
    check_target(folder, force)
    with new_folder(folder, force, DOCUMENT, "a result of fleet") as partial, writing(folder):
        for name, table in result.tables.items():
            pq.write_table(table, partial / FILES[name], compression="zstd")
        text = json.dumps(result.document, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / DOCUMENT).write_text(text + "\n", "utf-8")


def read_fleet(folder: Path) -> FleetResult:
    """Read a result back. It may come from anybody: format, columns and sizes are checked before rows are read.

    Raises:
        ProfilerError: a file is missing, too large, damaged or of another format; the message names it.
    """
    document = read_document(folder / DOCUMENT)
    return FleetResult(document, {name: _read_table(folder / file, SCHEMAS[name]) for name, file in FILES.items()})


def read_document(path: Path) -> dict[str, Any]:
    """Read and check ``fleet.json``.

    Raises:
        ProfilerError: as :func:`read_fleet`.
    """
    try:
        if path.stat().st_size > _MAX_DOCUMENT_BYTES:
            raise _unreadable(path, f"is larger than {_MAX_DOCUMENT_BYTES >> 20} MiB")
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise _unreadable(path, "is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, f"cannot be read ({str(error)[:200]})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _unreadable(path, f"is not in the format {FORMAT!r}")
    return document


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        if not path.is_file():
            raise _unreadable(path, "is missing")
        with pq.ParquetFile(path) as file:
            held = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if held > _MAX_TABLE_BYTES:
                raise _unreadable(path, f"unpacks to {held:,} bytes, more than {_MAX_TABLE_BYTES:,}")
            if not file.schema_arrow.equals(schema):
                raise _unreadable(path, "does not have the columns of this format")
            return file.read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, f"cannot be read ({str(error)[:200]})") from error


def _unreadable(path: Path, what: str) -> ProfilerError:
    return ProfilerError(
        f"{path.name} {what}; a result of fleet was expected in {path.parent.name}.",
        "Make it again: python -m profiler fleet DIR -o RESULT",
    )
