"""Which NVTX ranges are inferences, and which GPU work belongs to each."""

from __future__ import annotations

import fnmatch
import re
from time import monotonic

import numpy as np
import pandas as pd
import regex

from profiler.analysis.run.inferences import Inferences, inference_of_calls
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.errors import UsageError
from profiler.trace import Trace
from profiler.trace.arrays import IntArray

_TRAILING_NUMBER = re.compile(r"\D?(\d+)")
_HINT = re.compile(r"iter|infer|forward|step|batch|predict|request|query|enqueue|execute", re.IGNORECASE)
_WARM_UP = re.compile(r"warm[\s_-]*up", re.IGNORECASE)
_MIN_COVERAGE = 0.5
_PIECE = 1 << 20
_PATTERN_SECONDS = 10.0


def find_inferences(trace: Trace, pattern: str | None = None) -> Inferences:
    """Find the inferences of a trace.

    Args:
        pattern: which NVTX ranges are inferences: a shell pattern (``iter*``) for the whole text, or, if no range matches
            it so, a regular expression to be found in it. Of nested matches the outermost counts. None: the
            outermost repeated range (a trailing number aside) that holds at least half of the GPU work, names such as
            "iter", "inference", "step" first and warm-up last.

    Raises:
        UsageError: the pattern is not valid, or matches no range.
    """
    ranges = trace.nvtx_ranges
    if pattern is not None:
        rows = _outermost(trace, _matching(trace, pattern))
        return _build(trace, rows, pattern, f"the {len(rows):,} outermost NVTX ranges that match “{pattern}”")
    if not len(ranges):
        return _build(
            trace,
            np.empty(0, np.int64),
            None,
            "The trace holds no NVTX ranges, so its inferences cannot be told apart.",
        )
    rows, label = _detect(trace)
    if label is None:
        return _build(
            trace,
            rows,
            None,
            "No repeated NVTX range holds at least half of the GPU work, so the inferences cannot be told apart. "
            "Name the ranges with --nvtx PATTERN.",
        )
    return _build(
        trace,
        rows,
        label,
        f"the {len(rows):,} NVTX ranges “{label}”, found as the outermost repeated range around the GPU work",
    )


def _matching(trace: Trace, pattern: str) -> IntArray:
    texts = trace.nvtx_ranges["text"]
    kinds = [str(k) for k in texts.cat.categories]
    wanted = [fnmatch.fnmatchcase(k, pattern) for k in kinds]
    if not any(wanted):
        wanted = _found_in(pattern, kinds)
    if not any(wanted):
        known = ", ".join(dict.fromkeys(_normalised(k) for k in kinds[:2000]))[:300] or "none"
        raise UsageError(f"--nvtx {pattern!r}: no NVTX range of {trace.path} matches.", f"Ranges in the trace: {known}")
    return np.flatnonzero(np.asarray(wanted)[texts.cat.codes.to_numpy()])


def _found_in(pattern: str, texts: list[str]) -> list[bool]:
    """Which texts hold a match of a regular expression. Pattern and texts can come from anywhere, so its time is limited."""
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise UsageError(
            f"--nvtx {pattern!r}: no range has such a name, and it is not a regular expression ({error})."
        ) from error
    until = monotonic() + _PATTERN_SECONDS
    try:
        return [compiled.search(t, timeout=max(until - monotonic(), 1e-3)) is not None for t in texts]
    except TimeoutError as error:
        raise UsageError(
            f"--nvtx {pattern!r}: looking for it in {len(texts):,} names took more than {_PATTERN_SECONDS:g} s.",
            "Write a pattern with fewer nested repetitions.",
        ) from error


def _outermost(trace: Trace, rows: IntArray) -> IntArray:
    """Leave out the rows that lie inside another of the rows."""
    selected = np.zeros(len(trace.nvtx_ranges), dtype=bool)
    selected[rows] = True
    inside = np.zeros(len(selected), dtype=bool)
    index = trace.nvtx_index
    for level in range(1, int(index.level.max(initial=0)) + 1):
        for at in range(0, len(inside), _PIECE):
            below = at + np.flatnonzero(index.level[at : at + _PIECE] == level)
            parent = index.parent[below]
            inside[below] = selected[parent] | inside[parent]
    return rows[~inside[rows]]


def _normalised(text: str) -> str:
    """The text with ``#`` for a number at its end or before its last character."""
    # from the end: a pattern that looks for the number from the front takes quadratic time on a text of digits
    found = _TRAILING_NUMBER.match(text[::-1])
    return text if found is None else f"{text[: len(text) - found.end()]}#{text[len(text) - found.start(1) :]}"


def _detect(trace: Trace) -> tuple[IntArray, str | None]:
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    held = _work_inside(trace)
    total = trace.kernel_count or len(trace.graph_traces)
    texts = ranges["text"]
    names = [_normalised(str(k)) for k in texts.cat.categories]
    labels = list(dict.fromkeys(names))
    code_of = {label: code for code, label in enumerate(labels)}
    groups = np.asarray([code_of[n] for n in names], dtype=np.int32)[texts.cat.codes.to_numpy()]
    best: tuple[tuple[bool, bool, float, float], IntArray, str] | None = None
    counts = count_codes(groups, len(labels))
    work = sum_by_code(groups, held, len(labels)) / max(total, 1)
    for code in np.flatnonzero((counts >= 2) & (work >= _MIN_COVERAGE)):
        rows = _outermost(trace, np.flatnonzero(groups == code))
        coverage = float(held[rows].sum()) / total
        if len(rows) < 2 or coverage < _MIN_COVERAGE:
            continue
        label = labels[code]
        rank = (
            bool(_WARM_UP.search(label)),
            not _HINT.search(label),
            float(index.level[rows].mean()),
            -coverage,
        )
        if best is None or rank < best[0]:
            best = (rank, rows, label)
    if best is None:
        return np.empty(0, dtype=np.int64), None
    return best[1], best[2]


def _work_inside(trace: Trace) -> IntArray:
    """For each NVTX range how many kernels (or whole graphs, in a trace without kernels) were launched inside."""
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    work = trace.kernels if len(trace.kernels) else trace.graph_traces
    held = count_codes(work["nvtx"].to_numpy(), len(ranges))
    for level in range(int(index.level.max(initial=0)), 0, -1):
        for at in range(0, len(held), _PIECE):
            rows = at + np.flatnonzero(index.level[at : at + _PIECE] == level)
            np.add.at(held, index.parent[rows], held[rows])
    loose = np.flatnonzero((ranges["kind"] == "start/end").to_numpy())
    if len(loose):
        pids, times = _launch_pid_time(trace, work)
        for pid in np.unique(ranges["pid"].to_numpy()[loose]):
            mine = loose[ranges["pid"].to_numpy()[loose] == pid]
            sorted_times = np.sort(times[(pids == pid) & (times >= 0)])
            first = np.searchsorted(sorted_times, ranges["start_ns"].to_numpy()[mine])
            last = np.searchsorted(sorted_times, ranges["end_ns"].to_numpy()[mine])
            held[mine] = last - first
    if len(work) and int(work["api_call"].max()) < 0:  # no launches recorded: by the time on the GPU
        starts = np.sort(work["start_ns"].to_numpy())
        held = np.searchsorted(starts, ranges["end_ns"]) - np.searchsorted(starts, ranges["start_ns"])
    return held


def _launch_pid_time(trace: Trace, work: pd.DataFrame) -> tuple[IntArray, IntArray]:
    calls, at = trace.api_calls, work["api_call"].to_numpy()
    if not len(calls):
        return np.full(len(work), -1), np.full(len(work), -1)
    safe = np.maximum(at, 0)
    none = at < 0
    pids, times = calls["pid"].to_numpy()[safe], calls["start_ns"].to_numpy()[safe]
    return np.where(none, -1, pids), np.where(none, np.iinfo(np.int64).min, times)


def _build(trace: Trace, rows: IntArray, label: str | None, statement: str) -> Inferences:
    rows = rows[np.argsort(trace.nvtx_ranges["start_ns"].to_numpy()[rows], kind="stable")]
    ranges = trace.nvtx_ranges.iloc[rows].assign(row=rows).reset_index(drop=True)
    frames = (trace.kernels, trace.graph_traces, trace.memcpys, trace.memsets)
    parts = [_assign(trace, ranges, frame) for frame in frames]
    if len(rows) and any(by_time for _, by_time in parts):
        statement += "; the trace holds no launches for some GPU work, which was placed by the time at which it ran"
    return Inferences(trace, label, statement, ranges, *(of for of, _ in parts))


def _assign(trace: Trace, ranges: pd.DataFrame, work: pd.DataFrame) -> tuple[IntArray, bool]:
    """The inference of each piece of work, and whether some of it was placed by time, for want of a launch."""
    found = np.full(len(work), -1, dtype=np.int32)
    if not len(ranges) or not len(work):
        return found, False
    launched, begins = work["api_call"].to_numpy(), work["start_ns"].to_numpy()
    starts, ends = ranges["start_ns"].to_numpy(), ranges["end_ns"].to_numpy()
    by_time = False
    for at in range(0, len(work), _PIECE):
        calls, part = launched[at : at + _PIECE], found[at : at + _PIECE]
        known = calls >= 0
        if known.any():
            part[known] = inference_of_calls(trace, ranges, calls[known])
        if not known.all():
            by_time = True
            times = begins[at : at + _PIECE][~known]
            place = np.searchsorted(starts, times, side="right") - 1
            inside = (place >= 0) & (times < ends[np.maximum(place, 0)])
            part[~known] = np.where(inside, place, -1)
    return found, by_time
