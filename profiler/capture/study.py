"""A study: the whole matrix into one folder, step by step, so that what is done is not done again."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from profiler.capture import summary
from profiler.capture.engines import build_engine, export_onnx
from profiler.capture.gpu import Chip, chip_notes
from profiler.capture.manifest import bench_document, is_complete, read_document, recorded_parameters
from profiler.capture.matrix import Matrix, StudyStep
from profiler.capture.nsys import Nsys, Recording
from profiler.capture.record import check_output_folder, record_run, run_bench
from profiler.capture.spec import RunSpec, fingerprint, safe_name
from profiler.errors import ProfilerError
from profiler.files import atomic_file, check_free_space, make_parent, write_json
from profiler.runtime import accuracy, images
from profiler.runtime.contract import write_array
from profiler.text import plural

FORMAT = "profiler-study/1"
STUDY_NAME = "study.json"
REFERENCE = ("pytorch", "fp32", "eager")
RANDOM_IMAGES = 64
STEP_FREE_BYTES = 1 << 30

Say = Callable[[str], None]


@dataclass(frozen=True)
class StudyOptions:
    """How a study is run.

    Attributes:
        recording: options of the recordings.
        torch_python, trt_python: the two interpreters.
        redo: do again what is done.
        images: a folder in ImageNet's layout for accuracy; None: agreement only.
        images_limit: at most so many of them.
        deadline_s: start no step later than this many seconds after the start; None: no limit.
    """

    recording: Recording
    torch_python: str
    trt_python: str
    redo: bool = False
    images: Path | None = None
    images_limit: int = 5000
    deadline_s: float | None = None


@dataclass
class StepResult:
    """How a step went: "done", "kept" (was done before), "failed", "blocked" (needs one that failed), "not started"."""

    step: StudyStep
    status: str
    seconds: float = 0.0
    error: str | None = None
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"step": self.step.name, "kind": self.step.kind, "path": str(self.step.path), "status": self.status,
                "seconds": round(self.seconds, 1), "error": self.error, "hint": self.hint}  # fmt: skip


class Study:
    """Runs a matrix into ``folder``.

    Args:
        say: gets the progress lines.
    """

    def __init__(
        self, folder: Path, matrix: Matrix, options: StudyOptions, chip: Chip | None, nsys: Nsys | None, say: Say
    ) -> None:
        self.folder, self.matrix, self.options = folder, matrix, options
        self.chip, self.nsys, self.say = chip, nsys, say
        self.outcomes: dict[str, StepResult] = {}
        self._by_name = {s.name: s for s in matrix.steps}
        self._labels: images.Labels | None = None
        self._names: list[str] = []  # of the images, below their folder
        self._input: Path | None = None
        self._data = "own-inputs"

    def run(self) -> list[StepResult]:
        """Do every step that is not done; failures are recorded and do not stop the rest.

        Raises:
            ProfilerError: the folder cannot be written, or the images cannot be read.
            KeyboardInterrupt: passed on after the summary of what is there has been written.
        """
        check_output_folder(self.folder)
        started = time.monotonic()
        total = len(self.matrix.steps)
        try:
            self._input = self._inputs()
            run = next((s.run for s in self.matrix.steps if s.run is not None), None)
            if run is not None:  # outputs can be compared only where data, weights and seed are the same
                data = self._input.stem if self._input else "own-inputs"
                self._data = safe_name(f"{data}-{Path(run.weights).name}-seed{run.seed}")
            for number, step in enumerate(self.matrix.steps, 1):
                label = f"[{number:>{len(str(total))}}/{total}] {step.name}"
                late = self.options.deadline_s is not None and time.monotonic() - started > self.options.deadline_s
                done = self._is_done(step) or self._is_used_up(step)
                if late and step.kind != "accuracy" and not done:
                    outcome = StepResult(step, "not started", error="the time limit (--time-limit) was reached")
                else:
                    outcome = self._one(step, label)
                self.outcomes[step.name] = outcome
                self._save()
        finally:
            self._save()
            summary.write_summary(self.folder, self.document())
        return list(self.outcomes.values())

    def document(self) -> dict[str, Any]:
        """study.json."""
        return {
            "format": FORMAT,
            "written": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "gpu": {k: v for k, v in self.chip.as_dict().items() if k != "memory_used_bytes"} if self.chip else None,
            "nsys": self.nsys.version_text if self.nsys else None,
            "notes": chip_notes(self.chip.sm) if self.chip else [],
            "left_out": [{"what": what, "reason": reason} for what, reason in self.matrix.left_out],
            "steps": [o.as_dict() for o in self.outcomes.values()],
        }

    def _save(self) -> None:
        write_json(self.folder / STUDY_NAME, self.document())

    def _one(self, step: StudyStep, label: str) -> StepResult:
        missing = [n for n in step.needs if n in self.outcomes and self.outcomes[n].status not in ("done", "kept")]
        if missing and step.kind != "accuracy":
            self.say(f"{label}: blocked: {missing[0]} is missing")
            return StepResult(step, "blocked", error=f"needs {missing[0]}, which is {self.outcomes[missing[0]].status}")
        if step.kind != "accuracy" and not self.options.redo and self._is_done(step):
            self.say(f"{label}: done before")
            return StepResult(step, "kept")
        if not self.options.redo and self._is_used_up(step):
            self.say(f"{label}: not needed, its runs are done")
            return StepResult(step, "kept")
        began = time.monotonic()
        try:
            check_free_space(self.folder, STEP_FREE_BYTES)
            self.say(f"{label} …")
            result = self._do(step, lambda what: self.say(f"{label}: {what}"))
        except ProfilerError as error:
            seconds, hint = time.monotonic() - began, f"  ({error.hint})" if error.hint else ""
            self.say(f"{label}: failed after {seconds:.0f} s: {error.message}{hint}")
            return StepResult(step, "failed", seconds, error.message, error.hint)
        seconds = time.monotonic() - began
        self.say(f"{label}: done in {seconds:.0f} s{f': {result}' if result else ''}")
        return StepResult(step, "done", seconds)

    def _do(self, step: StudyStep, progress: Say) -> str:
        target = self.folder / step.path
        if step.kind == "accuracy":
            return self._accuracy(step)
        if step.kind == "export" and step.engine:
            export_onnx(step.engine, target, self.options.torch_python)
        elif step.kind == "build" and step.engine:
            onnx = self.folder / "engines" / step.engine.onnx_name
            seconds = build_engine(step.engine, onnx, target, self.options.trt_python, progress).get("build_seconds")
            self._mark(step)
            built = f", built in {seconds:.0f} s" if isinstance(seconds, (int, float)) else ""
            return f"{target.stat().st_size / 2**20:.1f} MiB{built}"
        elif step.run is not None:
            return self._measure(step, target, progress)
        self._mark(step)
        return ""

    def _measure(self, step: StudyStep, target: Path, progress: Say) -> str:
        if step.run is None:
            return ""
        spec = replace(step.run, inputs=self._input, plan=self.folder / step.run.plan if step.run.plan else None)
        outputs = self._outputs(step)
        make_parent(outputs)
        key = {"parameters_sha256": self._hash(step)}
        if step.kind == "bench" or self.nsys is None:
            make_parent(target)
            raw = target.with_name(f".{target.name}.result")
            document = {**bench_document(spec, run_bench(spec, raw, outputs)), **key}
            write_json(target, document)
            raw.unlink(missing_ok=True)
        else:
            document = record_run(
                spec, target, self.nsys, self.options.recording, force=True, save_outputs=outputs, extra=key, progress=progress
            )  # fmt: skip
        return summary.one_line(document)

    def _outputs(self, step: StudyStep) -> Path:
        return self.folder / "outputs" / self._data / f"{step.name}.npy"

    def _hash(self, step: StudyStep) -> str:
        """What must be equal for a step to count as done."""
        parts: list[Any] = [step.kind]
        if step.engine is not None:
            parts.append(step.engine.export_parameters() if step.kind == "export" else step.engine.build_parameters())
        if step.run is not None:
            parts += [
                step.run.parameters(),
                self._input.name if self._input else None,
                str(self.options.images and self.options.images.name),
            ]
            if step.kind == "run":
                parts += [self.options.recording.cuda_graph_trace, self.options.recording.metrics_hz]
            engines = [self._by_name[n].engine for n in step.needs if n in self._by_name]
            parts += [engine.build_parameters() for engine in engines if engine is not None]
        return fingerprint(parts)

    def _marker(self, name: str) -> Path:
        return self.folder / "engines" / f"{name}.step.json"

    def _mark(self, step: StudyStep) -> None:
        write_json(self._marker(step.name), {"parameters_sha256": self._hash(step), "complete": True})

    def _is_done(self, step: StudyStep) -> bool:
        target, wanted = self.folder / step.path, self._hash(step)
        if step.kind in ("export", "build"):
            return target.is_file() and recorded_parameters(self._marker(step.name)) == wanted
        whole = is_complete(target, wanted) if step.kind == "run" else recorded_parameters(target) == wanted
        return whole and self._outputs(step).is_file()

    def _is_used_up(self, step: StudyStep) -> bool:
        """Whether everything that uses the result of this export or build is done, so that it need not be made (again).

        False when nothing in the matrix uses it: then it is wanted itself.
        """
        if step.kind not in ("export", "build"):
            return False
        users = [s for s in self.matrix.steps if step.name in s.needs and s.kind != "accuracy"]
        return bool(users) and all(self._is_done(s) or self._is_used_up(s) for s in users)

    def _inputs(self) -> Path | None:
        """One set of images for every run, so that their outputs can be compared: given, from the folder, or random."""
        runs = [s.run for s in self.matrix.steps if s.run is not None]
        if not runs:
            return None
        if self.options.images is not None:
            paths, self._labels = images.image_folder(self.options.images, self.options.images_limit)
            self._names = [path.relative_to(self.options.images).as_posix() for path in paths]
            target = self.folder / "engines" / f"images-{len(paths)}.npy"
            if not target.is_file():
                self.say(f"reading {len(paths):,} images from {self.options.images.name}")
                make_parent(target)
                with atomic_file(target) as partial:
                    images.write_inputs(paths, partial)
            return target
        if runs[0].inputs is not None:
            return runs[0].inputs
        if any(":" in r.model for r in runs):
            return None  # such a model brings its own input
        shape, seed = runs[0].input_shape, runs[0].seed
        target = self.folder / "engines" / f"random-{RANDOM_IMAGES}x{'x'.join(map(str, shape))}-seed{seed}.npy"
        if not target.is_file():
            values = np.random.default_rng(seed).standard_normal((RANDOM_IMAGES, *shape), dtype=np.float32)
            make_parent(target)
            write_array(target, values)
        return target

    def _reference(self, runs: list[StudyStep]) -> Path | None:
        """The outputs of PyTorch FP32 eager in any batch size, from this study or an earlier one in the same folder."""
        run = next((s.run for s in runs if s.run is not None), None)
        if run is None:
            return None
        like = RunSpec(*REFERENCE, batch=1, model=run.model).name.removesuffix("1")
        return next(iter(sorted((self.folder / "outputs" / self._data).glob(f"{like}*.npy"))), None)

    def _against_labels(self, expected: accuracy.Logits | None, outputs: accuracy.Logits) -> dict[str, Any]:
        """Accuracy, class by class too, and where PyTorch FP32 answers differently."""
        assert self._labels is not None and self.options.images is not None
        found = accuracy.accuracy(outputs, self._labels).as_dict()
        names = images.class_names(self.options.images)
        found["data"] = self.options.images.name
        found["classes"] = accuracy.classes(outputs, self._labels, names)
        if expected is not None:
            found["against_fp32"] = accuracy.compare_answers(expected, outputs, self._labels, names, self._names)
        return found

    def _accuracy(self, step: StudyStep) -> str:
        """Agreement of every run with PyTorch FP32, and accuracy where there are labels; written into the manifests."""
        known = [self._by_name[n] for n in step.needs if n in self._by_name]
        runs = [s for s in known if self._outputs(s).is_file()]
        reference = self._reference(runs)
        compared = 0
        expected = accuracy.load_outputs(reference) if reference else None
        for run in runs:
            file = self.folder / run.path / "manifest.json" if run.kind == "run" else self.folder / run.path
            document = read_document(file)
            if document is None:
                continue
            outputs = accuracy.load_outputs(self._outputs(run))
            found: dict[str, Any] = {"inputs": "images" if self._labels is not None else "given or random inputs"}
            try:
                found["agreement"] = accuracy.agreement(expected, outputs).as_dict() if expected is not None else None
                if expected is None:
                    found["reason_missing"] = "PyTorch FP32 eager was not run, so there is nothing to compare with"
                found["accuracy"] = self._against_labels(expected, outputs) if self._labels is not None else None
            except ProfilerError as error:
                found["reason_missing"] = error.message
                self.say(f"{run.name}: {error.message}")
            document["accuracy"] = found
            write_json(file, document)
            compared += 1
        return plural(compared, "run") + ("" if reference else ", without PyTorch FP32 eager to compare with")
