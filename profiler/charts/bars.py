"""The bars of a timeline with their names: for the canvas of the page, and for the figure of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.timeline import GRAPH, KERNEL, MEMCPY, NVTX, Bars, Part, Timeline
from profiler.charts.palette import CATEGORY_COLOURS, NVTX_COLOUR, SIDES, text_on
from profiler.text import duration, visible

MAX_FIGURE_PIXELS = 1400
_OVERVIEW_BINS = 400
_MAX_TEXT = 2_000


def labels(timeline: Timeline, frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Per bar its name and a line about it; a merged bar says of how many it stands, and names its longest."""
    names = np.full(len(frame), "", dtype=object)
    details = np.full(len(frame), "", dtype=object)
    trace = timeline.analysis.trace
    for kind, places in frame.groupby("kind", sort=False).indices.items():
        rows = frame["row"].to_numpy()[places]
        if kind == KERNEL:
            held = trace.kernels.iloc[rows]
            paths = {int(r): " › ".join(trace.nvtx_path(int(r))[-2:]) for r in held["nvtx"].unique()}
            names[places] = held["name"].astype(str).to_numpy()
            details[places] = [
                f"launched in {paths[int(r)]}" if paths[int(r)] else "launch not inside an NVTX range"
                for r in held["nvtx"]
            ]
        elif kind == NVTX:
            held = trace.nvtx_ranges.iloc[rows]
            names[places] = held["text"].astype(str).to_numpy()
            details[places] = [
                "NVTX range on the host" + (f", domain {d}" if d else "") for d in held["domain"].astype(str)
            ]
        elif kind == GRAPH:
            names[places] = "CUDA graph, recorded whole"
            details[places] = "its kernels are not in the trace"
        else:
            held = (trace.memcpys if kind == MEMCPY else trace.memsets).iloc[rows]
            names[places] = [f"memory copy, {k}" for k in held["kind"]] if kind == MEMCPY else "memory set"
            details[places] = [f"{b:,} bytes" for b in held["bytes"]]
    for at in np.flatnonzero(frame["count"] > 1):
        count, busy = frame["count"].iloc[at], frame["busy_ns"].iloc[at]
        details[at] = f"{count:,} in this pixel, {duration(busy)} together; the longest is {names[at]}"[:_MAX_TEXT]
        names[at] = f"{count:,} short ones"
    return [visible(str(n)[:_MAX_TEXT]) for n in names], [visible(str(d)[:_MAX_TEXT]) for d in details]


def for_canvas(
    name: str,
    title: str,
    timeline: Timeline,
    part: Part,
    bars: Bars,
    length_ns: int,
    marked: Iterable[tuple[str, int]] = (),
) -> dict[str, Any]:
    """One side as ``timeline.js`` draws it: columns of bars with times in ns since the start of the part.

    Args:
        length_ns: of the whole picture, for the overview.
        marked: (kind, row) of bars to mark as the counterparts of a chosen one.
    """
    frame = bars.frame
    names, details = labels(timeline, frame)
    texts, text_of = pd.factorize(pd.Series(names, dtype=object))[::-1]
    notes, note_of = pd.factorize(pd.Series(details, dtype=object))[::-1]
    return {
        "name": name,
        "title": visible(title),
        "colour": SIDES[name],
        "lanes": list(bars.lanes),
        "activity": [round(float(a), 3) for a in timeline.activity(part, _OVERVIEW_BINS, length_ns)],
        "texts": list(texts),
        "notes": list(notes),
        "marked": [f"{kind}:{row}" for kind, row in marked],
        "bars": {
            "start": (frame["start_ns"] - part.origin_ns).tolist(),
            "end": (frame["end_ns"] - part.origin_ns).tolist(),
            "busy": frame["busy_ns"].tolist(),
            "count": frame["count"].tolist(),
            "lane": frame["lane"].tolist(),
            "kind": frame["kind"].tolist(),
            "row": frame["row"].tolist(),
            "colour": frame["category"].tolist(),
            "hatched": (frame["tensor_cores"] == "yes").tolist(),
            "text": text_of.tolist(),
            "note": note_of.tolist(),
        },
    }


def colours() -> dict[str, str]:
    """What a bar is → its colour."""
    return {**CATEGORY_COLOURS, NVTX: NVTX_COLOUR}


def inks() -> dict[str, str]:
    """What a bar is → the colour of the text on it."""
    return {key: text_on(colour) for key, colour in colours().items()}


def legend(sides: Iterable[Mapping[str, Any]]) -> list[tuple[str, str | None]]:
    """(name, colour) of what is drawn; the colour None is the hatching."""
    seen = {c for side in sides for c in side["bars"]["colour"]}
    found: list[tuple[str, str | None]] = [
        (CATEGORY_LABELS[c], CATEGORY_COLOURS[c]) for c in CATEGORY_LABELS if c in seen
    ]
    return [*found, ("NVTX range", NVTX_COLOUR), ("hatched: uses Tensor Cores, by name", None)]


def for_figure(timeline: Timeline, part: Part) -> tuple[pd.DataFrame, Bars]:
    """A whole part as the frame that ``charts.timeline`` draws, and what it holds."""
    bars = timeline.window(part, 0, part.length_ns, MAX_FIGURE_PIXELS)
    frame = bars.frame
    names, details = labels(timeline, frame)
    starts = frame["start_ns"].clip(lower=part.origin_ns)
    ends = frame["end_ns"].clip(upper=part.origin_ns + part.length_ns)
    drawn = pd.DataFrame(
        {
            "lane": [bars.lanes[i] for i in frame["lane"]],
            "start_us": (starts - part.origin_ns) / 1e3,
            "duration_us": (ends - starts) / 1e3,
            "colour_key": frame["category"],
            "tensor_cores": frame["tensor_cores"],
            "label": names,
            "detail": details,
        }
    )
    return drawn, bars
