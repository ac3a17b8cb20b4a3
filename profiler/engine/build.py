"""Build a plan from an ONNX model: ``python -m profiler.engine.build --onnx M.onnx --precision int8 --plan M.plan …``.

Beside the plan: the inspector's JSON, the verbose log (the evidence of the auto-tuner) and a record of how it was built. All are written
when everything has succeeded, the plan last: a failed or interrupted build leaves none of them.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from profiler.engine import inspector, versions
from profiler.engine.logger import BuildLog, make_logger
from profiler.engine.progress import Ticker, attach_monitor
from profiler.errors import MissingToolError, OutputError, ProfilerError, UsageError
from profiler.files import atomic_file, beside, write_json, writing
from profiler.plugins import loading
from profiler.runtime import arguments, contract, telemetry
from profiler.runtime.cuda_runtime import Cuda
from profiler.runtime.trt_modules import MODULES

ONNX_FORMAT = "profiler-onnx/1"
_MIB = 1 << 20
_OUT_OF_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "cudaerrormemoryallocation", "bad_alloc")
_NO_TACTIC = "could not find any implementation"
_PARSER_WORDS = ("ModelImporter", "onnx2trt", "--- ", "While parsing", "In node", "Failed to parse")
_NO_FORMAT = "could not find any supported formats"


Shape = tuple[int, ...]


def shape_range(text: str) -> tuple[Shape, Shape, Shape]:
    """An argparse type: ``8``, ``1:8:64`` (batches), or ``1x3x224x224:8x3x224x224:64x3x224x224``.

    Returns:
        One optimisation profile's shapes of the input: the smallest, the one to tune for, the largest. One number each means the batch.
    """
    try:
        parts = [tuple(int(d) for d in part.split("x")) for part in text.split(":")]
    except ValueError:
        parts = []
    low, best, high = parts if len(parts) == 3 else parts * 3 if len(parts) == 1 else [()] * 3
    if (
        not low
        or not len(low) == len(best) == len(high)
        or not all(0 < a <= b <= c for a, b, c in zip(low, best, high))
    ):
        raise argparse.ArgumentTypeError(
            f"{text}: expected min:opt:max in ascending order, such as 1:8:64, or one number"
        )
    return low, best, high


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.engine.build",
        description="Build a TensorRT plan from an ONNX model. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    add = parser.add_argument
    add("--onnx", type=Path, required=True, metavar="FILE", help="the model (python -m profiler.engine.export)")
    add("--precision", choices=versions.PRECISIONS, required=True)
    add("--plan", type=Path, required=True, metavar="FILE", help="where to write the plan")
    add(
        "--profile",
        type=shape_range,
        action="append",
        default=[],
        metavar="MIN:OPT:MAX",
        help="batch sizes (or whole shapes, such as 1x3x224x224) of an optimisation profile; one number for all three; repeatable",
    )
    add(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="reuse and extend it; a hit skips timing, so collect evidence with a fresh one",
    )
    add(
        "--workspace",
        type=arguments.positive,
        metavar="MIB",
        help="limit of scratch memory (default: all of the GPU's memory)",
    )
    add(
        "--tactic-sources",
        metavar="LIST",
        help="exactly these, CUDNN,CUBLAS, or changes to the default, +CUDNN,-CUBLAS",
    )
    add(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.so",
        help="a plugin library; repeatable",
    )
    add(
        "--optimization-level",
        type=int,
        choices=range(6),
        metavar="0-5",
        help="8.6 and later; higher tries more",
    )
    add(
        "--timing-iterations",
        type=arguments.positive,
        metavar="N",
        help="how often each tactic is timed (TensorRT's default: 1)",
    )
    add(
        "--hardware-compatibility",
        choices=versions.COMPATIBILITY,
        help="8.6 and later: build a slower engine that also runs on other GPUs (default: this GPU only)",
    )
    add("--trt-module", choices=MODULES, help="TensorRT or TensorRT-RTX (default: the one installed)")
    add("--io", choices=("fp32", "fp16"), default="fp32", help="type of inputs and outputs (default: fp32)")
    add(
        "--no-detailed",
        action="store_true",
        help="leave layer descriptions out of the plan; its traces then explain less",
    )
    add("--force", action="store_true", help="overwrite an existing plan")
    add("--quiet", action="store_true", help="no progress lines")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Build the plan that the arguments describe.

    Raises:
        ProfilerError: no GPU, no TensorRT, a model that does not parse, a build that fails, or an output that cannot be written.
    """
    args = build_parser().parse_args(argv)
    contract.check_file(args.onnx, "an ONNX model")
    outputs = (
        args.plan,
        *(beside(args.plan, ending) for ending in (inspector.LAYERS, inspector.LOG, inspector.RECORD)),
    )
    if args.plan.exists() and not args.force:
        raise OutputError(f"{args.plan}: exists already.", "Give --force to overwrite it, or another --plan.")
    contract.check_outputs(*outputs, args.timing_cache)
    trt = versions.import_tensorrt(args.trt_module)
    cuda = Cuda()  # before the builder, whose own message without a GPU says less
    versions.check_rtx(trt, args.precision, int(cuda.device()["sm"]))
    with ExitStack() as stack:
        # the first to be entered is the last to be put in place: the plan
        plan, layers, log_file, record = [stack.enter_context(atomic_file(p)) for p in outputs]
        log = BuildLog(log_file, hidden=args.onnx.resolve())
        try:
            document = _build(trt, cuda, args, log, plan, layers)
        finally:
            with writing(outputs[2]):
                log.close()
        write_json(record, document)
    if not args.quiet:
        size = document["plan_bytes"] / _MIB
        print(f"{args.plan}: {size:.1f} MiB, built in {document['build_seconds']:.1f} s", file=sys.stderr)


def _build(trt: Any, cuda: Cuda, args: argparse.Namespace, log: BuildLog, plan: Path, layers: Path) -> dict[str, Any]:
    logger = make_logger(trt, log)
    exported = export_record(args.onnx)
    loading.load_plugins(trt, args.plugin, logger)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # pybind's way to say that the factory returned null
        raise MissingToolError(
            f"TensorRT {versions.label(trt)} could not start its builder ({logger.last_error()}).",
            "It needs an NVIDIA GPU, and a driver that supports its CUDA version.",
        ) from error
    network = builder.create_network(versions.network_flags(trt))
    model = args.onnx.read_bytes()
    onnx_parser = trt.OnnxParser(network, logger)
    if not onnx_parser.parse(model, str(args.onnx.resolve())):
        reasons = "; ".join([parser_errors(onnx_parser), *_plugin_messages(log)])
        raise ProfilerError(
            f"{args.onnx}: TensorRT {versions.label(trt)} cannot parse this model: {reasons}.",
            "Export it with an older opset (8.5 knows 17 and below), replace the operator, or give its --plugin.",
        )
    quantised, half = versions.network_content(trt, network)
    versions.check_model_precision(trt, args.precision, quantised, half, str(args.onnx))
    config = builder.create_builder_config()
    settings = _configure(trt, builder, network, config, args)
    cache_state, cache = _load_timing_cache(config, args.timing_cache, log)
    started = time.monotonic()
    with Ticker(log, quiet=args.quiet) as ticker:
        monitor = attach_monitor(trt, config, ticker)
        serialized = builder.build_serialized_network(network, config)
        del monitor, cache  # which had to live until here
    build_seconds = time.monotonic() - started
    if serialized is None:
        raise _build_error(args, log)
    data = memoryview(serialized)
    plan.write_bytes(data)
    runtime = trt.Runtime(logger)
    engine = versions.deserialise(trt, runtime, plan, logger)
    information = inspector.engine_information(trt, engine)
    write_json(layers, information)
    if args.timing_cache is not None:
        _save_timing_cache(config, args.timing_cache)
    return {
        "format": inspector.BUILD_FORMAT,
        "precision": args.precision,
        "tensorrt_version": versions.label(trt),
        "trt_module": versions.module_name(trt),
        "build_seconds": round(build_seconds, 3),
        "plan_bytes": data.nbytes,
        "device_memory_bytes": versions.device_memory_bytes(engine),
        "memory_bytes": log.memory_bytes,
        "layers": len(information["Layers"]),
        "detailed": inspector.is_detailed(information),
        "onnx": args.onnx.name,
        "onnx_bytes": len(model),
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
        "onnx_export": exported,
        "timing_cache": cache_state,
        **settings,
        "plugins": [library.name for library in args.plugin],
        "gpu": {**cuda.device(), "driver": telemetry.driver_version()},
        "log_lines": log.lines,
        "runners_timed": log.timed,
        "warnings": [" ".join(text.split())[:500] for text in log.warnings],
        "recorded": telemetry.timestamp(),
        "python": platform.python_version(),
    }


def parser_errors(onnx_parser: Any) -> str:
    """All of the ONNX parser's messages, with the node they are about."""
    texts = []
    for index in range(onnx_parser.num_errors):
        parser_error = onnx_parser.get_error(index)
        named = hasattr(parser_error, "node_name")
        place = _node_of_v10(parser_error) if named else _node_of_v8(parser_error)
        texts.append(" ".join(parser_error.desc().split()) + (f" [at {place}]" if place else ""))
    return "; ".join(texts) or "it gave no reason"


def _plugin_messages(log: BuildLog) -> list[str]:
    """What plugins said while the model was parsed: the parser only knows that it could not create one."""
    texts = [" ".join(text.split()) for text in log.errors]
    return [text[:300].rstrip(".") for text in texts if not any(word in text for word in _PARSER_WORDS)][:3]


def _node_of_v8(parser_error: Any) -> str:
    index = parser_error.node()
    return f"node {index}" if index >= 0 else ""


def _node_of_v10(parser_error: Any) -> str:
    return f"{parser_error.node_operator()} {parser_error.node_name()}".strip()


def export_record(onnx: Path) -> dict[str, Any] | None:
    """What the export noted beside the model (``MODEL.onnx.json``); None for a model from elsewhere."""
    path = beside(onnx, "json")
    return inspector.read_document(path, ONNX_FORMAT) if path.is_file() else None


def _configure(trt: Any, builder: Any, network: Any, config: Any, args: argparse.Namespace) -> dict[str, Any]:
    flags = versions.set_precision(trt, config, args.precision)
    verbosity = trt.ProfilingVerbosity
    config.profiling_verbosity = verbosity.LAYER_NAMES_ONLY if args.no_detailed else verbosity.DETAILED
    if args.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, args.workspace * _MIB)
    if args.tactic_sources is not None:
        mask, sources = versions.parse_tactic_sources(trt, args.tactic_sources, config.get_tactic_sources())
        config.set_tactic_sources(mask)
    else:
        mask = config.get_tactic_sources()
        sources = [name for name, value in trt.TacticSource.__members__.items() if mask >> int(value) & 1]
    if args.optimization_level is not None:
        versions.set_optimisation_level(config, args.optimization_level)
    if args.hardware_compatibility is not None:
        versions.set_hardware_compatibility(trt, config, args.hardware_compatibility)
    if args.timing_iterations is not None:
        config.avg_timing_iterations = args.timing_iterations
    _set_io_type(trt, network, args)
    profiles = _add_profiles(builder, network, config, args)
    return {
        "strongly_typed": versions.strongly_typed(trt),
        "flags": flags,
        "workspace_mib": args.workspace,
        "tactic_sources": sources,
        "optimization_level": getattr(config, "builder_optimization_level", None),
        "hardware_compatibility": args.hardware_compatibility,
        "profiles": profiles,
        "io": args.io,
    }


def _set_io_type(trt: Any, network: Any, args: argparse.Namespace) -> None:
    wanted = trt.float16 if args.io == "fp16" else trt.float32
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    tensors += [network.get_output(i) for i in range(network.num_outputs)]
    for tensor in tensors:
        if tensor.dtype not in (trt.float32, trt.float16) or tensor.dtype == wanted:
            continue
        if versions.strongly_typed(trt):
            raise ProfilerError(
                f"{args.onnx}: {tensor.name} is {tensor.dtype}, and --io {args.io} was asked for; a strongly typed network "
                "takes it from the model.",
                f"Export it again with --io {args.io}.",
            )
        _set_type_v8(tensor, wanted)


def _set_type_v8(tensor: Any, dtype: Any) -> None:
    tensor.dtype = dtype


def _add_profiles(builder: Any, network: Any, config: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    open_inputs = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    if not open_inputs:
        if args.profile:
            raise UsageError(
                f"--profile: the model's inputs have fixed shapes ({_shapes(inputs)}).",
                "Leave --profile out, or export with an open batch.",
            )
        return []
    if not args.profile:
        raise UsageError(
            f"{args.onnx}: the model's inputs have open dimensions ({_shapes(open_inputs)}), and no --profile was given.",
            "Give --profile BATCH or --profile MIN:OPT:MAX.",
        )
    described = []
    for wanted in args.profile:
        profile = builder.create_optimization_profile()
        for tensor in open_inputs:
            low, best, high = (_fill(tensor, dims, args) for dims in wanted)
            profile.set_shape(tensor.name, low, best, high)
            described.append({"input": tensor.name, "min": list(low), "opt": list(best), "max": list(high)})
        if config.add_optimization_profile(profile) < 0:
            raise UsageError(f"--profile: TensorRT refuses {described[-1]}.")
    return described


def _fill(tensor: Any, dims: tuple[int, ...], args: argparse.Namespace) -> tuple[int, ...]:
    declared = tuple(tensor.shape)
    filled = (dims[0], *declared[1:]) if len(dims) == 1 else dims
    fits = len(filled) == len(declared) and all(a in (-1, b) for a, b in zip(declared, filled))
    if not fits or -1 in filled:
        raise UsageError(
            f"--profile: {list(filled)} does not fit the input {tensor.name} of {args.onnx}, which is {list(declared)}.",
            "Give whole shapes, such as 1x3x224x224:8x3x224x224:64x3x224x224.",
        )
    return filled


def _shapes(tensors: Sequence[Any]) -> str:
    return ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in tensors)


def _load_timing_cache(config: Any, path: Path | None, log: BuildLog) -> tuple[str, Any]:
    """Give the builder a timing cache; returns ``none``, ``fresh`` or ``reused``, and the cache."""
    if path is None:
        return "none", None
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return ("reused" if content else "fresh"), cache
    log.add("WARNING", f"the timing cache {path.name} is of another TensorRT or GPU; it is replaced")
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return "fresh", cache


def _save_timing_cache(config: Any, path: Path) -> None:
    cache = config.get_timing_cache()
    with atomic_file(path) as partial:
        partial.write_bytes(memoryview(cache.serialize()))


def _build_error(args: argparse.Namespace, log: BuildLog) -> ProfilerError:
    texts = [" ".join(text.split()) for text in log.errors]
    lowered = " ".join(texts + log.warnings).lower()
    shown = "; ".join(texts[:4])[:1200] or "TensorRT gave no reason"
    if any(marker in lowered for marker in _OUT_OF_MEMORY):
        hint = "The GPU has too little free memory: end other processes on it, lower the largest batch of --profile, or lower --workspace."
    elif _NO_FORMAT in lowered:
        hint = (
            "A plugin does not take the type or layout of its input. ProfilerQuickGelu takes FP32 or FP16, and with both scales INT8 "
            "from a QuantizeLinear."
        )
    elif _NO_TACTIC in lowered:
        hint = (
            "No tactic fits: raise --workspace, allow more --tactic-sources, or give the --plugin that implements it."
        )
    else:
        hint = "The messages above are TensorRT's; look them up for this version."
    return ProfilerError(f"{args.onnx}: the build failed: {shown}.", hint)


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
