"""Traces whose inferences are not found: they can be chosen, and what is known without them is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from profiler.trace import open_trace
from tests.support.make_trace import unmarked
from tests.support.pages import app, text

PAGES = ["overview", "kernels", "tensor-cores", "timeline", "details", "fusion", "speedup", "memory", "export"]


def canvas(test: AppTest) -> dict[str, Any]:
    (component,) = test.get("bidi_component")
    found: dict[str, Any] = json.loads(component.proto.json)
    return found


@pytest.fixture
def key(folder: Path) -> str:
    unmarked().write(folder / "x.sqlite")
    return "folder/x.sqlite"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_reads_sensibly_without_inferences(page: str, key: str) -> None:
    for after in ("none", key):
        test = app(page, before=key, after=after).run()
        assert not test.exception
        assert "no inferences were found" in text(test)
        assert "TensorRT do" not in text(test)


def test_the_ranges_are_listed_with_what_they_hold_and_can_be_chosen(key: str) -> None:
    test = app("overview", before=key, after="none").run()
    assert test.title[0].value == "One trace"
    box = test.selectbox(key="candidate_before")
    (section,) = [o for o in box.options if "section" in o]
    assert "2 ranges" in section and "2 kernels" in section and "%" in section
    box.select_index(box.options.index(section))
    test.run()
    assert not test.exception and "no inferences were found" not in text(test)
    assert test.text_input(key="nvtx_before").value == "section *"
    assert {m.label: m.value for m in test.metric}["Kernels per inference"] == "1"
    assert "Outside the inferences: 4 kernels" in text(test).replace("\\", "")


def test_a_pattern_of_the_address_is_never_a_regular_expression(key: str) -> None:
    for pattern in ("section \\d", "(?:(?:a{1000}){1000}){1000}", "(?R)", "(" * 150, "*" * 150 + "b", "[" * 150):
        test = app("overview", before=key, after="none", nvtx_before=pattern).run()
        assert not test.exception and any("No NVTX range" in e.value for e in test.error), pattern
    test = app("overview", before=key, after="none", nvtx_before="a" * 5000).run()
    assert not test.exception and any("longer than" in e.value for e in test.error)


@pytest.mark.parametrize("count", ["0", "-1", "x", "²", "999999", "1e3"])
def test_a_number_of_inferences_that_is_none(key: str, count: str) -> None:
    test = app("overview", before=key, after="none", inferences_before=count).run()
    assert not test.exception and test.error


def test_the_timeline_starts_at_the_first_kernel_and_reaches_to_the_end(key: str, folder: Path) -> None:
    test = app("timeline", before=key, after="none").run()
    assert not test.exception
    drawn = canvas(test)
    with open_trace(folder / "x.sqlite") as trace:
        first, last = int(trace.kernels["start_ns"].iloc[0]), (trace.span_ns or (0, 0))[1]
    assert drawn["length"] == last - first and drawn["view"] == [0, min(last - first, 5_000_000)]
    kernels = [
        s
        for s, k in zip(drawn["sides"][0]["bars"]["start"], drawn["sides"][0]["bars"]["kind"], strict=True)
        if k == "kernel"
    ]
    assert min(kernels) == 0 and len(kernels) == 6


def test_the_whole_trace_can_be_shown_where_there_are_inferences() -> None:
    test = app("timeline", before="torch-fp16-eager-b8", after="none").run()
    one = canvas(test)["length"]
    test.toggle(key="whole_trace_before").set_value(True).run()
    drawn = canvas(test)
    assert not test.exception and drawn["length"] > 5 * one and drawn["view"][1] - drawn["view"][0] <= 5_000_000
