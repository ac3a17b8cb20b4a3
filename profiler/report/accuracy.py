"""What a study measured against labels: accuracy of each run, where it differs from PyTorch FP32, and what each layer's quantisation costs.

Read from the documents of a study's folder, as ``study --images`` and ``python -m profiler.workloads.sensitivity`` write them. They may
come from anywhere: what is not as expected counts as missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from profiler.errors import ProfilerError
from profiler.text import number, plural
from profiler.trace.manifest import JsonPart
from profiler.trace.streams import read_regular

TOLERANCE_POINTS = 0.5
SENSITIVITY, TRAINING = "sensitivity.json", "training.json"
_REFERENCE = ("PyTorch", "fp32", "eager")
_SMALLEST_POINTS = 0.005
_MAX_DOCUMENT_BYTES = 16 << 20


@dataclass(frozen=True)
class Difference:
    """Against PyTorch FP32 on the same images.

    Attributes:
        points: percentage points of top-1, this run minus the reference; ``low`` and ``high``: its 95 % interval (paired images).
        lost, won: images that only the reference, or only this run, answers rightly.
        disagree: images that the two answer differently; ``images``: those of them that the document names.
    """

    points: float
    low: float
    high: float
    lost: int
    won: int
    disagree: int
    images: tuple[tuple[str, str, str, str], ...]

    @property
    def verdict(self) -> str:
        """Whether it is within the tolerance, and whether the images are enough to say so."""
        if self.low >= -TOLERANCE_POINTS:
            return f"within {TOLERANCE_POINTS} points"
        if self.high < -TOLERANCE_POINTS:
            return f"more than {TOLERANCE_POINTS} points lower"
        side = "within" if self.points >= -TOLERANCE_POINTS else "below"
        return f"{side} {TOLERANCE_POINTS} points as measured; too few images to be sure"


@dataclass(frozen=True)
class LabelledRun:
    """A run with labels. Latency is the median without a profiler, memory in MiB; ``classes``: name, images, right answers."""

    name: str
    title: str
    framework: str
    precision: str
    mode: str
    batch: int
    model: str
    gpu: str
    p50_ms: float | None
    images: int
    top1_pct: float
    low_pct: float
    high_pct: float
    sqnr_db: float | None
    agreement_pct: float | None
    difference: Difference | None
    classes: tuple[tuple[str, int, int], ...]
    quantisation: str | None
    weights_mib: float | None
    activations_mib: float | None
    process_mib: float | None

    @property
    def is_reference(self) -> bool:
        return (self.framework, self.precision, self.mode) == _REFERENCE


@dataclass(frozen=True)
class LayerCost:
    """One layer: outputs' SQNR in dB and top-1 agreement with float, quantised alone, and left in float while all others are quantised.

    ``noise_pct``: the noise of quantising it alone, in percent of the noise of quantising all of them; None: unknown.
    """

    layer: str
    operator: str
    alone_db: float | None
    alone_agreement_pct: float | None
    all_but_db: float | None
    all_but_top1_pct: float | None
    noise_pct: float | None


@dataclass(frozen=True)
class Sensitivity:
    """Fake quantisation, layer by layer. ``whole_db``, ``whole_top1_pct``: all layers quantised."""

    images: int
    float_top1_pct: float | None
    whole_db: float | None
    whole_top1_pct: float | None
    layers: tuple[LayerCost, ...]


@dataclass(frozen=True)
class AccuracyStudy:
    """The runs with labels of one folder, by median latency; ``trained``: a sentence on where the weights come from."""

    folder: Path
    runs: tuple[LabelledRun, ...]
    sensitivity: Sensitivity | None
    trained: str | None
    images_folder: Path

    @property
    def reference(self) -> LabelledRun | None:
        return next((run for run in self.runs if run.is_reference), None)

    def at(self, model: str, batch: int) -> tuple[LabelledRun, ...]:
        """The runs of one model and batch."""
        return tuple(run for run in self.runs if (run.model, run.batch) == (model, batch))

    @property
    def document(self) -> dict[str, Any]:
        """As JSON: the sentences, and a row a run."""
        rows = table(self.runs)
        known = rows.astype(object).where(rows.notna(), None)
        return {"sentences": sentences(self), "runs": known.to_dict("records")}

    @property
    def memory(self) -> list[LabelledRun]:
        """The runs whose weights and activations are known, by model and batch; of INT8 engines the one that is quantised as usual."""
        known = [
            r for r in self.runs if "(" not in r.title and r.weights_mib is not None and r.activations_mib is not None
        ]
        return sorted(known, key=lambda r: (r.model, r.batch, -(r.p50_ms or 0)))


def points(value: float) -> str:
    """Percentage points, with their sign."""
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= _SMALLEST_POINTS else "0.00"


def read_study(folder: Path) -> AccuracyStudy | None:
    """The labelled runs of a study's folder; None where there are none."""
    runs = [run for name, document in _documents(folder) if (run := _run(name, document)) is not None]
    if not runs:
        return None
    runs.sort(key=lambda run: (run.p50_ms is None, run.p50_ms or 0.0, run.name))
    return AccuracyStudy(
        folder,
        tuple(runs),
        _sensitivity(_read(folder / SENSITIVITY)),
        _trained(_read(folder / TRAINING)),
        folder / "images",
    )


def labelled_study(folder: Path) -> AccuracyStudy:
    """The same, where the folder must hold some.

    Raises:
        ProfilerError: there are none.
    """
    study = read_study(folder)
    if study is None:
        raise ProfilerError(
            f"{folder}: no run here was given labelled images.",
            "Expected the folder of a study: python -m profiler study -o DIR --images IMAGES …",
        )
    return study


def table(runs: tuple[LabelledRun, ...]) -> pd.DataFrame:
    """A row a run; what is unknown is empty."""
    rows = []
    for run in runs:
        d = None if run.is_reference else run.difference
        rows.append(
            {
                "run": run.title,
                "p50, ms": run.p50_ms,
                "top-1, %": run.top1_pct,
                "95 %, from": run.low_pct,
                "to": run.high_pct,
                "against FP32, points": None if d is None else d.points,
                "95 %, from (points)": None if d is None else d.low,
                "to (points)": None if d is None else d.high,
                "answered differently": None if d is None else d.disagree,
                "SQNR, dB": run.sqnr_db,
                "weights, MiB": run.weights_mib,
                "activations, MiB": run.activations_mib,
                "process, MiB": run.process_mib,
                "quantisation": run.quantisation,
            }
        )
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def layer_table(found: Sensitivity) -> pd.DataFrame:
    """A row a layer, in the model's order."""
    return pd.DataFrame(
        {
            "layer": [c.layer for c in found.layers],
            "operator": [c.operator for c in found.layers],
            "alone: SQNR, dB": [c.alone_db for c in found.layers],
            "alone: top-1 agreement, %": [c.alone_agreement_pct for c in found.layers],
            "all others: SQNR, dB": [c.all_but_db for c in found.layers],
            "all others: top-1, %": [c.all_but_top1_pct for c in found.layers],
        }
    )


APART = "These runs are a study of their own, on labelled images with the weights named here; the two traces may have other weights."


def sentences(study: AccuracyStudy) -> list[str]:
    """What the study says, in words: the reference, INT8, and the fastest run within the tolerance."""
    reference = study.reference
    if reference is None:
        return ["PyTorch FP32 eager was not run on these images, so accuracy cannot be compared with it."]
    said = [
        f"PyTorch FP32 answers {reference.top1_pct:.2f} % of {plural(reference.images, 'test image')} correctly "
        f"(95 % interval {reference.low_pct:.2f} to {reference.high_pct:.2f} %)."
    ]
    peers = [run for run in study.at(reference.model, reference.batch) if run.difference is not None]
    int8 = next((run for run in peers if run.precision == "int8" and "(" not in run.title), None)
    if int8 is not None and int8.difference is not None:
        d = int8.difference
        said.append(
            f"{int8.title}: {int8.top1_pct:.2f} %, a difference of {points(d.points)} points "
            f"(95 % interval {points(d.low)} to {points(d.high)}): {d.verdict}."
        )
    good = [r for r in peers if r.difference and r.difference.low >= -TOLERANCE_POINTS and r.p50_ms is not None]
    if good and reference.p50_ms:
        fastest = min(good, key=lambda run: run.p50_ms or 0.0)
        said.append(
            f"The fastest run that loses at most {TOLERANCE_POINTS} points with 95 % confidence is {fastest.title}: "
            f"{number(fastest.p50_ms, 'ms')}, {number(reference.p50_ms / (fastest.p50_ms or 1.0))}× faster than PyTorch FP32 eager."
        )
    return said


def handed_over(study: AccuracyStudy) -> list[str]:
    """The sentences, with whose figures these are: for a document about two traces."""
    return [*sentences(study), *([study.trained] if study.trained else []), APART]


def _documents(folder: Path) -> Iterator[tuple[str, JsonPart]]:
    for path in sorted(folder.glob("*/manifest.json")):
        yield path.parent.name, _read(path)
    for path in sorted((folder / "bench").glob("*.json")):
        yield path.stem, _read(path)


def _read(path: Path) -> JsonPart:
    try:
        return JsonPart(json.loads(read_regular(path, "a study's document", _MAX_DOCUMENT_BYTES)))
    except (OSError, ProfilerError, ValueError, RecursionError):
        return JsonPart(None)


def _run(name: str, document: JsonPart) -> LabelledRun | None:
    found, bench = document.part("accuracy"), document.part("bench")
    measured, agrees, memory = found.part("accuracy"), found.part("agreement"), bench.part("memory")
    images, top1 = measured.whole("images"), measured.number("top1_pct")
    interval = measured.numbers("top1_interval_pct")
    if images is None or top1 is None or len(interval) != 2:
        return None
    return LabelledRun(
        name=name,
        title=document.text("title") or name,
        framework=document.text("framework") or "unknown",
        precision=document.text("precision") or "unknown",
        mode=document.text("mode") or "unknown",
        batch=document.whole("batch") or 0,
        model=document.text("model") or "unknown",
        gpu=document.text("gpu") or "GPU unknown",
        p50_ms=bench.part("latency_ms").number("p50", above=0.0),
        images=images,
        top1_pct=top1,
        low_pct=interval[0],
        high_pct=interval[1],
        sqnr_db=agrees.number("sqnr_db"),
        agreement_pct=agrees.number("top1_agreement_pct"),
        difference=_difference(measured.part("against_fp32")),
        classes=tuple(
            (c.text("class") or "unnamed", c.whole("images") or 0, c.whole("right", 0) or 0)
            for c in measured.parts("classes")
        ),
        quantisation=_quantisation(document.part("engine").part("onnx_export").part("quantisation")),
        weights_mib=_mib(memory.number("weights_bytes", above=0.0)),
        activations_mib=_mib(memory.number("activations_bytes", above=-1.0)),
        process_mib=_mib(bench.part("telemetry").number("memory_used_bytes_process", above=0.0)),
    )


def _difference(found: JsonPart) -> Difference | None:
    measured, interval = found.number("difference_points"), found.numbers("interval_points")
    lost, won, disagree = (found.whole(key, 0) for key in ("only_reference_right", "only_this_right", "disagree"))
    if measured is None or len(interval) != 2 or lost is None or won is None or disagree is None:
        return None
    named = [[part.text(key) for key in ("image", "label", "reference", "this")] for part in found.parts("images")]
    images = tuple((a, b, c, d) for a, b, c, d in named if a and b and c and d)
    return Difference(measured, interval[0], interval[1], lost, won, disagree, images)


def _quantisation(found: JsonPart) -> str | None:
    calibrator, data = found.text("calibrator"), found.part("data")
    if calibrator is None:
        return None
    images = data.whole("images")
    shown = f", {plural(images, 'image')}" if images else ""
    return f"{found.text('placement') or 'fused'}, {calibrator}{shown}"


def _mib(count: float | None) -> float | None:
    return None if count is None else count / 2**20


def _sensitivity(document: JsonPart) -> Sensitivity | None:
    layers = []
    whole = next(iter(document.parts("models")), JsonPart(None))
    all_db = whole.number("sqnr_db")
    for part in document.parts("layers"):
        alone, rest = part.part("alone"), part.part("all_but")
        own_db = alone.number("sqnr_db")
        layers.append(
            LayerCost(
                part.text("layer") or "unnamed",
                part.text("operator") or "",
                own_db,
                alone.number("top1_agreement_pct"),
                rest.number("sqnr_db"),
                rest.number("top1_pct"),
                None if own_db is None or all_db is None else 100 * 10 ** ((all_db - own_db) / 10),
            )
        )
    images = document.whole("images")
    if not layers or images is None:
        return None
    top1 = document.part("float").number("top1_pct")
    return Sensitivity(images, top1, all_db, whole.number("top1_pct"), tuple(layers))


def _trained(document: JsonPart) -> str | None:
    model, data, epochs = document.text("model"), document.text("data"), document.whole("epochs")
    if model is None or data is None or epochs is None:
        return None
    count = document.part("images")
    used = ", ".join(f"{n:,} {name}" for name in ("train", "calibration", "test") if (n := count.whole(name)))
    return f"{model} trained for {plural(epochs, 'epoch')} on {data} ({used} images, none in two sets)."
