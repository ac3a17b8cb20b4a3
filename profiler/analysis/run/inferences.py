"""Which GPU work belongs to which inference, from the NVTX ranges around the launches.

A kernel belongs to the inference inside whose range it was *launched*, on the thread of the range (push/pop) or
anywhere in its process (start/end); when it ran does not matter. Only where a trace holds no launches does the time
at which the kernel started decide, and then :attr:`Inferences.statement` says so.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from time import monotonic

import numpy as np
import numpy.typing as npt
import pandas as pd
import regex

from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.errors import UsageError
from profiler.trace import Trace
from profiler.trace.bulk import IntArray, is_constant, taken

_TRAILING_NUMBER = re.compile(r"\D?(\d+)")
_HINT = re.compile(r"iter|infer|forward|step|batch|predict|request|query|enqueue|execute", re.IGNORECASE)
_WARM_UP = re.compile(r"warm[\s_-]*up", re.IGNORECASE)
_LAUNCH = re.compile(r"Launch(Kernel|CooperativeKernel|Cooperative|Grid|HostFunc)?|GraphLaunch", re.IGNORECASE)
_MIN_COVERAGE = 0.5
_PIECE = 1 << 20
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
    of_kernel: IntArray
    of_graph_trace: IntArray
    of_memcpy: IntArray
    of_memset: IntArray

    @property
    def count(self) -> int:
        return len(self.ranges)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """The kernels inside inferences, with a column ``inference``."""
        frame = self.trace.kernels.assign(inference=self.of_kernel)
        return frame[frame["inference"] >= 0]

    @cached_property
    def kernels_by_name(self) -> tuple[IntArray, IntArray]:
        """Number and total time of the kernels inside inferences (without inferences: of all), by the code of their name."""
        names, durations = self.trace.kernels["name"].cat, self.trace.kernels["duration_ns"].to_numpy()
        codes, n = names.codes.to_numpy(), len(names.categories)
        if self.count and (self.of_kernel < 0).any():
            codes = np.where(self.of_kernel >= 0, codes, -1)
        return count_codes(codes, n), sum_by_code(codes, durations, n)

    def work(self) -> Iterator[pd.DataFrame]:
        """All GPU work inside inferences, by inference and start: as many whole inferences at a time as make about a million rows.

        Columns: ``inference``, ``start_ns``, ``end_ns``, ``source`` ("kernels", "memcpys", "memsets", "graph_traces"), ``row``
        (in the trace's frame of that name), ``reach_ns`` (the latest end so far in the inference) and ``opens`` (nothing ran
        right before: the first work of its inference, or the first after a gap).
        """
        n = self.count
        ends = np.cumsum(sum(count_codes(of, n) for _, _, of in self._sources)) if n else np.empty(0, np.int64)
        first = 0
        while first < n:
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _PIECE, side="right")))
            if int(ends[last - 1]) > before:
                yield self._work_of(first, last)
            first = last

    @property
    def _sources(self) -> tuple[tuple[str, pd.DataFrame, IntArray], ...]:
        return (
            ("kernels", self.trace.kernels, self.of_kernel),
            ("memcpys", self.trace.memcpys, self.of_memcpy),
            ("memsets", self.trace.memsets, self.of_memset),
            ("graph_traces", self.trace.graph_traces, self.of_graph_trace),
        )

    def _work_of(self, first: int, last: int) -> pd.DataFrame:
        """The work of the inferences from ``first`` up to, not including, ``last``."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ("inference", "start_ns", "end_ns", "source", "row")}
        for code, (_, frame, of) in enumerate(self._sources):
            rows = np.flatnonzero((of >= first) & (of < last))
            parts["inference"].append(of[rows])
            parts["start_ns"].append(frame["start_ns"].to_numpy()[rows])
            parts["end_ns"].append(frame["end_ns"].to_numpy()[rows])
            parts["source"].append(np.full(len(rows), code, dtype=np.int8))
            parts["row"].append(rows)
        columns = {name: np.concatenate(pieces) for name, pieces in parts.items()}
        order = work_order(columns["inference"], columns["start_ns"], columns["end_ns"])
        if order is not None:
            columns = {name: values[order] for name, values in columns.items()}
        inference, starts = columns["inference"], columns["start_ns"]
        reach = _reach(inference, columns["end_ns"])
        opens = np.ones(len(starts), dtype=bool)
        opens[1:] = (inference[1:] != inference[:-1]) | (starts[1:] > reach[:-1])
        names = pd.Index([name for name, _, _ in self._sources], dtype=object)
        source = pd.Categorical.from_codes(columns.pop("source"), categories=names)
        return pd.DataFrame({**columns, "source": source, "reach_ns": reach, "opens": opens}, copy=False)

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
        table = self.ranges[["start_ns", "end_ns"]].copy()
        table.insert(0, "text", self.ranges["text"].astype(str))
        spans = pd.concat([_NO_SPANS, *(_spans(work) for work in self.work())])
        table = table.join(spans.astype("Int64"))
        ends = table["gpu_end_ns"].fillna(table["end_ns"]).astype(np.int64)
        table.insert(3, "latency_ns", np.maximum(ends, table["end_ns"]) - table["start_ns"])
        launches = self.launch_calls
        for frame, of, count, time in (
            (self.trace.kernels, self.of_kernel, "kernels", "kernel_time_ns"),
            (launches, launches["inference"].to_numpy(), "launches", "launch_time_ns"),
            (self.trace.memcpys, self.of_memcpy, "memcpys", "memcpy_time_ns"),
            (self.trace.memsets, self.of_memset, "memsets", "memset_time_ns"),
        ):
            table[count] = count_codes(of, n)
            table[time] = sum_by_code(of, frame["duration_ns"].to_numpy(), n)
        table["memcpy_bytes"] = sum_by_code(self.of_memcpy, self.trace.memcpys["bytes"].to_numpy(), n)
        return table

    @cached_property
    def launch_calls(self) -> pd.DataFrame:
        """The API calls that start GPU work: ``name``, ``duration_ns``, ``inference`` (-1: outside)."""
        calls = self.trace.api_calls
        rows = np.flatnonzero(is_launch(calls["name"]))
        of = np.empty(len(rows), dtype=np.int32)
        for at in range(0, len(rows), _PIECE):
            of[at : at + _PIECE] = _inference_of_calls(self.trace, self.ranges, rows[at : at + _PIECE])
        columns = {
            "name": pd.Categorical.from_codes(
                calls["name"].cat.codes.to_numpy()[rows], categories=calls["name"].cat.categories
            ),
            "duration_ns": calls["duration_ns"].to_numpy()[rows],
            "inference": of,
        }
        return pd.DataFrame(columns, copy=False)

    @cached_property
    def launch_to_start_ns(self) -> dict[str, float] | None:
        """From the start of the launch call to the start of the kernel: ``median``, ``p90``, ``max`` and ``count``.

        Of a CUDA graph only its first kernel counts. None where no kernel (inside the inferences, if there are any) has a launch.
        """
        trace = self.trace
        launched, starts = trace.kernels["api_call"].to_numpy(), trace.kernels["start_ns"].to_numpy()
        called = trace.api_calls["start_ns"].to_numpy()
        seen = np.zeros(len(called), dtype=bool)
        pieces = []
        for at in range(0, len(launched), _PIECE):
            calls = launched[at : at + _PIECE]
            counted = calls >= 0
            if self.count:
                counted &= self.of_kernel[at : at + _PIECE] >= 0
            rows = np.flatnonzero(counted)
            calls, first = np.unique(
                calls[rows], return_index=True
            )  # kernels are sorted by start; of a graph only the first counts
            new = ~seen[calls]
            seen[calls] = True
            pieces.append(starts[at + rows[first[new]]] - called[calls[new]])
        waits = np.concatenate(pieces or [np.empty(0, np.int64)])
        if not len(waits):
            return None
        return {
            "median": float(np.median(waits)),
            "p90": float(np.percentile(waits, 90)),
            "max": float(waits.max()),
            "count": float(len(waits)),
        }

    def assign_calls(self, calls: pd.DataFrame) -> IntArray:
        """The inference of each API call or range (a slice of a frame with ``tid``, ``pid`` and ``start_ns``), or -1."""
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
        counts = count_codes(self.of_kernel, self.count)
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


def _spans(work: pd.DataFrame) -> pd.DataFrame:
    """When the GPU worked for each inference of :meth:`Inferences.work` (the index), and how much of that time."""
    inference, starts, reach = (work[c].to_numpy() for c in ("inference", "start_ns", "reach_ns"))
    first = np.flatnonzero(np.diff(inference, prepend=-1))  # the first work of each inference
    final = np.append(first[1:], len(work)) - 1
    # what runs reaches from each opening to the last reach before the next one; the rest of the span is idle
    openings = np.flatnonzero(work["opens"].to_numpy())
    last = np.append(openings[1:], len(work)) - 1
    own = inference[openings] - inference[0]
    busy = sum_by_code(own, reach[last] - starts[openings], int(own[-1]) + 1)
    held = inference[first]
    span = reach[final] - starts[first]
    busy = busy[held - inference[0]]
    columns = {
        "gpu_start_ns": starts[first],
        "gpu_end_ns": reach[final],
        "gpu_span_ns": span,
        "gpu_busy_ns": busy,
        "gpu_idle_ns": span - busy,
    }
    return pd.DataFrame(columns, index=held.astype(np.int64))


_NO_SPANS = pd.DataFrame(
    {c: pd.Series(dtype=np.int64) for c in ("gpu_start_ns", "gpu_end_ns", "gpu_span_ns", "gpu_busy_ns", "gpu_idle_ns")},
    index=pd.Index([], dtype=np.int64),
)


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
            part[known] = _inference_of_calls(trace, ranges, calls[known])
        if not known.all():
            by_time = True
            times = begins[at : at + _PIECE][~known]
            place = np.searchsorted(starts, times, side="right") - 1
            inside = (place >= 0) & (times < ends[np.maximum(place, 0)])
            part[~known] = np.where(inside, place, -1)
    return found, by_time


def _inference_of_calls(trace: Trace, ranges: pd.DataFrame, rows: IntArray) -> IntArray:
    """The inference of some rows of the API calls."""
    tids, pids, starts = (trace.api_calls[c].to_numpy() for c in ("tid", "pid", "start_ns"))
    return _assign_by_host(trace, ranges, taken(tids, rows), taken(pids, rows), starts[rows])


def work_order(inference: IntArray, starts: IntArray, ends: IntArray) -> IntArray | None:
    """The rows by inference, start and end; None when they are so already."""

    def is_sorted() -> bool:
        later = inference[1:] > inference[:-1]
        same = inference[1:] == inference[:-1]
        later |= same & (starts[1:] > starts[:-1])
        return bool((later | (same & (starts[1:] == starts[:-1]) & (ends[1:] >= ends[:-1]))).all())

    return None if is_sorted() else np.lexsort((ends, starts, inference))


def _reach(inference: IntArray, ends: IntArray) -> IntArray:
    """The latest end so far within each inference. ``inference`` is sorted."""
    reach = np.maximum.accumulate(ends)
    first = np.flatnonzero(np.diff(inference, prepend=-1))
    late = np.flatnonzero(
        reach[first] != ends[first]
    )  # where the work of an earlier inference reaches into a later one
    last = np.concatenate((first[1:], [len(ends)]))
    for k in late:
        reach[first[k] : last[k]] = np.maximum.accumulate(ends[first[k] : last[k]])
    return reach


def _assign_by_host(trace: Trace, ranges: pd.DataFrame, tids: IntArray, pids: IntArray, times: IntArray) -> IntArray:
    """The inference in which a host thread was at a time. ``ranges`` is sorted by start and has a column ``row``."""
    found = np.full(len(times), -1, dtype=np.int32)
    if not len(ranges) or not len(times):
        return found
    nested = (ranges["kind"] == "push/pop").to_numpy()
    for by_thread in (True, False):
        chosen = np.flatnonzero(nested == by_thread)
        owners, asked = (ranges["tid"], tids) if by_thread else (ranges["pid"], pids)
        for owner in np.unique(owners.to_numpy()[chosen]):
            mine = chosen[owners.to_numpy()[chosen] == owner]
            starts, ends = ranges["start_ns"].to_numpy()[mine], ranges["end_ns"].to_numpy()[mine]
            everybody = is_constant(asked) and asked[0] == owner
            who = np.flatnonzero(found < 0) if everybody else np.flatnonzero((asked == owner) & (found < 0))
            place = np.searchsorted(starts, times[who], side="right") - 1
            inside = (place >= 0) & (times[who] < ends[np.maximum(place, 0)])
            found[who] = np.where(inside, mine[np.maximum(place, 0)], -1)
    return found
