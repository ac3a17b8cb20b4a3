"""TensorRT 8.5 to 11 and TensorRT-RTX: what differs between them, in one place.

A function whose name ends in ``_v8`` or ``_v10`` uses names of that major version (``_v10``: 10 and later); all other code that touches
TensorRT uses only what all of them have. ``tests/unit/engine/test_bindings.py`` holds the code to that, against the real bindings.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from profiler.errors import MissingToolError, ProfilerError, UsageError
from profiler.runtime import trt_modules
from profiler.runtime.trt_modules import MODULES, RTX

PRECISIONS = ("fp32", "tf32", "fp16", "int8", "fp8")
STRONGLY_TYPED_SINCE = 10
COMPATIBILITY = ("ampere-plus", "same-compute-capability")
RTX_GENERATION = 11
_PRODUCTS = {"tensorrt": "TensorRT", RTX: "TensorRT-RTX"}
_APART = "in an environment of its own; see docs/engines.md"
INSTALL_HINTS = {
    "tensorrt": f"pip install tensorrt (8.5.1 to 8.6.0 are on PyPI for CPython 3.6 to 3.10; newer ones need NVIDIA's index), {_APART}",
    RTX: f"pip install tensorrt-rtx-cu13 (on PyPI, CPython 3.8 and later), {_APART}",
}


def import_tensorrt(name: str | None = None) -> Any:
    """The module of TensorRT or of TensorRT-RTX.

    Args:
        name: one of :data:`MODULES`; None: the first of them that is installed.

    Raises:
        MissingToolError: it is not installed, or its libraries do not load.
    """
    if name is None:
        name = next((m for m in MODULES if importlib.util.find_spec(m) is not None), MODULES[0])
    try:
        trt = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingToolError(
            f"{_PRODUCTS[name]} cannot be imported in {Path(sys.executable).name} ({' '.join(str(error).split())[:300]}).",
            INSTALL_HINTS[name],
        ) from error
    if not hasattr(trt, "Runtime"):
        raise MissingToolError(
            f"a module named {name} was imported that is not NVIDIA's (it has no Runtime).", INSTALL_HINTS[name]
        )
    return trt


def module_name(trt: Any) -> str:
    """``tensorrt`` or ``tensorrt_rtx``."""
    return RTX if getattr(trt, "__name__", "") == RTX else MODULES[0]


def is_rtx(trt: Any) -> bool:
    return module_name(trt) == RTX


def label(trt: Any) -> str:
    """The version as it is recorded: ``8.6.0``, or ``RTX 1.6.1.120``: the two count apart."""
    return f"RTX {trt.__version__}" if is_rtx(trt) else str(trt.__version__)


def generation(trt: Any) -> int:
    """The major version of TensorRT whose interface this is: TensorRT-RTX 1.x has that of 11."""
    return RTX_GENERATION if is_rtx(trt) else int(str(trt.__version__).split(".", maxsplit=1)[0])


def check_rtx(trt: Any, precision: str, sm: int) -> None:
    """Refuse what TensorRT-RTX cannot do, before anything is built.

    Raises:
        ProfilerError: INT8, or a GPU that this version does not support.
    """
    reason = trt_modules.missing_in_rtx(precision, sm, str(trt.__version__)) if is_rtx(trt) else None
    if reason:
        raise ProfilerError(reason, "Use TensorRT itself (--trt-module tensorrt) on this machine.")


def strongly_typed(trt: Any) -> bool:
    """Whether networks take their precisions from the model's types (10 and later) and not from builder flags."""
    return generation(trt) >= STRONGLY_TYPED_SINCE


def network_flags(trt: Any) -> int:
    """The flags for ``create_network``."""
    return _network_flags_v10(trt) if strongly_typed(trt) else _network_flags_v8(trt)


def _network_flags_v8(trt: Any) -> int:
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _network_flags_v10(trt: Any) -> int:
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def set_precision(trt: Any, config: Any, precision: str) -> list[str]:
    """Set the builder flags for a precision; returns the names of those that are set.

    TF32 is on by default in every version, so FP32 has to clear it.
    """
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    else:
        config.set_flag(trt.BuilderFlag.TF32)
    flags = [] if precision == "fp32" else ["TF32"]
    if not strongly_typed(trt):
        flags += _set_precision_v8(trt, config, precision)
    return flags


def _set_precision_v8(trt: Any, config: Any, precision: str) -> list[str]:
    flags = []
    if precision in ("fp16", "int8"):  # INT8 alone would leave the layers between two Q/DQ pairs in FP32
        config.set_flag(trt.BuilderFlag.FP16)
        flags.append("FP16")
    if precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
        flags.append("INT8")
    return flags


def set_optimisation_level(config: Any, level: int) -> None:
    """Set ``builder_optimization_level`` (8.6 and later).

    Raises:
        UsageError: this version has none.
    """
    if not hasattr(config, "builder_optimization_level"):
        raise UsageError("--optimization-level: this TensorRT has none (it came with 8.6).", "Leave the option out.")
    _set_optimisation_level_v10(config, level)


def _set_optimisation_level_v10(config: Any, level: int) -> None:
    config.builder_optimization_level = level


def set_hardware_compatibility(trt: Any, config: Any, level: str) -> None:
    """Set ``hardware_compatibility_level`` (8.6 and later): an engine for other GPUs than the one it is built on.

    Args:
        level: one of :data:`COMPATIBILITY`.

    Raises:
        UsageError: this version has no such level.
    """
    member = level.upper().replace("-", "_")
    known = getattr(getattr(trt, "HardwareCompatibilityLevel", None), "__members__", {})
    if member not in known:
        has = ", ".join(name.lower().replace("_", "-") for name in known) or "none (they came with 8.6)"
        raise UsageError(f"--hardware-compatibility {level}: TensorRT {label(trt)} has {has}.", "Leave the option out.")
    _set_hardware_compatibility_v10(config, known[member])


def _set_hardware_compatibility_v10(config: Any, level: Any) -> None:
    config.hardware_compatibility_level = level


def network_content(trt: Any, network: Any) -> tuple[bool, bool]:
    """Whether a parsed network holds Q/DQ pairs, and whether it computes in FP16."""
    quantised = half = False
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        quantised = quantised or layer.type == trt.LayerType.QUANTIZE
        half = half or (layer.num_outputs > 0 and layer.get_output(0).dtype == trt.float16)
    return quantised, half


def check_model_precision(trt: Any, precision: str, quantised: bool, half: bool, label: str) -> None:
    """Refuse a model whose types contradict the precision.

    Raises:
        ProfilerError: INT8 without Q/DQ, Q/DQ without INT8, or types that a strongly typed network would follow instead.
    """
    if precision == "fp8" and not strongly_typed(trt):
        raise ProfilerError(trt_modules.NO_FP8, "Or build it with --precision int8.")
    if precision in ("int8", "fp8") and not quantised:
        raise ProfilerError(
            f"{label}: holds no QuantizeLinear/DequantizeLinear pairs, and --precision {precision} takes its scales from them.",
            f"Export it again: python -m profiler.engine.export --{precision} --calibration FOLDER …",
        )
    if precision not in ("int8", "fp8") and quantised:
        raise ProfilerError(
            f"{label}: holds QuantizeLinear/DequantizeLinear pairs, and --precision {precision} was asked for.",
            "Give --precision int8 (or fp8), or export it again without its pairs.",
        )
    if strongly_typed(trt) and precision == "fp16" and not half:
        raise ProfilerError(
            f"{label}: computes in FP32, and from TensorRT {STRONGLY_TYPED_SINCE} on, as in TensorRT-RTX, the model's types decide.",
            "Export it again: python -m profiler.engine.export --precision fp16 …",
        )
    if precision in ("fp32", "tf32") and half:
        raise ProfilerError(
            f"{label}: computes in FP16, and --precision {precision} was asked for.",
            "Give --precision fp16, or export it again with --precision fp32.",
        )


def parse_tactic_sources(trt: Any, text: str, default_mask: int) -> tuple[int, list[str]]:
    """The bit mask for ``CUDNN,CUBLAS`` (exactly these) or ``+CUDNN,-CUBLAS`` (the default with changes), and the names set.

    Raises:
        UsageError: a name that this version does not have, or both forms mixed.
    """
    members = {name: int(value) for name, value in trt.TacticSource.__members__.items()}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    relative = [part[0] in "+-" for part in parts]
    if not parts or (any(relative) and not all(relative)):
        raise UsageError(
            f"--tactic-sources {text}: expected names, either all plain or each with + or -.",
            "For example CUDNN,CUBLAS or +CUDNN,-CUBLAS.",
        )
    mask = default_mask if all(relative) else 0
    for part in parts:
        name = part.lstrip("+-").upper()
        if name not in members:
            raise UsageError(
                f"--tactic-sources: TensorRT {trt.__version__} has no {name}; it has {', '.join(members)}."
            )
        bit = 1 << members[name]
        mask = mask & ~bit if part[0] == "-" else mask | bit
    return mask, [name for name, bit in members.items() if mask >> bit & 1]


def check_plan_version(plan: Path, record: dict[str, Any] | None, trt: Any) -> None:
    """Refuse a plan that its build record says is of another TensorRT.

    Raises:
        ProfilerError: the versions differ in major, minor or patch, or one of them is TensorRT-RTX's.
    """
    built, running = (record or {}).get("tensorrt_version"), label(trt)
    if isinstance(built, str) and built.split(".")[:3] != running.split(".")[:3]:
        raise ProfilerError(
            f"{plan}: was built by TensorRT {built}, and this is TensorRT {running}.",
            "A plan runs only on the version that built it: use that version (--trt-python, --trt-module), or build the plan again.",
        )


def deserialise(trt: Any, runtime: Any, plan: Path, logger: Any) -> Any:
    """The engine in a plan file.

    Raises:
        ProfilerError: unreadable, not a plan, of another TensorRT version, another GPU, or without its plugin.
    """
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise ProfilerError(f"{plan}: cannot be read ({error.strerror or error}).") from error
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        message, hint = explain_plan_errors(logger.errors, label(trt))
        raise ProfilerError(f"{plan}: TensorRT {label(trt)} cannot load this plan ({message}).", hint)
    return engine


def explain_plan_errors(errors: Iterable[str], running: str) -> tuple[str, str]:
    """TensorRT's messages, the most telling one first, and what to do about it.

    Its last line is often the emptiest ("Engine deserialization failed"), its first the one that names the cause.
    """
    texts = list(dict.fromkeys(" ".join(error.split()) for error in errors))
    plugin_hint = "Give the library of this plugin with --plugin FILE.so."
    cases = (
        (
            ("version tag does not match", "not compatible with this version", "Version tag"),
            f"It was built by another TensorRT than {running}, or is damaged: use the version that built it, or build it again.",
        ),
        (
            ("another version of this plugin",),
            "The plan and the plugin library do not belong together: build the plan again with this library.",
        ),
        # three lines in 8.5: getPluginCreator names the plugin, the other two only say that loading failed
        (("could not find plugin", "getPluginCreator"), plugin_hint),
        (("plugin", "Plugin"), plugin_hint),
        (
            ("serialization",),
            f"It was built by another TensorRT than {running}, needs a plugin that was not given (--plugin), or is damaged: use the "
            "version that built it, give its plugin, or build it again.",
        ),
        (
            ("compute capability", "different device", "incompatible device", "generated on"),
            "A plan runs only on the kind of GPU that it was built on: build it again on this GPU.",
        ),
        (("memory", "Memory"), "End other processes on the GPU, or build for a smaller batch."),
    )
    for markers, hint in cases:
        for text in texts:
            if any(marker in text for marker in markers):
                return "; ".join([text, *(other for other in texts if other != text)])[:800], hint
    message = "; ".join(texts)[:800] if texts else "it gave no reason"
    return message, "Build it again with this TensorRT on this GPU; the file may also be damaged."


def device_memory_bytes(engine: Any) -> int | None:
    """Bytes that one execution context needs for activations; None where the engine does not tell."""
    for name in ("device_memory_size_v2", "device_memory_size"):
        value = getattr(engine, name, None)
        if value is not None:
            return int(value)
    return None
