"""Charts of kernels: time and number by kind, and durations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from profiler.analysis.names.classify import CATEGORIES, CATEGORY_LABELS
from profiler.charts.chart import Chart, panels
from profiler.charts.layout import LAYOUT, PLAIN, UNIFORM_TEXT
from profiler.charts.palette import AFTER, CATEGORY_COLOURS, SIDES, text_on
from profiler.text import number, plotly_text


def category_bars(tables: Mapping[str, pd.DataFrame]) -> Chart:
    """Kernel time and kernel count per inference, each a horizontal bar a side, stacked by category.

    Args:
        tables: side label → frame with ``category``, ``time_ns`` and ``kernels`` (both per inference).
    """
    measures = (
        ("time_ns", 1e-6, "ms", "Kernel time per inference"),
        ("kernels", 1.0, "kernels", "Kernels per inference"),
    )
    figure = panels(rows=2, gap=0.4, titles=[title for *_, title in measures])
    labels = [plotly_text(label, 24) for label in tables]
    for row, (column, scale, unit, _) in enumerate(measures, 1):
        for category in CATEGORIES:
            values = [float(t.set_index("category")[column].get(category, 0.0)) * scale for t in tables.values()]
            if any(values):
                label = CATEGORY_LABELS[category]
                figure.add(
                    "bar",
                    row=row,
                    x=values,
                    y=labels,
                    orientation="h",
                    name=label,
                    legendgroup=category,
                    showlegend=row == 1,
                    marker={"color": CATEGORY_COLOURS[category]},
                    text=[number(v) if v else "" for v in values],
                    textposition="inside",
                    insidetextanchor="middle",
                    textangle=0,
                    insidetextfont={"color": text_on(CATEGORY_COLOURS[category])},
                    hovertemplate=f"{label}: %{{x:,.4~g}} {unit}<extra>%{{y}}</extra>",
                )
        figure.update_xaxes(row, title=unit, rangemode="tozero")
        figure.update_yaxes(row, autorange="reversed")
    figure.update_layout(
        **LAYOUT,
        barmode="stack",
        title="Kernels by kind, per inference",
        height=290 + 110 * max(len(labels), 1),
        uniformtext=UNIFORM_TEXT,
    )
    return figure


def duration_histogram(frames: Mapping[str, np.ndarray], title: str) -> Chart:
    """Histogram of durations (ns in, µs shown), one series a side. Counted here: a browser cannot be sent millions of values."""
    figure = Chart()
    for side, values in frames.items():
        counts, edges = np.histogram(values, bins=60)
        figure.add(
            "bar",
            x=(edges[1:] + edges[:-1]) / 2e3,
            y=counts,
            width=np.diff(edges) / 1e3,
            name=side,
            marker={"color": SIDES.get(side, AFTER)},
            opacity=0.75,
        )
    figure.update_layout(**(LAYOUT if len(frames) > 1 else PLAIN), barmode="overlay", title=title, height=320)
    figure.update_xaxes(title="duration, µs")
    figure.update_yaxes(title="kernels")
    return figure
