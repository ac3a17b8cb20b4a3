"""Frames in, Plotly figures out. No Streamlit here. Colours: see ``palette``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.names.classify import CATEGORIES, CATEGORY_LABELS
from profiler.analysis.run.autotuning import Autotuning
from profiler.charts.palette import (
    AFTER,
    BEFORE,
    CATEGORY_COLOURS,
    NEUTRAL,
    NVTX_COLOUR,
    SIDES,
    STATUS_COLOURS,
    VERDICT_COLOURS,
    text_on,
)
from profiler.text import duration, number, plotly_text, shorten, visible

_HATCH = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.55)", "size": 6, "solidity": 0.3}
_LAYOUT: dict[str, Any] = {
    "margin": {"l": 8, "r": 20, "t": 48, "b": 88},  # at the right half of the last tick's label
    # at the very bottom, so that it never lies on an axis title
    "legend": {
        "orientation": "h",
        "traceorder": "normal",
        "yanchor": "bottom",
        "y": 0.0,
        "yref": "container",
        "x": 0,
        "title": None,
    },
    "hoverlabel": {"align": "left"},
}
_PLAIN: dict[str, Any] = {**_LAYOUT, "margin": {**_LAYOUT["margin"], "b": 56}, "showlegend": False}
CONFIG = {"displaylogo": False, "scrollZoom": False}
"""For ``st.plotly_chart``: no link to elsewhere, and the wheel scrolls the page."""
_UNIFORM = {"minsize": 10, "mode": "hide"}  # a label that does not fit at this size is left out


def by_category(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Kernel time and kernel count per inference, each a horizontal bar a side, stacked by category.

    Args:
        tables: side label → frame with ``category``, ``time_ns`` and ``kernels`` (both per inference).
    """
    panels = (
        ("time_ns", 1e-6, "ms", "Kernel time per inference"),
        ("kernels", 1.0, "kernels", "Kernels per inference"),
    )
    figure = _subplots(rows=2, vertical_spacing=0.4, titles=[title for *_, title in panels])
    labels = [plotly_text(label, 24) for label in tables]
    for row, (column, scale, unit, _) in enumerate(panels, 1):
        for category in CATEGORIES:
            values = [float(t.set_index("category")[column].get(category, 0.0)) * scale for t in tables.values()]
            if any(values):
                label = CATEGORY_LABELS[category]
                figure.add_bar(
                    row=row,
                    col=1,
                    x=values,
                    y=labels,
                    orientation="h",
                    name=label,
                    legendgroup=category,
                    showlegend=row == 1,
                    marker_color=CATEGORY_COLOURS[category],
                    text=[number(v) if v else "" for v in values],
                    textposition="inside",
                    insidetextanchor="middle",
                    textangle=0,
                    insidetextfont_color=text_on(CATEGORY_COLOURS[category]),
                    hovertemplate=f"{label}: %{{x:,.4~g}} {unit}<extra>%{{y}}</extra>",
                )
        figure.update_xaxes(title=unit, rangemode="tozero", row=row, col=1)
        figure.update_yaxes(autorange="reversed", row=row, col=1)
    figure.update_layout(
        **_LAYOUT,
        barmode="stack",
        title="Kernels by kind, per inference",
        height=290 + 110 * max(len(labels), 1),
        uniformtext=_UNIFORM,
    )
    return figure


def _subplots(rows: int, vertical_spacing: float, titles: Sequence[str], **options: Any) -> go.Figure:
    from plotly.subplots import make_subplots  # noqa: PLC0415 - slow to import, and not every page needs it

    figure = make_subplots(rows=rows, cols=1, vertical_spacing=vertical_spacing, subplot_titles=titles, **options)
    figure.update_annotations(x=0, xanchor="left", font_size=15)  # headings at the left, like every other title
    return figure


def verdict_bars(shares: Mapping[str, Mapping[str, float]], title: str) -> go.Figure:
    """Share of kernel time by Tensor Core verdict, one bar a side; the pattern repeats the colour's message."""
    figure = go.Figure()
    names = {"yes": "uses Tensor Cores", "no": "does not", "unknown": "the name decides nothing"}
    shapes = {"yes": "", "no": "/", "unknown": "x"}
    for verdict, colour in VERDICT_COLOURS.items():
        values = [by_verdict.get(verdict, 0.0) for by_verdict in shares.values()]
        figure.add_bar(
            x=values,
            y=[plotly_text(label, 24) for label in shares],
            orientation="h",
            name=names[verdict],
            marker={"color": colour, "pattern": {"shape": shapes[verdict], **_HATCH}},
            insidetextfont={"color": text_on(colour), "weight": 600},
            text=[f"{number(v)} %" if v >= 4 else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate="%{x:.4~g} % of kernel time<extra>" + names[verdict] + "</extra>",
        )
    figure.update_layout(**_LAYOUT, barmode="stack", title=title, height=190 + 45 * len(shares))
    figure.update_xaxes(title="% of kernel time", range=[0, 100])
    figure.update_yaxes(autorange="reversed", title=None)
    return figure


def durations(frames: Mapping[str, np.ndarray], title: str) -> go.Figure:
    """Histogram of durations (ns in, µs shown), one series a side. Counted here: a browser cannot be sent millions of values."""
    figure = go.Figure()
    for side, values in frames.items():
        counts, edges = np.histogram(values, bins=60)
        figure.add_bar(
            x=(edges[1:] + edges[:-1]) / 2e3,
            y=counts,
            width=np.diff(edges) / 1e3,
            name=side,
            marker_color=SIDES.get(side, AFTER),
            opacity=0.75,
        )
    figure.update_layout(**(_LAYOUT if len(frames) > 1 else _PLAIN), barmode="overlay", title=title, height=320)
    figure.update_xaxes(title="duration, µs")
    figure.update_yaxes(title="kernels")
    return figure


def metric_over_time(series: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, unit: str) -> go.Figure:
    """Samples of a counter over one inference of each side: side → (times in µs from its start, values)."""
    figure = go.Figure()
    for side, (times, values) in series.items():
        figure.add_scatter(
            x=times,
            y=values,
            mode="lines+markers",
            name=side,
            line={"color": SIDES.get(side, AFTER), "shape": "vh", "dash": "solid" if side == "after" else "dot"},
            marker={"size": 5},
        )
    figure.update_layout(**_LAYOUT, title=title, height=360)
    figure.update_xaxes(title="µs since the start of the inference")
    figure.update_yaxes(title=unit, rangemode="tozero")
    return figure


def timeline(
    sides: Mapping[str, pd.DataFrame], lanes: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> go.Figure:
    """Two aligned timelines, one above the other, on one time axis.

    Args:
        sides: side → bars with ``lane``, ``start_us``, ``duration_us``, ``colour_key`` (a category, or "nvtx"),
            ``tensor_cores`` ("yes" is hatched), ``label`` and ``detail`` (hover text).
        lanes: side → lane names from top to bottom.
        titles: side → heading.
    """
    heights = [max(len(lanes[s]), 2) for s in sides]
    figure = _subplots(
        rows=len(sides),
        vertical_spacing=0.16 if len(sides) > 1 else 0.0,
        titles=[plotly_text(titles[s], 100) for s in sides],
        shared_xaxes=True,
        row_heights=[h / sum(heights) for h in heights],
    )
    seen: set[str] = set()
    for row, (side, bars) in enumerate(sides.items(), 1):
        for key, part in bars.groupby("colour_key", sort=False, observed=True):
            name = CATEGORY_LABELS.get(str(key), "NVTX range")
            figure.add_bar(
                row=row,
                col=1,
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
                    "pattern": {"shape": ["/" if t == "yes" else "" for t in part["tensor_cores"]], **_HATCH},
                },
                text=[plotly_text(t, 60) if key == "nvtx" else "" for t in part["label"]],
                textposition="inside",
                insidetextanchor="start",
                textangle=0,
                textfont={"color": text_on(NVTX_COLOUR)},
            )
            seen.add(str(key))
        figure.update_yaxes(
            categoryorder="array", categoryarray=list(reversed(lanes[side])), row=row, col=1, fixedrange=True
        )
    figure.update_layout(
        **_LAYOUT,
        title="Timeline of one inference of each side",
        barmode="overlay",
        bargap=0.15,
        height=250 + 42 * sum(heights),
        dragmode="pan",
        uniformtext=_UNIFORM,
    )
    figure.update_xaxes(title="µs since the start of the inference", row=len(sides), col=1)
    return figure


@dataclass(frozen=True)
class Box:
    """A unit or a layer in :func:`collapse`. ``into``: place of the box below that takes it over, None: nothing."""

    label: str
    note: str
    category: str
    into: int | None = None
    status: str = "kept"


def collapse(above: Sequence[Box], below: Sequence[Box], titles: tuple[str, str]) -> go.Figure:
    """A row of units collapsing into a row of layers: boxes above and below, and a ribbon from each unit to its layer.

    Boxes are of equal width: they count kernels; times are written in them.
    """
    figure = go.Figure()
    upper, lower = _places(len(above)), _places(len(below))
    members: dict[int, list[int]] = {}
    for place, box in enumerate(above):
        if box.into is not None:
            members.setdefault(box.into, []).append(place)
    for target, sources in members.items():
        low, high = lower[target]
        width = (high - low) / len(sources)
        for order, place in enumerate(sources):
            a, b = upper[place]
            c = low + order * width
            x, y = _ribbon(a, b, c, c + width)
            status = above[place].status
            figure.add_scatter(
                x=x,
                y=y,
                fill="toself",
                mode="lines",
                line={"width": 0},
                fillcolor=_alpha(STATUS_COLOURS[status], 0.5),
                hoverinfo="skip",
                name=status,
                legendgroup=status,
                showlegend=all(above[p].status != status for t, s in members.items() for p in s if p < place),
            )
    for boxes, spans, base in ((above, upper, 1.0), (below, lower, -0.3)):
        colours = [CATEGORY_COLOURS.get(box.category, NEUTRAL) for box in boxes]
        figure.add_bar(
            x=[(a + b) / 2 for a, b in spans],
            width=[0.88 * (b - a) for a, b in spans],
            base=base,
            y=[0.3] * len(boxes),
            marker={"color": colours, "line": {"width": 0}},
            text=[f"{plotly_text(box.label, 24)}<br>{plotly_text(box.note, 24)}" for box in boxes],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"color": [text_on(c) for c in colours], "size": 11},
            hovertext=[f"<b>{plotly_text(box.label, 120)}</b><br>{plotly_text(box.note, 160)}" for box in boxes],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    for text, height in ((titles[0], 1.42), (titles[1], -0.42)):
        figure.add_annotation(
            x=0, xanchor="left", y=height, text=f"<b>{plotly_text(text, 120)}</b>", showarrow=False, font={"size": 14}
        )
    figure.update_layout(
        **{**_LAYOUT, "margin": {**_LAYOUT["margin"], "b": 32}},
        height=380,
        hovermode="closest",
        barmode="overlay",
        uniformtext={"minsize": 9, "mode": "hide"},  # on a phone the pointer names the boxes
    )
    figure.update_xaxes(visible=False, range=[0, 1], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.5, 1.5], fixedrange=True)
    return figure


def _places(n: int) -> list[tuple[float, float]]:
    return [(i / n, (i + 1) / n) for i in range(n)]


def _ribbon(a: float, b: float, c: float, d: float) -> tuple[list[float], list[float]]:
    """A band from [a, b] at the height of the upper boxes down to [c, d] at the lower ones, with smooth sides."""
    t = np.linspace(0.0, 1.0, 16)
    ease = 3 * t**2 - 2 * t**3
    left, right = a + (c - a) * ease, b + (d - b) * ease
    y = 1.0 - t
    return [*left, *right[::-1], left[0]], [*y, *y[::-1], y[0]]


def _alpha(colour: str, alpha: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha})"


def waterfall(
    labels: Sequence[str], saved_us: Sequence[float], before_us: float, after_us: float, title: str
) -> go.Figure:
    """From the latency before, part by part and downwards, to the latency after; all in µs."""
    level, bases, colours = before_us, [0.0], [BEFORE]
    for saved in saved_us:
        bases.append(min(level, level - saved))
        colours.append(VERDICT_COLOURS["yes"] if saved >= 0 else STATUS_COLOURS["unexplained"])
        level -= saved
    bases.append(0.0)
    values = [before_us, *[abs(s) for s in saved_us], after_us]
    shown = [number(before_us), *[f"{'−' if s > 0 else '+'}{number(abs(s))}" for s in saved_us], number(after_us)]
    ticks = _ticks(["before", *labels, "after"], 60, 24)
    figure = go.Figure(
        go.Bar(
            y=ticks["tickvals"],
            x=values,
            base=bases,
            orientation="h",
            marker_color=[*colours, AFTER],
            text=shown,
            textposition="outside",
            cliponaxis=False,
            hovertext=ticks["ticktext"],
            hovertemplate="%{hovertext}: %{text} µs<extra></extra>",
        )
    )
    figure.update_layout(**_PLAIN, title=title, height=110 + 42 * len(values))
    ends = [b + v for b, v in zip(bases, values, strict=True)]
    figure.update_xaxes(title="latency, µs (nsys attached)", range=[min(0.0, *bases), 1.2 * max(ends)])
    figure.update_yaxes(autorange="reversed", automargin=True, **ticks)
    return figure


@dataclass(frozen=True)
class Measured:
    """Median latency of one side in ms, its spread where it is known, and how many inferences it is of."""

    median_ms: float
    low_ms: float | None
    high_ms: float | None
    n: int | None


def two_latencies(sides: Mapping[str, Measured], title: str) -> go.Figure:
    """Median latency of each side; a line from the smallest to the largest that is shown."""
    figure = go.Figure()
    for name, m in sides.items():
        spread = m.low_ms is not None and m.high_ms is not None
        figure.add_bar(
            x=[m.median_ms],
            y=[name],
            orientation="h",
            marker_color=SIDES[name],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(m.high_ms or 0) - m.median_ms if spread else 0],
                "arrayminus": [m.median_ms - (m.low_ms or 0) if spread else 0],
                "color": NEUTRAL,
                "visible": spread,
            },
            text=[f"  {number(m.median_ms, 'ms')}{f', n = {m.n:,}' if m.n else ''}"],
            textposition="auto",
            textangle=0,
            insidetextanchor="start",
            insidetextfont_color=text_on(SIDES[name]),
            hovertemplate="%{y}: median %{text}<extra></extra>",
            cliponaxis=False,
        )
    largest = max((m.high_ms or m.median_ms for m in sides.values()), default=1.0)
    figure.update_layout(**_PLAIN, title=title, height=110 + 45 * len(sides), barmode="overlay")
    figure.update_xaxes(title="latency, ms", range=[0, 1.15 * largest])
    figure.update_yaxes(autorange="reversed")
    return figure


def statuses(counts: Mapping[str, int]) -> go.Figure:
    """Rows of the fusion ledger by what became of them, in one bar."""
    figure = go.Figure()
    for status, colour in STATUS_COLOURS.items():
        if counts.get(status):
            figure.add_bar(
                x=[counts[status]],
                y=["rows"],
                orientation="h",
                name=status,
                marker_color=colour,
                text=[f"{counts[status]:,}"],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                insidetextfont={"color": text_on(colour), "size": 13},
                hovertemplate=f"{status}: %{{x:,}}<extra></extra>",
            )
    figure.update_layout(**_LAYOUT, barmode="stack", title="What became of the model's units", height=200)
    figure.update_xaxes(title="rows of the fusion ledger")
    figure.update_yaxes(visible=False)
    return figure


def pairs_of_bars(
    labels: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    unit: str,
    title: str,
    names: tuple[str, str] = ("before", "after"),
    lying: bool = False,
) -> go.Figure:
    """Two values side by side per label; ``lying`` bars leave room for long labels."""
    figure = go.Figure()
    ticks = _ticks(labels, 28 if lying else 40)
    value, label = ("x", "y") if lying else ("y", "x")
    for name, values, colour in zip(names, (before, after), (BEFORE, AFTER), strict=True):
        figure.add_bar(
            **{label: ticks["tickvals"], value: list(values)},
            orientation="h" if lying else "v",
            name=name,
            marker_color=colour,
            hovertext=[plotly_text(full, 200) for full in labels],
            hovertemplate=f"%{{hovertext}}, {name}: %{{{value}:,.4~g}} {unit}<extra></extra>",
        )
    height = 170 + 34 * len(labels) if lying else 380
    figure.update_layout(**_LAYOUT, barmode="group", title=title, height=height)
    values_axis, labels_axis = ("xaxis", "yaxis") if lying else ("yaxis", "xaxis")
    figure.update_layout(
        {values_axis: {"title": unit, "rangemode": "tozero"}, labels_axis: {"automargin": True, **ticks}}
    )
    if lying:
        figure.update_yaxes(autorange="reversed")
    return figure


def traffic_by_stage(stages: Mapping[str, tuple[int, int]]) -> go.Figure:
    """Computed minimum of memory traffic: stage of the model → bytes before and after (see ``traffic.by_stage``)."""
    before, after = ([sums[i] / 1e6 for sums in stages.values()] for i in (0, 1))
    return pairs_of_bars(list(stages), before, after, "MB", "Computed minimum of traffic, by stage")


def split_waterfall(split: Decomposition) -> go.Figure:
    """The exact split of a latency difference as a waterfall; parts that are 0 on both sides are left out."""
    parts = [p for p in split.parts if p.before_ns or p.after_ns]
    title = f"Latency {duration(split.before_latency_ns)} → {duration(split.after_latency_ns)}, nsys attached"
    figure = waterfall(
        [p.label for p in parts],
        [p.saved_ns / 1e3 for p in parts],
        split.before_latency_ns / 1e3,
        split.after_latency_ns / 1e3,
        plotly_text(title, 160),
    )
    inferences = plotly_text(f"{split.before_inference} and {split.after_inference}", 60)
    return figure.update_xaxes(title=f"latency of {inferences}, µs")


def tuned_layers(tuned: Autotuning, count: int = 12) -> go.Figure:
    """Median and chosen candidate of the layers for which auto-tuning saved most."""
    best = tuned.layers.nlargest(count, "saved_ms")
    median, chosen = (best["median_ms"] * 1e3).tolist(), (best["chosen_ms"] * 1e3).tolist()
    title = "Auto-tuning: median candidate and chosen one"
    return pairs_of_bars(
        best["layer"].tolist(), median, chosen, "µs", title, ("median candidate", "chosen"), lying=True
    )


def _ticks(labels: Sequence[str], width: int, line: int | None = None) -> dict[str, Any]:
    """An axis with a place a label: Plotly would put the bars of equal labels, or equally shortened ones, in one place.

    Args:
        width: longest label in characters; longer ones lose their middle.
        line: characters after which a label goes on in a new line.
    """
    texts = [plotly_text(label, width) for label in labels]
    if line is not None:
        wrapped = (textwrap.wrap(visible(shorten(label, width)), line, break_on_hyphens=False) for label in labels)
        texts = ["<br>".join(plotly_text(part, line) for part in parts) for parts in wrapped]
    # Categories, as a numeric axis drops the labels that reach over its end.
    return {"type": "category", "tickvals": list(range(len(labels))), "ticktext": texts}


def bandwidth(series: Mapping[str, pd.DataFrame], title: str) -> go.Figure:
    """Bandwidth against a copy's over the size of the tensor, a line a kernel; frames have ``size_mib``, ``pct_of_copy``, ``gb_per_s``."""
    figure = go.Figure()
    for place, (name, part) in enumerate(series.items()):
        figure.add_scatter(
            x=part["size_mib"],
            y=part["pct_of_copy"],
            customdata=part["gb_per_s"],
            name=plotly_text(name, 50),
            mode="lines+markers",
            line={
                "color": NEUTRAL if name.endswith("operators") else AFTER,
                "dash": ("solid", "dash", "dot", "dashdot")[place % 4],
            },
            marker={"symbol": place % 20, "size": 8},
            hovertemplate="%{x:,} MiB: %{y:.1f} % of the copy, %{customdata:,.0f} GB/s<extra>%{fullData.name}</extra>",
        )
    sizes = sorted({float(s) for p in series.values() for s in p["size_mib"]})
    figure.update_layout(**_LAYOUT, title=title, height=400)
    figure.update_xaxes(
        title="bytes read, MiB (as many are written)", type="log", tickvals=sizes, ticktext=[f"{s:g}" for s in sizes]
    )
    figure.update_yaxes(title="% of the copy's bandwidth", rangemode="tozero")
    return figure


def candidates(times_ms: Sequence[float], chosen_ms: float, title: str) -> go.Figure:
    """Histogram of the candidates' times, and a line at the chosen one."""
    figure = go.Figure(
        go.Histogram(x=[t * 1e3 for t in times_ms], marker_color=NVTX_COLOUR, nbinsx=50, name="candidates")
    )
    figure.add_vline(x=chosen_ms * 1e3, line={"color": AFTER, "width": 3})
    figure.add_annotation(
        x=chosen_ms * 1e3, y=1.0, yref="paper", text="chosen", showarrow=False, xanchor="left", yanchor="bottom"
    )
    figure.update_layout(**_PLAIN, title=title, height=300)
    figure.update_xaxes(title="time that TensorRT measured, µs")
    figure.update_yaxes(title="candidates")
    return figure


def latencies(labels: Sequence[str], runs: pd.DataFrame, title: str) -> go.Figure:
    """Median latency a run, with a line to the 99th percentile; ``runs`` has ``framework``, ``p50_ms``, ``p99_ms``, ``mean_ms``."""
    p50, p99 = runs["p50_ms"].astype(float), runs["p99_ms"].astype(float)
    ends = p99.fillna(p50).clip(lower=p50)
    ticks = _ticks(labels, 60, 30)
    figure = go.Figure(
        go.Bar(
            x=p50,
            y=ticks["tickvals"],
            orientation="h",
            marker_color=[AFTER if f == "TensorRT" else BEFORE for f in runs["framework"]],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": ends - p50,
                "arrayminus": [0] * len(p50),
                "color": NVTX_COLOUR,
            },
            hovertext=ticks["ticktext"],
            hovertemplate="%{hovertext}: median %{x:.4~g} ms<extra></extra>",
        )
    )
    # behind the line, as the bars of the fastest runs are too short for a number; it says that it is not the line's end
    figure.add_scatter(
        x=ends,
        y=ticks["tickvals"],
        mode="text",
        text=[f"\u2002p50 {number(v, 'ms')}" for v in p50],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    lines = max((text.count("<br>") + 1 for text in ticks["ticktext"]), default=1)
    figure.update_layout(**_PLAIN, title=title, height=110 + max(36, 16 * lines + 6) * len(labels))
    figure.update_xaxes(title="latency of one batch, ms", range=[0, 1.35 * float(ends.max())])
    figure.update_yaxes(**ticks)
    return figure


def throughput(series: Mapping[str, pd.DataFrame], title: str) -> go.Figure:
    """Images per second against batch size, a line a kind of run; frames have ``batch``, ``images_per_s`` and ``label`` (which run)."""
    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot")
    for place, (name, part) in enumerate(series.items()):
        figure.add_scatter(
            x=part["batch"],
            y=part["images_per_s"],
            name=plotly_text(name, 50),
            text=[plotly_text(label, 60) for label in part["label"]],
            mode="lines+markers",
            line={"color": AFTER if name.startswith("TensorRT") else BEFORE, "dash": dashes[place % 4]},
            marker={"symbol": place % 20, "size": 8},
            hovertemplate="%{text}, batch %{x}: %{y:,.0f} images/s<extra></extra>",
        )
    figure.update_layout(**_LAYOUT, title=title, height=460)
    figure.update_xaxes(
        title="batch", type="log", tickvals=sorted({int(b) for p in series.values() for b in p["batch"]})
    )
    figure.update_yaxes(title="images per second", **_log_axis(v for p in series.values() for v in p["images_per_s"]))
    return figure


def _log_axis(values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 times the powers of ten: Plotly's own lose their powers."""
    low, high = min(shown := [float(v) for v in values if v > 0]), max(shown)
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}


def quality(latency_ms: pd.Series, value: pd.Series, labels: Sequence[str], unit: str, title: str) -> go.Figure:
    """Quality against latency, a point a run, with the Pareto front: runs than which none is both faster and better.

    The points of the front carry numbers, whose names stand in the legend: names beside the points would cover each other.
    """
    points = pd.DataFrame({"x": list(latency_ms), "y": list(value), "label": [plotly_text(v, 40) for v in labels]})
    colour = [AFTER if label.startswith("TensorRT") else BEFORE for label in labels]
    ordered = points.sort_values(["x", "y"], ascending=[True, False])
    shown = ordered["y"].round(1)  # what differs by less than is shown is no better
    front = ordered[shown > shown.cummax().shift(fill_value=-math.inf)]
    places = {index: str(place) for place, index in enumerate(front.index, 1)}
    figure = go.Figure()
    figure.add_scatter(
        x=front["x"],
        y=front["y"],
        mode="lines",
        line={"shape": "hv", "dash": "dot", "color": NEUTRAL, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=points["x"],
        y=points["y"],
        mode="markers+text",
        text=[places.get(index, "") for index in points.index],
        customdata=points["label"],
        textposition="top center",
        marker={"size": 11, "color": colour},
        cliponaxis=False,  # the numbers of the outermost points reach over the edge
        hovertemplate="%{customdata}: %{x:.4~g} ms, %{y:.4~g}<extra></extra>",
        showlegend=False,
    )
    for index, place in places.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 11, "color": colour[index]},
            name=f"{place}: {points['label'][index]}",
        )
    figure.update_layout(**_LAYOUT, title=title, height=420)
    figure.update_xaxes(title="median latency, ms", **_log_axis(points["x"]))
    figure.update_yaxes(title=unit)
    return figure
