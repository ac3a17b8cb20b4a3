"""A window of one or two traces in the Trace Event Format, which Perfetto and chrome://tracing open.

Each side is a process, each stream and each NVTX level a thread of it, and both start at zero. The format is described in
"Trace Event Format" (Google, 2016): complete events (``ph`` X) with ``ts`` and ``dur`` in microseconds, metadata events
(``ph`` M) with the names, flow events (``ph`` s and f) from a launch call to what it launched. Times have three decimals,
which are nanoseconds.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.fusion.counterparts import Counterparts
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.inferences import is_launch
from profiler.analysis.run.kernels import classified_names
from profiler.analysis.run.timeline import GRAPH, KERNEL, MEMCPY, NVTX, Part, Timeline
from profiler.trace import Trace

Int64Array = npt.NDArray[np.int64]
_MAX_NAME, _MAX_SHORT = 10_000, 200
_GRID = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")


@dataclass(frozen=True)
class TimelineWindow:
    """One process of the export: a window of a part of a trace; times since the part's start."""

    timeline: Timeline
    part: Part
    low_ns: int
    high_ns: int


def chrome_trace(sides: Mapping[str, TimelineWindow], counterparts: Counterparts | None = None) -> bytes:
    """The JSON document.

    Args:
        sides: "before" and "after", or one of them; processes in this order.
        counterparts: where there is a ledger: gives each kernel its module, layer and status.
    """
    document = io.StringIO()
    document.write('{"displayTimeUnit":"ns","otherData":')
    document.write(json.dumps({name: _about(side) for name, side in sides.items()}))
    document.write(',"traceEvents":[\n')
    first = True
    for pid, (name, side) in enumerate(sides.items(), 1):
        for event in _process(pid, name, side, counterparts):
            document.write("" if first else ",\n")
            document.write(json.dumps(event, allow_nan=False))
            first = False
    document.write("\n]}\n")
    return document.getvalue().encode()


def compressed(document: bytes) -> bytes:
    """gzip, the same bytes for the same document; Perfetto opens it as it is."""
    return gzip.compress(document, mtime=0)


def _about(side: TimelineWindow) -> dict[str, Any]:
    return {
        "title": side.timeline.analysis.facts.title,
        "file": side.timeline.analysis.trace.label,
        "part": side.part.label,
        "from_us": side.low_ns / 1e3,
        "to_us": side.high_ns / 1e3,
    }


def _process(pid: int, name: str, side: TimelineWindow, counterparts: Counterparts | None) -> Iterator[dict[str, Any]]:
    title = f"{name}: {side.timeline.analysis.facts.title}, {side.part.label}"
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": title}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    bars = side.timeline.window(side.part, side.low_ns, side.high_ns)
    described = _Described(name, side.timeline.analysis.trace, counterparts)
    launched: list[tuple[int, int, int]] = []  # API call, thread and start of each piece of GPU work
    tid = 0
    for lane, rows in bars.frame.groupby("lane", sort=True):
        label = bars.lanes[int(str(lane))]
        for level, part in enumerate(_disjoint(rows)):
            tid += 1
            yield from _thread(pid, tid, f"{label} ({level + 1})" if level else label)
            for kind, mine in part.groupby("kind", sort=False):
                rows_ = mine["row"].to_numpy()
                times, categories = zip(mine["start_ns"].tolist(), mine["end_ns"].tolist()), mine["category"].tolist()
                for at, category, (text, args) in zip(times, categories, described.of(str(kind), rows_)):
                    yield _event(pid, tid, side, at, CATEGORY_LABELS.get(category, category), text, args)
                launched += zip(described.calls(str(kind), rows_), [tid] * len(mine), mine["start_ns"].tolist())
    yield from _launches(pid, tid, side, launched)


def _thread(pid: int, tid: int, label: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": label}}
    yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}


def _event(
    pid: int, tid: int, side: TimelineWindow, times: tuple[int, int], category: str, name: str, args: dict[str, Any]
) -> dict[str, Any]:
    """A complete event; what reaches over the window's edge is cut there, and says so."""
    low, high = side.part.origin_ns + side.low_ns, side.part.origin_ns + side.high_ns
    start, end = max(times[0], low), min(times[1], high)
    if (start, end) != times:
        args = {**args, "cut at the window": True, "whole duration, ns": times[1] - times[0]}
    return {
        "ph": "X",
        "pid": pid,
        "tid": tid,
        "ts": (start - side.part.origin_ns) / 1e3,
        "dur": (end - start) / 1e3,
        "cat": category,
        "name": name,
        "args": args,
    }


def _disjoint(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Bars of a lane in as few threads as hold them side by side: the viewers want a thread's events not to overlap."""
    starts, ends = rows["start_ns"].to_numpy(), rows["end_ns"].to_numpy()
    if len(rows) < 2 or (starts[1:] >= np.maximum.accumulate(ends)[:-1]).all():
        return [rows]
    free: list[int] = []
    levels = np.empty(len(rows), dtype=np.int64)
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        level = next((i for i, until in enumerate(free) if until <= start), len(free))
        free[level : level + 1] = [end]
        levels[place] = level
    return [rows[levels == level] for level in range(len(free))]


class _Described:
    """Names and arguments of the events of one side."""

    def __init__(self, side: str, trace: Trace, counterparts: Counterparts | None) -> None:
        self.side, self.trace, self.counterparts = side, trace, counterparts
        classes = classified_names(trace)
        self._classes = classes.astype(object).where(classes.notna(), None).to_dict("records")

    def calls(self, kind: str, rows: Int64Array) -> list[int]:
        """The API call that launched each piece of work, -1 where it is not known or was no launch."""
        if kind not in (KERNEL, GRAPH):
            return [-1] * len(rows)
        frame = self.trace.kernels if kind == KERNEL else self.trace.graph_traces
        return [int(c) for c in frame["api_call"].to_numpy()[rows]]

    def of(self, kind: str, rows: Int64Array) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and arguments per row of the trace's frame of a kind."""
        if kind == KERNEL:
            yield from self._kernels(rows)
        elif kind == NVTX:
            part = self.trace.nvtx_ranges.iloc[rows]
            for text, domain in zip(part["text"].astype(str), part["domain"].astype(str)):
                yield text[:_MAX_NAME] or "(no text)", {"domain": domain} if domain else {}
        elif kind == GRAPH:
            for _ in rows:
                yield "CUDA graph, recorded whole", {"note": "its kernels are not in the trace"}
        else:
            part = (self.trace.memcpys if kind == MEMCPY else self.trace.memsets).iloc[rows]
            names = [f"memory copy, {k}" for k in part["kind"]] if kind == MEMCPY else ["memory set"] * len(part)
            for row, name, size in zip(rows.tolist(), names, part["bytes"].tolist()):
                yield name, {"bytes": size, **self._ledger(kind, row)}

    def _kernels(self, rows: Int64Array) -> Iterator[tuple[str, dict[str, Any]]]:
        part = self.trace.kernels.iloc[rows]
        codes, ranges = part["name"].cat.codes.tolist(), part["nvtx"].tolist()
        details = self.trace.kernel_details(rows)
        shapes = zip(*(details[c].tolist() for c in _GRID))
        paths = {r: " › ".join(self.trace.nvtx_path(r))[:_MAX_NAME] for r in set(ranges)}
        for row, code, inside, shape, correlation in zip(
            rows.tolist(), codes, ranges, shapes, part["correlation_id"].tolist()
        ):
            found = self._classes[code]
            args = {
                "name": found["name"][:_MAX_NAME],
                "kind": CATEGORY_LABELS[found["category"]],
                "precision": found["precision"],
                "Tensor Cores (by name)": found["tensor_cores"],
                "rule": found["rule"],
                "launched in": paths[inside] or None,
                "grid": "×".join(map(str, shape[:3])),
                "block": "×".join(map(str, shape[3:])),
                "correlation": correlation,
                **self._ledger(KERNEL, row),
            }
            yield found["short_name"][:_MAX_SHORT], {k: v for k, v in args.items() if v is not None}

    def _ledger(self, kind: str, row: int) -> dict[str, Any]:
        held = self.counterparts.row_of(self.side, kind, row) if self.counterparts else None
        if held is None:
            return {}
        cell = held.before if self.side == "before" else held.after
        found = {"module": held.label, "status": held.status}
        if held.into:
            found["into"] = held.into
        if cell is not None and cell.layers:
            found["layer"] = " | ".join(layer.name for layer in cell.layers)[:_MAX_NAME]
        return found


def _launches(
    pid: int, tid: int, side: TimelineWindow, launched: list[tuple[int, int, int]]
) -> Iterator[dict[str, Any]]:
    """Launch calls inside the window, a thread a host thread, and a flow from each to the first work that it started."""
    trace = side.timeline.analysis.trace
    calls = trace.api_calls
    low, high = side.part.origin_ns + side.low_ns, side.part.origin_ns + side.high_ns
    starts = calls["start_ns"].to_numpy()
    ends = starts + calls["duration_ns"].to_numpy()
    inside = np.flatnonzero(is_launch(trace.events.api_calls["name"]) & (ends > low) & (starts < high))
    first: dict[int, tuple[int, int]] = {}
    for call, thread, start in launched:
        if call >= 0 and (call not in first or start < first[call][1]):
            first[call] = (thread, start)
    mine = calls.iloc[inside].assign(row=inside, end_ns=ends[inside])
    rows = [
        (n, level, part) for n, (_, m) in enumerate(mine.groupby("tid"), 1) for level, part in enumerate(_disjoint(m))
    ]
    for thread, (number, level, part) in enumerate(rows, tid + 1):
        more = f" ({level + 1})" if level else ""
        yield from _thread(pid, thread, f"launch calls, host thread {number}{more}")
        columns = (part[c].tolist() for c in ("row", "start_ns", "end_ns", "name", "correlation_id"))
        for row, start, end, name, correlation in zip(*columns):
            yield _event(pid, thread, side, (start, end), "launch call", str(name), {"correlation": correlation})
            if row not in first or start < low or not low <= first[row][1] < high:
                continue
            to, at = first[row]
            # a whole number: Perfetto drops flows whose id is another text
            flow = {"pid": pid, "cat": "launch", "name": "launch", "id": 2 * row + pid - 1}
            yield {"ph": "s", **flow, "tid": thread, "ts": (start - side.part.origin_ns) / 1e3}
            yield {"ph": "f", "bp": "e", **flow, "tid": to, "ts": (at - side.part.origin_ns) / 1e3}
