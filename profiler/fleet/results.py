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

from profiler.errors import ProfilerError, UsageError
from profiler.files import atomic_folder, writing
from profiler.fleet.tables import SCHEMAS

FORMAT = "profiler-fleet/1"
DOCUMENT = "fleet.json"
FILES = {name: f"{name}.parquet" for name in SCHEMAS}
NAMES = (DOCUMENT, *FILES.values())
"""Everything that a result consists of."""
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
        raise UsageError(f"{folder}: is a file; expected a folder.", "Choose another name with -o.")
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in NAMES)
    if foreign:
        raise UsageError(
            f"{folder}: contains files that are not part of a fleet result ({', '.join(foreign[:3])[:200]}), so it is not replaced.",
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
    with atomic_folder(folder, force, DOCUMENT, "a result of fleet") as partial, writing(folder):
        for name, table in result.tables.items():
            pq.write_table(table, partial / FILES[name], compression="zstd")
        text = json.dumps(result.document, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / DOCUMENT).write_text(text + "\n", "utf-8")


def read_fleet(folder: Path) -> FleetResult:
    """Read a result back.

    Raises:
        ProfilerError: as :func:`read_files`.
    """
    return read_files({name: folder / name for name in NAMES}, folder.name)


def read_files(files: Mapping[str, Path | bytes], label: str) -> FleetResult:
    """Read a result from its files, or their contents. It may come from anybody: format, columns and sizes are checked first.

    Args:
        files: by the names of :data:`NAMES`.
        label: what messages call the result.

    Raises:
        ProfilerError: a file is missing, too large, damaged or of another format; the message names it.
    """
    document = _read_document(files, label)
    tables = {name: _read_table(files.get(file), file, label, SCHEMAS[name]) for name, file in FILES.items()}
    return FleetResult(document, tables)


def _read_document(files: Mapping[str, Path | bytes], label: str) -> dict[str, Any]:
    source = files.get(DOCUMENT)
    try:
        if source is None or (isinstance(source, Path) and not source.is_file()):
            raise _unreadable(DOCUMENT, label, "is missing")
        if (source.stat().st_size if isinstance(source, Path) else len(source)) > _MAX_DOCUMENT_BYTES:
            raise _unreadable(DOCUMENT, label, f"is larger than {_MAX_DOCUMENT_BYTES >> 20} MiB")
        document = json.loads(source.read_bytes() if isinstance(source, Path) else source)
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(DOCUMENT, label, f"cannot be read ({str(error)[:200]})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _unreadable(DOCUMENT, label, f"is not in the format {FORMAT!r}")
    return document


def _read_table(source: Path | bytes | None, file: str, label: str, schema: pa.Schema) -> pa.Table:
    if source is None or (isinstance(source, Path) and not source.is_file()):
        raise _unreadable(file, label, "is missing")
    try:
        with pq.ParquetFile(source if isinstance(source, Path) else pa.BufferReader(source)) as parquet:
            groups = range(parquet.metadata.num_row_groups)
            held = sum(parquet.metadata.row_group(i).total_byte_size for i in groups)
            if held > _MAX_TABLE_BYTES:
                raise _unreadable(file, label, f"unpacks to {held:,} bytes, more than {_MAX_TABLE_BYTES:,}")
            if not parquet.schema_arrow.equals(schema):
                raise _unreadable(file, label, "does not have the columns of this format")
            return parquet.read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, label, f"cannot be read ({str(error)[:200]})") from error


def _unreadable(file: str, label: str, what: str) -> ProfilerError:
    return ProfilerError(
        f"{file} {what}; expected a fleet result in {label}.",
        "Create it again: python -m profiler fleet DIR -o RESULT",
    )
