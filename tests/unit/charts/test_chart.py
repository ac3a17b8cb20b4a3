"""Figures as plain dictionaries are what Plotly itself would make."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from profiler.charts.chart import Chart, panels


def plotly(figure: go.Figure) -> dict[str, Any]:
    """Plotly's figure without the template that it takes by default."""
    made: dict[str, Any] = figure.to_dict()
    del made["layout"]["template"]
    return made


@pytest.mark.parametrize("gap", [0.0, 0.16])
@pytest.mark.parametrize("heights", [[1], [2, 5], [3, 2, 7, 4]])
@pytest.mark.parametrize("shared", [True, False])
def test_panels_are_where_plotly_puts_them(heights: list[float], gap: float, shared: bool) -> None:
    titles = [f"panel {k}" for k in range(len(heights))]
    options = {"shared_xaxes": True, "row_heights": heights} if shared else {}
    theirs = make_subplots(rows=len(heights), cols=1, vertical_spacing=gap, subplot_titles=titles, **options)
    theirs.update_annotations(x=0, xanchor="left", align="left", font_size=15)
    ours = panels(len(heights), gap, titles, heights if shared else None)
    theirs.update_yaxes(title="time", row=len(heights), col=1).update_xaxes(automargin=True)
    ours.update_yaxes(len(heights), title="time").update_xaxes(automargin=True)
    theirs.add_bar(x=[1], y=["a"], row=len(heights), col=1)
    ours.add("bar", row=len(heights), x=[1], y=["a"])
    assert ours.to_dict() == plotly(theirs)


def test_lines_are_those_of_plotly() -> None:
    theirs = go.Figure().update_layout(title="t")
    theirs.add_vline(x=3, line={"width": 2})
    ours = Chart(layout={"title": "t"})
    ours.vertical_line(3, {"width": 2})
    assert ours.to_dict() == plotly(theirs)


def test_arrays_and_numbers_that_are_none_become_json() -> None:
    chart = Chart().add(
        "bar", x=pd.Series([1.5, math.nan]), y=np.array([1, 2]), base=np.float64("inf"), text=["a", None]
    )
    data = json.loads(chart.to_json())["data"]
    assert data == [{"type": "bar", "x": [1.5, None], "y": [1, 2], "base": None, "text": ["a", None]}]


def test_a_copy_changes_nothing_of_its_original() -> None:
    chart = panels(1, 0.0, ["a"]).add("bar", x=[1], marker={"color": "red"})
    made = chart.copy().update_layout(title="t", margin={"t": 1}).update_xaxes(title="x")
    made.layout["annotations"][0]["text"] = "b"
    made.data[0]["marker"]["color"] = "blue"
    assert "title" not in chart.layout and chart.layout["annotations"][0]["text"] == "a"
    assert "title" not in chart.layout["xaxis"] and chart.data[0]["marker"] == {"color": "red"}


def test_what_a_chart_has_goes_before_the_defaults() -> None:
    chart = Chart([{"type": "bar"}], {"title": "A", "xaxis": {"showgrid": True}, "yaxis2": {"title": "ms"}})
    made = chart.with_defaults(
        {"title": {"text": "B", "x": 0.5}, "font": {"color": "red"}},
        {"showgrid": False, "gridcolor": "blue"},
        {"nticks": 3},
    )
    assert made.layout == {
        "title": {"text": "A", "x": 0.5},
        "font": {"color": "red"},
        "xaxis": {"showgrid": True, "gridcolor": "blue"},
        "yaxis": {"nticks": 3},
        "yaxis2": {"nticks": 3, "title": {"text": "ms"}},
    }
    made.update_yaxes(1, nticks=4)
    assert made.layout["yaxis2"]["nticks"] == 3 and "font" not in chart.layout


def test_polygons_are_one_trace_with_gaps() -> None:
    squares = [[(x, 0.0), (x + 1.0, 0.0), (x, 0.0)] for x in (0.0, 5.0)]
    (trace,) = Chart().add_polygons(squares, fillcolor="red").data
    assert trace["x"] == [0.0, 1.0, 0.0, None, 5.0, 6.0, 5.0] and trace["y"].count(None) == 1
    assert trace["fill"] == "toself" and trace["fillcolor"] == "red"
