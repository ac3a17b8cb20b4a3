"""A page of the dashboard as Streamlit runs it, without a browser."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

GRAPH_LEVEL = "trt-int8-badqdq-b8-graphlevel"  # a bundled run whose CUDA graphs were recorded whole


def app(page: str, **query: str) -> AppTest:
    test = AppTest.from_string(f"from dashboard.app import main\nmain({page!r})", default_timeout=60)
    for key, value in query.items():
        test.query_params[key] = value
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
