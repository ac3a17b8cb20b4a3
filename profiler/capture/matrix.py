"""The matrix of a study: which runs, which engines they need, and what this chip cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from profiler.capture.engines import CALIBRATION_IMAGES, CALIBRATORS, QUANTISATIONS, EngineSpec
from profiler.capture.gpu import missing_mode, missing_precision
from profiler.capture.spec import MODES, RunSpec
from profiler.errors import UsageError
from profiler.runtime import trt_modules
from profiler.runtime.trt_modules import RTX

KINDS = ("export", "build", "run", "bench", "accuracy")
TORCH_PRECISIONS = ("fp32", "tf32", "fp16")
TRT_PRECISIONS = ("fp32", "tf32", "fp16", "int8")
_RUN, _ENGINE = RunSpec("pytorch", "fp32", "eager"), EngineSpec("fp32", 1)


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
        run, engine: what all runs and all engines share.
        trace_batches: batch sizes that are recorded under nsys; None: all of them.
        calibrators, calibration_images, quantisations: how INT8 engines are made. The first of each make the engine that has no suffix
            in its name; each of the others makes one that differs from it in this alone.
    """

    run: RunSpec = _RUN
    engine: EngineSpec = _ENGINE
    frameworks: tuple[str, ...] = ("pytorch", "tensorrt")
    models: tuple[str, ...] = ("resnet50",)
    batches: tuple[int, ...] = (1, 8, 64)
    trace_batches: tuple[int, ...] | None = None
    torch_precisions: tuple[str, ...] = TORCH_PRECISIONS
    trt_precisions: tuple[str, ...] = TRT_PRECISIONS
    torch_modes: tuple[str, ...] = MODES["pytorch"]
    trt_modes: tuple[str, ...] = MODES["tensorrt"]
    calibrators: tuple[str, ...] = CALIBRATORS[:1]
    calibration_images: tuple[int, ...] = (CALIBRATION_IMAGES,)
    quantisations: tuple[str, ...] = QUANTISATIONS[:1]
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
                    for plugins in _plugin_choices(options.engine):
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
            spec = replace(options.run, precision=precision, mode=mode, model=model, batch=batch, python=python)
            runs.append(_run_step(options, spec, ()))
    return runs


def _plugin_choices(engine: EngineSpec) -> list[tuple[Path, ...]]:
    """The sets of plugins that engines are built with: an activation with a plugin is compared with the same without."""
    return [(), engine.plugins] if engine.activation and engine.plugins else [engine.plugins]


def _variants(
    options: MatrixOptions, model: str, batch: int, precision: str, plugins: tuple[Path, ...]
) -> list[EngineSpec]:
    """The engines of one precision: one, but for INT8, which can be quantised in several ways."""
    base = replace(
        options.engine, precision=precision, batch=batch, model=model, plugins=plugins, calibrator=options.calibrators[0],
        calibration_images=options.calibration_images[0], quantisation=options.quantisations[0],
    )  # fmt: skip
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
        spec = replace(
            options.run, framework="tensorrt", precision=engine.precision, mode=mode, model=engine.model, batch=engine.batch,
            python=python, plan=steps[build].path, plugins=engine.plugins, variant=engine.variant, trt_module=engine.trt_module,
            cudnn_benchmark=False,
        )  # fmt: skip
        runs.append(_run_step(options, spec, (build,)))
    steps.update((s.name, s) for s in runs)
    return runs


def _run_step(options: MatrixOptions, spec: RunSpec, needs: tuple[str, ...]) -> StudyStep:
    traced = options.trace_batches is None or spec.batch in options.trace_batches
    path = Path(spec.name) if traced else Path("bench") / f"{spec.name}.json"
    return StudyStep(spec.name, "run" if traced else "bench", path, needs, run=spec)


def _possible(options: MatrixOptions, framework: str, sm: int | None, left_out: list[tuple[str, str]]) -> list[str]:
    possible = []
    for precision in options.torch_precisions if framework == "pytorch" else options.trt_precisions:
        reason = missing_precision(sm, framework, precision)
        if framework == "tensorrt" and options.engine.trt_module == RTX:
            reason = reason or trt_modules.missing_in_rtx(precision, sm, options.trt_version)
        elif precision == "fp8" and not options.engine.typed_model:
            reason = reason or trt_modules.NO_FP8
        if reason:
            left_out.append((f"{framework} {precision}", reason))
        else:
            possible.append(precision)
    return possible
