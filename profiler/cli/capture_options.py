"""Options that the capturing verbs share, and how they become the library's objects."""

from __future__ import annotations

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from profiler.capture import process
from profiler.capture.engines import EngineSpec, build_engine
from profiler.capture.gpu import Chip, current_gpu, missing_mode, missing_precision
from profiler.capture.interpreters import find_tensorrt
from profiler.capture.manifest import read_document
from profiler.capture.nsys import METRIC_LIMITS_HZ, Recording
from profiler.capture.spec import FRAMEWORKS, MODES, PRECISIONS, RunSpec
from profiler.cli import streams
from profiler.errors import ProfilerError, UsageError
from profiler.files import beside
from profiler.runtime import trt_modules
from profiler.runtime.arguments import image_shape, not_negative, positive, seconds
from profiler.runtime.trt_modules import MODULES
from profiler.trace.manifest import ACTIVATIONS

Options: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup

ALL_MODES = tuple(dict.fromkeys((*MODES["pytorch"], *MODES["tensorrt"])))
ALL_PRECISIONS = tuple(dict.fromkeys((*PRECISIONS["pytorch"], *PRECISIONS["tensorrt"])))


def batches(text: str) -> tuple[int, ...]:
    """An argparse type: positive numbers separated by commas."""
    return tuple(dict.fromkeys(positive(part) for part in text.split(",")))


def metrics_rate(text: str) -> int:
    """An argparse type: 0, or a rate that nsys accepts, in Hz."""
    value = not_negative(text)
    low, high = METRIC_LIMITS_HZ
    if value and not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 (none) or {low} to {high:,} Hz")
    return value


def add_interpreters(parser: Options) -> None:
    parser.add_argument("--torch-python", metavar="PYTHON", help="interpreter with PyTorch (default: this one)")
    parser.add_argument("--trt-python", metavar="PYTHON", help="interpreter with TensorRT (default: this one)")
    parser.add_argument(
        "--trt-module",
        choices=MODULES,
        help="TensorRT or TensorRT-RTX (default: the one installed; tensorrt if both are)",
    )


def add_run(parser: argparse.ArgumentParser, framework_required: bool = True) -> None:
    """Options that say what runs."""
    parser.add_argument("--framework", choices=FRAMEWORKS, required=framework_required)
    parser.add_argument("--precision", choices=ALL_PRECISIONS, default="fp32", help="default: fp32, with TF32 off")
    parser.add_argument(
        "--mode", choices=ALL_MODES, help="PyTorch: eager (default), graph, compile; TensorRT: stream (default), graph"
    )
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images per inference (default: 1)")
    add_model(parser)
    add_activation(parser)
    add_plugins(parser)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="the engine to run (TensorRT)")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="build an engine from this model first (TensorRT)")
    parser.add_argument(
        "--inputs", type=Path, metavar="FILE", help="images in a .npy or .npz instead of seeded random ones"
    )
    parser.add_argument(
        "--warmup", type=positive, default=20, metavar="N", help="inferences before the measurement (default: 20)"
    )
    parser.add_argument(
        "--bench-iterations",
        type=positive,
        default=200,
        metavar="N",
        help="minimum number of timed inferences (default: 200)",
    )
    parser.add_argument(
        "--bench-seconds", type=seconds, default=2.0, metavar="S", help="minimum time of the measurement (default: 2)"
    )
    add_cudnn_benchmark(parser)
    add_interpreters(parser)


def add_cudnn_benchmark(parser: Options) -> None:
    parser.add_argument(
        "--cudnn-benchmark", action="store_true", help="let cuDNN time its algorithms first (PyTorch; default: off)"
    )


def add_plugins(parser: Options) -> None:
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.so",
        help="a plugin library (TensorRT; repeatable)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="resnet50",
        metavar="NAME",
        help="a torchvision model, or module:function (default: resnet50)",
    )
    add_weights(parser)


def add_activation(parser: Options) -> None:
    parser.add_argument(
        "--activation",
        choices=tuple(ACTIVATIONS),
        help="replace the model's ReLUs with this; TensorRT computes it with --plugin, or from stock operators without",
    )


def add_weights(parser: Options) -> None:
    """Options that complete a model, or several."""
    parser.add_argument(
        "--weights",
        default="random",
        metavar="WHICH",
        help="random, DEFAULT, a torchvision name or a checkpoint (default: random)",
    )
    parser.add_argument(
        "--input-shape", type=image_shape, default=(3, 224, 224), metavar="C,H,W", help="one image (default: 3,224,224)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random weights and inputs (default: 0)")


def add_engine(parser: Options) -> None:
    """Options of a TensorRT build."""
    parser.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="reuse timings; a build with a hit shows fewer candidates"
    )
    parser.add_argument("--workspace", type=positive, metavar="MIB", help="scratch memory for TensorRT's layers")
    parser.add_argument(
        "--io", choices=("fp32", "fp16"), default="fp32", help="type of inputs and outputs (default: fp32)"
    )
    parser.add_argument(
        "--timing-iterations", type=positive, metavar="N", help="how often TensorRT times each tactic (its default: 1)"
    )
    parser.add_argument(
        "--optimization-level",
        type=int,
        choices=range(6),
        metavar="0-5",
        help="TensorRT 8.6 and later; higher tries more and builds longer (its default: 3; 8.6's: 2)",
    )
    parser.add_argument(
        "--hardware-compatibility",
        choices=("ampere-plus", "same-compute-capability"),
        help="TensorRT 8.6 and later: build a slower engine that also runs on other GPUs (default: this GPU only)",
    )


def add_recording(parser: Options) -> None:
    """Options of nsys."""
    parser.add_argument(
        "--iterations", type=positive, default=10, metavar="N", help="inferences recorded (default: 10)"
    )
    parser.add_argument(
        "--gpu-metrics-frequency",
        type=metrics_rate,
        default=20_000,
        metavar="HZ",
        help="samples per second; 0 turns them off (default: 20000)",
    )
    parser.add_argument(
        "--cuda-graph-trace",
        choices=("node", "graph"),
        default="node",
        help="record the kernels of CUDA graphs, or only their launches (default: node)",
    )


def recording(args: argparse.Namespace) -> Recording:
    return Recording(cuda_graph_trace=args.cuda_graph_trace, metrics_hz=args.gpu_metrics_frequency)


def run_spec(args: argparse.Namespace) -> RunSpec:
    """The run that the options describe.

    Raises:
        UsageError: options that do not fit together.
    """
    tensorrt = args.framework == "tensorrt"
    if not tensorrt and (args.plan or args.onnx or args.plugin):
        raise UsageError("--plan, --onnx and --plugin are for --framework tensorrt.")
    if args.plan and args.onnx:
        raise UsageError(
            "--plan and --onnx cannot be combined.", "Give the engine to run, or the model to build one from."
        )
    python = process.python_for(args.trt_python if tensorrt else args.torch_python)
    changes = {
        "mode": args.mode or MODES[args.framework][0],
        "plan": args.plan or args.onnx,
        "plugins": tuple(args.plugin),
        "python": python,
        "cudnn_benchmark": args.cudnn_benchmark and not tensorrt,
        "activation": _built_activation(args) if tensorrt else args.activation,
        "nvtx_modules": not getattr(args, "no_module_ranges", False),
        "trt_module": _module(args, python) if tensorrt else MODULES[0],
    }
    return RunSpec(**{**_named(args, RunSpec), **changes})


def _named(args: argparse.Namespace, kind: type[RunSpec | EngineSpec]) -> dict[str, Any]:
    """The options that are fields of a spec by the same name."""
    return {f.name: getattr(args, f.name) for f in fields(kind) if hasattr(args, f.name)}


def _built_activation(args: argparse.Namespace) -> str | None:
    """The activation that a plan or ONNX model was made with, from the record beside it; without one, what was said.

    Raises:
        UsageError: the record says another than the option.
    """
    source: Path | None = args.plan or args.onnx
    if source is None:
        return None
    exported = read_document(beside(source, "json")) if args.onnx else None
    if args.plan:
        build = read_document(beside(source, "build.json")) or {}
        exported = build.get("onnx_export")
    if not isinstance(exported, dict):
        given: str | None = args.activation
        return given
    known = exported.get("activation")
    if args.activation is not None and known != args.activation:
        raise UsageError(
            f"--activation {args.activation}: {source} was made with {known or 'the model as it is'}, its record says.",
            "Leave --activation out, or build an engine with it: python -m profiler build --activation …",
        )
    return known if known in ACTIVATIONS else None


def _module(args: argparse.Namespace, python: str) -> str:
    """TensorRT's or TensorRT-RTX's module: the one given, the one that built the plan, or the one that the interpreter has."""
    record = (read_document(beside(args.plan, "build.json")) if args.plan else None) or {}
    built = record.get("trt_module")
    if args.trt_module is not None:
        return str(args.trt_module)
    return built if built in MODULES else find_tensorrt(python).module if args.onnx else MODULES[0]


def engine_spec(args: argparse.Namespace, **changes: Any) -> EngineSpec:
    """The engine that the options describe, with ``changes``."""
    given = {
        **_named(args, EngineSpec),
        "plugins": tuple(args.plugin),
        "workspace_mib": getattr(args, "workspace", None),
    }
    return EngineSpec(**{**given, **changes})


def require_gpu(spec: RunSpec) -> Chip:
    """The GPU, fit for this run.

    Raises:
        MissingToolError: there is none.
        ProfilerError: its chip cannot run this precision or mode.
    """
    chip = current_gpu()
    reason = missing_precision(chip.sm, spec.framework, spec.precision) or missing_mode(chip.sm, spec.mode)
    if spec.is_rtx:
        reason = reason or trt_modules.missing_in_rtx(spec.precision, chip.sm, None)
    if reason:
        raise ProfilerError(f"{chip.name}: {reason}", "Choose another --precision or --mode.")
    return chip


class Progress:
    """Progress lines on standard error, with the seconds since the start."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix, self._started = prefix, time.monotonic()

    def __call__(self, text: str) -> None:
        streams.say(f"{time.monotonic() - self._started:6.1f} s  {self._prefix}{' '.join(text.split())}")


def with_engine(args: argparse.Namespace, spec: RunSpec, scratch: Path, progress: Progress) -> RunSpec:
    """The run's spec with a plan: the one that was named, or one built from ``--onnx`` in ``scratch``."""
    if not args.onnx:
        return spec
    progress("building the engine")
    plan = scratch / f"{args.onnx.stem}.plan"
    engine = engine_spec(args, trt_module=spec.trt_module, activation=None)
    build_engine(engine, args.onnx, plan, spec.python, progress)
    return replace(spec, plan=plan)
