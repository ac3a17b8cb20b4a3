"""From a model to an engine: the ONNX export and the TensorRT build, each in the interpreter that can do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.manifest import read_document
from profiler.capture.spec import PRECISIONS, check_activation, name_prefix, safe_name
from profiler.errors import OutputError, ProfilerError, UsageError
from profiler.files import beside, make_parent
from profiler.plugins import names
from profiler.runtime.arguments import as_argv, listed
from profiler.runtime.trt_modules import RTX

BUILD_TIMEOUT_S = 3600.0
EXPORT_TIMEOUT_S = 1800.0
CALIBRATION_IMAGES = 512
CALIBRATORS = ("entropy", "max", "percentile")
QUANTISATIONS = ("fused", "badqdq", "modelopt")
FP8_OPSET = 19


@dataclass(frozen=True)
class EngineSpec:
    """One engine.

    Attributes:
        precision: fp32, tf32, fp16, int8 or fp8.
        batch: the engine's only batch size, unless ``profile`` says more.
        calibration: images for INT8: a folder in ImageNet's layout, a .npy or .npz, or "random" (scales without meaning).
        calibrator: "entropy", "max" or "percentile".
        calibration_images: at most so many of them.
        quantisation: where Q/DQ pairs go: "fused", "badqdq" or "modelopt".
        variant: tells engines of one precision apart, in their names.
        profile: ``min:opt:max`` batch sizes.
        workspace_mib: limit for scratch memory; None: TensorRT's default.
        onnx: an existing model, instead of an export.
        io: type of the engine's inputs and outputs, fp32 or fp16.
        timing_iterations: how often each tactic is timed; more makes the choice steadier and the build longer.
        optimization_level: 0 to 5 (TensorRT 8.6 and later).
        hardware_compatibility: "ampere-plus" or "same-compute-capability" (TensorRT 8.6 and later); None: this GPU only.
        trt_module: "tensorrt", or "tensorrt_rtx" for TensorRT-RTX.
        activation: what replaces the model's ReLUs: the plugin's node when there are ``plugins``, else stock operators.
        typed_model: TensorRT 10 and later take FP16 from the types in the model, so FP16 has a model of its own.
    """

    precision: str
    batch: int
    model: str = "resnet50"
    weights: str = "random"
    input_shape: tuple[int, int, int] = (3, 224, 224)
    seed: int = 0
    calibration: str = "random"
    calibrator: str = "entropy"
    calibration_images: int = CALIBRATION_IMAGES
    quantisation: str = "fused"
    variant: str = ""
    profile: str | None = None
    workspace_mib: int | None = None
    tactic_sources: str | None = None
    timing_cache: Path | None = None
    plugins: tuple[Path, ...] = ()
    onnx: Path | None = None
    typed_model: bool = False
    io: str = "fp32"
    timing_iterations: int | None = None
    optimization_level: int | None = None
    hardware_compatibility: str | None = None
    trt_module: str = "tensorrt"
    activation: str | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        if self.precision not in PRECISIONS["tensorrt"]:
            raise UsageError(f"precision is {self.precision!r}; expected {', '.join(PRECISIONS['tensorrt'])}.")

    @property
    def name(self) -> str:
        prefix = name_prefix(self.model, self.activation, bool(self.plugins))
        rtx = "rtx-" if self.trt_module == RTX else ""
        return f"{prefix}{rtx}{self.precision}{self._suffix}-b{self.batch}"

    @property
    def _suffix(self) -> str:
        return f"-{self.variant}" if self.variant else ""

    @property
    def onnx_name(self) -> str:
        """One ONNX file serves all batches; INT8 and FP8 have their own, with Q/DQ nodes, and so has FP16 where types rule."""
        suffix = f"-{self.precision}{self._suffix}" if self._quantised else "-fp16" if self._half else ""
        form = "" if self.activation is None else f"-{self.activation}-{self._activation_as}"
        return f"{safe_name(self.model)}{form}{suffix}.onnx"

    @property
    def _activation_as(self) -> str:
        return names.FORMS[1] if self.plugins else names.FORMS[0]

    @property
    def _quantised(self) -> bool:
        return self.precision in ("int8", "fp8")

    @property
    def _half(self) -> bool:
        return self.typed_model and self.precision == "fp16"

    def export_parameters(self) -> dict[str, Any]:
        common = {
            "model": self.model,
            "weights": Path(self.weights).name,
            "input_shape": list(self.input_shape),
            "seed": self.seed,
        }
        if self.activation is not None:
            common |= {"activation": self.activation, "activation_as": self._activation_as}
        if self._quantised:
            common |= {self.precision: True, "calibration": Path(self.calibration).name, "calibrator": self.calibrator}
            if (
                self.calibration_images != CALIBRATION_IMAGES
            ):  # left out otherwise: engines of earlier versions still count
                common["calibration_images"] = self.calibration_images
            if self.quantisation != "fused":
                common["quantisation"] = self.quantisation
        return {**common, "types": "fp16", "io": self.io} if self._half else common

    def build_parameters(self) -> dict[str, Any]:
        document = {
            **self.export_parameters(),
            "precision": self.precision,
            "batch": self.batch,
            "profile": self.profile,
            "workspace_mib": self.workspace_mib,
            "tactic_sources": self.tactic_sources,
            "io": self.io,
            "timing_iterations": self.timing_iterations,
            "optimization_level": self.optimization_level,
            "plugins": [p.name for p in self.plugins],
            "onnx": self.onnx.name if self.onnx else None,
        }
        if (
            self.hardware_compatibility is not None
        ):  # left out otherwise: engines of earlier versions still count as built
            document["hardware_compatibility"] = self.hardware_compatibility
        return {**document, "trt_module": self.trt_module} if self.trt_module == RTX else document

    def export_arguments(self, onnx: Path) -> list[str]:
        options: dict[str, object] = {"--model": self.model, "--weights": self.weights, "--seed": self.seed}
        options |= {"--input-shape": listed(self.input_shape), "--output": onnx, "--force": True}
        if self.activation is not None:
            options |= {"--activation": self.activation, "--activation-as": self._activation_as}
        if self._half:
            options |= {"--precision": "fp16", "--io": self.io}
        if self._quantised:
            options |= {f"--{self.precision}": True, "--calibration": self.calibration, "--calibrator": self.calibrator}
            several = self.calibration_images != CALIBRATION_IMAGES
            options |= {"--calibration-images": self.calibration_images if several else None}
            options |= {"--quantisation": None if self.quantisation == "fused" else self.quantisation}
            options |= {"--opset": FP8_OPSET if self.precision == "fp8" else None}
        return as_argv(options)

    def build_arguments(self, onnx: Path, plan: Path, fixed_shapes: bool = False) -> list[str]:
        """``fixed_shapes``: the model takes one batch size, so that no range of them may be given."""
        options: dict[str, object] = {"--onnx": onnx, "--precision": self.precision, "--plan": plan, "--force": True}
        options |= {"--profile": None if fixed_shapes else self.profile or f"{self.batch}:{self.batch}:{self.batch}"}
        options |= {"--workspace": self.workspace_mib, "--io": None if self.io == "fp32" else self.io}
        options |= {"--timing-iterations": self.timing_iterations, "--optimization-level": self.optimization_level}
        options |= {"--hardware-compatibility": self.hardware_compatibility}
        options |= {"--trt-module": RTX if self.trt_module == RTX else None, "--plugin": list(self.plugins)}
        return as_argv(options | {"--tactic-sources": self.tactic_sources, "--timing-cache": self.timing_cache})


def export_onnx(spec: EngineSpec, onnx: Path, torch_python: str, on_line: Callable[[str], None] | None = None) -> None:
    """Write the ONNX model.

    Raises:
        ProfilerError: the export failed; nothing is left behind.
    """
    make_parent(onnx)
    process.run_module(torch_python, "profiler.engine.export", spec.export_arguments(onnx), on_line, EXPORT_TIMEOUT_S)
    _insist(onnx, "the export")


def build_engine(
    spec: EngineSpec, onnx: Path, plan: Path, trt_python: str, on_line: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Build the plan and what lies beside it; returns the facts of the build.

    Raises:
        ProfilerError: the build failed (an operator that does not parse, no memory, …); nothing is left behind.
    """
    if not onnx.is_file():
        raise ProfilerError(
            f"{onnx}: no such file.", "Give an ONNX model with --onnx, or a model to export with --model."
        )
    make_parent(plan)
    build = partial(process.run_module, trt_python, "profiler.engine.build", on_line=on_line, timeout_s=BUILD_TIMEOUT_S)
    try:
        build(spec.build_arguments(onnx, plan))
    except ProfilerError as error:
        # a model from elsewhere may have its batch fixed; only TensorRT's parser can tell, and then no range may be given
        if spec.onnx is None or spec.profile is not None or "fixed shapes" not in error.message:
            raise
        build(spec.build_arguments(onnx, plan, fixed_shapes=True))
    _insist(plan, "the build")
    return read_document(beside(plan, "build.json")) or {"reason_missing": f"the build wrote no {plan.name}.build.json"}


def _insist(path: Path, what: str) -> None:
    if not path.is_file() or not path.stat().st_size:
        raise OutputError(f"{path}: {what} ended without an error and without this file.", "Please report this.")
