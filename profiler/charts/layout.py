"""What the charts share: margins and legends, panels, axes, paired bars."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from profiler.charts.chart import Chart
from profiler.charts.palette import AFTER, BEFORE
from profiler.text import plotly_text, shorten, visible

HATCH = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.55)", "size": 6, "solidity": 0.3}
LAYOUT: dict[str, Any] = {
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
PLAIN: dict[str, Any] = {**LAYOUT, "margin": {**LAYOUT["margin"], "b": 56}, "showlegend": False}
CONFIG = {"displaylogo": False, "scrollZoom": False}
"""For ``st.plotly_chart``: no link to elsewhere, and the wheel scrolls the page."""
UNIFORM_TEXT = {"minsize": 10, "mode": "hide"}  # a label that does not fit at this size is left out


def category_ticks(labels: Sequence[str], width: int, line: int | None = None) -> dict[str, Any]:
    """An axis with a place a label: Plotly would put the bars of equal labels, or equally shortened ones, in one place.

    Args:
        width: longest label in characters; longer ones lose their middle.
        line: characters after which a label goes on in a new line.
    """
    texts = [plotly_text(label, width) if line is None else in_lines(label, width, line) for label in labels]
    # Categories, as a numeric axis drops the labels that reach over its end.
    return {"type": "category", "tickvals": list(range(len(labels))), "ticktext": texts}


def in_lines(text: str, width: int, line: int) -> str:
    """A label of at most ``width`` characters, with a new line after ``line`` at the most."""
    parts = textwrap.wrap(visible(shorten(text, width)), line, break_on_hyphens=False)
    return "<br>".join(plotly_text(part, line) for part in parts)


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 times the powers of ten: Plotly's own lose their powers."""
    low, high = min(shown := [float(v) for v in values if v > 0]), max(shown)
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}


def paired_bars(
    labels: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    unit: str,
    title: str,
    names: tuple[str, str] = ("before", "after"),
    horizontal: bool = False,
) -> Chart:
    """Two values side by side per label; ``horizontal`` bars leave room for long labels."""
    figure = Chart()
    ticks = category_ticks(labels, 28 if horizontal else 40)
    value, label = ("x", "y") if horizontal else ("y", "x")
    for name, values, colour in zip(names, (before, after), (BEFORE, AFTER), strict=True):
        figure.add(
            "bar",
            **{label: ticks["tickvals"], value: list(values)},
            orientation="h" if horizontal else "v",
            name=name,
            marker={"color": colour},
            hovertext=[plotly_text(full, 200) for full in labels],
            hovertemplate=f"%{{hovertext}}, {name}: %{{{value}:,.4~g}} {unit}<extra></extra>",
        )
    height = 170 + 34 * len(labels) if horizontal else 380
    figure.update_layout(**LAYOUT, barmode="group", title=title, height=height)
    values_axis, labels_axis = ("xaxis", "yaxis") if horizontal else ("yaxis", "xaxis")
    figure.update_layout(
        **{values_axis: {"title": unit, "rangemode": "tozero"}, labels_axis: {"automargin": True, **ticks}}
    )
    if horizontal:
        figure.update_yaxes(autorange="reversed")
    return figure
