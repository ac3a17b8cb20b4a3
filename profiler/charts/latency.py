"""Charts of measured runs: latency, throughput, and quality beside latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from profiler.charts.chart import Chart
from profiler.charts.layout import LAYOUT, PLAIN, category_ticks, log_axis
from profiler.charts.palette import AFTER, BEFORE, NEUTRAL, NVTX_COLOUR
from profiler.text import number, plotly_text

_LABEL_PX = 84
"""Room for the number beside the longest bar, however narrow the page is."""


def latency_bars(labels: Sequence[str], runs: pd.DataFrame, title: str) -> Chart:
    """Median latency a run, with a line to the 99th percentile; ``runs`` has ``framework``, ``p50_ms``, ``p99_ms``, ``mean_ms``."""
    p50, p99 = runs["p50_ms"].astype(float), runs["p99_ms"].astype(float)
    ends = p99.fillna(p50).clip(lower=p50)
    ticks = category_ticks(labels, 60, 30)
    figure = Chart().add(
        "bar",
        x=p50,
        y=ticks["tickvals"],
        orientation="h",
        marker={"color": [AFTER if f == "TensorRT" else BEFORE for f in runs["framework"]]},
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
    # behind the line, as the bars of the fastest runs are too short for a number; it says that it is not the line's end
    figure.add(
        "scatter",
        x=ends,
        y=ticks["tickvals"],
        mode="text",
        text=[f"\u2002p50 {number(v, 'ms')}" for v in p50],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    lines = max((text.count("<br>") + 1 for text in ticks["ticktext"]), default=1)
    figure.update_layout(**PLAIN, title=title, height=110 + max(36, 16 * lines + 6) * len(labels))
    figure.update_layout(margin={**PLAIN["margin"], "r": _LABEL_PX})
    figure.update_xaxes(title="latency of one batch, ms", range=[0, 1.05 * float(ends.max())])
    figure.update_yaxes(**ticks)
    return figure


def throughput_lines(series: Mapping[str, pd.DataFrame], title: str) -> Chart:
    """Images per second against batch size, a line a kind of run; frames have ``batch``, ``images_per_s`` and ``label`` (which run)."""
    figure = Chart()
    dashes = ("solid", "dash", "dot", "dashdot")
    for place, (name, part) in enumerate(series.items()):
        figure.add(
            "scatter",
            x=part["batch"],
            y=part["images_per_s"],
            name=plotly_text(name, 50),
            text=[plotly_text(label, 60) for label in part["label"]],
            mode="lines+markers",
            line={"color": AFTER if name.startswith("TensorRT") else BEFORE, "dash": dashes[place % 4]},
            marker={"symbol": place % 20, "size": 8},
            hovertemplate="%{text}, batch %{x}: %{y:,.0f} images/s<extra></extra>",
        )
    figure.update_layout(**LAYOUT, title=title, height=460)
    figure.update_xaxes(
        title="batch", type="log", tickvals=sorted({int(b) for p in series.values() for b in p["batch"]})
    )
    figure.update_yaxes(title="images per second", **log_axis(v for p in series.values() for v in p["images_per_s"]))
    return figure


def quality_front(
    latency_ms: pd.Series,
    value: pd.Series,
    labels: Sequence[str],
    unit: str,
    title: str,
    intervals: Sequence[tuple[float, float]] | None = None,
) -> Chart:
    """Quality against latency, a point a run, with the Pareto front: runs than which none is both faster and better.

    ``intervals``: from and to of each value, drawn as a line through its point; values are then told apart to two decimals, else to one.

    The points of the front carry numbers, whose names stand in the legend: names beside the points would cover each other.
    """
    points = pd.DataFrame({"x": list(latency_ms), "y": list(value), "label": [plotly_text(v, 40) for v in labels]})
    colour = [AFTER if label.startswith("TensorRT") else BEFORE for label in labels]
    ordered = points.sort_values(["x", "y"], ascending=[True, False])
    shown = ordered["y"].round(2 if intervals else 1)  # what differs by less than is shown is no better
    front = ordered[shown > shown.cummax().shift(fill_value=-math.inf)]
    places = {index: str(place) for place, index in enumerate(front.index, 1)}
    figure = Chart()
    figure.add(
        "scatter",
        x=front["x"],
        y=front["y"],
        mode="lines",
        line={"shape": "hv", "dash": "dot", "color": NEUTRAL, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add(
        "scatter",
        x=points["x"],
        y=points["y"],
        mode="markers+text",
        text=[places.get(index, "") for index in points.index],
        customdata=points["label"],
        textposition="top center" if intervals is None else "middle right",
        marker={"size": 11, "color": colour},
        error_y=None if intervals is None else _reach(points["y"], intervals),
        cliponaxis=False,  # the numbers of the outermost points reach over the edge
        hovertemplate="%{customdata}: %{x:.4~g} ms, %{y:.4~g}<extra></extra>",
        showlegend=False,
    )
    for index, place in places.items():
        figure.add(
            "scatter",
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 11, "color": colour[index]},
            name=f"{place}: {points['label'][index]}",
        )
    figure.update_layout(**LAYOUT, title=title, height=420)
    figure.update_xaxes(title="median latency, ms", **log_axis(points["x"]))
    figure.update_yaxes(title=unit)
    return figure


def _reach(values: pd.Series, intervals: Sequence[tuple[float, float]]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, intervals, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, intervals, strict=True)],
        "color": NEUTRAL,
        "thickness": 1,
    }
