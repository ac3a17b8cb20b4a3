"""TensorRT layer descriptions: from an engine inspector's JSON, or from the payloads that TensorRT leaves in a trace.

Read here: the inspector's output of TensorRT 8.5 to 11 and of TensorRT-RTX (``Layers`` with ``Bindings`` or with ``I/O Tensors``
and ``Engine Metadata``), what trtexec writes with ``--exportLayerInfo`` and ``--exportProfile``, files that hold names only, and
the text of ``polygraphy inspect model --show layers``. Since 8.6 TensorRT writes raw control characters (U+001E, U+001F) into the
strings of its JSON, which strict parsers refuse.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from profiler.errors import TraceError
from profiler.trace.streams import read_regular

MAX_DESCRIPTION_CHARACTERS = 48 << 20
"""Of one file, and of all payloads of a trace: JSON takes up to 30 times its size once it is read."""
_MOST = (1 << 63) - 1
_ONNX_LAYER = "[ONNX Layer: "
_SEPARATORS = "\x1e\x1f \t\r\n,;"  # between the entries of Metadata; U+001E and U+001F from TensorRT itself
_PROFILE = re.compile(r" \[profile (\d{1,4})\]$")
_POLYGRAPHY_PROFILE = re.compile(r"^\s*- Profile: (\d{1,4})\s*$")
_POLYGRAPHY_LAYER = re.compile(r"^\s*Layer \d+ *\| (\S.*)$")
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
        elements = prod(self.dims)
        return int(elements * size) if elements <= _MOST else None


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
    def profile(self) -> int:
        """The optimization profile that the layer belongs to; TensorRT marks those after the first in the layer's name."""
        found = _PROFILE.search(self.name[-20:])
        return int(found[1]) if found else 0

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


def onnx_layers(metadata: str) -> tuple[str, ...]:
    """The ONNX nodes that a layer was made from, each once, in the order of its ``Metadata``; empty where it names none.

    TensorRT writes ``[ONNX Layer: NODE]`` for each, with U+001E or U+001F between them (from 8.6 on).
    """
    _, *parts = metadata.split(_ONNX_LAYER)
    names = (part.rstrip(_SEPARATORS).removesuffix("]") for part in parts)
    return tuple(dict.fromkeys(name for name in names if name))


def element_bytes(dtype: str | None) -> float | None:
    """Size of one element of a type named as in :class:`Tensor`."""
    return next((size for _, name, size in _TYPES if name == dtype), None)


def data_type(text: str | None) -> str | None:
    """The element type in a description such as "Channel major FP16 format where channel % 8 == 0"."""
    return next((name for pattern, name, _ in _TYPES if text and pattern.search(text)), None)


def parse_layer(document: Any) -> EngineLayer | None:
    """A layer from its JSON object, or from a bare name; None for anything else."""
    if isinstance(document, str):
        return named_layer(document)
    if not isinstance(document, dict):
        return None
    name = document.get("Name", document.get("name"))
    if not isinstance(name, str):
        return None
    return EngineLayer(
        name=name,
        kind=_text(document.get("LayerType")),
        inputs=_tensors(document.get("Inputs")),
        outputs=_tensors(document.get("Outputs")),
        weight_bytes=_weight_bytes(document) if "LayerType" in document else None,
        tactic=_text(document.get("TacticName")),
        tactic_value=_text(document.get("TacticValue")),
        origin=_text(document.get("Origin")),
        metadata=_text(document.get("Metadata")),
        raw=document,
    )


def named_layer(name: str, kind: str | None = None) -> EngineLayer:
    """A layer of which no more is known than its name and perhaps its type."""
    return EngineLayer(name, kind, (), (), None, None, None, None, None, {})


def parse_payloads(payloads: Mapping[int, str]) -> dict[int, EngineLayer]:
    """The layers among the NVTX payloads of a trace, by the payload's id.

    Raises:
        TraceError: together they are longer than :data:`MAX_DESCRIPTION_CHARACTERS`.
    """
    total = sum(map(len, payloads.values()))
    if total > MAX_DESCRIPTION_CHARACTERS:
        raise TraceError(
            f"The trace's NVTX payloads hold {total:,} characters; layer descriptions are read up to "
            f"{MAX_DESCRIPTION_CHARACTERS:,}.",
            "Make an excerpt of a few inferences, or record without layer descriptions (profiling verbosity LAYER_NAMES_ONLY).",
        )
    found = {}
    for key, text in payloads.items():
        layer = _parse_payload(text)
        if layer is not None:
            found[key] = layer
    return found


def _parse_payload(text: str) -> EngineLayer | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        return parse_layer(_parse_json(text))
    except (ValueError, RecursionError):
        return None


def read_engine_json(path: Path) -> Any:
    """A JSON document of TensorRT's, whose strings may hold raw control characters.

    Raises:
        TraceError: not readable, larger than :data:`MAX_DESCRIPTION_CHARACTERS` bytes, or not JSON.
    """
    return _document(path, _read_text(path))


def read_engine_file(path: Path) -> tuple[EngineLayer, ...]:
    """The layers of an engine description, in order of execution; of the first optimization profile where there are several.

    Raises:
        TraceError: not readable, too large, neither JSON nor Polygraphy's text, or without layers; the message says what was found.
    """
    text = _read_text(path)
    found = tuple(_polygraphy_layers(text.splitlines())) if "Layer 0" in text[: 1 << 20] else ()
    if not found:
        document = _document(path, text)
        layers = document.get("Layers") if isinstance(document, dict) else document
        parsed = map(parse_layer, layers) if isinstance(layers, list) else ()
        found = tuple(layer for layer in parsed if layer is not None)
    if not found:
        raise TraceError(f"{path}: holds no layers.", _EXPECTED)
    first = min(layer.profile for layer in found)
    return tuple(layer for layer in found if layer.profile == first)


_EXPECTED = (
    "Expected the JSON of TensorRT's engine inspector or of trtexec --exportLayerInfo or --exportProfile, or the text of "
    "polygraphy inspect model --show layers."
)


def _read_text(path: Path) -> str:
    content = read_regular(path, "an engine description", MAX_DESCRIPTION_CHARACTERS)
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what PowerShell's > writes
    return content.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def _document(path: Path, text: str) -> Any:
    try:
        return _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: not readable as JSON ({str(error)[:200]}).", _EXPECTED) from error


def _parse_json(text: str) -> Any:
    return json.loads(text, strict=False)


def _polygraphy_layers(lines: Iterable[str]) -> Iterable[EngineLayer]:
    """``Layer 3 | NAME [Op: TYPE]``, under ``- Profile: 0`` where there are several profiles."""
    profile = 0
    for line in lines:
        heading = _POLYGRAPHY_PROFILE.match(line)
        if heading:
            profile = int(heading[1])
        found = _POLYGRAPHY_LAYER.match(line) if profile == 0 else None
        if found:
            name, _, rest = found[1].partition(" [Op: ")
            kind = rest.partition("]")[0]
            yield named_layer(name.rstrip(), kind if kind not in ("", "Unknown") else None)


def _tensors(entries: Any) -> tuple[Tensor, ...]:
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        stated = [str(entry[k]) for k in ("Datatype", "DataType", "Format/Datatype", "Format") if k in entry]
        dtype = next((kind for kind in map(data_type, stated) if kind), None)
        layout = " ".join(reversed(stated)) or None
        found.append(Tensor(str(entry.get("Name", "")), _shape(entry.get("Dimensions")), dtype, layout))
    return tuple(found)


def _shape(dims: Any) -> tuple[int, ...] | None:
    if isinstance(dims, list) and all(type(d) is int and abs(d) <= _MOST for d in dims):
        return tuple(dims)
    return None


def _weight_bytes(document: dict[str, Any]) -> int | None:
    """Weights and bias: with a type and a count each up to TensorRT 10, as tensors under ``Constants`` in Myelin's layers."""
    constants = [tensor.bytes for tensor in _tensors(document.get("Constants"))]
    total = 0.0
    for size in constants:
        if size is None:
            return None
        total += size
    for key, value in document.items():
        if key.endswith(("Weights", "Bias")) and isinstance(value, dict) and type(value.get("Count")) is int:
            if not 0 <= value["Count"] <= _MOST:
                return None
            total += value["Count"] * (element_bytes(data_type(str(value.get("Type")))) or 0.0)
    return int(total)


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
