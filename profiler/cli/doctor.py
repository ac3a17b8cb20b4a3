"""``doctor``: what is here, what is missing, how to get it."""

from __future__ import annotations

import argparse
from pathlib import Path

from profiler.capture.doctor import examine
from profiler.cli.capture_options import add_interpreters
from profiler.cli.output import FORMATS, emit
from profiler.errors import EXIT_FAILED, EXIT_OK
from profiler.text import printable

DESCRIPTION = (
    "Check for a GPU and its driver, PyTorch, TensorRT, nsys, ncu, permission to read GPU counters, and disk space. Reading traces "
    "and the dashboard need none of these. Exit status 0; with --strict, 1 if anything required is missing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_interpreters(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where recordings will go (default: the current folder)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with status 1 if anything required is missing or does not work"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to print the result (default: table)")
    parser.set_defaults(output=None, force=False)


def run(args: argparse.Namespace) -> int:
    findings = examine(args.torch_python, args.trt_python, args.folder)
    rows = [f.as_dict() for f in findings]
    width = max(len(f.what) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.status:<17}  {f.what:<{width}}  {printable(f.detail, 200)}")
        if f.needed_for:
            lines.append(f"{'':<{width + 21}}needed for: {f.needed_for}")
        if f.remedy:
            lines.append(f"{'':<{width + 21}}→ {f.remedy}")
    faults = [f.what for f in findings if f.is_a_fault]
    lines += [
        "",
        f"{len(faults)} to look at: {', '.join(faults)}" if faults else "Everything that capturing needs is here.",
    ]
    emit(args, {"findings": rows, "faults": faults}, "\n".join(lines), rows)
    return EXIT_FAILED if args.strict and faults else EXIT_OK
