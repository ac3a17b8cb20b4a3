"""Charts of Tensor Core use: by name, and sampled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from profiler.charts.chart import Chart
from profiler.charts.layout import HATCH, LAYOUT, UNIFORM_TEXT
from profiler.charts.palette import AFTER, SIDES, VERDICT_COLOURS, text_on
from profiler.text import number, plotly_text


def verdict_bars(shares: Mapping[str, Mapping[str, float]], title: str) -> Chart:
    """Share of kernel time by Tensor Core verdict, one bar a side; the pattern repeats the colour's message."""
    figure = Chart()
    names = {"yes": "uses Tensor Cores", "no": "does not", "unknown": "undetermined from the name"}
    shapes = {"yes": "", "no": "/", "unknown": "x"}
    for verdict, colour in VERDICT_COLOURS.items():
        values = [by_verdict.get(verdict, 0.0) for by_verdict in shares.values()]
        figure.add(
            "bar",
            x=values,
            y=[plotly_text(label, 24) for label in shares],
            orientation="h",
            name=names[verdict],
            marker={"color": colour, "pattern": {"shape": shapes[verdict], **HATCH}},
            insidetextfont={"color": text_on(colour), "weight": 600},
            text=[f"{number(v)} %" if v >= 4 else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertemplate="%{x:.4~g} % of kernel time<extra>" + names[verdict] + "</extra>",
        )
    figure.update_layout(
        **LAYOUT, barmode="stack", title=title, uniformtext=UNIFORM_TEXT, height=190 + 45 * len(shares)
    )
    figure.update_xaxes(title="% of kernel time", range=[0, 100])
    figure.update_yaxes(autorange="reversed", title=None)
    return figure


def metric_over_time(series: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, unit: str) -> Chart:
    """Samples of a counter over one inference of each side: side → (times in µs from its start, values)."""
    figure = Chart()
    for side, (times, values) in series.items():
        figure.add(
            "scatter",
            x=times,
            y=values,
            mode="lines+markers",
            name=side,
            line={"color": SIDES.get(side, AFTER), "shape": "vh", "dash": "solid" if side == "after" else "dot"},
            marker={"size": 5},
        )
    figure.update_layout(**LAYOUT, title=title, height=360)
    figure.update_xaxes(title="µs since the start of the inference")
    figure.update_yaxes(title=unit, rangemode="tozero")
    return figure
