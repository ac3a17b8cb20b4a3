"""The manifest of a run: what nsys does not record about what ran (model, batch, precision, weights, options).

It lies beside the trace: ``manifest.json`` in the run's folder (its ``trace`` names the file), or
``NAME.manifest.json`` beside ``NAME.sqlite``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.errors import TraceError
from profiler.trace.streams import read_regular

FORMAT = "profiler-run/1"
_MAX_BYTES = 4 << 20
ACTIVATIONS = {"quickgelu": "QuickGELU"}
"""What a model's ReLUs can be replaced by, with the name that people read."""


@dataclass(frozen=True)
class Manifest:
    """What ran. Every field but ``trace`` may be None: then it is not known."""

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
    default: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """The document as it was read."""

    @property
    def activation(self) -> str | None:
        """What replaces the model's ReLUs; None when nothing does."""
        return activation_of(self.extra)

    @property
    def latency_ms(self) -> dict[str, float]:
        """Latency without a profiler, ms, by quantile ("p50", "p99", "mean", …); empty where the document holds none."""
        bench = self.extra.get("bench")
        found = bench.get("latency_ms") if isinstance(bench, dict) else None
        items = found.items() if isinstance(found, dict) else ()
        return {
            k: float(v) for k, v in items if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1e12
        }

    @property
    def model_label(self) -> str | None:
        """The model as people read it: "resnet50", or "resnet50, QuickGELU" when its ReLUs are replaced."""
        return model_label(self.model, self.extra)


def activation_of(document: Mapping[str, Any]) -> str | None:
    """What replaces the model's ReLUs, from the manifest or bench document of a run; None when nothing does."""
    parameters = document.get("parameters")
    found = parameters.get("activation") if isinstance(parameters, dict) else None
    return found if isinstance(found, str) else None


def model_label(model: str | None, document: Mapping[str, Any]) -> str | None:
    """A model with another activation is another model: its runs are not to be held against those of the first unsaid."""
    activation = activation_of(document)
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
    if not isinstance(name, str) or Path(name).name != name:
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
            f"{label}: its format is {str(found)[:60]!r}, and {FORMAT!r} was expected.",
            "Correct or remove the file.",
        )
    texts: dict[str, str | None] = {}
    for name in (
        "trace",
        "title",
        "framework",
        "framework_version",
        "model",
        "weights",
        "precision",
        "mode",
        "gpu",
        "recorded",
        "source",
        "default",
    ):
        value = document.get(name)
        if value is not None and not isinstance(value, str):
            raise TraceError(f"{label}: {name} is {str(value)[:60]!r}, and text was expected.")
        texts[name] = value
    trace = texts.pop("trace")
    if not trace or Path(trace).name != trace:
        raise TraceError(f"{label}: trace is {trace!r}, and the name of a file in the same folder was expected.")
    batch, shape = document.get("batch"), document.get("input_shape")
    if batch is not None and not (isinstance(batch, int) and batch > 0):
        raise TraceError(f"{label}: batch is {str(batch)[:60]!r}, and a positive whole number was expected.")
    if shape is not None and not (isinstance(shape, list) and all(isinstance(d, int) and d > 0 for d in shape)):
        raise TraceError(
            f"{label}: input_shape is {str(shape)[:60]!r}, and a list of positive whole numbers was expected."
        )
    return Manifest(trace=trace, batch=batch, input_shape=tuple(shape) if shape else None, extra=document, **texts)
