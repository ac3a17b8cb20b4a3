"""Copies of figures that many sessions share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import plotly.graph_objects as go
import pytest

from profiler.charts.chart import Chart
from profiler.charts.labels import labelled


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_one_figure_is_labelled_by_many_sessions_at_once(hurried: None) -> None:
    figure = Chart([{"type": "bar", "base": [k], "x": [1], "orientation": "h"} for k in range(10)])
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda k: go.Figure(labelled(figure, [f"session {k}"]).to_dict()), range(60)))
    assert all([trace.type for trace in one.data] == ["bar"] * 10 for one in made)
