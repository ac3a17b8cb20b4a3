"""The Timeline page as Streamlit runs it: what the canvas gets, and what a chosen bar tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from tests.support.make_trace import TraceMaker
from tests.support.pages import app, text, unfolded
from tests.support.traces import bundled

CANVAS = "timeline_canvas"


def opened_pair() -> AppTest:
    return app("timeline", before="torch-fp32-eager-b8", after="trt-int8-stream-b8").run()


def drawn(test: AppTest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(test.get("bidi_component")[0].proto.json)
    return found


def bars(side: dict[str, Any]) -> list[dict[str, Any]]:
    columns = side["bars"]
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return [{**row, "text": side["texts"][row["text"]], "note": side["notes"][row["note"]]} for row in rows]


def choose(test: AppTest, side: str, row: int, kind: str = "kernel", view: dict[str, Any] | None = None) -> AppTest:
    part = drawn(test)["part"]
    picked = {"part": part, "side": side, "kind": kind, "row": row}
    test.session_state[CANVAS] = {"view": {"part": part, **view} if view else None, "picked": picked}
    return test.run()


@pytest.fixture(scope="module")
def opened() -> AppTest:
    return opened_pair()


def test_both_inferences_are_drawn_from_zero(opened: AppTest) -> None:
    data = drawn(opened)
    assert [s["name"] for s in data["sides"]] == ["before", "after"]
    assert data["view"] == [0, data["length"]]
    for side, kernels in zip(data["sides"], (174, 56)):
        found = bars(side)
        assert sum(b["count"] for b in found if b["kind"] == "kernel") == kernels
        assert min(b["start"] for b in found) == 0
        assert all(b["lane"] < len(side["lanes"]) for b in found)
        assert max(side["activity"]) <= 1 and len(side["activity"]) == 400
    hatched = [b for b in bars(data["sides"][1]) if b["hatched"]]
    with open_trace(bundled("trt-int8-stream-b8")) as trace:  # ten equal inferences, judged in another way
        verdicts = Run(trace).tensor_cores.by_verdict.set_index("tensor_cores")["count"]
    assert len(hatched) == verdicts["yes"] / 10 > 40
    assert not [b for b in bars(data["sides"][0]) if b["hatched"]]
    assert "174 of 174 GPU operations" in text(opened) and "56 of 56 GPU operations" in text(opened)


def test_the_window_of_the_browser_is_queried() -> None:
    test = opened_pair()
    part = drawn(test)["part"]
    test.session_state[CANVAS] = {"view": {"part": part, "low": 100_000, "high": 200_000, "width": 900}, "picked": None}
    data = drawn(unfolded(test, "kernels_in_view").run())
    assert data["view"] == [100_000, 200_000]
    for side in data["sides"]:  # three times as wide as what is shown
        assert all(b["end"] > 0 and b["start"] < 300_000 for b in bars(side))
    before = [
        b for b in bars(data["sides"][0]) if b["kind"] == "kernel" and b["end"] > 100_000 and b["start"] < 200_000
    ]
    table = next(d.value for d in test.dataframe if "kernel" in d.value and "stream" in d.value)
    assert len(table) == len(before) > 0
    assert f"{len(before)} of {len(before)} GPU operations" in text(test)


@pytest.mark.parametrize(
    "view",
    [
        {"low": 5, "high": 5, "width": 900},
        {"low": -1, "high": 10, "width": 900},
        {"low": 0, "high": 10**15, "width": 900},
        {"low": "x", "high": None, "width": []},
        {"low": 1e308, "high": float("inf"), "width": 1},
        {},
    ],
)
def test_a_view_that_makes_no_sense_is_not_followed(view: dict[str, Any]) -> None:
    test = opened_pair()
    test.session_state[CANVAS] = {"view": {"part": drawn(test)["part"], **view}, "picked": {"part": "x"}}
    test.run()
    assert not test.exception
    assert drawn(test)["view"] == [0, drawn(test)["length"]] and drawn(test)["picked"] is None


def test_a_chosen_kernel_tells_what_it_is_and_what_became_of_it() -> None:
    test = opened_pair()
    kernel = next(b for b in bars(drawn(test)["sides"][0]) if b["note"].endswith("› maxpool"))
    choose(test, "before", kernel["row"])
    assert not test.exception
    said = text(test).replace("\\", "")
    assert "launched in: inference 3 › maxpool" in said and "Tensor Cores, by name: no (rule " in said
    assert "Module **maxpool** is **fused** into **conv1**" in said
    assert kernel["text"] in [c.value for c in test.code]
    table = next(d.value for d in test.dataframe if "module" in d.value)
    assert table["module"].tolist() == ["conv1"]
    data = drawn(test)
    assert data["picked"] == {"side": "before", "kind": "kernel", "row": kernel["row"]}
    (mark,) = data["sides"][1]["marked"]
    assert any(f"{b['kind']}:{b['row']}" == mark for b in bars(data["sides"][1]))
    (spec,) = (json.loads(c.proto.spec) for c in test.get("plotly_chart"))
    assert {lane for t in spec["data"] if t.get("hovertext") for lane in t["y"]} == {"before", "after"}
    assert spec["layout"]["annotations"][0]["text"].replace("<br>", " ").endswith(": conv1, with bn1, relu and maxpool")


def test_a_chosen_kernel_after_shows_all_that_it_took_over() -> None:
    test = opened_pair()
    kernel = next(
        b
        for b in bars(drawn(test)["sides"][1])
        if b["text"] and "maxpool" in b["note"].lower() and b["kind"] == "kernel"
    )
    choose(test, "after", kernel["row"])
    table = next(d.value for d in test.dataframe if "module" in d.value)
    assert table["module"].tolist() == ["conv1", "bn1", "relu", "maxpool"]


def test_a_chosen_range_is_described_and_has_no_counterpart() -> None:
    test = opened_pair()
    choose(
        test, "before", next(b["row"] for b in bars(drawn(test)["sides"][0]) if b["text"] == "layer1.0.conv1"), "nvtx"
    )
    assert not test.exception
    assert "are in no row of the fusion ledger" in text(test)


@pytest.mark.parametrize(("kind", "row"), [("kernel", 10**9), ("kernel", -1), ("nonsense", 0), ("graph", 0)])
def test_a_choice_of_what_is_not_there_is_no_choice(kind: str, row: int) -> None:
    test = choose(opened_pair(), "before", row, kind)
    assert not test.exception and drawn(test)["picked"] is None


def test_another_inference_forgets_view_and_choice() -> None:
    test = opened_pair()
    first = drawn(test)["part"]
    choose(test, "before", 0, view={"low": 0, "high": 1000, "width": 500})
    test.selectbox(key="inference_before").set_value(0).run()
    data = drawn(test)
    assert data["part"] != first and data["picked"] is None and data["view"] == [0, data["length"]]


def test_many_short_kernels_become_few_bars_that_say_so(folder: Path) -> None:
    maker = TraceMaker()
    for inference in range(2):
        begin = inference * 10_000_000
        maker.range(f"iter{inference}", begin, begin + 9_900_000)
        for k in range(20_000):
            maker.kernel(begin + 500 + k * 450, 400, f"void relu{k % 7}<float>(float *)", launched=begin + k * 450)
    maker.write(folder / "many.sqlite")
    test = app("timeline", before="folder/many.sqlite", after="none").run()
    (side,) = drawn(test)["sides"]
    found = bars(side)
    assert len(found) < 2_500
    assert sum(b["count"] for b in found if b["kind"] == "kernel") == 20_000
    several = next(b for b in found if b["count"] > 1)
    assert several["text"] == f"{several['count']} short ones" and "in this pixel" in several["note"]
    assert "20,000 of 20,000 GPU operations" in text(test) and "zoom in to see each" in text(test)
