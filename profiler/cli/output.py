"""Writing results: one set of options for every verb, three formats, no half-written file."""

from __future__ import annotations

import argparse
import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from profiler import files
from profiler.cli import streams
from profiler.report.plain import json_text, plain
from profiler.report.spreadsheet import cell
from profiler.text import number, printable, visible

FORMATS = ("table", "json", "csv")
_MAX_CELL = 100


def add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, default="table", help="how to print the result (default: table)")
    group.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to FILE instead of standard output")
    group.add_argument("-f", "--force", action="store_true", help="replace FILE if it exists")


def check_target(args: argparse.Namespace, option: str = "output") -> None:
    """Refuse an output file that must not be written, before any work is done.

    Args:
        option: the argument that names it; every other argument that is a path may be a file that the verb reads.

    Raises:
        UsageError: see :func:`profiler.files.check_target`.
    """
    target = getattr(args, option)
    if target is None:
        return
    others = [value for name, value in vars(args).items() if name not in (option, "format")]
    named = [item for value in others for item in (value if isinstance(value, (list, tuple)) else [value])]
    files.check_target(target, args.force, [Path(item) for item in named if isinstance(item, (str, Path))])


def emit(args: argparse.Namespace, document: Any, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a result in the chosen format.

    Args:
        document: for ``json``.
        table: text for ``table``.
        rows: for ``csv``; the keys of the first row are the header.

    Raises:
        UsageError, OutputError: the output file cannot be written, as :func:`check_target` says.
    """
    check_target(args)
    if args.format == "json":
        text = json_text(document)
    elif args.format == "csv":
        text = _csv(rows)
    else:
        text = "\n".join(visible(line) for line in table.rstrip("\n").split("\n")) + "\n"
    if args.output is None:
        streams.write(text)
    else:
        files.write_file(args.output, text)


def render_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A text table of ``rows``; ``columns`` maps a key to its heading, in order."""
    right = [all(isinstance(row.get(key), (int, float)) or row.get(key) is None for row in rows) for key in columns]
    lines = [list(columns.values()), *([_cell(row.get(key)) for key in columns] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])

    def padded(text: str, width: int, to_right: bool) -> str:
        space = " " * (width - _width(text))
        return space + text if to_right else text + space

    return "\n".join("  ".join(map(padded, line, widths, right)).rstrip() for line in lines)


def _width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return len(text) if text.isascii() else sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    return 0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
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
