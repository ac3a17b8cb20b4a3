"""``plugin``: compile the custom layer's library, and measure its kernels."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.manifest import read_document
from profiler.cli.capture_options import Progress
from profiler.cli.output import add_output_options, check_target, emit
from profiler.errors import ProfilerError, UsageError
from profiler.plugins import compile as compiling
from profiler.text import number, plural

DESCRIPTION = (
    "The custom layer is QuickGELU, x * sigmoid(1.702 x), as CUDA kernels in a TensorRT plugin. build compiles the library against "
    "the headers of the TensorRT that will load it; measure checks its kernels against float64 and compares their bandwidth with a "
    "copy."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="compile the library with nvcc", description=compiling.__doc__)
    build.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.so", help="the library to write")
    build.add_argument("--tensorrt-include", type=Path, metavar="DIR", help="the folder with NvInferRuntime.h")
    build.add_argument(
        "--kernels-only", action="store_true", help="without TensorRT: for plugin measure, not for engines"
    )
    build.add_argument(
        "--arch",
        default="all-major",
        metavar="LIST",
        help="compute capabilities such as 80,90; native; all-major (default)",
    )
    build.add_argument("--nvcc", type=Path, metavar="FILE", help="the CUDA compiler (default: detected)")
    build.add_argument("-f", "--force", action="store_true", help="replace FILE.so if it exists")
    measure = actions.add_parser("measure", help="agreement and bandwidth of the kernels on this GPU")
    measure.add_argument("library", type=Path, metavar="FILE.so", help="a compiled library")
    measure.add_argument("--torch-python", metavar="PYTHON", help="interpreter with PyTorch (default: this one)")
    measure.add_argument(
        "--sizes-mib", metavar="LIST", help="tensor sizes for the bandwidth (default: 4,16,64,256,1024)"
    )
    measure.add_argument("--repeats", type=int, metavar="N", help="timings per measurement; the median counts")
    add_output_options(measure)


def run(args: argparse.Namespace) -> None:
    if args.action == "build":
        _build(args)
    else:
        _measure(args)


def _build(args: argparse.Namespace) -> None:
    if args.kernels_only and args.tensorrt_include:
        raise UsageError("--kernels-only and --tensorrt-include were both given.", "Leave one out.")
    if not args.kernels_only and args.tensorrt_include is None:
        raise UsageError("the TensorRT headers are missing.", compiling.HEADERS_HINT)
    nvcc = compiling.find_nvcc(args.nvcc)
    headers = None if args.kernels_only else compiling.read_headers(args.tensorrt_include)
    argv = compiling.compile_library(args.output, headers, nvcc, args.arch, args.force)
    what = f"for TensorRT {headers.text}" if headers else "kernels alone, without TensorRT"
    print(f"{args.output}: {number(args.output.stat().st_size / 2**20, 'MiB')}, {what}\n  {shlex.join(argv)}")


def _measure(args: argparse.Namespace) -> None:
    check_target(args)
    python = process.python_for(args.torch_python)
    with process.terminate_as_interrupt(), tempfile.TemporaryDirectory(prefix="profiler-plugin-") as scratch:
        target = Path(scratch) / "measure.json"
        argv = ["--library", str(args.library), "--output", str(target)]
        argv += ["--sizes-mib", args.sizes_mib] if args.sizes_mib else []
        argv += ["--repeats", str(args.repeats)] if args.repeats else []
        failure: ProfilerError | None = None
        try:
            process.run_module(python, "profiler.plugins.measure", argv, Progress(), 1800.0)
        except ProfilerError as error:
            failure = error
        document = read_document(target)
    if document is None:
        raise failure or ProfilerError("the measurement ended without its result.", "Please report this.")
    rows = [*document["agreement"], *document["bandwidth"]]
    emit(args, document, _text(document), [{k: v for k, v in row.items() if k != "within"} for row in rows])
    if failure is not None:
        raise failure


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['gpu']['name']}, driver {document['gpu']['driver']}", "", "largest error against float64"]
    for row in document["agreement"]:
        bound = f", bound {row['bound']:g}" if row["bound"] is not None else ""
        error = "not finite" if row["max_error"] is None else f"{row['max_error']:.3g}"
        lines.append(f"  {row['precision']:5} {row['variant']:26} {error:>10} {row['unit']}{bound}  ({row['what']})")
    lines += ["", "edges (sizes, alignment, in place, more than 2^31 elements)"]
    for edge in document["edges"]:
        lines.append(f"  {edge['precision']:5} {plural(edge['cases'], 'case')}, {len(edge['wrong'])} wrong")
    lines += ["", "bandwidth: bytes read and written per second, and against a copy of the same tensor"]
    for row in document["bandwidth"]:
        what = f"{row['precision']:5} {row['size_mib']:5} MiB  {row['what']:26}"
        lines.append(f"  {what} {number(row['gb_per_s']):>8} GB/s  {row['pct_of_copy']:6.1f} %")
    lines.append(f"100 % is {document['hundred_percent']}")
    return "\n".join(lines)
