"""Which CUDA API call launched a piece of GPU work, and in which NVTX range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.trace.arrays import IntArray, are_in_order, distinct, gathered, in_pieces, is_constant, take
from profiler.trace.nvtx import NvtxIndex


def ranges_around(launched: IntArray, calls: Mapping[str, Any], ranges: NvtxIndex) -> npt.NDArray[np.int32]:
    """The row of the innermost range around each of some API calls, given by their rows; -1 where there is none."""
    tids, starts = np.asarray(calls["tid"]), np.asarray(calls["start_ns"])
    if not len(starts) or not len(ranges.parent):
        return np.full(len(launched), -1, dtype=np.int32)

    def of_piece(piece: slice) -> IntArray:
        part = launched[piece]
        safe = np.maximum(part, 0)
        return np.where(part >= 0, ranges.innermost(take(tids, safe), starts[safe]), -1)

    return gathered(len(launched), np.int32, of_piece)


def match_launches(work_pids: IntArray, correlation_ids: IntArray, calls: Mapping[str, Any]) -> npt.NDArray[np.int32]:
    """For each piece of GPU work the row of the API call that launched it, or -1.

    Correlation ids are unique within a process only, so both must agree. Where a file lacks the process of the work
    (or of the calls) and only one process made calls, the correlation id alone decides.
    """
    found = np.full(len(work_pids), -1, dtype=np.int32)
    call_pids, call_ids = np.asarray(calls["pid"]), np.asarray(calls["correlation_id"])
    if not len(work_pids) or not len(call_ids):
        return found
    processes = distinct(call_pids)
    if (_all_are(work_pids, -1) or _all_are(call_pids, -1)) and len(processes) == 1:
        _match(found, None, correlation_ids, None, call_ids)
        return found
    for pid in processes:
        mine = None if _all_are(work_pids, pid) else np.flatnonzero(work_pids == pid)
        theirs = None if len(processes) == 1 else np.flatnonzero(call_pids == pid)
        _match(found, mine, correlation_ids, theirs, call_ids)
    return found


def _all_are(values: IntArray, value: int) -> bool:
    return bool(values[0] == value) if is_constant(values) else bool((values == value).all())


def _match(
    found: npt.NDArray[np.int32], mine: IntArray | None, ids: IntArray, theirs: IntArray | None, call_ids: IntArray
) -> None:
    """Fill ``found`` for the work ``mine``: the first of the calls ``theirs`` with the same correlation id. None: all rows."""
    wanted, offered = take(ids, mine), take(call_ids, theirs)
    order = None
    if not are_in_order(offered):  # one thread counts them up
        order = np.argsort(offered, kind="stable")
        offered = offered[order]

    def fill(piece: slice) -> None:
        part = wanted[piece]
        place = np.minimum(np.searchsorted(offered, part), len(offered) - 1)  # of equal ids the first
        rows = place if order is None else order[place]
        rows = rows if theirs is None else theirs[rows]
        rows = np.where((offered[place] == part) & (part != -1), rows, -1)
        found[piece if mine is None else mine[piece]] = rows

    in_pieces(len(wanted), fill)
