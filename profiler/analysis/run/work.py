"""GPU work of the inferences as one table: kernels, memory copies and memory sets, with what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.run.inferences import Inferences, work_order
from profiler.analysis.run.kernels import classifications
from profiler.trace import Trace
from profiler.trace.arrays import IntArray, difference, gathered
from profiler.trace.columns import Table

COLUMNS = [
    "kind", "source_row", "start_ns", "end_ns", "duration_ns", "inference", "nvtx", "api_call", "name", "category", "precision",
    "tensor_cores", "rule",
]  # fmt: skip


def gpu_work(trace: Trace, inferences: Inferences) -> pd.DataFrame:
    """Everything that ran on the GPU for an inference, by inference and start.

    Columns: ``kind`` ("kernel", "memcpy", "memset"), ``source_row`` (row in the trace's frame of that kind), ``start_ns``,
    ``end_ns``, ``duration_ns``, ``inference``, ``nvtx``, ``api_call``, ``name``, and for kernels ``category``, ``precision``,
    ``tensor_cores``, ``rule``; these and ``kind`` are categorical.
    """
    classes, events = classifications(trace), trace.events
    names = [*classes["name"], *events.memcpys["kind"].texts, "memory set"]
    sources = [
        _Source(events.kernels, np.flatnonzero(inferences.of_kernel >= 0), inferences.of_kernel, "name", 0),
        _Source(events.memcpys, np.flatnonzero(inferences.of_memcpy >= 0), inferences.of_memcpy, "kind", len(classes)),
        _Source(events.memsets, np.flatnonzero(inferences.of_memset >= 0), inferences.of_memset, None, len(names) - 1),
    ]
    order: IntArray | None = None  # of the rows, once it is known

    def joined(part: Callable[[_Source], IntArray]) -> IntArray:
        """One column at a time: tens of millions of rows take memory."""
        parts = [part(source) for source in sources if len(source.rows)] or [part(sources[0])]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return whole if order is None else _ordered(whole, order)

    def column(name: str) -> IntArray:
        return joined(lambda s: s.taken(s.table[name]))

    starts: IntArray = column("start_ns")
    ends: IntArray = starts + column("duration_ns")  # the table would keep its own
    inference: IntArray = joined(lambda s: s.taken(s.of))
    order = work_order(inference, starts, ends)
    if order is not None:
        starts, ends, inference = (_ordered(values, order) for values in (starts, ends, inference))
    codes = joined(_Source.names)
    table: dict[str, object] = {
        "kind": pd.Categorical.from_codes(
            joined(lambda s: np.full(len(s.rows), sources.index(s), dtype=np.int8)),
            categories=pd.Index(["kernel", "memcpy", "memset"], dtype=object),
        ),
        "source_row": joined(lambda s: s.rows.astype(np.int32)),
        "start_ns": starts,
        "end_ns": ends,
        "duration_ns": difference(ends, starts, small=True),
        "inference": inference,
        "nvtx": column("nvtx"),
        "api_call": column("api_call"),
        # two names of kernels differ, but a copy's label could be a kernel's name: then they are one name
        "name": _labelled(codes, names),
    }
    others = len(names) - len(classes)
    for name, beside in (("category", "layout"), ("precision", None), ("tensor_cores", None), ("rule", None)):
        table[name] = _labelled(codes, [*classes[name], *([beside] * others)])
    return pd.DataFrame(table, columns=COLUMNS, copy=False)


def _ordered(values: IntArray, order: IntArray) -> IntArray:
    return gathered(len(order), values.dtype, lambda piece: values[order[piece]])


@dataclass(frozen=True, eq=False)
class _Source:
    """GPU work of one kind: its table, those of the rows that are an inference's, and what names them: a column, or one name for all.

    Attributes:
        of: the inference of each row of the table.
        first: place of the first of its names among the names of all work.
    """

    table: Table
    rows: IntArray
    of: IntArray
    label: str | None
    first: int

    def taken(self, values: IntArray) -> IntArray:
        """The rows' values; where these are all rows, as they are."""
        if len(self.rows) == len(values):
            return values
        return gathered(len(self.rows), values.dtype, lambda piece: values[self.rows[piece]])

    def names(self) -> IntArray:
        """For each of the rows the place of its name among those of all work."""
        own = self.taken(self.table[self.label].codes) if self.label else np.zeros(len(self.rows), dtype=np.int8)
        return own.astype(np.int32) + np.int32(self.first)


def _labelled(codes: np.ndarray, labels: list[str | None]) -> pd.Categorical:
    """Categorical of ``labels[code]``; None is missing."""
    known = list(dict.fromkeys(label for label in labels if isinstance(label, str)))
    place = {label: k for k, label in enumerate(known)}
    kind = np.int8 if len(known) < 128 else np.int32
    table = np.asarray([place[label] if isinstance(label, str) else -1 for label in labels], dtype=kind)
    own = gathered(len(codes), kind, lambda piece: table[codes[piece]])
    return pd.Categorical.from_codes(own, categories=pd.Index(known, dtype=object))
