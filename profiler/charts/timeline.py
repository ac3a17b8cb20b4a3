"""The bars of a timeline with their names: for the canvas of the page, and for the figure of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from profiler.analysis.fusion.blocks import Box, Module
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.timeline import GRAPH, KERNEL, MEMCPY, NVTX, Bars, Part, Timeline
from profiler.charts.chart import Chart, panels
from profiler.charts.layout import HATCH, LAYOUT, UNIFORM_TEXT, in_lines
from profiler.charts.palette import CATEGORY_COLOURS, NEUTRAL, NVTX_COLOUR, SIDES, text_on
from profiler.text import duration, plotly_text, visible

MAX_FIGURE_PIXELS = 1400
COPY_LABEL = "memory copy or set"
MODULES_CAPTION = (
    "A module is what one row of the ledger computes after, with all units that it took over. Each side starts at its first kernel and "
    "shows the gaps between kernels; the heading gives the time from the first start to the last end."
)
_OVERVIEW_BINS = 400
_MAX_TEXT = 2_000
_TITLE_LINE = 42  # what fits beside a lane on a phone


def names_and_details(timeline: Timeline, frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Per bar its name and a line about it; a merged bar says of how many it stands, and names its longest."""
    names = np.full(len(frame), "", dtype=object)
    details = np.full(len(frame), "", dtype=object)
    trace = timeline.analysis.trace
    for kind, places in frame.groupby("kind", sort=False).indices.items():
        rows = frame["row"].to_numpy()[places]
        if kind == KERNEL:
            events = trace.kernels.iloc[rows]
            paths = {int(r): " › ".join(trace.nvtx_path(int(r))[-2:]) for r in events["nvtx"].unique()}
            names[places] = events["name"].astype(str).to_numpy()
            details[places] = [
                f"launched in {paths[int(r)]}" if paths[int(r)] else "launch not inside an NVTX range"
                for r in events["nvtx"]
            ]
        elif kind == NVTX:
            events = trace.nvtx_ranges.iloc[rows]
            names[places] = events["text"].astype(str).to_numpy()
            details[places] = [
                "NVTX range on the host" + (f", domain {d}" if d else "") for d in events["domain"].astype(str)
            ]
        elif kind == GRAPH:
            names[places] = "CUDA graph, recorded whole"
            details[places] = "its kernels are not in the trace"
        else:
            events = (trace.memcpys if kind == MEMCPY else trace.memsets).iloc[rows]
            names[places] = [f"memory copy, {k}" for k in events["kind"]] if kind == MEMCPY else "memory set"
            details[places] = [f"{b:,} bytes" for b in events["bytes"]]
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
    names, details = names_and_details(timeline, frame)
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


def bar_colours() -> dict[str, str]:
    """What a bar is → its colour."""
    return {**CATEGORY_COLOURS, NVTX: NVTX_COLOUR}


def bar_inks() -> dict[str, str]:
    """What a bar is → the colour of the text on it."""
    return {key: text_on(colour) for key, colour in bar_colours().items()}


def legend_entries(sides: Iterable[Mapping[str, Any]]) -> list[tuple[str, str | None]]:
    """(name, colour) of what is drawn; the colour None is the hatching."""
    seen = {c for side in sides for c in side["bars"]["colour"]}
    found: list[tuple[str, str | None]] = [
        (CATEGORY_LABELS[c], CATEGORY_COLOURS[c]) for c in CATEGORY_LABELS if c in seen
    ]
    return [*found, ("NVTX range", NVTX_COLOUR), ("hatched: uses Tensor Cores, by name", None)]


def for_figure(timeline: Timeline, part: Part) -> tuple[pd.DataFrame, Bars]:
    """A whole part as the frame that :func:`timeline_figure` draws, and what it holds."""
    bars = timeline.window(part, 0, part.length_ns, MAX_FIGURE_PIXELS)
    frame = bars.frame
    names, details = names_and_details(timeline, frame)
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


def timeline_figure(
    sides: Mapping[str, pd.DataFrame], lanes: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> Chart:
    """Two aligned timelines, one above the other, on one time axis.

    Args:
        sides: side → bars with ``lane``, ``start_us``, ``duration_us``, ``colour_key`` (a category, or "nvtx"),
            ``tensor_cores`` ("yes" is hatched), ``label`` and ``detail`` (hover text).
        lanes: side → lane names from top to bottom.
        titles: side → heading.
    """
    heights = [max(len(lanes[s]), 2) for s in sides]
    drawn = panels(
        rows=len(sides),
        gap=0.16 if len(sides) > 1 else 0.0,
        titles=[plotly_text(titles[s], 100) for s in sides],
        heights=[h / sum(heights) for h in heights],
    )
    seen: set[str] = set()
    for row, (side, bars) in enumerate(sides.items(), 1):
        for key, part in bars.groupby("colour_key", sort=False, observed=True):
            name = CATEGORY_LABELS.get(str(key), "NVTX range")
            drawn.add(
                "bar",
                row=row,
                base=part["start_us"],
                x=part["duration_us"],
                y=part["lane"],
                orientation="h",
                name=name,
                legendgroup=str(key),
                showlegend=str(key) not in seen,
                customdata=np.stack(
                    [
                        [plotly_text(t, 110) for t in part["label"]],
                        [plotly_text(t, 200) for t in part["detail"]],
                        [duration(d * 1e3) for d in part["duration_us"]],
                    ],
                    axis=-1,
                ),
                hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[2]}, from %{base:.2f} µs<br>%{customdata[1]}<extra></extra>",
                marker={
                    "color": CATEGORY_COLOURS.get(str(key), NVTX_COLOUR),
                    "line": {"width": 0},
                    "pattern": {"shape": ["/" if t == "yes" else "" for t in part["tensor_cores"]], **HATCH},
                },
                text=[plotly_text(t, 60) if key == "nvtx" else "" for t in part["label"]],
                textposition="inside",
                insidetextanchor="start",
                textangle=0,
                textfont={"color": text_on(NVTX_COLOUR)},
            )
            seen.add(str(key))
        drawn.update_yaxes(row, categoryorder="array", categoryarray=list(reversed(lanes[side])), fixedrange=True)
    drawn.update_layout(
        **LAYOUT,
        title="Timeline of one inference of each side",
        barmode="overlay",
        bargap=0.15,
        height=250 + 42 * sum(heights),
        dragmode="pan",
        uniformtext=UNIFORM_TEXT,
    )
    drawn.update_xaxes(len(sides), title="µs since the start of the inference")
    return drawn


def module_timelines(found: Sequence[Module]) -> Chart | None:
    """The same module's kernels before and after, one under the other, on an axis of its own a module, from its first kernel."""
    if not found:
        return None
    titles = [in_lines(_module_title(module), 120, _TITLE_LINE) for module in found]
    two_lines = any("<br>" in title for title in titles)
    drawn = panels(
        rows=len(found),
        gap=min((0.54 if two_lines else 0.46) / len(found), 0.3),
        titles=titles,
    )
    seen: set[str] = set()
    for row, module in enumerate(found, 1):
        _lanes(drawn, row, {"before": module.before, "after": (module.after,) if module.after else ()}, seen)
        drawn.update_yaxes(row, categoryorder="array", categoryarray=["after", "before"])
    drawn.update_layout(
        **LAYOUT,
        title="The same modules before and after",
        barmode="overlay",
        bargap=0.2,
        height=150 + (160 if two_lines else 130) * len(found),
    )
    drawn.update_yaxes(fixedrange=True, range=[-0.5, 1.5])
    drawn.update_xaxes(rangemode="tozero", ticksuffix=" µs")
    return drawn


def _module_title(module: Module) -> str:
    spans = [span_ns(boxes) for boxes in (module.before, (module.after,) if module.after else ())]
    return f"{' → '.join(duration(span) if span else 'no kernel' for span in spans)}: {module.label}"


def span_ns(boxes: Iterable[Box]) -> int:
    """From the start of the first to the end of the last work of some boxes, in ns; 0 without any."""
    work = [w for box in boxes for w in box.work]
    return max((w.start_ns + w.duration_ns for w in work), default=0) - min((w.start_ns for w in work), default=0)


def _lanes(drawn: Chart, row: int, lanes: Mapping[str, Sequence[Box]], seen: set[str]) -> None:
    """A trace a kind of kernel for all lanes: plotly.js takes longer for many traces than for many bars."""
    work = [(lane, box, w) for lane, boxes in lanes.items() for box in boxes for w in box.work]
    zero = {lane: min((w.start_ns for name, _, w in work if name == lane), default=0) for lane in lanes}
    drawn.add(
        "bar", row=row, x=[0] * len(lanes), y=list(lanes), base=0, orientation="h", showlegend=False, hoverinfo="skip"
    )  # keeps the lanes
    for category, label in [*CATEGORY_LABELS.items(), ("", COPY_LABEL)]:
        mine = [(lane, box, w) for lane, box, w in work if (w.category if w.kind == KERNEL else "") == category]
        if mine:
            drawn.add(
                "bar",
                row=row,
                base=[(w.start_ns - zero[lane]) / 1e3 for lane, _, w in mine],
                x=[w.duration_ns / 1e3 for *_, w in mine],
                y=[lane for lane, *_ in mine],
                orientation="h",
                name=label,
                legendgroup=category,
                showlegend=category not in seen,
                marker={
                    "color": CATEGORY_COLOURS[category] if category else NEUTRAL,
                    "line": {"width": 0.5, "color": "rgba(0,0,0,0.5)"},
                    "pattern": {"shape": ["/" if w.tensor_cores == "yes" else "" for *_, w in mine], **HATCH},
                },
                hovertext=[
                    f"<b>{plotly_text(box.label, 110)}</b><br>{plotly_text(w.name, 110)}<br>{duration(w.duration_ns)}"
                    for _, box, w in mine
                ],
                hovertemplate="%{hovertext}<extra></extra>",
            )
            seen.add(category)
