"""When the GPU worked for each inference, and the longest times in which it did not: both in one pass over the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from profiler.analysis.statistics import sum_by_code
from profiler.trace.arrays import Int64Array, IntArray, for_each, pieces
from profiler.trace.columns import Table

if TYPE_CHECKING:
    import pandas as pd

MOST_GAPS = 100
_SPANS = ("gpu_start_ns", "gpu_end_ns", "gpu_span_ns", "gpu_busy_ns", "gpu_idle_ns")


@dataclass(frozen=True)
class GpuSpans:
    """What :func:`gpu_spans` finds.

    Attributes:
        spans: a row an inference with GPU work (its number is the index): ``gpu_start_ns``, ``gpu_end_ns``, ``gpu_span_ns``,
            ``gpu_busy_ns``, ``gpu_idle_ns``.
        gaps: the longest gaps inside inferences, longest first, at most :data:`MOST_GAPS`.
    """

    spans: pd.DataFrame
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class Gap:
    """A time in which no work of the inference ran, and the work around it: what kind it is of, and its row there."""

    inference: int
    start_ns: int
    duration_ns: int
    after: tuple[str, int]
    before: tuple[str, int]


def gpu_spans(parts: Sequence[Callable[[], Table]]) -> GpuSpans:
    """Spans and gaps of the parts of :meth:`Inferences.work_parts`."""
    import pandas as pd  # noqa: PLC0415 - for frames only

    def of_part(part: Callable[[], Table]) -> tuple[dict[str, Int64Array], list[Gap]]:
        work = part()
        return _spans(work), _gaps(work)

    found = for_each(parts, of_part)
    none = np.empty(0, dtype=np.int64)
    columns = {c: np.concatenate([none, *(spans[c] for spans, _ in found)]) for c in ("inference", *_SPANS)}
    gaps = sorted((gap for _, some in found for gap in some), key=lambda gap: -gap.duration_ns)
    return GpuSpans(pd.DataFrame(columns).set_index("inference"), tuple(gaps[:MOST_GAPS]))


def _spans(work: Table) -> dict[str, Int64Array]:
    inference, starts, reach = (work[c] for c in ("inference", "start_ns", "reach_ns"))
    first = np.flatnonzero(np.diff(inference, prepend=-1))  # the first work of each inference
    final = np.append(first[1:], len(work)) - 1
    # what runs reaches from each opening to the last reach before the next one; the rest of the span is idle
    openings = np.flatnonzero(work["opens"])
    last = np.append(openings[1:], len(work)) - 1
    own = inference[openings] - inference[0]
    busy = sum_by_code(own, reach[last] - starts[openings], int(own[-1]) + 1)
    present = inference[first]
    span = reach[final] - starts[first]
    busy = busy[present - inference[0]]
    found = (present.astype(np.int64), starts[first], reach[final], span, busy, span - busy)
    return dict(zip(("inference", *_SPANS), found, strict=True))


def _gaps(work: Table) -> list[Gap]:
    inference, starts, ends, reach = (work[c] for c in ("inference", "start_ns", "end_ns", "reach_ns"))
    is_first = np.ones(len(work), dtype=bool)
    is_first[1:] = inference[1:] != inference[:-1]
    at = np.flatnonzero(work["opens"] & ~is_first)
    lengths = starts[at] - reach[at - 1]
    if len(at) > MOST_GAPS:
        longest = lengths >= np.partition(lengths, len(lengths) - MOST_GAPS)[len(lengths) - MOST_GAPS]
        at, lengths = at[longest], lengths[longest]
    order = np.argsort(-lengths, kind="stable")[:MOST_GAPS]
    begins = np.flatnonzero(is_first)

    def which(row: int) -> tuple[str, int]:
        return work["source"].at(row), int(work["row"][row])

    found = []
    for row, length in zip(at[order].tolist(), lengths[order].tolist()):
        first = int(begins[np.searchsorted(begins, row, side="right") - 1])
        before = _last_to_end(ends, reach, first, row)
        found.append(Gap(int(inference[row]), int(reach[row - 1]), length, which(before), which(row)))
    return found


def _last_to_end(ends: Int64Array, reach: Int64Array, first: int, gap: int) -> int:
    """The work that ended last before a gap: the latest row of the inference that reached as far as all before it."""
    return first + int(np.flatnonzero(ends[first:gap] == reach[first:gap])[-1])


ReachOfPieces = list[tuple[slice, int, int]]
"""Pieces of a column of inferences with the first and the last that is in each."""


def reach_of_pieces(of: IntArray) -> ReachOfPieces:
    """Where rows of an inference can be: all of a large column would otherwise be looked through for every few of them."""
    none = np.iinfo(of.dtype).max
    found = [(p, int(of[p].min(where=of[p] >= 0, initial=none)), int(of[p].max())) for p in pieces(len(of))]
    return [(piece, low, high) for piece, low, high in found if high >= 0]


def rows_between(of: IntArray, first: int, last: int, within: ReachOfPieces) -> IntArray:
    """The rows of the inferences from ``first`` up to, not including, ``last``; ``within`` is :func:`reach_of_pieces` of the column."""
    found = [
        piece.start + np.flatnonzero((of[piece] >= first) & (of[piece] < last))
        for piece, low, high in within
        if low < last and high >= first
    ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
