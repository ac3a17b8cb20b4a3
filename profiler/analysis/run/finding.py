"""Which inferences a trace holds: from its NVTX ranges, or inferred from what is launched again and again.

In this order: the user's own ranges before those of libraries, and of equal ones the outermost that say that they are an inference;
a single such range; repeated launches of CUDA graphs or a repeated sequence of kernels. Ranges around operations and layers are
never inferences. What is taken, why, and what lies outside is said in :class:`Inferences`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from profiler.analysis.run.assignment import assign_work, helper_threads
from profiler.analysis.run.candidates import Candidate, candidates_of, matching, outermost, range_rows
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.range_kinds import RangeKind
from profiler.analysis.run.repetition import Repetition, find_repetition
from profiler.analysis.run.warm_up import inside_warm_up, odd_ones
from profiler.errors import UsageError
from profiler.text import number, plural
from profiler.trace import Trace
from profiler.trace.arrays import IntArray
from profiler.trace.columns import Table

_MIN_SHARE = 0.5
"""Of the GPU time between the first and the last range of a name: with less inside, they are not what the program does."""
_MOST = 0.9
_TRIED = 12


def find_inferences(trace: Trace, pattern: str | None = None, count: int | None = None) -> Inferences:
    """Find the inferences of a trace.

    Args:
        pattern: which NVTX ranges are inferences: a shell pattern (``iter*``) for the whole text, or, if no range matches
            it so, a regular expression to be found in it. Of nested matches the outermost counts. None: they are found.
        count: how many inferences the trace holds, where no range says which they are.

    Raises:
        UsageError: the pattern is not valid, or matches no range; or the launches do not divide into so many like runs.
    """
    trace.events.match_launches()  # before the ranges are read, which take as much memory again
    if pattern is not None:
        rows = outermost(trace, matching(trace, pattern))
        how = f"the {plural(len(rows), 'outermost NVTX range')} that match{'es' if len(rows) == 1 else ''} “{pattern}”"
        return _build(trace, range_rows(trace, rows), pattern, how, "pattern")
    found = candidates_of(trace)
    if count is not None:
        return replace(_of_count(trace, found, count), candidates=_listed(found))
    repeated = cache(lambda: find_repetition(trace))
    inferences = _of_ranges(trace, found, repeated) or _of_repetition(trace, repeated()) or _none(trace, found)
    return replace(inferences, candidates=_listed(found))


def _of_ranges(trace: Trace, found: list[Candidate], repeated: Callable[[], Repetition | None]) -> Inferences | None:
    """The first candidate that holds the work; or what is repeated, where that explains more than a library's or a nameless range."""
    for candidate in [c for c in found if c.count > 1][:_TRIED]:
        inferences = _of_candidate(trace, candidate)
        if inferences is None:
            continue
        if candidate.says_inference and candidate.kind == RangeKind.USER:
            return inferences
        better = repeated()
        if better is not None and _explains_more(better, candidate, inferences):
            return _of_repetition(trace, better)
        if candidate.is_part:
            continue
        return inferences
    for candidate in [c for c in found if c.count == 1 and (c.says_inference or c.kind == RangeKind.CALL)][:_TRIED]:
        inferences = _of_candidate(trace, candidate)
        if inferences is None:
            continue
        better = repeated() if candidate.kind == RangeKind.USER else None
        return _of_repetition(trace, better) if better is not None else inferences
    return None


def _explains_more(better: Repetition, candidate: Candidate, inferences: Inferences) -> bool:
    """Whether a repetition that covers nearly all GPU time shows that the ranges are pieces of an inference, or leave much out."""
    if better.coverage < _MOST or better.coverage < inferences.share_between:
        return False
    return inferences.share_between < _MOST or (candidate.kind == RangeKind.USER and better.count < candidate.count)


def _of_candidate(trace: Trace, candidate: Candidate) -> Inferences | None:
    """The candidate's ranges as inferences; None when they hold too little of the GPU time."""
    one = candidate.count == 1
    domain = f" of {candidate.domain}" if candidate.domain and candidate.kind == RangeKind.CALL else ""
    how = (
        f"the only NVTX range “{candidate.label}”{domain}: n = 1, so nothing is known of how it varies"
        if one
        else f"the {candidate.count:,} NVTX ranges “{candidate.label}”{domain}, found as the outermost repeated range "
        "around the GPU work"
    )
    origin = "ranges" if candidate.kind == RangeKind.USER else "library ranges"
    inferences = _build(trace, range_rows(trace, candidate.rows), candidate.label, how, origin)
    if inferences.share_between < _MIN_SHARE:
        return None
    if not candidate.says_inference and candidate.kind == RangeKind.USER and inferences.kernels_in_most <= 1:
        return None  # a range around each kernel is an operation
    return inferences


def _of_repetition(trace: Trace, found: Repetition | None) -> Inferences | None:
    if found is None:
        return None
    return _build(trace, found.ranges, None, found.statement, found.origin)


def _of_count(trace: Trace, found: list[Candidate], count: int) -> Inferences:
    if count < 1:
        raise UsageError(f"--inferences {count}: a trace holds at least 1 inference.")
    for candidate in [c for c in found if c.count == count][:_TRIED]:
        inferences = _of_candidate(trace, candidate)
        if inferences is not None:
            return inferences
    repetition = find_repetition(trace, count)
    if repetition is None:
        free = find_repetition(trace)
        said = f" What repeats is {free.statement}." if free is not None else ""
        raise UsageError(
            f"--inferences {count}: the launches of {trace.path} do not divide into {count} runs of the same kernels.{said}",
            "Warm-up and other work may lie between them; give the number that the trace really holds, or mark the inferences with NVTX.",
        )
    made = _build(trace, repetition.ranges, None, repetition.statement, repetition.origin)
    return made


def _none(trace: Trace, found: list[Candidate]) -> Inferences:
    if not len(trace.events.nvtx_ranges):
        why = "The trace holds no NVTX ranges, and no sequence of kernels that repeats clearly"
    else:
        why = "No NVTX range marks the inferences, and no sequence of kernels repeats clearly"
    shown = [c for c in found if c.kernels][:5]
    listed = f" Candidates: {'; '.join(c.sentence for c in shown)}." if shown else ""
    name = "Name the ranges with --nvtx PATTERN, or say how many there are with --inferences N."
    if not len(trace.events.nvtx_ranges):
        name = "Say how many there are with --inferences N, or mark them with NVTX ranges."
    rows = range_rows(trace, np.empty(0, np.int64))
    return _build(trace, rows, None, f"{why}, so the inferences cannot be identified.{listed} {name}", "none")


def _listed(found: list[Candidate]) -> tuple[Candidate, ...]:
    return tuple(found[:50])


def _build(trace: Trace, ranges: Table, label: str | None, statement: str, origin: str) -> Inferences:
    """Assign the work to the ranges (by start, index reset), and set aside what is not like the others."""
    helpers = helper_threads(trace, ranges)
    events = trace.events
    tables = (events.kernels, events.graph_traces, events.memcpys, events.memsets)
    parts = [assign_work(trace, ranges, table, helpers) for table in tables]
    of: list[IntArray] = [part for part, _ in parts]
    if len(ranges) and any(by_time for _, by_time in parts):
        statement += "; the trace holds no launches for some GPU work, which was placed by the time at which it ran"
    made = Inferences(trace, label, statement, ranges, of[0], of[1], of[2], of[3], origin, helpers)
    by_others = made.work_of_helpers
    if by_others is not None:
        kernels, share = by_others
        statement += (
            f"; {plural(kernels, 'kernel')} ({number(100 * share)} % of their GPU time) launched by other threads of the process "
            "while an inference was open are counted by that time"
        )
        made = replace(made, statement=statement)
    if origin == "pattern" or made.is_inferred or made.count < 2:
        return made
    aside = {row: f"inside the range “{text}”" for row, text in inside_warm_up(trace, ranges).items()}
    if len(aside) == made.count:
        aside = {}
    aside |= odd_ones(made, aside)
    return made.without(aside) if aside else made
