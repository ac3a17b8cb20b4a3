"""The English of every page as it is drawn, with real traces and with one whose every count is 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.views import PAGES
from tests.support.language import faults
from tests.support.make_trace import simple
from tests.support.pages import DEMO, GRAPH_LEVEL, app, text

PAIRS = {
    "the opening pair": DEMO,
    "other precision": ("torch-fp32-eager-b8", "trt-int8-stream-b8"),
    "other models": ("mobilenet_v2-torch-fp32-eager-b8", "trt-fp16-stream-b8"),
    "kernels hidden in graphs": ("torch-fp32-eager-b8", GRAPH_LEVEL),
    "reversed": ("trt86-fp16-stream-b8", "torch-fp16-eager-b8"),
}


def shown(test: AppTest) -> str:
    """What a page says: texts, labels, figures, help and the texts of tables."""
    assert not test.exception
    parts = [
        text(test),
        *(b.label for b in [*test.button, *test.selectbox, *test.text_input, *test.multiselect, *test.toggle]),
    ]
    parts += [f"{m.label}. {m.value}. {m.delta}. {m.help}" for m in test.metric]
    parts += [e.label for e in test.expander]
    for table in test.dataframe:
        frame = table.value
        parts += [str(name) for name in frame.columns]
        named = frame.drop(
            columns=["kernel", "full name", "tactic", "layer", "layer after", "message"], errors="ignore"
        )
        parts += [value for column in named for value in named[column] if isinstance(value, str)]
    return "\n".join(parts).replace("\\", "")


@pytest.mark.parametrize("page", [p.URL for p in PAGES])
@pytest.mark.parametrize("pair", PAIRS)
def test_every_page(page: str, pair: str) -> None:
    before, after = PAIRS[pair]
    assert not faults(shown(app(page, before=before, after=after).run()))


@pytest.mark.parametrize("page", [p.URL for p in PAGES])
def test_one_of_everything(page: str, folder: Path) -> None:
    for name in ("before", "after"):
        simple(inferences=1, kernels=1).write(folder / f"{name}.sqlite")
    test = app(page, before="folder/before.sqlite", after="folder/after.sqlite").run()
    assert not faults(shown(test))
