"""Which GPU work belongs to which inference, from the NVTX ranges around the launches.

A kernel belongs to the inference inside whose range it was *launched*, on the thread of the range (push/pop) or
anywhere in its process (start/end); when it ran does not matter. Only where a trace holds no launches does the time
at which the kernel started decide, and then :attr:`Inferences.statement` says so.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import cached_property
from time import monotonic

import numpy as np
import numpy.typing as npt
import pandas as pd
import regex

from profiler.errors import UsageError
from profiler.trace import Trace

Int64Array = npt.NDArray[np.int64]

_TRAILING_NUMBER = re.compile(r"\D?(\d+)")
_HINT = re.compile(r"iter|infer|forward|step|batch|predict|request|query|enqueue|execute", re.IGNORECASE)
_WARM_UP = re.compile(r"warm[\s_-]*up", re.IGNORECASE)
_LAUNCH = re.compile(r"Launch(Kernel|CooperativeKernel|Cooperative|Grid|HostFunc)?|GraphLaunch", re.IGNORECASE)
_MIN_COVERAGE = 0.5
_PATTERN_SECONDS = 10.0


@dataclass(frozen=True)
class Inferences:
    """The inferences of a trace.

    Attributes:
        label: what the ranges are called, with ``#`` for a running number.
        statement: how they were found, or why there are none.
        ranges: a row an inference, by start: the columns of :attr:`Trace.nvtx_ranges`, index reset.
        of_kernel: for each row of :attr:`Trace.kernels` the inference it belongs to, or -1.
    """

    trace: Trace
    label: str | None
    statement: str
    ranges: pd.DataFrame
    of_kernel: Int64Array
    of_graph_trace: Int64Array
    of_memcpy: Int64Array
    of_memset: Int64Array

    @property
    def count(self) -> int:
        return len(self.ranges)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """The kernels inside inferences, with a column ``inference``."""
        frame = self.trace.kernels.assign(inference=self.of_kernel)
        return frame[frame["inference"] >= 0]

    @cached_property
    def work(self) -> pd.DataFrame:
        """All GPU work inside inferences, by inference and start.

        Columns: ``inference``, ``start_ns``, ``end_ns``, ``source`` ("kernels", "memcpys", "memsets", "graph_traces"), ``row``
        (in the trace's frame of that name), ``reach_ns`` (the latest end so far in the inference) and ``opens`` (nothing ran
        right before: the first work of its inference, or the first after a gap).
        """
        sources = {
            "kernels": (self.trace.kernels, self.of_kernel),
            "memcpys": (self.trace.memcpys, self.of_memcpy),
            "memsets": (self.trace.memsets, self.of_memset),
            "graph_traces": (self.trace.graph_traces, self.of_graph_trace),
        }
        parts = []
        for code, (frame, of) in enumerate(sources.values()):
            inside = np.flatnonzero(of >= 0)
            starts, ends = frame["start_ns"].to_numpy()[inside], frame["end_ns"].to_numpy()[inside]
            parts.append(np.stack([of[inside], starts, ends, np.full(len(inside), code), inside]))
        columns = np.concatenate(parts, axis=1).astype(np.int64)
        columns = columns[:, np.lexsort((columns[2], columns[1], columns[0]))]
        inference, starts, ends, codes, rows = columns
        work = pd.DataFrame({"inference": inference, "start_ns": starts, "end_ns": ends})
        work["source"] = pd.Categorical.from_codes(codes, categories=pd.Index(list(sources), dtype=object))
        work["row"] = rows
        reach = work.groupby("inference")["end_ns"].cummax().to_numpy(dtype=np.int64)
        opens = np.ones(len(work), dtype=bool)
        opens[1:] = (inference[1:] != inference[:-1]) | (starts[1:] > reach[:-1])
        return work.assign(reach_ns=reach, opens=opens)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row an inference.

        Columns: ``text``, ``start_ns``, ``end_ns`` (of the range), ``latency_ns`` (range start to range end, or to the
        end of its last GPU work when that is later), ``gpu_start_ns``, ``gpu_end_ns``, ``gpu_span_ns`` (first GPU
        work starts to last ends), ``gpu_busy_ns`` (union of all GPU work), ``gpu_idle_ns`` (span minus busy),
        ``kernels``, ``kernel_time_ns`` (sum), ``launches``, ``launch_time_ns`` (host time inside launch calls),
        ``memcpys``, ``memcpy_bytes``, ``memcpy_time_ns``, ``memsets``, ``memset_time_ns``.
        Without GPU work the GPU times are missing (NA).
        """
        n = self.count
        work, calls = self.work, self.trace.api_calls
        table = self.ranges[["start_ns", "end_ns"]].copy()
        table.insert(0, "text", self.ranges["text"].astype(str))
        spans = work.groupby("inference").agg(gpu_start_ns=("start_ns", "min"), gpu_end_ns=("reach_ns", "max"))
        spans["gpu_span_ns"] = spans["gpu_end_ns"] - spans["gpu_start_ns"]
        # what runs reaches from each opening to the last reach before the next one; the rest of the span is idle
        openings = np.flatnonzero(work["opens"].to_numpy())
        last = np.concatenate((openings[1:], [len(work)])) - 1 if len(openings) else openings
        lengths = work["reach_ns"].to_numpy()[last] - work["start_ns"].to_numpy()[openings]
        busy = pd.Series(_sums(work["inference"].to_numpy()[openings], lengths, n))
        spans["gpu_busy_ns"] = busy.reindex(spans.index)
        spans["gpu_idle_ns"] = spans["gpu_span_ns"] - spans["gpu_busy_ns"]
        table = table.join(spans.astype("Int64"))
        ends = table["gpu_end_ns"].fillna(table["end_ns"]).astype(np.int64)
        table.insert(3, "latency_ns", np.maximum(ends, table["end_ns"]) - table["start_ns"])
        launches = calls[is_launch(calls["name"])]
        for frame, of, count, time in (
            (self.trace.kernels, self.of_kernel, "kernels", "kernel_time_ns"),
            (launches, self.assign_calls(launches), "launches", "launch_time_ns"),
            (self.trace.memcpys, self.of_memcpy, "memcpys", "memcpy_time_ns"),
            (self.trace.memsets, self.of_memset, "memsets", "memset_time_ns"),
        ):
            table[count] = _sums(of, np.ones(len(of), dtype=np.int64), n)
            table[time] = _sums(of, frame["duration_ns"].to_numpy(), n)
        table["memcpy_bytes"] = _sums(self.of_memcpy, self.trace.memcpys["bytes"].to_numpy(), n)
        return table

    def assign_calls(self, calls: pd.DataFrame) -> Int64Array:
        """The inference of each API call (a slice of :attr:`Trace.api_calls`), or -1."""
        return _assign_by_host(
            self.trace,
            self.ranges,
            calls["tid"].to_numpy(),
            calls["pid"].to_numpy(),
            calls["start_ns"].to_numpy(),
        )

    @cached_property
    def kernels_per_inference(self) -> tuple[float | None, str | None]:
        """Kernels in inferences ÷ inferences, and a statement when the inferences do not all have the same number."""
        if not self.count:
            return None, self.statement
        counts = np.bincount(self.of_kernel[self.of_kernel >= 0], minlength=self.count)
        total = int(counts.sum())
        per = total / self.count
        if counts.min() == counts.max():
            return per, None
        if total % self.count:
            note = f"{total:,} kernels ÷ {self.count:,} inferences is not a whole number"
        else:
            note = f"the {self.count:,} inferences do not have the same number of kernels"
        return (
            per,
            f"{note}: they have {counts.min():,} to {counts.max():,}, so the inferences were not alike.",
        )

    @property
    def kernels_outside(self) -> int:
        """Kernels of the trace that belong to no inference."""
        return int((self.of_kernel < 0).sum())


def is_launch(names: pd.Series) -> npt.NDArray[np.bool_]:
    """Which API calls start GPU work: kernel launches and graph launches, of the runtime and the driver API."""
    kinds = names.cat.categories
    wanted = np.asarray([bool(_LAUNCH.search(str(k))) and "HostFunc" not in str(k) for k in kinds], dtype=bool)
    codes = names.cat.codes.to_numpy()
    return wanted[codes] if len(kinds) else np.zeros(len(names), dtype=bool)


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


def _matching(trace: Trace, pattern: str) -> Int64Array:
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


def _outermost(trace: Trace, rows: Int64Array) -> Int64Array:
    """Leave out the rows that lie inside another of the rows."""
    selected = np.zeros(len(trace.nvtx_ranges), dtype=bool)
    selected[rows] = True
    inside = np.zeros(len(selected), dtype=bool)
    index = trace.nvtx_index
    for level in range(1, int(index.level.max(initial=0)) + 1):
        at = np.flatnonzero(index.level == level)
        parent = index.parent[at]
        inside[at] = selected[parent] | inside[parent]
    return rows[~inside[rows]]


def _normalised(text: str) -> str:
    """The text with ``#`` for a number at its end or before its last character."""
    # from the end: a pattern that looks for the number from the front takes quadratic time on a text of digits
    found = _TRAILING_NUMBER.match(text[::-1])
    return text if found is None else f"{text[: len(text) - found.end()]}#{text[len(text) - found.start(1) :]}"


def _detect(trace: Trace) -> tuple[Int64Array, str | None]:
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    held = _work_inside(trace)
    total = trace.kernel_count or len(trace.graph_traces)
    texts = ranges["text"]
    names = [_normalised(str(k)) for k in texts.cat.categories]
    labels = list(dict.fromkeys(names))
    code_of = {label: code for code, label in enumerate(labels)}
    groups = np.asarray([code_of[n] for n in names])[texts.cat.codes.to_numpy()]
    best: tuple[tuple[bool, bool, float, float], Int64Array, str] | None = None
    counts = np.bincount(groups, minlength=len(labels))
    work = np.bincount(groups, weights=held, minlength=len(labels)) / max(total, 1)
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


def _work_inside(trace: Trace) -> npt.NDArray[np.float64]:
    """For each NVTX range how many kernels (or whole graphs, in a trace without kernels) were launched inside."""
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    work = trace.kernels if trace.kernel_count else trace.graph_traces
    held = np.zeros(len(ranges))
    inner = work["nvtx"].to_numpy()
    np.add.at(held, inner[inner >= 0], 1)
    for level in range(int(index.level.max(initial=0)), 0, -1):
        at = np.flatnonzero(index.level == level)
        np.add.at(held, index.parent[at], held[at])
    loose = np.flatnonzero((ranges["kind"] == "start/end").to_numpy())
    if len(loose):
        pids, times = _launch_pid_time(trace, work)
        for pid in np.unique(ranges["pid"].to_numpy()[loose]):
            mine = loose[ranges["pid"].to_numpy()[loose] == pid]
            sorted_times = np.sort(times[(pids == pid) & (times >= 0)])
            first = np.searchsorted(sorted_times, ranges["start_ns"].to_numpy()[mine])
            last = np.searchsorted(sorted_times, ranges["end_ns"].to_numpy()[mine])
            held[mine] = last - first
    if not (work["api_call"] >= 0).any() and len(work):  # no launches recorded: by the time on the GPU
        starts = np.sort(work["start_ns"].to_numpy())
        held = (np.searchsorted(starts, ranges["end_ns"]) - np.searchsorted(starts, ranges["start_ns"])).astype(
            np.float64
        )
    return held


def _launch_pid_time(trace: Trace, work: pd.DataFrame) -> tuple[Int64Array, Int64Array]:
    calls, at = trace.api_calls, work["api_call"].to_numpy()
    if not len(calls):
        return np.full(len(work), -1), np.full(len(work), -1)
    safe = np.maximum(at, 0)
    none = at < 0
    pids, times = calls["pid"].to_numpy()[safe], calls["start_ns"].to_numpy()[safe]
    return np.where(none, -1, pids), np.where(none, np.iinfo(np.int64).min, times)


def _build(trace: Trace, rows: Int64Array, label: str | None, statement: str) -> Inferences:
    rows = rows[np.argsort(trace.nvtx_ranges["start_ns"].to_numpy()[rows], kind="stable")]
    ranges = trace.nvtx_ranges.iloc[rows].assign(row=rows).reset_index(drop=True)
    frames = (trace.kernels, trace.graph_traces, trace.memcpys, trace.memsets)
    parts = [_assign(trace, ranges, frame) for frame in frames]
    if len(rows) and any(by_time for _, by_time in parts):
        statement += "; the trace holds no launches for some GPU work, which was placed by the time at which it ran"
    return Inferences(trace, label, statement, ranges, *(of for of, _ in parts))


def _assign(trace: Trace, ranges: pd.DataFrame, work: pd.DataFrame) -> tuple[Int64Array, bool]:
    if not len(ranges) or not len(work):
        return np.full(len(work), -1, dtype=np.int64), False
    calls, at = trace.api_calls, work["api_call"].to_numpy()
    known = at >= 0
    found = np.full(len(work), -1, dtype=np.int64)
    if known.any():
        mine = calls.iloc[at[known]]
        found[known] = _assign_by_host(
            trace, ranges, mine["tid"].to_numpy(), mine["pid"].to_numpy(), mine["start_ns"].to_numpy()
        )
    if not known.all():
        times = work["start_ns"].to_numpy()[~known]
        starts, ends = ranges["start_ns"].to_numpy(), ranges["end_ns"].to_numpy()
        place = np.searchsorted(starts, times, side="right") - 1
        inside = (place >= 0) & (times < ends[np.maximum(place, 0)])
        found[~known] = np.where(inside, place, -1)
    return found, not known.all()


def _assign_by_host(
    trace: Trace, ranges: pd.DataFrame, tids: Int64Array, pids: Int64Array, times: Int64Array
) -> Int64Array:
    """The inference in which a host thread was at a time. ``ranges`` is sorted by start and has a column ``row``."""
    found = np.full(len(times), -1, dtype=np.int64)
    if not len(ranges):
        return found
    nested = (ranges["kind"] == "push/pop").to_numpy()
    for by_thread in (True, False):
        chosen = np.flatnonzero(nested == by_thread)
        owners, asked = (ranges["tid"], tids) if by_thread else (ranges["pid"], pids)
        for owner in np.unique(owners.to_numpy()[chosen]):
            mine = chosen[owners.to_numpy()[chosen] == owner]
            starts, ends = ranges["start_ns"].to_numpy()[mine], ranges["end_ns"].to_numpy()[mine]
            who = np.flatnonzero((asked == owner) & (found < 0))
            place = np.searchsorted(starts, times[who], side="right") - 1
            inside = (place >= 0) & (times[who] < ends[np.maximum(place, 0)])
            found[who] = np.where(inside, mine[np.maximum(place, 0)], -1)
    return found


def _sums(of: Int64Array, values: Int64Array, n: int) -> Int64Array:
    """Exact sums per inference (bincount's own weights are floats)."""
    sums = np.zeros(n, dtype=np.int64)
    inside = of >= 0
    np.add.at(sums, of[inside], values[inside])
    return sums
