"""Inferences inferred from launches: graphs that are launched again and again, or a sequence of kernels that repeats."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from profiler.analysis.run.periods import Period, find_period
from profiler.analysis.statistics import sum_by_code
from profiler.text import number, plural
from profiler.trace import Trace
from profiler.trace.arrays import IntArray, distinct
from profiler.trace.columns import Labels, Table

_MIN_COVERAGE = 0.5
_ALIKE = 0.9


@dataclass(frozen=True)
class Repetition:
    """What a program launches again and again.

    Attributes:
        ranges: a row a repetition, from the start of its first launch to the end of its last, as in
            :attr:`.inferences.Inferences.marks`; ``row`` -1.
        statement: what repeats and what shows it.
        origin: "graph launches" or "kernel sequence".
        coverage: share of the trace's GPU time.
    """

    ranges: Table = field(repr=False)
    statement: str
    origin: str
    coverage: float

    @property
    def count(self) -> int:
        return len(self.ranges)


@dataclass(frozen=True)
class _Launches:
    """Launches in order: what each starts (a code), when, until when the call takes, and the GPU time of it."""

    symbols: IntArray
    starts: IntArray
    ends: IntArray
    weights: IntArray
    kernels: IntArray
    tid: int
    pid: int

    def of(self, rows: IntArray) -> _Launches:
        kept = (self.symbols[rows], self.starts[rows], self.ends[rows], self.weights[rows], self.kernels[rows])
        return _Launches(*kept, self.tid, self.pid)


def find_repetition(trace: Trace, count: int | None = None) -> Repetition | None:
    """What repeats, if it covers most of the GPU time and repeats clearly; ``count``: exactly so often.

    Each process is looked at by itself, and, where several threads launch, each thread when the process shows nothing.
    """
    total = sum(int(work["duration_ns"].sum()) for work in (trace.events.kernels, trace.events.graph_traces))
    graphs = _graph_launches(trace)
    if graphs and sum(int(g.weights.sum()) for g in graphs) >= _MIN_COVERAGE * total:
        return _of_graphs(graphs, total, count)
    for by_thread in (False, True):
        sequences = _kernel_launches(trace, by_thread)
        if by_thread and len(sequences) < 2:
            break
        share = (
            None if count is None or len(sequences) == 1 else 0
        )  # N inferences of several sequences: which is not known
        if share == 0:
            continue
        parts = [(s, find_period(s.symbols, s.weights, s.starts, count)) for s in sequences]
        made = [(s, p) for s, p in parts if p is not None]
        found = _made(made, total, "kernel sequence", by_thread)
        if found is not None and found.coverage >= _MIN_COVERAGE:
            return found
    return None


def _of_graphs(launches: list[_Launches], total: int, count: int | None) -> Repetition | None:
    made = []
    for one in launches:
        values, often = np.unique(one.symbols, return_counts=True)
        usual = values[np.argmax(often)]
        rows = np.flatnonzero(one.symbols == usual)
        enough = int(one.weights[rows].sum()) >= _MIN_COVERAGE * max(int(one.weights.sum()), 1)
        if enough and len(rows) >= 2 and len(rows) >= _ALIKE * len(one.symbols) and count in (None, len(rows)):
            same = one.of(rows)
            made.append((same, Period(0, 1, len(rows), 1.0, True, None)))
        else:
            period = find_period(one.symbols, one.weights, one.starts, count, shortest=2)
            if period is not None:
                made.append((one, period))
    found = _made(made, total, "graph launches", len(launches) > 1)
    return found if found is not None and found.coverage >= _MIN_COVERAGE else None


def _made(parts: list[tuple[_Launches, Period]], total: int, origin: str, by_thread: bool) -> Repetition | None:
    if not parts:
        return None
    starts, stops, texts, owners = [], [], [], []
    covered = 0
    for launches, period in parts:
        firsts = period.first + period.length * np.arange(period.repeats)
        lasts = firsts + period.length - 1
        ends = np.maximum.accumulate(launches.ends)[lasts]
        covered += int(launches.weights[firsts[0] : lasts[-1] + 1].sum())
        starts.append(launches.starts[firsts])
        stops.append(np.maximum(ends, launches.starts[lasts] + 1))
        texts.append(np.arange(period.repeats))
        owners.append(np.full((period.repeats, 2), (launches.tid, launches.pid), dtype=np.int64))
    order = np.argsort(np.concatenate(starts), kind="stable")
    n = len(order)
    owner, same = np.concatenate(owners)[order], np.zeros(n, dtype=np.int8)
    ranges = Table(
        {
            "start_ns": np.concatenate(starts)[order],
            "end_ns": np.concatenate(stops)[order],
            "closed": np.ones(n, dtype=bool),
            "text": Labels(np.concatenate(texts)[order], [f"repetition {k}" for k in range(max(map(len, texts)))]),
            "domain": Labels(same, [""]),
            "kind": Labels(same, ["push/pop" if by_thread else "start/end"]),
            "tid": owner[:, 0],
            "pid": owner[:, 1],
            "row": np.full(n, -1, dtype=np.int64),
        }
    )
    coverage = covered / max(total, 1)
    return Repetition(ranges, _statement(parts, origin, coverage), origin, coverage)


def _statement(parts: list[tuple[_Launches, Period]], origin: str, coverage: float) -> str:
    launches, period = parts[0]
    n = sum(p.repeats for _, p in parts)
    if origin == "graph launches":
        what = (
            "launches of the same CUDA graph"
            if period.length == 1
            else f"repeated groups of {period.length:,} graph launches"
        )
        each = int(launches.kernels[period.first : period.first + period.length].sum())
        held = f" of {plural(each, 'kernel')}" if each else ""
    else:
        what, held = "repetitions of the same sequence", f" of {plural(period.length, 'kernel')}"
    said = [f"{number(100 * coverage)} % of the GPU time lies in them"]
    if period.is_whole and period.length > 1:
        said.append("no launch is left over")
    if period.gap_ratio is not None and period.gap_ratio >= 2:
        times = "much" if period.gap_ratio == float("inf") else f"{number(period.gap_ratio)} times"
        said.append(f"the pause before each is {times} the longest inside")
    if len(parts) > 1:
        said.append(f"on {len(parts)} threads or processes")
    return f"{n:,} {what}{held}, inferred, as no NVTX range marks the inferences ({'; '.join(said)}); each begins with its first launch"


def _graph_launches(trace: Trace) -> list[_Launches]:
    """Launches of CUDA graphs, a list a process: by the kernels that each started, or by the graph where those are hidden."""
    names = trace.events.api_calls["name"]
    is_graph = np.asarray(["GraphLaunch" in n for n in names.texts], dtype=bool)
    if not is_graph.any():
        return []
    found = []
    for work, column in ((trace.events.kernels, "name"), (trace.events.graph_traces, "graph_id")):
        at = work["api_call"]
        rows = np.flatnonzero((at >= 0) & is_graph[names.codes[np.maximum(at, 0)]])
        if not len(rows):
            continue
        values = (work["name"].codes if column == "name" else work["graph_id"])[rows].astype(np.int64)
        launched, place = np.unique(at[rows], return_inverse=True)
        durations = work["duration_ns"][rows]
        number_of = np.bincount(place, minlength=len(launched))
        # a code that does not depend on the order in which the streams of a graph ran: sums of scrambled names
        mixed = (values.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        sums = np.zeros(len(launched), dtype=np.uint64)
        np.add.at(sums, place, mixed)
        _, symbols = np.unique(sums, return_inverse=True)
        weights = sum_by_code(place, durations, len(launched))
        found += _by_owner(trace, launched, symbols, weights, number_of if column == "name" else 0 * number_of, False)
    return found


def _kernel_launches(trace: Trace, by_thread: bool) -> list[_Launches]:
    """Kernels in order of their launches, a list a process or a thread; in order of their start where launches are not recorded."""
    kernels = trace.events.kernels
    if not len(kernels):
        return []
    symbols, weights = kernels["name"].codes, kernels["duration_ns"]
    at = kernels["api_call"]
    ones = np.ones(len(kernels), dtype=np.int64)
    if int(at.max()) < 0:
        starts, ends = kernels["start_ns"], kernels["end_ns"]
        return [] if by_thread else [_Launches(symbols, starts, ends, weights, ones, -1, -1)]
    order = np.flatnonzero(at >= 0)
    order = order[np.argsort(at[order], kind="stable")]
    return _by_owner(trace, at[order], symbols[order], weights[order], ones[order], by_thread)


def _by_owner(
    trace: Trace, at: IntArray, symbols: IntArray, weights: IntArray, kernels: IntArray, by_thread: bool
) -> list[_Launches]:
    calls = trace.events.api_calls
    starts = calls["start_ns"][at]
    ends = starts + calls["duration_ns"][at]
    tids, pids = calls["tid"][at], calls["pid"][at]
    owners = tids if by_thread else pids
    found = []
    for owner in distinct(owners):
        rows = np.flatnonzero(owners == owner)
        own = (symbols[rows], starts[rows], ends[rows], weights[rows], kernels[rows])
        found.append(_Launches(*own, int(tids[rows[0]]), int(pids[rows[0]])))
    return found
