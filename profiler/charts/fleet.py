"""Figures of many traces: frames in, figures out. No Streamlit here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from profiler.charts.chart import Chart
from profiler.charts.layout import LAYOUT, category_ticks
from profiler.charts.palette import AFTER, NVTX_COLOUR, STATUS_COLOURS
from profiler.text import number, plotly_text, signed

USUAL, STRAGGLER, OUTLIER = AFTER, STATUS_COLOURS["unexplained"], STATUS_COLOURS["new"]
_MEDIAN_COLOUR = NVTX_COLOUR
_NAMED = 64  # more labels than this do not fit on an axis


def across_traces(
    labels: Sequence[str],
    values: pd.Series,
    kinds: Sequence[str],
    band: tuple[float, float, float] | None,
    title: str,
    unit: str,
) -> Chart:
    """One figure of every trace of a group, in the order given, with the median and the band outside of which a trace is an outlier.

    Args:
        labels: what the axis and the hover text call each trace.
        kinds: "usual", "outlier" or "straggler", one a trace; shape and colour say the same.
        band: low, median, high in ``unit``; None where the group is too small to judge.
    """
    figure = Chart()
    positions = list(range(len(labels)))
    texts = [plotly_text(label, 80) for label in labels]
    looks = {
        "usual": ("like the others", USUAL, "circle", 8),
        "outlier": ("outlier", OUTLIER, "diamond", 11),
        "straggler": ("straggler", STRAGGLER, "triangle-up", 14),
    }
    for kind, (name, colour, symbol, size) in looks.items():
        at = [p for p in positions if kinds[p] == kind]
        if at:
            figure.add(
                "scatter",
                x=at,
                y=[float(values.iloc[p]) for p in at],
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol, "size": size},
                hovertext=[texts[p] for p in at],
                hovertemplate=f"%{{hovertext}}: %{{y:,.4~g}} {unit}<extra>{name}</extra>",
            )
    if band is not None:
        low, middle, high = band
        across = {"xref": "x domain", "x0": 0, "x1": 1, "yref": "y"}
        figure.add_shape(
            type="rect",
            y0=low,
            y1=high,
            fillcolor=_MEDIAN_COLOUR,
            opacity=0.15,
            line={"width": 0},
            layer="below",
            **across,
        )
        figure.add_shape(type="line", y0=middle, y1=middle, line={"color": _MEDIAN_COLOUR, "dash": "dash"}, **across)
        figure.annotate(
            x=0, xanchor="left", xref="x domain", y=middle, yanchor="bottom", yref="y", showarrow=False,
            text=f"median {number(middle)} {unit}",
        )  # fmt: skip
    figure.update_layout(**LAYOUT, title=plotly_text(title, 140), height=420, showlegend=True)
    figure.update_yaxes(title=unit)
    figure.update_xaxes(**_axis(texts), title="trace", automargin=True)
    return figure


def _axis(texts: Sequence[str]) -> dict[str, Any]:
    step = max(1, -(-len(texts) // _NAMED))
    shown = range(0, len(texts), step)
    return {
        "tickvals": list(shown),
        "ticktext": [texts[p] for p in shown],
        "range": [-0.7, len(texts) - 0.3],
    }


def excess_bars(labels: Sequence[str], excess_us: Sequence[float], notes: Sequence[str], title: str) -> Chart:
    """What a straggler's excess time consists of: a bar a cause, to the right when it is slower than the others."""
    ticks = category_ticks(labels, 70)
    figure = Chart().add(
        "bar",
        x=list(excess_us),
        y=ticks["tickvals"],
        orientation="h",
        marker={"color": [STRAGGLER if e >= 0 else USUAL for e in excess_us]},
        text=[signed(e, "µs") for e in excess_us],
        textposition="outside",
        cliponaxis=False,
        hovertext=[plotly_text(f"{label}: {note}", 200) for label, note in zip(labels, notes, strict=True)],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    figure.update_layout(**LAYOUT, title=plotly_text(title, 140), height=190 + 30 * len(labels), showlegend=False)
    reach = max((abs(e) for e in excess_us), default=0.0) * 1.25 or 1.0
    low = -reach if min(excess_us, default=0.0) < 0 else 0.0
    figure.update_xaxes(title="µs per inference more (or less) than the median of the other traces", range=[low, reach])
    figure.update_yaxes(autorange="reversed", automargin=True, **ticks)
    return figure
