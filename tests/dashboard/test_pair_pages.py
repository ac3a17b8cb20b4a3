"""Two traces that are not a pair: every page says so, and none shows a ratio of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.make_trace import unmarked
from tests.support.pages import app, text
from tests.support.traces import bundled

OTHER_MODEL = ("mobilenet_v2-torch-fp32-eager-b8", "trt-fp16-stream-b8")
PAGES = [
    "overview",
    "fusion",
    "speedup",
    "kernels",
    "tensor-cores",
    "memory",
    "timeline",
    "engine",
    "export",
    "details",
]


@pytest.mark.parametrize("page", PAGES)
def test_different_models_are_refused_on_every_page(page: str) -> None:
    test = app(page, before=OTHER_MODEL[0], after=OTHER_MODEL[1]).run()
    assert not test.exception
    said = text(test).replace("\\", "")
    assert said.count("The two runs are of different models, mobilenet_v2 before and resnet50 after") == 1
    shown = [*(m.delta for m in test.metric), said] if page in ("overview", "fusion", "speedup", "memory") else []
    assert not [s for s in shown if re.search(r"\d× (lower|higher|faster|slower)", str(s))]
    if page in ("fusion", "memory", "speedup"):
        assert not test.dataframe and not test.get("plotly_chart")
    if page == "details":
        figures = test.dataframe[0].value
        assert set(figures["before ÷ after"]) == {"—"}


@pytest.mark.parametrize("page", PAGES)
def test_a_reversed_pair_can_be_swapped_on_every_page(page: str) -> None:
    test = app(page, before="trt-fp16-stream-b8", after="torch-fp16-eager-b8").run()
    assert "The order looks reversed" in text(test)
    test.button(key="swap_reversed").click().run()
    assert not test.exception and "The order looks reversed" not in text(test)
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == (
        "torch-fp16-eager-b8",
        "trt-fp16-stream-b8",
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_same_file_twice_is_said(page: str, folder: Path) -> None:
    for name in ("a.sqlite.xz", "b.sqlite.xz"):
        shutil.copy(bundled("trt-fp16-b8"), folder / name)
    for after in ("a", "b"):
        test = app(page, before="folder/a.sqlite.xz", after=f"folder/{after}.sqlite.xz").run()
        assert not test.exception and "the same file" in text(test)


def test_without_inferences_the_whole_traces_are_put_side_by_side(folder: Path) -> None:
    unmarked().write(folder / "a.sqlite")
    unmarked().write(folder / "b.sqlite")
    test = app("overview", before="folder/a.sqlite", after="folder/b.sqlite").run()
    assert not test.exception
    values = {m.label: m.value for m in test.metric}
    assert values["Kernels in the trace"] == "6" and values["Whole trace: kernels"] == "6 → 6"
    assert not [v for v in values.values() if "—" in v]


def test_speedup_says_first_what_is_felt_without_a_profiler() -> None:
    test = app("speedup").run()
    heading, *_ = (s.value.replace("\\", "") for s in test.subheader)
    said = [m.value.replace("\\", "") for m in test.markdown]
    found = re.search(r": (\d[\d.]*× faster) without a profiler$", heading)
    assert found
    assert any(s.startswith("Measured without a profiler: ") and s.endswith(f", {found[1]}.") for s in said)
    assert any(s.startswith("In the traces, with nsys attached, ") and found[1] not in s for s in said)
