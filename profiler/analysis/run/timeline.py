"""A window of a trace as bars on lanes: streams of the GPU, and levels of NVTX ranges.

A window is a slice of the trace's sorted events, found by bisection, so the cost of a query is that of what the window holds.
Bars narrower than a pixel that start in the same pixel of a lane become one bar that says how many they are: the number
of bars depends on the picture's width, not on the trace's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.run.kernels import classified_names
from profiler.analysis.run.run import Run
from profiler.lazy import cached_property

Int64Array = npt.NDArray[np.int64]
_Lanes = tuple[tuple[str, ...], list[tuple[bool, int, int]], int]
"""Labels, keys (NVTX or not, thread or device, level or stream), and how many there are, drawn or not."""
KERNEL, MEMCPY, MEMSET, GRAPH, NVTX = "kernel", "memcpy", "memset", "graph", "nvtx"
KINDS = (KERNEL, MEMCPY, MEMSET, GRAPH, NVTX)
MAX_LEVELS = 8
MAX_LANES = 40
_SOURCES = {KERNEL: "kernels", MEMCPY: "memcpys", MEMSET: "memsets", GRAPH: "graph_traces", NVTX: "nvtx_ranges"}


@dataclass(frozen=True)
class Part:
    """A part of a trace: from ``origin_ns`` on, ``length_ns`` long. ``label`` says what it is."""

    origin_ns: int
    length_ns: int
    label: str
    inference: int | None = None


@dataclass(frozen=True)
class Bars:
    """What a window holds.

    Attributes:
        frame: a row a bar: ``kind``, ``row`` (in the trace's frame of that kind; of a merged bar its longest member), ``lane``
            (place in ``lanes``), ``start_ns``, ``end_ns`` (absolute, not clipped), ``busy_ns`` (sum of the durations),
            ``count`` (1, or the number of merged ones), ``category`` and ``tensor_cores`` (of a kernel; of a merged bar of
            what takes most of its time).
        lanes: their labels from top to bottom, NVTX first.
        held: pieces of GPU work in the window, and drawn: in how many of them a bar stands.
        held_ranges, drawn_ranges: the same of NVTX ranges.
        all_lanes: how many lanes there are; at most :data:`MAX_LANES` are drawn.
        merged: bars that stand for several.
    """

    frame: pd.DataFrame
    lanes: tuple[str, ...]
    held: int
    drawn: int
    held_ranges: int
    drawn_ranges: int
    all_lanes: int
    merged: int

    @property
    def statement(self) -> str:
        """How much of the window is drawn, and how."""
        said = f"{self.drawn:,} of {self.held:,} GPU operations and {self.drawn_ranges:,} of {self.held_ranges:,} NVTX ranges"
        if self.merged:
            bars = "1 bar stands" if self.merged == 1 else f"{self.merged:,} bars stand"
            said += f"; {bars} for several that are narrower than a pixel together: zoom in to see each"
        if self.all_lanes > len(self.lanes):
            said += f"; {len(self.lanes):,} of {self.all_lanes:,} lanes"
        return f"{said}."


class Timeline:
    """One trace, to be asked for windows. Indexes are built on first use and kept.

    Lanes are those of a :class:`Part`, the same for every window of it.
    """

    def __init__(self, analysis: Run) -> None:
        self.analysis = analysis
        self._reach: dict[str, Int64Array] = {}

    @cached_property
    def _classes(self) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        found = classified_names(self.analysis.trace)
        return found["category"].to_numpy(dtype=object), found["tensor_cores"].to_numpy(dtype=object)

    def inference(self, index: int) -> Part:
        """One inference: zero is the moment in which the host enters it."""
        row = self.analysis.inferences.table.iloc[index]
        return Part(int(row["start_ns"]), int(row["latency_ns"]), str(row["text"]), index)

    def whole(self) -> Part:
        """The trace from its first GPU work or call on."""
        low, high = self.analysis.trace.span_ns or (0, 1)
        return Part(low, max(high - low, 1), "whole trace")

    def from_first_kernel(self) -> Part:
        """The trace from its first kernel or graph on: calls that set things up come long before, and show nothing."""
        low, high = self.analysis.trace.span_ns or (0, 1)
        firsts = [int(f["start_ns"].iloc[0]) for f in (self._frame(KERNEL), self._frame(GRAPH)) if len(f)]
        low = min(firsts, default=low)
        return Part(low, max(high - low, 1), "trace from the first kernel on")

    def window(self, part: Part, low_ns: int, high_ns: int, pixels: int | None = None) -> Bars:
        """The bars between two times of a part.

        Args:
            low_ns, high_ns: since the start of the part.
            pixels: width of the picture; bars that are narrower than one are merged. None: no bar is merged.
        """
        names, where, all_lanes = self._lanes(part)
        low, high = part.origin_ns + low_ns, part.origin_ns + max(high_ns, low_ns + 1)
        events = self._events(low, high)
        place = {key: i for i, key in enumerate(where)}
        keys = pd.MultiIndex.from_arrays([events["is_nvtx"], events["major"], events["minor"]])
        unique = keys.unique()
        codes = unique.get_indexer(keys)
        of_key = np.asarray([place.get(tuple(k), -1) for k in unique], dtype=np.int64)
        events["lane"] = of_key[codes] if len(events) else np.empty(0, np.int64)
        nvtx = (events["kind"] == NVTX).to_numpy()
        held, held_ranges = int((~nvtx).sum()), int(nvtx.sum())
        shown = events[events["lane"] >= 0]
        drawn_nvtx = int((shown["kind"] == NVTX).sum())
        bars = _merged(shown, low, (high - low) / pixels) if pixels else _single(shown)
        return Bars(
            bars, names, held, len(shown) - drawn_nvtx, held_ranges, drawn_nvtx, all_lanes,
            int((bars["count"] > 1).sum()),
        )  # fmt: skip

    def activity(self, part: Part, bins: int, length_ns: int) -> npt.NDArray[np.float64]:
        """GPU work of a part over the first ``length_ns`` from its start: per equal bin the sum of durations ÷ its length, at most 1."""
        edges = part.origin_ns + np.minimum(np.linspace(0.0, length_ns, bins + 1), part.length_ns)
        covered = np.zeros(bins + 1)
        for kind in (KERNEL, MEMCPY, MEMSET, GRAPH):
            rows = self.rows(kind, part.origin_ns, part.origin_ns + part.length_ns)
            frame = self._frame(kind).iloc[rows]
            covered += _elapsed(np.sort(frame["start_ns"].to_numpy(dtype=np.int64)), edges)
            covered -= _elapsed(np.sort(frame["end_ns"].to_numpy(dtype=np.int64)), edges)
        return np.clip(np.diff(covered) * bins / length_ns, 0.0, 1.0)

    def rows(self, kind: str, low_ns: int, high_ns: int) -> Int64Array:
        """Rows of the trace's frame of a kind that overlap a span of absolute times."""
        frame = self._frame(kind)
        if not len(frame):
            return np.empty(0, np.int64)
        starts, ends = frame["start_ns"].to_numpy(), frame["end_ns"].to_numpy()
        if kind not in self._reach:
            self._reach[kind] = np.maximum.accumulate(ends)
        first = int(np.searchsorted(self._reach[kind], low_ns, side="right"))
        last = int(np.searchsorted(starts, high_ns, side="left"))
        found = np.arange(first, max(first, last), dtype=np.int64)
        return found[ends[first : max(first, last)] > low_ns]

    def _frame(self, kind: str) -> pd.DataFrame:
        frame: pd.DataFrame = getattr(self.analysis.trace, _SOURCES[kind])
        return frame

    def _events(self, low: int, high: int) -> pd.DataFrame:
        """Everything in a span; ``is_nvtx``, ``major`` and ``minor`` are what lanes are made of."""
        trace = self.analysis.trace
        parts = []
        for kind in KINDS:
            rows = self.rows(kind, low, high)
            if kind == NVTX:
                rows = rows[trace.nvtx_index.level[rows] < MAX_LEVELS]
            frame = self._frame(kind).iloc[rows]
            part = pd.DataFrame(
                {
                    "row": rows,
                    "start_ns": frame["start_ns"].to_numpy(dtype=np.int64),
                    "end_ns": frame["end_ns"].to_numpy(dtype=np.int64),
                }
            )
            part["kind"] = kind
            part["is_nvtx"] = kind == NVTX
            if kind == NVTX:
                part["major"], part["minor"] = frame["tid"].to_numpy(), trace.nvtx_index.level[rows]
                part["category"], part["tensor_cores"] = NVTX, ""
            else:
                part["major"], part["minor"] = frame["device_id"].to_numpy(), frame["stream_id"].to_numpy()
                if kind == KERNEL:
                    codes = frame["name"].cat.codes.to_numpy()
                    category, cores = self._classes
                    part["category"], part["tensor_cores"] = category[codes], cores[codes]
                else:
                    part["category"], part["tensor_cores"] = ("other" if kind == GRAPH else "layout"), ""
            parts.append(part)
        filled = [p for p in parts if len(p)]
        return pd.concat(filled or parts[:1], ignore_index=True)

    def _lanes(self, part: Part) -> _Lanes:
        """The lanes of a part, NVTX levels first, then streams."""
        if part not in self._lane_cache:
            events = self._events(part.origin_ns, part.origin_ns + part.length_ns)
            keys = events[["is_nvtx", "major", "minor"]].drop_duplicates()
            found = sorted((bool(n), int(a), int(b)) for n, a, b in keys.itertuples(index=False))
            ranges, streams = [k for k in found if k[0]], [k for k in found if not k[0]]
            threads, devices = list(dict.fromkeys(k[1] for k in ranges)), {k[1] for k in streams}
            kept = ranges[: max(MAX_LANES - len(streams), MAX_LANES // 2)]
            kept += streams[: MAX_LANES - len(kept)]
            names = []
            for is_nvtx, major, minor in kept:
                if is_nvtx:
                    names.append(
                        f"NVTX thread {threads.index(major) + 1} {minor}" if len(threads) > 1 else f"NVTX {minor}"
                    )
                else:
                    names.append(f"GPU {major} stream {minor}" if len(devices) > 1 else f"stream {minor}")
            self._lane_cache[part] = tuple(names), kept, len(found)
        return self._lane_cache[part]

    @cached_property
    def _lane_cache(self) -> dict[Part, _Lanes]:
        return {}


def _elapsed(moments: Int64Array, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each edge the sum, over the moments before it, of the time since then. ``moments`` is sorted."""
    base = int(edges[0])  # times since the epoch are too large for exact products
    sums = np.concatenate(([0], np.cumsum(moments - base)))
    count = np.searchsorted(moments, edges, side="left")
    return count * (edges - base) - sums[count]


def _single(events: pd.DataFrame) -> pd.DataFrame:
    bars = events.assign(busy_ns=events["end_ns"] - events["start_ns"], count=1)
    return bars.sort_values(["lane", "start_ns"], ignore_index=True)[_COLUMNS]


def _merged(events: pd.DataFrame, low: int, pixel_ns: float) -> pd.DataFrame:
    """One bar for what starts in the same pixel of a lane and is narrower than one."""
    bars = _single(events)
    if not len(bars):
        return bars
    narrow = (bars["busy_ns"] < pixel_ns).to_numpy()
    pixel = np.floor((bars["start_ns"].to_numpy() - low) / pixel_ns).astype(np.int64)
    lane = bars["lane"].to_numpy()
    joins = np.zeros(len(bars), dtype=bool)
    joins[1:] = narrow[1:] & narrow[:-1] & (pixel[1:] == pixel[:-1]) & (lane[1:] == lane[:-1])
    if not joins.any():
        return bars
    group = np.cumsum(~joins) - 1
    sums = bars.groupby(group).agg(end_ns=("end_ns", "max"), busy_ns=("busy_ns", "sum"), count=("count", "sum"))
    longest = bars["busy_ns"].groupby(group).idxmax().to_numpy()
    first = np.flatnonzero(~joins)
    merged = bars.iloc[first].reset_index(drop=True)
    merged["row"] = bars["row"].to_numpy()[longest]
    merged["kind"] = bars["kind"].to_numpy()[longest]
    for column in ("category", "tensor_cores"):
        merged[column] = _by_time(group, bars[column], bars["busy_ns"])
    for column in ("end_ns", "busy_ns", "count"):
        merged[column] = sums[column].to_numpy()
    return merged


def _by_time(group: Int64Array, values: pd.Series, times: pd.Series) -> npt.NDArray[np.object_]:
    """Per group the value that takes most of its time; of equal ones the first in order of their names."""
    codes, kinds = pd.factorize(values, sort=True)
    sums = times.groupby([group, codes]).sum().reset_index()
    sums.columns = pd.Index(["group", "code", "time"])
    best = sums.sort_values(["group", "time", "code"], ascending=[True, False, True]).drop_duplicates("group")
    found: npt.NDArray[np.object_] = np.asarray(kinds, dtype=object)[best["code"].to_numpy()]
    return found


_COLUMNS = ["kind", "row", "lane", "start_ns", "end_ns", "busy_ns", "count", "category", "tensor_cores"]
