"""``build``: from a model, or an ONNX file, to a TensorRT engine."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from profiler.capture import process
from profiler.capture.engines import (
    CALIBRATION_IMAGES,
    CALIBRATORS,
    QUANTISATIONS,
    build_engine,
    export_onnx,
)
from profiler.capture.gpu import current_gpu, missing_precision
from profiler.capture.interpreters import check_torch, find_tensorrt
from profiler.capture.spec import PRECISIONS
from profiler.cli.capture_options import (
    Progress,
    add_activation,
    add_engine,
    add_interpreters,
    add_model,
    add_plugins,
    engine_spec,
)
from profiler.cli.verb import warn
from profiler.errors import OutputError, ProfilerError, UsageError
from profiler.runtime import trt_modules
from profiler.runtime.arguments import positive
from profiler.text import number

DESCRIPTION = (
    "Export a PyTorch model to ONNX (or use --onnx) and build a TensorRT engine. The plan is written together with its layers, the "
    "verbose build log and a record of the build. A build that fails or is interrupted leaves no plan."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PLAN", help="the engine to write")
    parser.add_argument("--precision", choices=PRECISIONS["tensorrt"], required=True)
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="the engine's batch size (default: 1)")
    parser.add_argument("--profile", metavar="MIN:OPT:MAX", help="a range of batch sizes instead of --batch")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="build from this model instead of exporting one")
    parser.add_argument("--keep-onnx", type=Path, metavar="FILE", help="keep the exported model")
    add_model(parser)
    add_activation(parser)
    add_plugins(parser)
    add_engine(parser)
    parser.add_argument("--calibrator", choices=CALIBRATORS, default=CALIBRATORS[0])
    parser.add_argument("--calibration-images", type=positive, default=CALIBRATION_IMAGES, metavar="N")
    parser.add_argument("--quantisation", choices=QUANTISATIONS, default=QUANTISATIONS[0])
    parser.add_argument(
        "--calibration",
        default="random",
        metavar="FILES",
        help="for INT8 and FP8: a folder of images, .npy or .npz; random: for speed only (default)",
    )
    parser.add_argument(
        "--tactic-sources", metavar="LIST", help="libraries to choose kernels from, such as CUBLAS,CUDNN"
    )
    add_interpreters(parser)
    parser.add_argument("-f", "--force", action="store_true", help="replace PLAN if it exists")


def run(args: argparse.Namespace) -> None:
    for target in filter(None, (args.output, args.keep_onnx)):
        if target.exists() and not args.force:
            raise OutputError(f"{target}: exists already.", "Choose another name, or give --force to replace it.")
    torch_python, trt_python = process.python_for(args.torch_python), process.python_for(args.trt_python)
    chip = current_gpu()
    reason = missing_precision(chip.sm, "tensorrt", args.precision)
    if reason:
        raise ProfilerError(f"{chip.name}: {reason}", "Choose another --precision.")
    if args.activation and args.onnx:
        raise UsageError(
            "--activation and --onnx were both given.", "A model is exported with its activation; leave one out."
        )
    found = find_tensorrt(trt_python, args.trt_module)
    reason = trt_modules.missing_in_rtx(args.precision, chip.sm, found.version) if found.is_rtx else None
    if reason:
        raise ProfilerError(reason, "Choose another --precision, or use TensorRT itself.")
    if args.onnx is None:
        check_torch(torch_python, True, [args.model])
    typed = args.precision == "fp16" and args.onnx is None and found.typed_networks
    spec = engine_spec(args, typed_model=typed, trt_module=found.module)
    progress = Progress()
    with process.terminate_as_interrupt(), tempfile.TemporaryDirectory(prefix="profiler-build-") as scratch:
        onnx = args.onnx or args.keep_onnx or Path(scratch) / spec.onnx_name
        if args.onnx is None:
            progress("exporting to ONNX")
            export_onnx(spec, onnx, torch_python, progress)
        progress("building the engine")
        facts = build_engine(spec, onnx, args.output, trt_python, progress)
    warn(facts.get("warnings") or [])
    seconds = facts.get("build_seconds")
    built = f", built in {number(seconds, 's')}" if isinstance(seconds, (int, float)) else ""
    print(f"{args.output}: {number(args.output.stat().st_size / 2**20, 'MiB')}{built}")
