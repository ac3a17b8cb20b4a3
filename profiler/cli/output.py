"""Writing results: one set of options for every verb, three formats, no half-written file."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from profiler.errors import OutputError, UsageError
from profiler.report.documents import json_text, plain
from profiler.report.spreadsheet import cell
from profiler.text import number, printable, visible

FORMATS = ("table", "json", "csv")
_MAX_CELL = 100


def add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="table", help="how to print the result (default: table)")
    group.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to FILE instead of standard output")
    group.add_argument("-f", "--force", action="store_true", help="replace FILE if it exists")


def check_target(args: argparse.Namespace) -> None:
    """Refuse an existing output file before any work is done.

    Raises:
        UsageError: it exists and --force was not given.
    """
    if args.output is not None and args.output.exists() and not args.force:
        raise UsageError(f"{args.output}: exists already.", "Choose another name, or give --force to replace it.")


def emit(args: argparse.Namespace, document: Any, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a result in the chosen format.

    Args:
        document: for ``json``.
        table: text for ``table``.
        rows: for ``csv``; the keys of the first row are the header.

    Raises:
        UsageError: the output file exists and --force was not given.
        OutputError: it cannot be written.
    """
    check_target(args)
    if args.format == "json":
        text = json_text(document)
    elif args.format == "csv":
        text = _csv(rows)
    else:
        text = "\n".join(visible(line) for line in table.rstrip("\n").split("\n")) + "\n"
    if args.output is None:
        sys.stdout.write(text)
    else:
        write_whole(args.output, text)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all; text as UTF-8."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content.encode() if isinstance(content, str) else content)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}).",
            "Check the folder, its permissions and the free space.",
        ) from error


def render_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A text table of ``rows``; ``columns`` maps a key to its heading, in order."""
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    right = [all(isinstance(row.get(key), (int, float)) or row.get(key) is None for row in rows) for key in columns]
    return tabulate(
        cells,
        headers=list(columns.values()),
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if r else "left" for r in right] if rows else None,
    )


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return printable(str(value), _MAX_CELL)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _csv_cell(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _csv_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe; unprintable characters are written ``\\uXXXX``."""
    value = plain(value)
    if isinstance(value, str):
        return visible(cell(value))
    return "" if value is None else value
