"""A page of the dashboard as Streamlit runs it, without a browser."""

from __future__ import annotations

import json
from functools import cache

import plotly.graph_objects as go
from streamlit.testing.v1 import AppTest

from dashboard.sources import OPENING
from profiler.analysis.run.run import Run
from profiler.text import number
from profiler.trace import open_trace
from tests.support.traces import bundled

DEMO = OPENING
"""The bundled pair that opens first."""
GRAPH_LEVEL = "trt-int8-badqdq-b8-graphlevel"  # a bundled run whose CUDA graphs were recorded whole


def app(page: str, **query: str) -> AppTest:
    test = AppTest.from_string(f"from dashboard.app import main\nmain({page!r})", default_timeout=60)
    for key, value in query.items():
        test.query_params[key] = value
    return test


def unfolded(test: AppTest, *parts: str, **tabs: str) -> AppTest:
    """With parts of the page open that are closed at first, and others than the first of its tabs."""
    for key, value in {**dict.fromkeys(parts, True), **tabs}.items():
        test.session_state[key] = value
    return test


def text(test: AppTest) -> str:
    parts = [
        *test.markdown,
        *test.caption,
        *test.title,
        *test.header,
        *test.subheader,
        *test.error,
        *test.warning,
        *test.info,
    ]
    return "\n".join(str(p.value) for p in parts)


def check_charts(test: AppTest) -> None:
    """Hold what a page gives Plotly against Plotly's schema, which nothing else does, and against what would draw it twice."""
    for chart in test.get("plotly_chart"):
        layout = go.Figure(json.loads(chart.proto.spec)).to_dict()["layout"]
        assert (
            "template" not in json.loads(chart.proto.spec)["layout"]
            and layout["datarevision"]
            and not chart.proto.theme
        )


@cache
def kernels(run: str) -> str:
    """Kernels per inference of a bundled run, as the pages write them."""
    with open_trace(bundled(run)) as trace:
        return number(Run(trace).inferences.kernels_per_inference[0])


def counts(before: str = DEMO[0], after: str = DEMO[1]) -> str:
    """“282 → 58” of two bundled runs."""
    return f"{kernels(before)} → {kernels(after)}"
