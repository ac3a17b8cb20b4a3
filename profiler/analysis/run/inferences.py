"""The inferences of a trace: which GPU work each holds, and its times. How they are found: :mod:`profiler.analysis.run.finding`.

A kernel belongs to the inference inside whose range it was *launched*, on the thread of the range (push/pop) or
anywhere in its process (start/end); when it ran does not matter. What a helper thread of the process launches (the autograd
engine's) belongs to the inference that is open then. Only where a trace holds no launches does the time at which the kernel
started decide. :attr:`Inferences.statement` says so where it is the case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from profiler.analysis.run.assignment import assign_by_host, inference_of_calls
from profiler.analysis.run.candidates import Candidate
from profiler.analysis.run.spans import GpuSpans, ReachOfPieces, gpu_spans, reach_of_pieces, rows_between
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.analysis.tabular import Tabular
from profiler.errors import TraceError
from profiler.lazy import cached_property
from profiler.text import duration, number, number_of_bytes, plural
from profiler.trace import Trace
from profiler.trace.arrays import PIECE, IntArray, gathered
from profiler.trace.arrays import pieces as pieces_of
from profiler.trace.columns import Labels, Table

if TYPE_CHECKING:
    import pandas as pd

_LAUNCH = re.compile(r"Launch(Kernel|CooperativeKernel|Cooperative|Grid|HostFunc)?|GraphLaunch", re.IGNORECASE)
_MUCH_LEFT = 0.1


@dataclass(frozen=True)
class SetAside:
    """A range that is like the inferences by name, but not one of them: warm-up, or cut off by the recording."""

    text: str
    kernels: int
    reason: str


@dataclass(frozen=True)
class Outside:
    """GPU work of the trace that belongs to no inference. Times are sums.

    Attributes:
        share_pct: of the time of all kernels and whole graphs of the trace.
    """

    kernels: int
    kernel_time_ns: int
    share_pct: float
    memcpys: int
    memcpy_bytes: int
    memcpy_time_ns: int
    memsets: int

    @property
    def sentence(self) -> str:
        if not (self.kernels or self.memcpys or self.memsets):
            return "nothing"
        return (
            f"{plural(self.kernels, 'kernel')} of {duration(self.kernel_time_ns)} ({number(self.share_pct)} % of the kernel time), "
            f"{plural(self.memcpys, 'copy', 'copies')} of {number_of_bytes(self.memcpy_bytes)} and {duration(self.memcpy_time_ns)}, "
            f"{plural(self.memsets, 'memory set')}"
        )


@dataclass(frozen=True, repr=False)
class Inferences(Tabular):
    """The inferences of a trace.

    Attributes:
        label: what the ranges are called, with ``#`` for a running number.
        statement: how they were found, or why there are none.
        marks: a row an inference, by start: ``start_ns``, ``end_ns``, ``closed``, ``text``, ``domain``, ``kind``, ``tid``, ``pid`` as in
            :attr:`Trace.nvtx_ranges`, and ``row`` there (-1: not a range).
        of_kernel: for each row of :attr:`Trace.kernels` the inference it belongs to, or -1.
        origin: "pattern", "ranges", "library ranges", "graph launches", "kernel sequence" or "none".
        helpers: threads whose launches belong to the inference that is open in their process.
        set_aside: ranges that are named like the inferences and were left out, with the reason.
        candidates: the NVTX ranges that could be inferences, best first.
    """

    trace: Trace
    label: str | None
    statement: str
    marks: Table
    of_kernel: IntArray
    of_graph_trace: IntArray
    of_memcpy: IntArray
    of_memset: IntArray
    origin: str = "ranges"
    helpers: tuple[int, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    candidates: tuple[Candidate, ...] = field(default=())

    @property
    def count(self) -> int:
        return len(self.marks)

    @property
    def ranges(self) -> pd.DataFrame:
        """:attr:`marks` as a frame."""
        return self.marks.frame()

    @property
    def summary(self) -> str:
        return f"{self.count:,}: {self.statement}" if self.count else self.statement

    def to_frame(self) -> pd.DataFrame:
        """A row an inference: :attr:`table`."""
        return self.table

    def median_inference(self) -> int:
        """The inference of median latency (the lower of the two middle ones), which stands for all where one is shown.

        Raises:
            TraceError: there are no inferences.
        """
        if not self.count:
            raise TraceError(f"{self.trace.path}: {self.statement}", "Name the ranges with --nvtx PATTERN.")
        order = np.argsort(self.table["latency_ns"].to_numpy(), kind="stable")
        return int(order[(len(order) - 1) // 2])

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """The kernels inside inferences, with a column ``inference``."""
        frame = self.trace.kernels.assign(inference=self.of_kernel)
        return frame[frame["inference"] >= 0]

    @cached_property
    def kernels_by_name(self) -> tuple[IntArray, IntArray]:
        """Number and total time of the kernels inside inferences (without inferences: of all), by the code of their name."""
        names, durations = (self.trace.events.kernels[c] for c in ("name", "duration_ns"))
        codes, n = names.codes, len(names.texts)
        if self.count and (self.of_kernel < 0).any():
            codes = np.where(self.of_kernel >= 0, codes, -1)
        return count_codes(codes, n), sum_by_code(codes, durations, n)

    def work_parts(self) -> list[Callable[[], Table]]:
        """What gives all GPU work inside inferences, by inference and start: as many whole inferences at a time as make up to
        :data:`PIECE` rows, one at least.

        Columns: ``inference``, ``start_ns``, ``end_ns``, ``source`` ("kernels", "memcpys", "memsets", "graph_traces"), ``row``
        (in the trace's frame of that name), ``reach_ns`` (the latest end so far in the inference) and ``opens`` (nothing ran
        right before: the first work of its inference, or the first after a gap).
        """
        n = self.count
        ends = np.cumsum(sum(count_codes(of, n) for _, _, of in self._sources)) if n else np.empty(0, np.int64)
        sources = [(name, table["start_ns"], table["duration_ns"], of) for name, table, of in self._sources]
        parts: list[Callable[[], Table]] = []
        within = [reach_of_pieces(of) for _, _, of in self._sources]
        first = 0
        while first < n:
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + PIECE, side="right")))
            if int(ends[last - 1]) > before:
                parts.append(partial(_work_of, sources, first, last, within))
            first = last
        return parts

    @property
    def _sources(self) -> tuple[tuple[str, Table, IntArray], ...]:
        events = self.trace.events
        return (
            ("kernels", events.kernels, self.of_kernel),
            ("memcpys", events.memcpys, self.of_memcpy),
            ("memsets", events.memsets, self.of_memset),
            ("graph_traces", events.graph_traces, self.of_graph_trace),
        )

    @cached_property
    def gpu_spans(self) -> GpuSpans:
        """When the GPU worked for each inference, and the longest gaps."""
        return gpu_spans(self.work_parts())

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
        table = table.join(self.gpu_spans.spans.astype("Int64"))
        ends = table["gpu_end_ns"].fillna(table["end_ns"]).astype(np.int64)
        table.insert(3, "latency_ns", np.maximum(ends, table["end_ns"]) - table["start_ns"])
        launches, events = self.launch_calls, self.trace.events
        for source, of, count, time in (
            (events.kernels, self.of_kernel, "kernels", "kernel_time_ns"),
            (launches, launches["inference"], "launches", "launch_time_ns"),
            (events.memcpys, self.of_memcpy, "memcpys", "memcpy_time_ns"),
            (events.memsets, self.of_memset, "memsets", "memset_time_ns"),
        ):
            table[count] = count_codes(of, n)
            table[time] = sum_by_code(of, source["duration_ns"], n)
        table["memcpy_bytes"] = sum_by_code(self.of_memcpy, events.memcpys["bytes"], n)
        return table

    @cached_property
    def launch_calls(self) -> Table:
        """The API calls that start GPU work: ``name``, ``duration_ns``, ``inference`` (-1: outside)."""
        calls = self.trace.events.api_calls
        rows = np.flatnonzero(is_launch(calls["name"]))
        of = gathered(
            len(rows), np.int32, lambda piece: inference_of_calls(self.trace, self.marks, rows[piece], self.helpers)
        )
        return Table({"name": calls["name"].take(rows), "duration_ns": calls["duration_ns"][rows], "inference": of})

    @cached_property
    def launch_to_start_ns(self) -> dict[str, float] | None:
        """From the start of the launch call to the start of the kernel: ``median``, ``p90``, ``max`` and ``count``.

        Of a CUDA graph only its first kernel counts. None where no kernel (inside the inferences, if there are any) has a launch.
        """
        events = self.trace.events
        launched, starts = events.kernels["api_call"], events.kernels["start_ns"]
        called = events.api_calls["start_ns"]
        seen = np.zeros(len(called), dtype=bool)
        pieces = []
        for piece in pieces_of(len(launched)):
            calls = launched[piece]
            counted = calls >= 0
            if self.count:
                counted &= self.of_kernel[piece] >= 0
            rows = np.flatnonzero(counted)
            calls = calls[rows]
            if not (calls[1:] > calls[:-1]).all():
                # kernels are sorted by start; of a graph only the first counts
                calls, first = np.unique(calls, return_index=True)
                rows = rows[first]
            new = ~seen[calls]
            seen[calls] = True
            pieces.append(starts[piece.start + rows[new]] - called[calls[new]])
        waits = np.concatenate(pieces or [np.empty(0, np.int64)])
        if not len(waits):
            return None
        return {
            "median": float(np.median(waits)),
            "p90": float(np.percentile(waits, 90)),
            "max": float(waits.max()),
            "count": float(len(waits)),
        }

    def assign_calls(self, calls: Table) -> IntArray:
        """The inference of each API call or range, or -1."""
        return assign_by_host(self.marks, calls["tid"], calls["pid"], calls["start_ns"], self.helpers)

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
            note = f"{plural(total, 'kernel')} ÷ {plural(self.count, 'inference')} is not a whole number"
        else:
            note = f"the {plural(self.count, 'inference')} do not have the same number of kernels"
        return (
            per,
            f"{note}: they have {counts.min():,} to {counts.max():,}, so the inferences were not alike.",
        )

    @property
    def is_inferred(self) -> bool:
        """Whether no range marks them: they are what repeats."""
        return self.origin in ("graph launches", "kernel sequence")

    @property
    def kernels_outside(self) -> int:
        """Kernels of the trace that belong to no inference."""
        return int((self.of_kernel < 0).sum())

    @cached_property
    def outside(self) -> Outside:
        """What of the trace belongs to no inference."""
        events = self.trace.events
        copies, durations = events.memcpys, events.kernels["duration_ns"]
        time = int(durations.sum(where=self.of_kernel < 0))
        graphs = events.graph_traces["duration_ns"]
        whole = int(durations.sum()) + int(graphs.sum())
        alone = self.of_memcpy < 0
        return Outside(
            self.kernels_outside,
            time,
            100.0 * (time + int(graphs.sum(where=self.of_graph_trace < 0))) / max(whole, 1),
            int(alone.sum()),
            int(copies["bytes"][alone].sum()),
            int(copies["duration_ns"][alone].sum()),
            int((self.of_memset < 0).sum()),
        )

    @cached_property
    def share_between(self) -> float:
        """The same of the time that kernels ran between the first and the last work of the inferences."""
        inside = window = 0
        parts = [(f, of) for name, f, of in self._sources if name in ("kernels", "graph_traces")]
        times = [(t["start_ns"], t["duration_ns"], of >= 0) for t, of in parts]
        firsts = [int(starts[mine].min()) for starts, _, mine in times if mine.any()]
        if not firsts:
            return 0.0
        lasts = [int(starts[mine].max()) for starts, _, mine in times if mine.any()]
        for starts, durations, mine in times:
            inside += int(durations.sum(where=mine))
            window += int(durations.sum(where=(starts >= min(firsts)) & (starts <= max(lasts))))
        return inside / max(window, 1)

    @cached_property
    def kernels_in_most(self) -> int:
        """The number of kernels (or whole graphs) that most inferences have."""
        counts = count_codes(self.of_kernel, self.count) + count_codes(self.of_graph_trace, self.count)
        return int(np.bincount(counts).argmax()) if len(counts) else 0

    @cached_property
    def work_of_helpers(self) -> tuple[int, float] | None:
        """Kernels in inferences that helper threads launched, and their share (0 to 1) of the inferences' kernel time; None without."""
        if not self.helpers:
            return None
        called, durations = (self.trace.events.kernels[c] for c in ("api_call", "duration_ns"))
        tids = self.trace.events.api_calls["tid"]
        inside = np.flatnonzero((self.of_kernel >= 0) & (called >= 0))
        theirs = inside[np.isin(tids[called[inside]], np.asarray(self.helpers))]
        if not len(theirs):
            return None
        return len(theirs), int(durations[theirs].sum()) / max(int(durations[inside].sum()), 1)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know of these inferences."""
        found = [f"“{s.text}” was set aside: {s.reason}." for s in self.set_aside[:5]]
        if len(self.set_aside) > 5:
            found.append(f"{len(self.set_aside) - 5:,} more ranges were set aside for such reasons.")
        left = 1.0 - self.share_between
        if self.count and not self.set_aside and left >= _MUCH_LEFT:
            found.append(
                f"{number(100 * left)} % of the GPU time between the first and the last inference lies outside of them; "
                f"no figure per inference holds it."
            )
        if self.count and self.overlap:
            found.append(
                "Inferences overlap in time (several instances at once), so a latency includes waiting for the others' work."
            )
        return tuple(found)

    @cached_property
    def overlap(self) -> bool:
        """Whether some inferences were open at the same time."""
        starts, ends = self.marks["start_ns"], self.marks["end_ns"]
        return bool((starts[1:] < np.maximum.accumulate(ends)[:-1]).any())

    def without(self, rows: Mapping[int, str]) -> Inferences:
        """The same without some of the inferences, which are set aside for the reasons given."""
        kept = np.ones(self.count, dtype=bool)
        kept[list(rows)] = False
        place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)  # the last: of work outside
        counts = count_codes(self.of_kernel, self.count)
        texts = self.marks["text"]
        aside = tuple(SetAside(texts.at(k), int(counts[k]), reason) for k, reason in sorted(rows.items()))
        left = int(kept.sum())
        only = ": n = 1, so nothing is known of how it varies" if left == 1 else ""
        return replace(
            self,
            marks=self.marks.take(kept),
            of_kernel=place[self.of_kernel],
            of_graph_trace=place[self.of_graph_trace],
            of_memcpy=place[self.of_memcpy],
            of_memset=place[self.of_memset],
            statement=f"{left:,} of {self.statement} ({len(aside):,} set aside){only}",
            set_aside=(*self.set_aside, *aside),
        )


_Source = tuple[str, IntArray, IntArray, IntArray]
"""GPU work of one kind: its name, starts, durations, and of which inference each is."""


def _work_of(sources: Sequence[_Source], first: int, last: int, within: Sequence[ReachOfPieces]) -> Table:
    """The work of the inferences from ``first`` up to, not including, ``last``."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("inference", "start_ns", "end_ns", "source", "row")}
    for code, ((_, starts, durations, of), where) in enumerate(zip(sources, within)):
        rows = rows_between(of, first, last, where)
        parts["inference"].append(of[rows])
        parts["start_ns"].append(starts[rows])
        parts["end_ns"].append(starts[rows] + durations[rows])
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
    source = Labels(columns.pop("source"), [name for name, *_ in sources])
    return Table({**columns, "source": source, "reach_ns": reach, "opens": opens})


def is_launch(names: Labels) -> npt.NDArray[np.bool_]:
    """Which API calls start GPU work: kernel launches and graph launches, of the runtime and the driver API."""
    return names.are(*(n for n in names.texts if _LAUNCH.search(n) and "HostFunc" not in n))


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
