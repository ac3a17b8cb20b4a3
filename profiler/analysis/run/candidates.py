"""The NVTX ranges that could be inferences, by their names: how many, how much of the GPU's time they hold, best first."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from profiler.analysis.run.range_kinds import (
    WARM_UP,
    RangeKind,
    family,
    is_a_loop,
    kind_of,
    names_a_part,
    names_an_inference,
)
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.errors import UsageError
from profiler.text import number, plural
from profiler.trace import Trace
from profiler.trace.arrays import IntArray, distinct, pieces
from profiler.trace.columns import Table, pairs_of

_TRAILING_NUMBER = re.compile(r"\D?(\d+)")
_HEAD = re.compile(r"[^\d=:({\[,;|@]*[A-Za-z]")
_PATTERN_SECONDS = 10.0
RANGE_COLUMNS = ("start_ns", "end_ns", "closed", "text", "domain", "kind", "tid", "pid")
_MIN_SHARE = 0.05
_MAX_GROUPS = 200


@dataclass(frozen=True)
class Candidate:
    """NVTX ranges of one name.

    Attributes:
        label: their text, with ``#`` for a running number, or its beginning and ``…``.
        count: how many there are, of nested ones the outermost.
        kernels, time_ns: launched inside them on their own thread (start/end ranges: by their process).
        share_pct: of the GPU time of the trace.
        says_inference, is_part: what the words of the name say.
        rows: rows of :attr:`Trace.nvtx_ranges`.
    """

    label: str
    domain: str
    kind: RangeKind
    count: int
    kernels: int
    time_ns: int
    share_pct: float
    says_inference: bool
    is_part: bool
    rows: IntArray = field(repr=False, compare=False)

    @property
    def sentence(self) -> str:
        return (
            f"“{self.label}”: {plural(self.count, 'range')}, {plural(self.kernels, 'kernel')}, "
            f"{number(self.share_pct)} % of the GPU time"
        )


def candidates_of(trace: Trace) -> list[Candidate]:
    """The candidates, best first: the user's before a library's, warm-up and loops last, names that say so first, outermost first."""
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    if not len(ranges):
        return []
    kinds, groups, labels = _groups(trace)
    kernels, times = work_inside(trace)
    total = max(_gpu_time(trace), 1)
    found: list[tuple[tuple[bool | int | float, ...], Candidate]] = []
    of_group = sum_by_code(groups, times, len(labels)) / total
    counts = count_codes(groups, len(labels))
    helped = _is_threaded(
        trace
    )  # then other threads may do most of the work, which is looked at when a candidate is tried
    present = np.flatnonzero((counts > 0) & ((of_group > 0) | helped))
    for code in present[np.argsort(-of_group[present], kind="stable")[:_MAX_GROUPS]]:
        label = labels[code]
        says = kinds[code] == RangeKind.USER and names_an_inference(label)
        is_small = not helped and of_group[code] < _MIN_SHARE
        if is_small and not says and kinds[code] == RangeKind.USER:
            continue
        rows = outermost(trace, np.flatnonzero(groups == code).astype(np.int32))
        time = int(times[rows].sum())
        candidate = Candidate(
            label,
            ranges["domain"].at(rows[0]),
            kinds[code],
            len(rows),
            int(kernels[rows].sum()),
            time,
            100.0 * time / total,
            says,
            names_a_part(label),
            rows,
        )
        rank = (
            is_small,
            int(kinds[code]),
            bool(WARM_UP.search(label)),
            is_a_loop(label),
            not says,
            candidate.is_part,
            float(index.level[rows].mean()),
            -candidate.share_pct,
        )
        found.append((rank, candidate))
    return [candidate for _, candidate in sorted(found, key=lambda item: item[0])]


def _groups(trace: Trace) -> tuple[list[RangeKind], IntArray, list[str]]:
    """For each range the code of its group (-1: an operation's), and for each group its kind and label."""
    codes, pairs = pairs_of(*(trace.events.nvtx_ranges[c] for c in ("domain", "text")))
    families = [(family(text), domain) for domain, text in pairs]  # far fewer than texts where these are numbered
    name_of = {f: (normalised(f[0]), f[1], kind_of(*f)) for f in dict.fromkeys(families)}
    named = [name_of[f] for f in families]
    distinct_names = list(dict.fromkeys(name_of.values()))
    heads: dict[str, set[str]] = {}
    for label, _, kind in distinct_names:
        if kind == RangeKind.USER and (head := _head(label)) != label and names_an_inference(head):
            heads.setdefault(head, set()).add(label)
    merged = {head for head, labels in heads.items() if len(labels) > 1}
    places: dict[tuple[str, str, RangeKind], int] = {}
    group_of = dict.fromkeys(distinct_names, -1)
    for label, domain, kind in distinct_names:
        if kind == RangeKind.PART:
            continue
        head = _head(label) if kind == RangeKind.USER else ""
        group = (f"{head}…" if head in merged else label, domain, kind)
        group_of[label, domain, kind] = places.setdefault(group, len(places))
    of_pair = np.asarray([group_of[name] for name in named], dtype=np.int32)
    of_pair = of_pair.astype(np.int16 if len(places) < 1 << 15 else np.int32)
    return [kind for _, _, kind in places], of_pair[codes], [label for label, _, _ in places]


def normalised(text: str) -> str:
    """The text with ``#`` for a number at its end or before its last character."""
    # from the end: a pattern that looks for the number from the front takes quadratic time on a text of digits
    found = _TRAILING_NUMBER.match(text[::-1])
    return text if found is None else f"{text[: len(text) - found.end()]}#{text[len(text) - found.start(1) :]}"


def _head(label: str) -> str:
    """The words before what differs from range to range: "request 12 user=a" → "request"."""
    found = _HEAD.match(label[:200])
    return found.group().rstrip(" -_#") if found else label


def _gpu_time(trace: Trace) -> int:
    return sum(int(work["duration_ns"].sum()) for work in (trace.events.kernels, trace.events.graph_traces))


def _is_threaded(trace: Trace) -> bool:
    """Whether several threads call the API, or one that has no range of its own."""
    tids, own = trace.events.api_calls["tid"], trace.events.nvtx_ranges["tid"]
    return bool(len(tids)) and not (bool((tids == tids[0]).all()) and bool((own == tids[0]).any()))


def work_inside(trace: Trace) -> tuple[IntArray, IntArray]:
    """For each NVTX range the number and GPU time of the kernels and whole graphs launched inside: on its thread, or in its process."""
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    n = len(ranges)
    counts, times = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64)
    both = (trace.events.kernels, trace.events.graph_traces)
    works = [(work, int(work["api_call"].max()) >= 0) for work in both if len(work)]
    for work, is_launched in works:
        if is_launched:
            _add_by_code(counts, times, work)
    for rows in index.inner_first():
        np.add.at(counts, index.parent[rows], counts[rows])
        np.add.at(times, index.parent[rows], times[rows])
    for work, is_launched in works:
        if not is_launched:  # no launches recorded: by the time on the GPU
            _add_by_time(counts, times, np.arange(n), ranges, work["start_ns"], work["duration_ns"])
            continue
        loose = np.flatnonzero(ranges["kind"].are("start/end"))
        if len(loose):
            calls = work["api_call"]
            known = np.flatnonzero(calls >= 0)
            called, pids = (trace.events.api_calls[c][calls[known]] for c in ("start_ns", "pid"))
            for pid in distinct(ranges["pid"][loose]):
                mine = loose[ranges["pid"][loose] == pid]
                theirs = pids == pid
                _add_by_time(counts, times, mine, ranges, called[theirs], work["duration_ns"][known[theirs]])
    return counts, times


def _add_by_code(counts: IntArray, times: IntArray, work: Table) -> None:
    for piece in pieces(len(work)):
        ranges, durations = (work[c][piece] for c in ("nvtx", "duration_ns"))
        inside = ranges >= 0
        into = ranges[inside].astype(np.intp)
        np.add.at(counts, into, counts.dtype.type(1))  # other types than the array's take ten times as long
        np.add.at(times, into, durations[inside].astype(np.int64))


def _add_by_time(
    counts: IntArray,
    times: IntArray,
    rows: IntArray,
    ranges: Table,
    at: IntArray,
    durations: IntArray,
) -> None:
    order = np.argsort(at, kind="stable")
    ordered, sums = at[order], np.concatenate(([0], np.cumsum(durations[order], dtype=np.int64)))
    first, last = (np.searchsorted(ordered, ranges[c][rows]) for c in ("start_ns", "end_ns"))
    counts[rows] += last - first
    times[rows] += sums[last] - sums[first]


def range_rows(trace: Trace, rows: IntArray) -> Table:
    """Those NVTX ranges by start, with a column ``row``; one that never closed ends where the next of them begins on its thread."""
    ranges = trace.events.nvtx_ranges
    rows = rows[np.argsort(ranges["start_ns"][rows], kind="stable")]
    found = ranges.take(rows, RANGE_COLUMNS)
    ends, starts, tids = found["end_ns"].copy(), found["start_ns"], found["tid"]
    following: dict[int, int] = {}
    for place in range(len(rows) - 1, -1, -1) if not found["closed"].all() else ():
        tid = int(tids[place])
        if not found["closed"][place] and tid in following:
            ends[place] = following[tid]
        following[tid] = int(starts[place])
    return Table({**found, "end_ns": ends, "row": rows})


def outermost(trace: Trace, rows: IntArray) -> IntArray:
    """Leave out the rows that lie inside another of the rows; one that was never closed holds nothing but itself."""
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    levels = index.level[rows]
    if not len(rows) or (levels == levels[0]).all():  # nothing holds what is as deep
        return rows
    parent = index.parent[rows]
    inside = (parent >= 0) & (index.nearest(rows[ranges["closed"][rows]])[parent] >= 0)
    return rows[~inside]


def matching(trace: Trace, pattern: str) -> IntArray:
    """The rows whose text matches a shell pattern, else those in which a regular expression is found.

    Raises:
        UsageError: neither, or it is no regular expression, or looking for it takes too long.
    """
    texts = trace.events.nvtx_ranges["text"]
    kinds = texts.texts
    wanted = [fnmatch.fnmatchcase(k, pattern) for k in kinds]
    if not any(wanted):
        wanted = _found_in(pattern, kinds)
    if not any(wanted):
        known = ", ".join(dict.fromkeys(normalised(k) for k in kinds[:2000]))[:300] or "none"
        raise UsageError(f"--nvtx {pattern!r}: no NVTX range of {trace.path} matches.", f"Ranges in the trace: {known}")
    return np.flatnonzero(np.asarray(wanted)[texts.codes])


def _found_in(pattern: str, texts: list[str]) -> list[bool]:
    """Which texts hold a match of a regular expression. Pattern and texts can come from anywhere, so its time is limited."""
    import regex  # noqa: PLC0415 - for patterns only

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
