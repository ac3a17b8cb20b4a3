"""``verify-tensor-cores``: compare our verdicts with the GPU's own counters."""

from __future__ import annotations

import argparse
from pathlib import Path

from profiler.analysis.names.verify import verify
from profiler.capture.ncu import count_tensor_instructions, parse_ncu_csv
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.errors import ProfilerError, UsageError
from profiler.report.documents import verification_document
from profiler.text import plural

DESCRIPTION = (
    "Count the Tensor Core instructions of every kernel that a program runs between cudaProfilerStart and Stop (ncu, "
    "sm__inst_executed_pipe_tensor*) and compare them with the verdicts by name; or read a CSV that ncu wrote earlier. Exit status 1 "
    "if a verdict is wrong."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="the output of an earlier ncu --csv run, instead of a program"
    )
    parser.add_argument("--save-csv", type=Path, metavar="FILE", help="keep what ncu wrote")
    parser.add_argument("--sm", type=int, metavar="N", help="the GPU's compute capability (75, 80, 90, …)")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="for the whole run (default 600)"
    )
    parser.add_argument(
        "--target-processes",
        choices=("application-only", "all"),
        default="application-only",
        help="all: include child processes, for a program behind a wrapper script (ncu may then wait for ever)",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help="-- and the command to run, with its arguments")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int | None:
    check_target(args)
    program = args.program[1:] if args.program[:1] == ["--"] else args.program
    if bool(program) == (args.csv is not None):
        raise UsageError("give either --csv FILE, or -- and a program to run.")
    if args.csv is not None:
        try:
            text, label = args.csv.read_text("utf-8", "replace"), str(args.csv)
        except OSError as error:
            raise ProfilerError(f"{args.csv}: cannot be read ({error.strerror or error}).") from error
    else:
        text, label = count_tensor_instructions(program, args.timeout, args.target_processes == "all"), "ncu"
        if args.save_csv is not None:
            args.save_csv.write_text(text, "utf-8")
    result = verify(((k.name, k.uses_tensor_cores) for k in parse_ncu_csv(text, label)), args.sm)
    document = verification_document(result)
    score, rows = document["score"], document["kernels"]
    lines = [
        f"{label}: {plural(s['names'], 'name')}, {plural(s['executions'], 'execution')}" for label, s in score.items()
    ]
    columns = {
        "agrees": "agrees",
        "tensor_cores": "by name",
        "with_tensor_instructions": "counted in",
        "executions": "of",
        "rule": "rule",
        "name": "name",
    }
    emit(args, document, "\n".join([*lines, "", render_table(rows, columns)]), rows)
    return 1 if score["disagree"]["names"] else None
