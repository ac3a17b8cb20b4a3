"""TensorRT layer descriptions: from an engine inspector's JSON, or from the payloads that TensorRT leaves in a trace.

Read here: the inspector's output of TensorRT 8.5, 10 and 11 (``Layers`` with ``Bindings`` or ``I/O Tensors``), what
trtexec writes with ``--exportLayerInfo`` and ``--exportProfile``, and files that hold names only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from profiler.errors import TraceError
from profiler.trace.regular import read_regular

_MAX_FILE_BYTES = 1 << 30
_TYPES = (
    (re.compile(r"\b(FP32|Float32|Float)\b", re.I), "fp32", 4.0),
    (re.compile(r"\b(BF16|BFloat16)\b", re.I), "bf16", 2.0),
    (re.compile(r"\b(FP16|Float16|Half)\b", re.I), "fp16", 2.0),
    (re.compile(r"\b(FP8\w*|Float8\w*)\b", re.I), "fp8", 1.0),
    (re.compile(r"\b(FP4\w*|Float4\w*)\b", re.I), "fp4", 0.5),
    (re.compile(r"\b(Int8)\b", re.I), "int8", 1.0),
    (re.compile(r"\b(UInt8)\b", re.I), "uint8", 1.0),
    (re.compile(r"\b(Int4)\b", re.I), "int4", 0.5),
    (re.compile(r"\b(Int32)\b", re.I), "int32", 4.0),
    (re.compile(r"\b(Int64)\b", re.I), "int64", 8.0),
    (re.compile(r"\b(Bool)\b", re.I), "bool", 1.0),
)


@dataclass(frozen=True)
class Tensor:
    """A tensor that a layer reads or writes. ``dims`` and ``dtype`` are None where the file does not say."""

    name: str
    dims: tuple[int, ...] | None
    dtype: str | None
    format: str | None

    @property
    def bytes(self) -> int | None:
        """Elements × element size; padding of vectorised layouts is not counted, so this is a minimum."""
        size = element_bytes(self.dtype)
        if self.dims is None or size is None or any(d < 0 for d in self.dims):
            return None
        return int(prod(self.dims) * size)


@dataclass(frozen=True)
class EngineLayer:
    """One layer as TensorRT describes it; ``raw`` is the whole description."""

    name: str
    kind: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weight_bytes: int | None
    """Weights and bias; 0 for a layer that has none, None where the file does not say."""
    tactic: str | None
    tactic_value: str | None
    origin: str | None
    metadata: str | None
    raw: dict[str, Any]

    @property
    def precision(self) -> str | None:
        """The type of the main input, of the weights for a layer that converts on the way."""
        return self.inputs[0].dtype if self.inputs else None

    @property
    def min_bytes(self) -> int | None:
        """Bytes that the layer must read and write at least: inputs, weights and outputs once each."""
        sizes = [t.bytes for t in (*self.inputs, *self.outputs)]
        if not sizes or any(s is None for s in sizes) or self.weight_bytes is None:
            return None
        return sum(s for s in sizes if s is not None) + self.weight_bytes


def element_bytes(dtype: str | None) -> float | None:
    """Size of one element of a type named as in :class:`Tensor`."""
    return next((size for _, name, size in _TYPES if name == dtype), None)


def data_type(text: str | None) -> str | None:
    """The element type in a description such as "Channel major FP16 format where channel % 8 == 0"."""
    return next((name for pattern, name, _ in _TYPES if text and pattern.search(text)), None)


def parse_layer(document: Any) -> EngineLayer | None:
    """A layer from its JSON object, or from a bare name; None for anything else."""
    if isinstance(document, str):
        return EngineLayer(document, None, (), (), None, None, None, None, None, {})
    if not isinstance(document, dict):
        return None
    name = document.get("Name", document.get("name"))
    if not isinstance(name, str):
        return None
    inputs, outputs = _tensors(document.get("Inputs")), _tensors(document.get("Outputs"))
    return EngineLayer(
        name=name,
        kind=_text(document.get("LayerType")),
        inputs=inputs,
        outputs=outputs,
        weight_bytes=_weight_bytes(document) if "LayerType" in document else None,
        tactic=_text(document.get("TacticName")),
        tactic_value=_text(document.get("TacticValue")),
        origin=_text(document.get("Origin")),
        metadata=_text(document.get("Metadata")),
        raw=document,
    )


def parse_layer_text(text: str) -> EngineLayer | None:
    """A layer from an NVTX payload; None when it is not a layer's JSON."""
    try:
        return parse_layer(json.loads(text))
    except (ValueError, RecursionError):
        return None


def read_engine_file(path: Path) -> tuple[EngineLayer, ...]:
    """The layers of an engine description, in order of execution.

    Raises:
        TraceError: not readable, not JSON, or without layers; the message says what was found.
    """
    try:
        document = json.loads(read_regular(path, "an engine description", _MAX_FILE_BYTES).decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: not a readable engine description ({error}).", _EXPECTED) from error
    layers = document.get("Layers") if isinstance(document, dict) else document
    found = [parse_layer(entry) for entry in layers] if isinstance(layers, list) else []
    kept = tuple(layer for layer in found if layer is not None)
    if not kept:
        raise TraceError(f"{path}: holds no layers.", _EXPECTED)
    return kept


_EXPECTED = "Expected the JSON of TensorRT's engine inspector, or of trtexec --exportLayerInfo or --exportProfile."


def _tensors(entries: Any) -> tuple[Tensor, ...]:
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        layout = " ".join(str(entry[k]) for k in ("Format/Datatype", "Format", "Datatype", "DataType") if k in entry)
        found.append(
            Tensor(str(entry.get("Name", "")), _shape(entry.get("Dimensions")), data_type(layout), layout or None)
        )
    return tuple(found)


def _shape(dims: Any) -> tuple[int, ...] | None:
    if isinstance(dims, list) and all(isinstance(d, int) for d in dims):
        return tuple(dims)
    return None


def _weight_bytes(document: dict[str, Any]) -> int:
    total = 0.0
    for key, value in document.items():
        if key.endswith(("Weights", "Bias")) and isinstance(value, dict) and isinstance(value.get("Count"), int):
            total += value["Count"] * (element_bytes(data_type(str(value.get("Type")))) or 0.0)
    return int(total)


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
