"""``classify``: category and Tensor Core verdict of kernel names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from profiler.analysis.names.classify import classify_names
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.errors import ProfilerError
from profiler.report.documents import classifications_document, score_document

DESCRIPTION = (
    "Classify kernel names, one per line (demangled, as nsys prints them), or score the rules against labelled names."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="file with one kernel name per line; - reads standard input")
    parser.add_argument(
        "--sm", type=int, metavar="N", help="the GPU's compute capability (75, 80, 90, …), where it matters"
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help="FILE is a table of labelled names (.tsv or .tsv.xz: library, version, sm, demangled, short, tensor, "
        "opcodes, conflict); print precision, recall and the share left unknown",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    if args.score:
        from profiler.analysis.names.score import render, score  # noqa: PLC0415

        report = score(Path(args.file))
        document = score_document(report)
        emit(args, document, render(report), [document])
        return
    names = _names(args.file)
    rows = classifications_document(names, classify_names(names, args.sm))
    columns = {
        "tensor_cores": "Tensor Cores",
        "rule": "rule",
        "category": "category",
        "precision": "precision",
        "name": "name",
    }
    emit(args, rows, render_table(rows, columns), rows)


def _names(file: str) -> list[str]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise ProfilerError(
            f"{file}: cannot be read ({error}).", "Expected a text file with one kernel name a line."
        ) from error
    return [line for line in raw.decode("utf-8", "replace").split("\n") if line.strip()]
