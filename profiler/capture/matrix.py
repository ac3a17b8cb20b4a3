"""The matrix of a study: which runs, which engines they need, and what this chip cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from profiler.capture.engines import CALIBRATION_IMAGES, EngineSpec
from profiler.capture.gpu import missing_mode, missing_precision
from profiler.capture.spec import MODES, RunSpec
from profiler.errors import UsageError
from profiler.runtime import trt_modules
from profiler.runtime.trt_modules import RTX

KINDS = ("export", "build", "run", "bench", "accuracy")
TORCH_PRECISIONS = ("fp32", "tf32", "fp16")
TRT_PRECISIONS = ("fp32", "tf32", "fp16", "int8")


@dataclass(frozen=True)
class StudyStep:
    """One thing to do; ``needs`` names the steps whose results it uses.

    Attributes:
        kind: "export", "build", "run" (latency and recording), "bench" (latency alone) or "accuracy".
        path: the file or folder that it makes, below the study's folder.
    """

    name: str
    kind: str
    path: Path
    needs: tuple[str, ...] = ()
    run: RunSpec | None = None
    engine: EngineSpec | None = None


@dataclass(frozen=True)
class MatrixOptions:
    """What the user asked for.

    Attributes:
        trace_batches: batch sizes that are recorded under nsys; None: all of them.
        calibrators, calibration_images, quantisations: how INT8 engines are made. The first of each make the engine that has no suffix
            in its name; each of the others makes one that differs from it in this alone.
    """

    frameworks: tuple[str, ...] = ("pytorch", "tensorrt")
    models: tuple[str, ...] = ("resnet50",)
    weights: str = "random"
    batches: tuple[int, ...] = (1, 8, 64)
    trace_batches: tuple[int, ...] | None = None
    torch_precisions: tuple[str, ...] = TORCH_PRECISIONS
    trt_precisions: tuple[str, ...] = TRT_PRECISIONS
    torch_modes: tuple[str, ...] = MODES["pytorch"]
    trt_modes: tuple[str, ...] = MODES["tensorrt"]
    input_shape: tuple[int, int, int] = (3, 224, 224)
    iterations: int = 10
    bench_seconds: float = 2.0
    seed: int = 0
    calibration: str = "random"
    calibrators: tuple[str, ...] = ("entropy",)
    calibration_images: tuple[int, ...] = (CALIBRATION_IMAGES,)
    quantisations: tuple[str, ...] = ("fused",)
    timing_cache: Path | None = None
    workspace_mib: int | None = None
    inputs: Path | None = None
    plugins: tuple[Path, ...] = ()
    typed_networks: bool = False
    io: str = "fp32"
    timing_iterations: int | None = None
    cudnn_benchmark: bool = False
    activation: str | None = None
    optimization_level: int | None = None
    hardware_compatibility: str | None = None
    trt_module: str = "tensorrt"
    trt_version: str | None = None


@dataclass(frozen=True)
class Matrix:
    """Steps in the order in which they are done, and what was left out with the reason."""

    steps: tuple[StudyStep, ...]
    left_out: tuple[tuple[str, str], ...] = field(default=())

    def chosen(self, only: Sequence[str], kinds: Sequence[str]) -> Matrix:
        """Steps of these kinds whose names match one of the shell patterns ``only``, and what those need.

        A step that is needed by a chosen one stays whatever its name and kind: a run without its engine cannot be made.
        """
        if not only and not kinds:
            return self
        by_name = {s.name: s for s in self.steps}
        keep: set[str] = set()
        queue = [
            s.name
            for s in self.steps
            if (not kinds or s.kind in kinds) and (not only or any(fnmatchcase(s.name, p) for p in only))
        ]
        if not queue:
            names = ", ".join(s.name for s in self.steps[:12])
            raise UsageError(
                f"no step matches --only {' '.join(only)} --steps {','.join(kinds)}.",
                f"The steps are: {names}, … (see --dry-run)",
            )
        while queue:
            name = queue.pop()
            if name not in keep and name in by_name:
                keep.add(name)
                if by_name[name].kind != "accuracy":  # it compares what there is
                    queue += by_name[name].needs
        return Matrix(tuple(s for s in self.steps if s.name in keep), self.left_out)


def build_matrix(options: MatrixOptions, sm: int | None, torch_python: str, trt_python: str) -> Matrix:
    """All steps for a GPU of compute capability ``sm`` (None: not known, nothing is left out).

    Raises:
        UsageError: the options leave nothing to do.
    """
    left_out: list[tuple[str, str]] = []
    steps: dict[str, StudyStep] = {}
    for model in options.models:
        runs: list[StudyStep] = []
        for batch in options.batches:
            if "pytorch" in options.frameworks:
                made = _torch_runs(options, model, batch, sm, torch_python, left_out)
                steps.update((s.name, s) for s in made)
                runs += made
            if "tensorrt" in options.frameworks:
                for precision in _possible(options, "tensorrt", sm, left_out):
                    for plugins in _plugin_choices(options):
                        for engine in _variants(options, model, batch, precision, plugins):
                            runs += _engine_and_runs(options, engine, trt_python, steps)
        name = f"accuracy-{model.replace(':', '.')}"
        steps[name] = StudyStep(name, "accuracy", Path("outputs"), tuple(s.name for s in runs))
    if not any(s.run for s in steps.values()):
        reasons = " ".join(dict.fromkeys(reason for _, reason in left_out))
        raise UsageError(f"nothing is left to run. {reasons}".strip(), "Ask for other precisions or frameworks.")
    ordered = sorted(steps.values(), key=lambda s: (s.kind == "accuracy",))
    return Matrix(tuple(ordered), tuple(dict.fromkeys(left_out)))


def _torch_runs(
    options: MatrixOptions, model: str, batch: int, sm: int | None, python: str, left_out: list[tuple[str, str]]
) -> list[StudyStep]:
    runs = []
    for mode in options.torch_modes:
        reason = missing_mode(sm, mode)
        if reason:
            left_out.append((f"pytorch {mode}", reason))
            continue
        for precision in _possible(options, "pytorch", sm, left_out):
            spec = _spec(options, "pytorch", precision, mode, model, batch, python)
            runs.append(_run_step(options, spec, ()))
    return runs


def _plugin_choices(options: MatrixOptions) -> list[tuple[Path, ...]]:
    """The sets of plugins that engines are built with: an activation with a plugin is held against the same without."""
    return [(), options.plugins] if options.activation and options.plugins else [options.plugins]


def _variants(
    options: MatrixOptions, model: str, batch: int, precision: str, plugins: tuple[Path, ...]
) -> list[EngineSpec]:
    """The engines of one precision: one, but for INT8, which can be quantised in several ways."""
    base = EngineSpec(
        precision=precision,
        batch=batch,
        model=model,
        weights=options.weights,
        input_shape=options.input_shape,
        seed=options.seed,
        calibration=options.calibration,
        calibrator=options.calibrators[0],
        calibration_images=options.calibration_images[0],
        quantisation=options.quantisations[0],
        timing_cache=options.timing_cache,
        workspace_mib=options.workspace_mib,
        plugins=plugins,
        activation=options.activation,
        typed_model=options.typed_networks,
        io=options.io,
        timing_iterations=options.timing_iterations,
        optimization_level=options.optimization_level,
        hardware_compatibility=options.hardware_compatibility,
        trt_module=options.trt_module,
    )
    if precision != "int8":
        return [base]
    others = [replace(base, calibrator=name, variant=name) for name in options.calibrators[1:]]
    others += [replace(base, calibration_images=n, variant=f"{n}-images") for n in options.calibration_images[1:]]
    others += [replace(base, quantisation=name, variant=name) for name in options.quantisations[1:]]
    return [base, *others]


def _engine_and_runs(
    options: MatrixOptions, engine: EngineSpec, python: str, steps: dict[str, StudyStep]
) -> list[StudyStep]:
    export = f"onnx-{engine.onnx_name.removesuffix('.onnx')}"
    build = f"engine-{engine.name}"
    steps.setdefault(export, StudyStep(export, "export", Path("engines") / engine.onnx_name, engine=engine))
    steps[build] = StudyStep(build, "build", Path("engines") / f"{engine.name}.plan", (export,), engine=engine)
    runs = []
    for mode in options.trt_modes:
        plan = steps[build].path
        spec = _spec(options, "tensorrt", engine.precision, mode, engine.model, engine.batch, python, plan)
        spec = replace(spec, plugins=engine.plugins, variant=engine.variant)
        runs.append(_run_step(options, spec, (build,)))
    steps.update((s.name, s) for s in runs)
    return runs


def _spec(
    options: MatrixOptions,
    framework: str,
    precision: str,
    mode: str,
    model: str,
    batch: int,
    python: str,
    plan: Path | None = None,
) -> RunSpec:
    return RunSpec(
        framework=framework,
        precision=precision,
        mode=mode,
        batch=batch,
        model=model,
        weights=options.weights,
        input_shape=options.input_shape,
        iterations=options.iterations,
        bench_seconds=options.bench_seconds,
        seed=options.seed,
        inputs=options.inputs,
        plan=plan,
        activation=options.activation,
        python=python,
        cudnn_benchmark=options.cudnn_benchmark and framework == "pytorch",
        trt_module=options.trt_module,
    )


def _run_step(options: MatrixOptions, spec: RunSpec, needs: tuple[str, ...]) -> StudyStep:
    traced = options.trace_batches is None or spec.batch in options.trace_batches
    path = Path(spec.name) if traced else Path("bench") / f"{spec.name}.json"
    return StudyStep(spec.name, "run" if traced else "bench", path, needs, run=spec)


def _possible(options: MatrixOptions, framework: str, sm: int | None, left_out: list[tuple[str, str]]) -> list[str]:
    possible = []
    for precision in options.torch_precisions if framework == "pytorch" else options.trt_precisions:
        reason = missing_precision(sm, framework, precision)
        if framework == "tensorrt" and options.trt_module == RTX:
            reason = reason or trt_modules.missing_in_rtx(precision, sm, options.trt_version)
        elif precision == "fp8" and not options.typed_networks:
            reason = reason or trt_modules.NO_FP8
        if reason:
            left_out.append((f"{framework} {precision}", reason))
        else:
            possible.append(precision)
    return possible
