"""What TensorRT says an engine consists of, and the record that a build leaves beside its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from profiler.errors import ProfilerError
from profiler.files import beside

BUILD_FORMAT = "profiler-engine/1"
LAYERS, LOG, RECORD = "layers.json", "build.log.xz", "build.json"
"""What a build leaves beside its plan: PLAN.layers.json, …"""


def engine_information(trt: Any, engine: Any) -> dict[str, Any]:
    """The inspector's document: ``Layers`` and ``Bindings`` (from 11 on ``I/O Tensors``).

    ``engine`` must stay referenced while this runs: 8.5's inspector does not keep it alive.

    Raises:
        ProfilerError: the inspector gave no JSON.
    """
    engine_inspector = engine.create_engine_inspector()
    text = engine_inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        # 8.5 writes nan and inf in weights' statistics now and then, which json reads as numbers; from 8.6 on Metadata holds raw control
        # characters (\\x1e, \\x1f), which JSON does not allow: contract.write_json writes them escaped
        document = json.loads(text, strict=False)
    except (TypeError, ValueError) as error:
        raise ProfilerError(f"TensorRT's engine inspector returned no readable JSON ({error}).") from error
    if not isinstance(document, dict) or not isinstance(document.get("Layers"), list):
        raise ProfilerError("TensorRT's engine inspector returned JSON without a list of layers.")
    return document


def is_detailed(document: dict[str, Any]) -> bool:
    """Whether the layers are described, and not only named (``profiling_verbosity`` DETAILED at build time)."""
    return any(isinstance(layer, dict) for layer in document["Layers"])


def read_build_record(plan: Path) -> dict[str, Any] | None:
    """The record beside a plan; None without one.

    Raises:
        ProfilerError: it is not such a record.
    """
    path = beside(plan, RECORD)
    if not path.is_file():
        return None
    return read_document(path, BUILD_FORMAT)


def read_document(path: Path, expected: str) -> dict[str, Any]:
    """A JSON document with a ``format``.

    Raises:
        ProfilerError: unreadable, not JSON, or of another format.
    """
    try:
        document = json.loads(path.read_text("utf-8"), strict=False)
    except (OSError, ValueError) as error:
        raise ProfilerError(f"{path}: not a readable record ({error}).", "Remove it, or create it again.") from error
    found = document.get("format") if isinstance(document, dict) else type(document).__name__
    if found != expected:
        raise ProfilerError(
            f"{path}: its format is {str(found)[:60]!r}; expected {expected!r}.",
            "Remove it, or create it again.",
        )
    result: dict[str, Any] = document
    return result
