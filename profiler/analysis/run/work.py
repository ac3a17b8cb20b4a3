"""GPU work of the inferences as one table: kernels, memory copies and memory sets, with what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from profiler.analysis.run.inferences import Inferences, work_order
from profiler.analysis.run.kernels import classifications
from profiler.trace import Trace

COLUMNS = [
    "kind", "source_row", "start_ns", "end_ns", "duration_ns", "inference", "nvtx", "api_call", "name", "category", "precision",
    "tensor_cores", "rule",
]  # fmt: skip

_TIMES = ("start_ns", "end_ns", "duration_ns", "nvtx", "api_call")


def gpu_work(trace: Trace, inferences: Inferences) -> pd.DataFrame:
    """Everything that ran on the GPU for an inference, by inference and start.

    Columns: ``kind`` ("kernel", "memcpy", "memset"), ``source_row`` (row in the trace's frame of that kind), ``start_ns``,
    ``end_ns``, ``duration_ns``, ``inference``, ``nvtx``, ``api_call``, ``name``, and for kernels ``category``, ``precision``,
    ``tensor_cores``, ``rule``; these and ``kind`` are categorical.
    """
    classes, events = classifications(trace), trace.events
    names = [*classes["name"], *events.memcpys["kind"].texts, "memory set"]
    sources = (
        ("kernel", events.kernels, inferences.of_kernel, 0),
        ("memcpy", events.memcpys, inferences.of_memcpy, len(classes)),
        ("memset", events.memsets, inferences.of_memset, len(names) - 1),
    )
    parts: dict[str, list[np.ndarray]] = {c: [] for c in (*_TIMES, "kind", "source_row", "inference", "name")}
    for code, (kind, source, of, first) in enumerate(sources):
        rows = np.flatnonzero(of >= 0)
        own = {"kernel": "name", "memcpy": "kind"}.get(kind)
        labels = source[own].codes[rows].astype(np.int32) if own else np.zeros(len(rows), dtype=np.int32)
        for column in _TIMES:
            parts[column].append(source[column][rows])
        parts["kind"].append(np.full(len(rows), code, dtype=np.int8))
        parts["source_row"].append(rows.astype(np.int32))
        parts["inference"].append(of[rows])
        parts["name"].append(labels + first)
    columns = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    order = work_order(columns["inference"], columns["start_ns"], columns["end_ns"])
    if order is not None:
        columns = {name: values[order] for name, values in columns.items()}
    table: dict[str, object] = dict(columns)
    table["kind"] = pd.Categorical.from_codes(
        columns["kind"], categories=pd.Index([s[0] for s in sources], dtype=object)
    )
    # two names of kernels differ, but a copy's label could be a kernel's name: then they are one name
    table["name"] = _labelled(columns["name"], names)
    others = len(names) - len(classes)
    for column, beside in (("category", "layout"), ("precision", None), ("tensor_cores", None), ("rule", None)):
        table[column] = _labelled(columns["name"], [*classes[column], *([beside] * others)])
    return pd.DataFrame(table, columns=COLUMNS, copy=False)


def _labelled(codes: np.ndarray, labels: list[str | None]) -> pd.Categorical:
    """Categorical of ``labels[code]``; None is missing."""
    known = list(dict.fromkeys(label for label in labels if isinstance(label, str)))
    place = {label: k for k, label in enumerate(known)}
    table = np.asarray([place[label] if isinstance(label, str) else -1 for label in labels], dtype=np.int32)
    return pd.Categorical.from_codes(table[codes], categories=pd.Index(known, dtype=object))
