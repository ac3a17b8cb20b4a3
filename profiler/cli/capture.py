"""``capture``: one run, from a model to a RUN folder with trace and manifest."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from profiler.capture import process, summary
from profiler.capture.nsys import locate
from profiler.capture.record import record_run
from profiler.cli.capture_options import Progress, add_recording, add_run, recording, require_gpu, run_spec, with_engine
from profiler.cli.verb import warn

DESCRIPTION = (
    "Run a model on this machine's GPU, first alone for latency, then under Nsight Systems, and write a folder with the sanitised "
    "trace (trace.sqlite.xz) and manifest.json. A run that fails or is interrupted leaves nothing behind."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="the run's folder; must not exist"
    )
    add_run(parser)
    add_recording(parser)
    parser.add_argument(
        "--no-module-ranges", action="store_true", help="no NVTX range per module in the recording (PyTorch)"
    )
    parser.add_argument("--no-bench", action="store_true", help="skip the measurement without a profiler")
    parser.add_argument("-f", "--force", action="store_true", help="replace DIR if it is a run")


def run(args: argparse.Namespace) -> None:
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
