"""Which inference a piece of GPU work belongs to: the one inside whose range it was launched."""

from __future__ import annotations

import numpy as np

from profiler.analysis.run.range_kinds import RangeKind, kind_of
from profiler.analysis.statistics import sum_by_code
from profiler.trace import Trace
from profiler.trace.arrays import PIECE, IntArray, distinct, encode, in_pieces, is_constant, pieces, take
from profiler.trace.columns import Table, pairs_of

_MOSTLY = 0.5


def assign_work(trace: Trace, ranges: Table, work: Table, helpers: tuple[int, ...] = ()) -> tuple[IntArray, bool]:
    """The inference of each piece of work, and whether some of it was placed by time, for want of a launch."""
    found = np.full(len(work), -1, dtype=np.int32)
    if not len(ranges) or not len(work):
        return found, False
    launched, begins = work["api_call"], work["start_ns"]
    starts, ends = ranges["start_ns"], ranges["end_ns"]

    def assign(piece: slice) -> bool:
        """Fill a piece; whether some of it was placed by time."""
        calls, part = launched[piece], found[piece]
        known = calls >= 0
        if known.all():
            part[:] = inference_of_calls(trace, ranges, calls, helpers)
            return False
        if known.any():
            part[known] = inference_of_calls(trace, ranges, calls[known], helpers)
        part[~known] = _place(starts, ends, begins[piece][~known])
        return True

    return found, any(in_pieces(len(work), assign))


def inference_of_calls(trace: Trace, ranges: Table, rows: IntArray, helpers: tuple[int, ...] = ()) -> IntArray:
    """The inference of some rows of the API calls."""
    tids, pids, starts = (trace.events.api_calls[c] for c in ("tid", "pid", "start_ns"))
    return assign_by_host(ranges, take(tids, rows), take(pids, rows), starts[rows], helpers)


def assign_by_host(
    ranges: Table, tids: IntArray, pids: IntArray, times: IntArray, helpers: tuple[int, ...] = ()
) -> IntArray:
    """The inference in which a host thread was at a time. ``ranges`` is sorted by start.

    Args:
        helpers: threads that work for whichever inference is open in their process.
    """
    found = np.full(len(times), -1, dtype=np.int32)
    if not len(ranges) or not len(times):
        return found
    nested = ranges["kind"].are("push/pop")
    for by_thread in (True, False):
        chosen = np.flatnonzero(nested == by_thread)
        owners, asked = (ranges["tid"], tids) if by_thread else (ranges["pid"], pids)
        for owner in distinct(owners[chosen]):
            mine = chosen[owners[chosen] == owner]
            everybody = is_constant(asked) and asked[0] == owner
            _fill(found, ranges, mine, None if everybody else asked == owner, times)
    if helpers:
        chosen = np.flatnonzero(nested)
        helping = np.isin(tids, np.asarray(helpers, dtype=np.int64))
        for owner in distinct(ranges["pid"][chosen]):
            mine = chosen[ranges["pid"][chosen] == owner]
            _fill(found, ranges, mine, helping & (pids == owner), times)
    return found


def _fill(found: IntArray, ranges: Table, mine: IntArray, asked: IntArray | None, times: IntArray) -> None:
    starts, ends = ranges["start_ns"][mine], ranges["end_ns"][mine]

    def fill(part: slice) -> None:
        open_ = found[part] < 0
        if asked is not None:
            open_ &= np.asarray(asked[part], dtype=bool)
        if open_.all():
            place = _place(starts, ends, times[part])
            found[part] = np.where(place >= 0, mine[np.maximum(place, 0)], -1)
            return
        who = np.flatnonzero(open_)
        place = _place(starts, ends, times[part][who])
        found[part][who] = np.where(place >= 0, mine[np.maximum(place, 0)], -1)

    in_pieces(len(found), fill)


def _place(starts: IntArray, ends: IntArray, times: IntArray) -> IntArray:
    place = np.searchsorted(starts, times, side="right") - 1
    inside = (place >= 0) & (times < ends[np.maximum(place, 0)])
    return np.where(inside, place, -1)


def helper_threads(trace: Trace, ranges: Table) -> tuple[int, ...]:
    """Threads that launch work for whichever inference is open: they have no range of a user or of an engine of their own.

    The autograd engine's threads are of that kind. Where inferences of a process overlap, nothing tells which one such a thread
    works for: then there are none.
    """
    calls = trace.events.api_calls
    tids = calls["tid"]
    nested = ranges["kind"].are("push/pop")
    if not nested.any() or not len(tids) or (is_constant(tids) and (ranges["tid"][nested] == tids[0]).any()):
        return ()
    codes, threads = encode(tids)
    owners, processes = set(ranges["tid"][nested].tolist()), set()
    for pid in distinct(ranges["pid"][nested]).tolist():
        own = np.flatnonzero(nested & (ranges["pid"] == pid))
        if (ranges["start_ns"][own[1:]] >= ranges["end_ns"][own[:-1]]).all():
            processes.add(pid)
    others = [k for k, tid in enumerate(threads.tolist()) if tid not in owners]
    if not others or not processes:
        return ()
    launched, own_range = np.zeros(len(threads), np.int64), np.zeros(len(threads), np.int64)
    marked = _in_own_range(trace)
    for work in (trace.events.kernels, trace.events.graph_traces):
        for piece in pieces(len(work)):
            called, durations, nvtx = (work[c][piece] for c in ("api_call", "duration_ns", "nvtx"))
            thread = np.where(called >= 0, codes[np.maximum(called, 0)], -1)
            launched += sum_by_code(thread, durations, len(threads))
            if len(marked):
                mine = np.where((nvtx >= 0) & marked[np.maximum(nvtx, 0)], thread, -1)
                own_range += sum_by_code(mine, durations, len(threads))
    pid_of = dict(zip(tids.tolist(), calls["pid"].tolist())) if len(tids) < PIECE else {}
    found = []
    for k in others:
        tid = int(threads[k])
        pid = pid_of.get(tid, tid & ~0xFFFFFF)
        if pid in processes and launched[k] and own_range[k] < _MOSTLY * launched[k]:
            found.append(tid)
    return tuple(found)


def _in_own_range(trace: Trace) -> np.ndarray:
    """For each NVTX range whether it is, or lies in, a range of a user or around an engine's whole call."""
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    codes, pairs = pairs_of(ranges["domain"], ranges["text"])
    own = np.asarray([kind_of(text, domain) != RangeKind.PART for domain, text in pairs], dtype=bool)
    found: np.ndarray = index.nearest(np.flatnonzero(own[codes] if len(ranges) else codes)) >= 0
    return found
