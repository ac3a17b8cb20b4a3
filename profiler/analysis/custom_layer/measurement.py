"""What ``python -m profiler plugin measure`` found: agreement of the custom layer's kernels with float64, and their bandwidth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from profiler.errors import TraceError
from profiler.plugins.names import COPY, COPY_STREAM, EAGER, KERNEL
from profiler.trace.streams import read_regular

FORMATS = ("profiler-plugin-measure/1", "profiler-plugin-measure/2")
_CHOSEN = {"fp32": "one-vector", "fp16": "one-vector", "int8": "auto"}
"""In documents of the first format, which timed several variants: the one that the library has kept."""
_MAX_BYTES = 4 << 20
_WHAT = "a measurement of the custom layer's kernels"
_BANDWIDTH = {"precision": str, "size_mib": (int, float), "what": str, "ms": (int, float), "gb_per_s": (int, float)}
_AGREEMENT = {"precision": str, "what": str, "variant": str, "unit": str, "within": bool}


@dataclass(frozen=True)
class Measurement:
    """A measurement, as far as it is about the kernels that the library has.

    Attributes:
        agreement: ``precision``, ``inputs``, ``form`` ("kernel" or PyTorch's operators), ``max_error`` (NA: not finite), ``unit``
            ("relative" or "steps"), ``bound`` (NA for PyTorch's operators, which promise none).
        bandwidth: ``precision``, ``size_mib`` (bytes read), ``form``, ``us``, ``gb_per_s`` (bytes read and written), ``pct_of_copy``.
        others: variants that were timed too and are not in the library any more: ``precision``, ``size_mib``, ``form``, ``pct_of_copy``.
        edges: ``precision``, ``cases``, ``wrong``.
    """

    name: str
    gpu: str
    recorded: str | None
    agreement: pd.DataFrame
    bandwidth: pd.DataFrame
    others: pd.DataFrame
    edges: pd.DataFrame


def is_measurement(path: Path) -> bool:
    """Whether a JSON file says that it is such a document."""
    try:
        return json.loads(read_regular(path, _WHAT, _MAX_BYTES)).get("format") in FORMATS
    except (TraceError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def read_measurement(path: Path) -> Measurement:
    """Read and check a measurement.

    Raises:
        TraceError: not readable, or not of the format; the message names what is missing.
    """
    try:
        document = json.loads(read_regular(path, _WHAT, _MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: not a readable measurement ({error}).", "Measure again: plugin measure.") from error
    if not isinstance(document, dict) or document.get("format") not in FORMATS:
        raise TraceError(f"{path}: its format is none of {', '.join(FORMATS)}.", "Expected what plugin measure writes.")
    bandwidth = _rows(path, document, "bandwidth", _BANDWIDTH)
    agreement = _rows(path, document, "agreement", _AGREEMENT)
    first = document["format"] == FORMATS[0]
    kept: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for row in bandwidth:
        form = _form(row["what"], row["precision"], first)
        (others if form is None else kept).append({**row, "form": form or row["what"], "us": row["ms"] * 1e3})
    copies: dict[tuple[str, float], float] = {}
    for row in kept:
        if row["form"] in (COPY, COPY_STREAM):
            key = row["precision"], row["size_mib"]
            copies[key] = min(row["ms"], copies.get(key, row["ms"]))
    for row in (*kept, *others):
        copy = copies.get((row["precision"], row["size_mib"]))
        row["pct_of_copy"] = 100 * copy / row["ms"] if copy and row["ms"] else None
    agreed = []
    for row in agreement:
        form = _form(row["variant"], row["precision"], first, agreement=True)
        if form is not None:
            agreed.append({**row, "form": form, "inputs": row["what"]})
    gpu = document.get("gpu")
    return Measurement(
        name=path.name,
        gpu=str(gpu.get("name") if isinstance(gpu, dict) else "unknown GPU"),
        recorded=document.get("recorded") if isinstance(document.get("recorded"), str) else None,
        agreement=pd.DataFrame(agreed, columns=["precision", "inputs", "form", "max_error", "unit", "bound", "within"]),
        bandwidth=pd.DataFrame(kept, columns=["precision", "size_mib", "form", "us", "gb_per_s", "pct_of_copy"]),
        others=pd.DataFrame(others, columns=["precision", "size_mib", "form", "us", "pct_of_copy"]),
        edges=pd.DataFrame(
            [
                {"precision": e.get("precision"), "cases": e.get("cases"), "wrong": len(e.get("wrong") or [])}
                for e in document.get("edges") or []
                if isinstance(e, dict)
            ],
            columns=["precision", "cases", "wrong"],
        ),
    )


def _form(name: str, precision: str, first: bool, agreement: bool = False) -> str | None:
    """What a row is of; None for a variant that is not in the library."""
    if name in (COPY, COPY_STREAM, KERNEL):
        return name
    if name.startswith("PyTorch's"):
        return EAGER
    # values were compared per variant; "auto" chose between the first two, whose results are the same
    chosen = {**_CHOSEN, "int8": "one-vector"} if agreement else _CHOSEN
    return KERNEL if first and chosen.get(precision) == name else None


def _rows(path: Path, document: dict[str, Any], key: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    rows = document.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TraceError(f"{path}: {key} is no list of objects.", "Expected what plugin measure writes.")
    for row in rows:
        for name, kind in fields.items():
            if not isinstance(row.get(name), kind):
                raise TraceError(
                    f"{path}: a row of {key} has {name} {str(row.get(name))[:60]!r}; expected {_kind(kind)}.",
                    "Expected what plugin measure writes.",
                )
    return rows


def _kind(kind: Any) -> str:
    return "a number" if isinstance(kind, tuple) else {"str": "text", "bool": "true or false"}[kind.__name__]
