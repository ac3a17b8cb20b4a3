"""What a run is: framework, model, precision, mode, batch; its name, its argv, its title."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.errors import UsageError
from profiler.runtime.arguments import as_argv, listed
from profiler.runtime.trt_modules import RTX
from profiler.trace.manifest import ACTIVATIONS

FRAMEWORKS = ("pytorch", "tensorrt")
PRECISIONS = {"pytorch": ("fp32", "tf32", "fp16", "bf16"), "tensorrt": ("fp32", "tf32", "fp16", "int8", "fp8")}
MODES = {"pytorch": ("eager", "graph", "compile"), "tensorrt": ("stream", "graph")}
_FRAMEWORK_NAMES = {"pytorch": "PyTorch", "tensorrt": "TensorRT"}
_SHORT_NAMES = {"pytorch": "torch", "tensorrt": "trt"}
_MODE_NAMES = {"eager": "eager", "graph": "CUDA graph", "compile": "torch.compile", "stream": "stream"}


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        model: a torchvision name or ``module:function``; for TensorRT what the plan was built from, as a label.
        weights: "random", a torchvision weights name, or a checkpoint's path (PyTorch).
        batch: images per inference.
        input_shape: channels, height and width of one image.
        plan: the engine (TensorRT).
        inputs: a .npy or .npz of images instead of seeded random ones.
        python: the interpreter that has the framework.
        cudnn_benchmark: let cuDNN time its algorithms first, which PyTorch does not do by default.
        streams: measure throughput on so many streams at once (TensorRT); latency and recordings always have one.
        activation: what replaces the model's ReLUs; for TensorRT what the plan was built with, as a label.
        trt_module: "tensorrt", or "tensorrt_rtx" for TensorRT-RTX.
        variant: how an engine was quantised, where that differs from what is usual: "max", "badqdq", "modelopt", "64-images".
        nvtx_modules: a range per module in the recording (PyTorch); latency is always measured without.
    """

    framework: str
    precision: str
    mode: str
    batch: int = 1
    model: str = "resnet50"
    weights: str = "random"
    input_shape: tuple[int, int, int] = (3, 224, 224)
    warmup: int = 20
    iterations: int = 10
    seed: int = 0
    bench_iterations: int = 200
    bench_seconds: float = 2.0
    inputs: Path | None = None
    plan: Path | None = None
    plugins: tuple[Path, ...] = ()
    python: str = ""
    nvtx_modules: bool = True
    cudnn_benchmark: bool = False
    streams: int = 1
    activation: str | None = None
    trt_module: str = "tensorrt"
    variant: str = ""

    def __post_init__(self) -> None:
        if self.framework not in FRAMEWORKS:
            raise UsageError(f"framework is {self.framework!r}; expected {' or '.join(FRAMEWORKS)}.")
        for what, given, known in (("precision", self.precision, PRECISIONS), ("mode", self.mode, MODES)):
            if given not in known[self.framework]:
                expected = ", ".join(known[self.framework])
                raise UsageError(f"{what} is {given!r}; for {self.framework_name} expected one of {expected}.")
        if self.streams > 1 and self.framework != "tensorrt":
            raise UsageError("--streams is for --framework tensorrt.", "PyTorch runs have one stream.")
        check_activation(self.activation)
        if self.framework == "tensorrt" and self.plan is None:
            raise UsageError("a TensorRT run needs an engine.", "Give --plan FILE, or --onnx FILE to build one first.")

    @property
    def name(self) -> str:
        """Short and fit for a folder: ``torch-fp16-graph-b8``; other models than ResNet-50 come first."""
        prefix = name_prefix(self.model, self.activation, bool(self.plugins))
        several = f"-s{self.streams}" if self.streams > 1 else ""
        short = "rtx" if self.is_rtx else _SHORT_NAMES[self.framework]
        variant = f"-{self.variant}" if self.variant else ""
        return f"{prefix}{short}-{self.precision}{variant}-{self.mode}{several}-b{self.batch}"

    @property
    def is_rtx(self) -> bool:
        return self.framework == "tensorrt" and self.trt_module == RTX

    @property
    def framework_name(self) -> str:
        return _FRAMEWORK_NAMES[self.framework]

    @property
    def title(self) -> str:
        """For people: ``PyTorch FP16, CUDA graph, batch 8``."""
        several = f", {self.streams} streams" if self.streams > 1 else ""
        where = f"{_MODE_NAMES[self.mode]}, batch {self.batch}{several}"
        variant = f" ({self.variant})" if self.variant else ""
        text = f"{self.framework_name}{'-RTX' if self.is_rtx else ''} {self.precision.upper()}{variant}, {where}"
        if self.activation is None:
            return text
        how = "" if self.framework == "pytorch" else " as plugin" if self.plugins else " as operators"
        return f"{text}, {ACTIVATIONS[self.activation]}{how}"

    @property
    def module(self) -> str:
        return f"profiler.workloads.{self.framework}"

    def _what_runs(self, show: Callable[[str | Path], str]) -> dict[str, object]:
        """Options of the workload and of ``capture`` alike; ``show`` writes a path."""
        what: dict[str, object] = {"--mode": self.mode, "--batch": self.batch}
        if self.framework == "pytorch":
            what |= {"--precision": self.precision, "--model": self.model, "--weights": show(self.weights)}
            what |= {"--cudnn-benchmark": self.cudnn_benchmark, "--activation": self.activation}
        else:
            what |= {"--plan": show(self.plan or ""), "--trt-module": RTX if self.is_rtx else None}
            what |= {"--plugin": [show(p) for p in self.plugins]}
        what |= {"--input-shape": listed(self.input_shape), "--iterations": self.iterations, "--seed": self.seed}
        return what | {"--inputs": show(self.inputs) if self.inputs else None}

    def arguments(self) -> list[str]:
        """Options of the workload that say what runs."""
        return as_argv({**self._what_runs(str), "--warmup": self.warmup})

    def profile_arguments(self, output: Path) -> list[str]:
        """For the process under nsys."""
        modules = self.nvtx_modules and self.framework == "pytorch"
        return [*self.arguments(), *as_argv({"--profile": True, "--nvtx-modules": modules, "--output": output})]

    def bench_arguments(self, output: Path, save_outputs: Path | None = None) -> list[str]:
        """For the process without a profiler."""
        timing = {"--bench-iterations": self.bench_iterations, "--bench-seconds": f"{self.bench_seconds:g}"}
        streams = self.streams if self.streams > 1 else None
        files = {"--save-outputs": save_outputs, "--output": output}
        return [*self.arguments(), *as_argv({"--bench": True, **timing, "--streams": streams, **files})]

    def parameters(self) -> dict[str, Any]:
        """What defines the run, without paths and interpreters: for the manifest and for telling whether it is done."""
        document = asdict(self)
        for name in ("python", "plan", "plugins", "inputs"):
            document.pop(name)
        if not self.is_rtx:
            document.pop("trt_module")
        if self.streams == 1:  # what earlier versions wrote: their runs still count as done
            document.pop("streams")
        document["weights"] = Path(self.weights).name
        document["input_shape"] = list(self.input_shape)
        if self.inputs is not None:
            document["inputs"] = self.inputs.name
        if not self.variant:
            document.pop("variant")
        if self.activation is None:
            document.pop("activation")  # as it was before there were any: what is done stays done
        if self.plugins:
            document["plugins"] = [p.name for p in self.plugins]
        return document

    def command_line(self, options: Mapping[str, Any]) -> str:
        """The command that makes this run again, file names without their folders."""
        what = {"--framework": self.framework, "--precision": self.precision, **self._what_runs(lambda p: Path(p).name)}
        recording = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        return " ".join(["python -m profiler capture", *as_argv(what | recording)])


def name_prefix(model: str, activation: str | None, plugin: bool) -> str:
    """What a run's or an engine's name begins with: nothing for ResNet-50 as it is."""
    parts = [] if model == "resnet50" else [safe_name(model)]
    if activation:
        parts += [activation, "plugin"] if plugin else [activation]
    return "".join(f"{part}-" for part in parts)


def check_activation(name: str | None) -> None:
    """Refuse an activation that is not known.

    Raises:
        UsageError: not known.
    """
    if name is not None and name not in ACTIVATIONS:
        raise UsageError(f"activation is {name!r}; expected {' or '.join(ACTIVATIONS)}.")


def safe_name(text: str) -> str:
    """Letters, digits, ``.``, ``_`` and ``-`` only."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text).strip("-.") or "model"


def fingerprint(document: Any) -> str:
    """A hash of a JSON document, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
