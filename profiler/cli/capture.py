"""``capture``: one run, from a model to a RUN folder with trace and manifest."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from profiler.analysis.run.run import Run
from profiler.capture import process, summary
from profiler.capture.nsys import locate
from profiler.capture.record import record_program, record_run
from profiler.cli.capture_options import Progress, add_recording, add_run, recording, require_gpu, run_spec, with_engine
from profiler.cli.verb import warn
from profiler.errors import UsageError
from profiler.runtime.arguments import seconds
from profiler.trace import open_trace

DESCRIPTION = (
    "Run a model on this GPU, first without a profiler for its latency, then under Nsight Systems, and write a folder with the "
    "sanitised trace (trace.sqlite.xz) and manifest.json. With -- and a command, such as -- python my_script.py, record that command "
    "as it is, without measuring its latency. A run that fails or is interrupted leaves nothing behind."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="the run's folder; must not exist"
    )
    add_run(parser, framework_required=False)
    add_recording(parser)
    parser.add_argument(
        "--no-module-ranges", action="store_true", help="record without an NVTX range per module (PyTorch)"
    )
    parser.add_argument("--no-bench", action="store_true", help="skip the measurement without a profiler")
    parser.add_argument("-f", "--force", action="store_true", help="replace DIR if it is a run")
    other = parser.add_argument_group("another command")
    other.add_argument("--title", metavar="TEXT", help="the run's title (default: the command)")
    other.add_argument(
        "--capture-range",
        choices=("none", "cudaProfilerApi"),
        default="none",
        help="record everything (default), or only from cudaProfilerStart to cudaProfilerStop, which the command must call",
    )
    other.add_argument(
        "--time-limit", type=seconds, metavar="S", help="end the command after S seconds (default: never)"
    )
    other.add_argument("program", nargs=argparse.REMAINDER, help="-- and the command to record, with its arguments")


def run(args: argparse.Namespace) -> None:
    program = args.program[1:] if args.program[:1] == ["--"] else args.program
    if program:
        _program(args, program)
        return
    if args.framework is None:
        raise UsageError(
            "nothing to record.", "Give --framework and what runs, or -- and a command, such as -- python my_script.py."
        )
    if args.title is not None or args.time_limit is not None or args.capture_range != "none":
        raise UsageError("--title, --time-limit and --capture-range are for another command (-- COMMAND …).")
    spec = run_spec(args)
    nsys = locate()
    require_gpu(spec)
    progress = Progress()
    with process.terminate_as_interrupt(), tempfile.TemporaryDirectory(prefix="profiler-build-") as scratch:
        spec = with_engine(args, spec, Path(scratch), progress)
        manifest = record_run(
            spec, args.output, nsys, recording(args), bench=not args.no_bench, force=args.force, progress=progress
        )
    warn(manifest["warnings"])
    print(f"{args.output}: {spec.title}: {summary.one_line(manifest) or 'recorded'}")


def _program(args: argparse.Namespace, program: list[str]) -> None:
    if args.framework or args.plan or args.onnx:
        raise UsageError(
            "--framework, --plan and --onnx were given beside a command.", "Leave them out: the command says what runs."
        )
    if shutil.which(program[0]) is None:
        raise UsageError(f"{program[0]}: no such program.", "Check the command after --.")
    progress = Progress()
    options = replace(recording(args), capture_range=args.capture_range)
    with process.terminate_as_interrupt():
        manifest = record_program(
            program, args.output, locate(), options, title=args.title, force=args.force, progress=progress, on_line=progress,
            timeout_s=args.time_limit,
        )  # fmt: skip
    warn(manifest["warnings"])
    with open_trace(args.output / manifest["trace"]) as trace:
        found = Run(trace)
        print(f"{args.output}: {trace.kernel_count:,} kernels; inferences: {found.inferences.statement}")
