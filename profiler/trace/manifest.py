"""The manifest of a run: what nsys does not record about what ran (model, batch, precision, weights, options).

It lies beside the trace: ``manifest.json`` in the run's folder (its ``trace`` names the file), or
``NAME.manifest.json`` beside ``NAME.sqlite``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from profiler.errors import TraceError
from profiler.text import printable
from profiler.trace.streams import read_regular

FORMAT = "profiler-run/1"
_MAX_BYTES = 4 << 20
_MAX_TEXT = 2000
_MAX_ITEMS = 1000
_MAX_NAME_BYTES = 255
ACTIVATIONS = {"quickgelu": "QuickGELU"}
"""What a model's ReLUs can be replaced by, with the name that people read."""


@dataclass(frozen=True)
class Latency:
    """Latency of one inference without a profiler, in ms.

    Attributes:
        p50_ms: the median when ``measured``; else the value that the manifest states.
        low_ms, high_ms: smallest and 99th percentile; None when not recorded.
        n: inferences measured.
        measured: by ``profiler bench`` or ``capture``; else stated in words.
        how: how it came to be.
        mean_ms: None when not recorded.
    """

    p50_ms: float
    low_ms: float | None
    high_ms: float | None
    n: int | None
    measured: bool
    how: str
    mean_ms: float | None = None


@dataclass(frozen=True)
class Quality:
    """How well a run computes: accuracy against labels, or agreement with a reference; never one for the other.

    Attributes:
        kind: "accuracy" or "agreement".
        top1_pct: top-1 accuracy, or rows whose largest output is the reference's.
        images: on how many.
        sqnr_db: signal to quantisation noise ratio against the reference; None for accuracy, and where it was infinite.
        note: what the figure is, in the words of the document.
        doubt: why it says nothing; None when it does.
    """

    kind: str
    top1_pct: float
    images: int | None
    sqnr_db: float | None
    note: str | None
    doubt: str | None


@dataclass(frozen=True)
class Manifest:
    """What ran. Every field but ``trace`` may be None: then it is not known. Texts are printable and of bounded length."""

    trace: str
    title: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    model: str | None = None
    weights: str | None = None
    precision: str | None = None
    mode: str | None = None
    batch: int | None = None
    input_shape: tuple[int, ...] | None = None
    gpu: str | None = None
    recorded: str | None = None
    source: str | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that ran, by name."""
    warnings: tuple[str, ...] = ()
    activation: str | None = None
    """What replaces the model's ReLUs; None when nothing does."""
    onnx_sha256: str | None = None
    """Of the model that the engine was built from."""
    latency: Latency | None = None
    quality: Quality | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """The document as it was read."""

    @property
    def model_label(self) -> str | None:
        """The model as people read it: "resnet50", or "resnet50, QuickGELU" when its ReLUs are replaced."""
        return _labelled(self.model, self.activation)


class JsonPart:
    """A part of a JSON document from elsewhere: what is missing or of another kind than asked for is None, and never an error."""

    def __init__(self, value: Any) -> None:
        self._values: Mapping[str, Any] = value if isinstance(value, Mapping) else {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def part(self, name: str) -> JsonPart:
        return JsonPart(self._values.get(name))

    def text(self, name: str, limit: int = _MAX_TEXT) -> str | None:
        return _clean(self._values.get(name), limit)

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts in a list."""
        value = self._values.get(name)
        found = (_clean(v, _MAX_TEXT) for v in value[:_MAX_ITEMS]) if isinstance(value, list) else ()
        return tuple(v for v in found if v is not None)

    def parts(self, name: str) -> list[JsonPart]:
        """The objects in a list."""
        value = self._values.get(name)
        return [JsonPart(v) for v in value[:_MAX_ITEMS] if isinstance(v, Mapping)] if isinstance(value, list) else []

    def numbers(self, name: str) -> list[float]:
        """A short list of finite numbers; empty if it holds anything else."""
        value = self._values.get(name)
        given = value if isinstance(value, list) and len(value) <= _MAX_ITEMS else []
        found = [JsonPart({"": v}).number("") for v in given]
        return [] if None in found else [v for v in found if v is not None]

    def named_texts(self, name: str) -> dict[str, str]:
        """The texts in an object, by their names."""
        values = self.part(name)._values
        found = {_clean(k, 100): _clean(v, 100) for k, v in list(values.items())[:_MAX_ITEMS]}
        return {k: v for k, v in found.items() if k is not None and v is not None}

    def number(self, name: str, above: float = -math.inf) -> float | None:
        """A finite number above a bound; JSON may also hold NaN, Infinity, and integers that no float holds."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        try:
            found = float(value)
        except OverflowError:
            return None
        return found if math.isfinite(found) and found > above else None

    def whole(self, name: str, minimum: int = 1) -> int | None:
        """A whole number that fits into 32 bits."""
        value = self._values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and minimum <= value < 1 << 31 else None


def _clean(value: Any, limit: int) -> str | None:
    """Printable text of bounded length; control characters and halves of surrogate pairs as ``\\uXXXX``."""
    return printable(value, limit) if isinstance(value, str) and value else None


def _latency(document: JsonPart) -> Latency | None:
    """Measured, else stated, else None."""
    found = document.part("bench").part("latency_ms")
    median = found.number("p50", above=0.0)
    if median is not None:
        low, high = (found.number(k, above=0.0) for k in ("min", "p99"))
        how = "CUDA events around each inference, no profiler attached"
        return Latency(median, low, high, found.whole("n"), True, how, found.number("mean", above=0.0))
    stated = document.part("latency_without_profiler")
    value = stated.number("value_ms", above=0.0)
    return None if value is None else Latency(value, None, None, None, False, stated.text("how") or "no word on how")


def _quality(document: JsonPart) -> Quality | None:
    """Accuracy where it was measured, else agreement, else None."""
    for kind, top1 in (("accuracy", "top1_pct"), ("agreement", "top1_agreement_pct")):
        found = document.part("accuracy").part(kind)
        share = found.number(top1)
        if share is not None and 0.0 <= share <= 100.0:
            sqnr = found.number("sqnr_db") if kind == "agreement" else None
            return Quality(kind, share, found.whole("images"), sqnr, found.text("note"), found.text("warning"))
    return None


def model_label(model: str | None, document: Mapping[str, Any]) -> str | None:
    """A model with another activation is another model: its runs are not to be compared with those of the first unsaid."""
    return _labelled(model, JsonPart(document).part("parameters").text("activation"))


def _labelled(model: str | None, activation: str | None) -> str | None:
    return model if model is None or activation is None else f"{model}, {ACTIVATIONS.get(activation, activation)}"


def find_manifest(trace: Path) -> Path | None:
    """The manifest that belongs to a trace file, if there is one."""
    stem = trace.name
    for suffix in (".xz", ".zst", ".gz", ".sqlite", ".nsys-rep", ".qdrep"):
        stem = stem.removesuffix(suffix)
    own = trace.with_name(f"{stem}.manifest.json")
    if own.is_file():
        return own
    shared = trace.with_name("manifest.json")
    if shared.is_file() and read_manifest(shared).trace == trace.name:
        return shared
    return None


def manifest_of(trace: Path) -> Manifest | None:
    """Read the manifest that belongs to a trace file; None without one."""
    path = find_manifest(trace)
    return read_manifest(path) if path else None


def companion(trace: Path, manifest: Manifest | None, key: str) -> Path | None:
    """The file beside a trace that its manifest names under ``key`` ("layers", "build_log"); None without one."""
    name = manifest.extra.get(key) if manifest else None
    if not _is_file_name(name):
        return None
    path = trace.with_name(name)
    return path if path.is_file() else None


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        TraceError: not readable, not JSON, or a field of the wrong kind; the message names the field.
    """
    try:
        document = json.loads(read_regular(path, "a manifest", _MAX_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise TraceError(
            f"{path}: not a readable manifest ({error}).", "Expected JSON; correct or remove the file."
        ) from error
    return parse_manifest(document, str(path))


def parse_manifest(document: Any, label: str) -> Manifest:
    """Check a manifest document; ``label`` is what errors call it."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise TraceError(
            f"{label}: its format is {str(found)[:60]!r}; expected {FORMAT!r}.",
            "Correct or remove the file.",
        )
    part = JsonPart(document)
    for name in _TEXTS:
        value = document.get(name)
        if value is not None and not isinstance(value, str):
            raise TraceError(f"{label}: {name} is {_shown(value)}; expected text.", _CORRECT)
    trace = document.get("trace")
    if not _is_file_name(trace):
        raise TraceError(
            f"{label}: trace is {_shown(trace)}; expected the name of a file in the same folder.", _CORRECT
        )
    batch, shape = part.whole("batch"), document.get("input_shape")
    if document.get("batch") is not None and batch is None:
        raise TraceError(
            f"{label}: batch is {_shown(document['batch'])}; expected a whole number from 1 to 2³¹ − 1.",
            _CORRECT,
        )
    if shape is not None and not (
        isinstance(shape, list) and len(shape) <= _MAX_DIMS and all(map(_is_dimension, shape))
    ):
        raise TraceError(
            f"{label}: input_shape is {_shown(shape)}; expected a list of at most {_MAX_DIMS} positive whole numbers.",
            _CORRECT,
        )
    return Manifest(
        trace=trace,
        batch=batch,
        input_shape=tuple(shape) if shape else None,
        **{name: part.text(name) for name in (*_TEXTS, "driver_version", "cuda_version")},
        versions=part.named_texts("versions"),
        warnings=part.texts("warnings"),
        activation=part.part("parameters").text("activation"),
        onnx_sha256=part.part("engine").text("onnx_sha256", 64),
        latency=_latency(part),
        quality=_quality(part),
        extra=document,
    )


_TEXTS = (
    "title", "framework", "framework_version", "model", "weights", "precision", "mode", "gpu", "recorded", "source",
)  # fmt: skip
_MAX_DIMS = 16
_CORRECT = "Correct or remove the file."


def _shown(value: Any) -> str:
    """A value in an error message: short, printable, and safe to make (a huge integer has no decimal form)."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"a number of {value.bit_length():,} bits"
    return printable(repr(value)[:200], 60)


def _is_dimension(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _is_file_name(value: Any) -> TypeGuard[str]:
    """Whether a value can be the name of a file beside this one."""
    if not isinstance(value, str) or not value or "\0" in value or value in (".", "..") or Path(value).name != value:
        return False
    try:
        return len(value.encode()) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False
