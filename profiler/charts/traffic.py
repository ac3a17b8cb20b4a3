"""Charts of memory traffic."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from profiler.charts.chart import Chart
from profiler.charts.layout import LAYOUT, paired_bars
from profiler.charts.palette import AFTER, NEUTRAL
from profiler.text import plotly_text


def traffic_by_stage(stages: Mapping[str, tuple[int, int]]) -> Chart:
    """Computed minimum of memory traffic: stage of the model → bytes before and after (see ``traffic.by_stage``)."""
    before, after = ([sums[i] / 1e6 for sums in stages.values()] for i in (0, 1))
    return paired_bars(list(stages), before, after, "MB", "Computed minimum of traffic, by stage")


def bandwidth_lines(series: Mapping[str, pd.DataFrame], title: str) -> Chart:
    """Bandwidth against a copy's over the size of the tensor, a line a kernel; frames have ``size_mib``, ``pct_of_copy``, ``gb_per_s``."""
    figure = Chart()
    for place, (name, part) in enumerate(series.items()):
        figure.add(
            "scatter",
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
    figure.update_layout(**LAYOUT, title=title, height=400)
    figure.update_xaxes(
        title="bytes read, MiB (as many are written)", type="log", tickvals=sizes, ticktext=[f"{s:g}" for s in sizes]
    )
    figure.update_yaxes(title="% of the copy's bandwidth", rangemode="tozero")
    return figure
