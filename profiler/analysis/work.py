"""GPU work of the inferences as one table: kernels, memory copies and memory sets, with what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from profiler.analysis.inferences import Inferences
from profiler.analysis.kernels import classified_names
from profiler.trace import Trace

COLUMNS = [
    "kind", "source_row", "start_ns", "end_ns", "duration_ns", "inference", "nvtx", "api_call", "name", "category", "precision",
    "tensor_cores", "rule",
]  # fmt: skip


def gpu_work(trace: Trace, inferences: Inferences) -> pd.DataFrame:
    """Everything that ran on the GPU for an inference, by inference and start.

    Columns: ``kind`` ("kernel", "memcpy", "memset"), ``source_row`` (row in the trace's frame of that kind), ``start_ns``,
    ``end_ns``, ``duration_ns``, ``inference``, ``nvtx``, ``api_call``, ``name``, and for kernels ``category``, ``precision``,
    ``tensor_cores``, ``rule``.
    """
    parts = []
    for kind, frame, of in (
        ("kernel", trace.kernels, inferences.of_kernel),
        ("memcpy", trace.memcpys, inferences.of_memcpy),
        ("memset", trace.memsets, inferences.of_memset),
    ):
        inside = np.flatnonzero(of >= 0)
        if not len(inside):
            continue
        part = frame.iloc[inside]
        table = part[["start_ns", "end_ns", "duration_ns", "nvtx", "api_call"]].assign(
            kind=kind, source_row=inside, inference=of[inside]
        )
        if kind == "kernel":
            classes = classified_names(trace)
            codes = part["name"].cat.codes.to_numpy()
            for column in ("name", "category", "precision", "tensor_cores", "rule"):
                table[column] = classes[column].to_numpy(dtype=object)[codes]
        else:
            table["name"] = part["kind"].astype(str).to_numpy() if kind == "memcpy" else "memory set"
            table = table.assign(category="layout", precision=None, tensor_cores=None, rule=None)
        parts.append(table[COLUMNS])
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=object if c in ("kind", "name") else np.int64) for c in COLUMNS})
    return pd.concat(parts, ignore_index=True).sort_values(["inference", "start_ns", "end_ns"], ignore_index=True)
