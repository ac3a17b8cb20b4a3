"""Frames in, Plotly figures out. No Streamlit here.

Colours: one per side and one per category, the same on every page and in both themes. The two sides are an orange and a
blue that people with any colour vision tell apart and that keep a contrast of at least 3:1 on either background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.text import duration, number, plotly_text
from profiler.analysis.classify import CATEGORIES, CATEGORY_LABELS

BEFORE, AFTER = "#CC6A1B", "#2E7DD7"
SIDES = {"before": BEFORE, "after": AFTER}
CATEGORY_COLOURS = dict(
    zip(
        CATEGORIES,
        (
            "#3B7DD8", "#56B4E9", "#7A5CC9", "#C9A227", "#D9604C", "#1C9E77", "#9AA5B1", "#B07AA1", "#E39CC0", "#8C6D31",
            "#6B7F99", "#17BECF", "#2CA02C", "#7F7F7F",
        ),
    )
)  # fmt: skip
_HATCH = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.55)", "size": 6, "solidity": 0.3}
VERDICT_COLOURS = {"yes": "#1C9E77", "no": "#D9604C", "unknown": "#9AA5B1"}
NVTX_COLOUR = "#8894A3"
_LAYOUT: dict[str, Any] = {
    "margin": {"l": 8, "r": 8, "t": 48, "b": 96},
    # at the very bottom, so that it never lies on an axis title
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 0.0, "yref": "container", "x": 0, "title": None},
    "hoverlabel": {"align": "left"},
}
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
    figure = _subplots(rows=2, vertical_spacing=0.3, titles=[title for *_, title in panels])
    labels = [plotly_text(label, 44) for label in tables]
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
                    hovertemplate=f"{label}: %{{x:,.4~g}} {unit}<extra>%{{y}}</extra>",
                )
        figure.update_xaxes(title=unit, rangemode="tozero", row=row, col=1)
        figure.update_yaxes(autorange="reversed", row=row, col=1)
    figure.update_layout(**_LAYOUT, barmode="stack", height=260 + 85 * 2 * max(len(labels), 1), uniformtext=_UNIFORM)
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
            y=[plotly_text(label, 44) for label in shares],
            orientation="h",
            name=names[verdict],
            marker={"color": colour, "pattern": {"shape": shapes[verdict], **_HATCH}},
            text=[f"{number(v)} %" if v >= 4 else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate="%{x:.4~g} % of kernel time<extra>" + names[verdict] + "</extra>",
        )
    figure.update_layout(**_LAYOUT, barmode="stack", title=title, height=320)
    figure.update_xaxes(title="% of kernel time", range=[0, 100])
    figure.update_yaxes(autorange="reversed", title=None)
    return figure


def durations(frames: Mapping[str, pd.Series], title: str) -> go.Figure:
    """Histogram of durations (ns in, µs shown), one series a side."""
    figure = go.Figure()
    for side, values in frames.items():
        figure.add_histogram(x=values / 1e3, name=side, marker_color=SIDES.get(side, AFTER), opacity=0.75, nbinsx=60)
    figure.update_layout(**_LAYOUT, barmode="overlay", title=title, height=340, showlegend=len(frames) > 1)
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
                textfont={"color": "#FFFFFF"},
            )
            seen.add(str(key))
        figure.update_yaxes(
            categoryorder="array", categoryarray=list(reversed(lanes[side])), row=row, col=1, fixedrange=True
        )
    figure.update_layout(
        **_LAYOUT,
        barmode="overlay",
        bargap=0.15,
        height=250 + 42 * sum(heights),
        dragmode="pan",
        uniformtext=_UNIFORM,
    )
    figure.update_xaxes(title="µs since the start of the inference", row=len(sides), col=1)
    return figure
