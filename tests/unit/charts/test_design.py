"""Colours that can be seen and told apart, and pictures of charts that stand alone."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.fusion.blocks import Block, Box, Work
from profiler.analysis.fusion.rows import STATUSES, Row
from profiler.analysis.names.classify import CATEGORIES, CATEGORY_LABELS
from profiler.analysis.run.run import Run
from profiler.charts import labels, palette
from profiler.charts.chart import Chart
from profiler.charts.collapse import figure
from profiler.charts.figures import figures
from profiler.charts.kernels import category_bars
from profiler.charts.latency import latency_bars
from profiler.charts.palette import contrast, text_on
from profiler.charts.timeline import bar_colours, bar_inks, module_timelines, timeline_figure
from profiler.charts.waterfall import waterfall
from profiler.report.evidence import gather
from profiler.trace import open_trace
from tests.support.make_trace import simple
from tests.support.traces import ROOT, bundled

THEMES = tomllib.loads((ROOT / "dashboard" / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
GRAPHICS = {
    **palette.CATEGORY_COLOURS,
    **{f"side {k}": v for k, v in palette.SIDES.items()},
    **{f"status {k}": v for k, v in palette.STATUS_COLOURS.items()},
    **{f"verdict {k}": v for k, v in palette.VERDICT_COLOURS.items()},
    "nvtx": palette.NVTX_COLOUR,
    "neutral": palette.NEUTRAL,
}
# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (IEEE TVCG 15(6),
# 2009), severity 1.0, on linear RGB
DEFICIENCIES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear sRGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    t = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(first: str, second: str, deficiency: str) -> float:
    """ΔE*ab (CIE 1976) of two colours as somebody with the deficiency sees them."""
    matrix = np.array(DEFICIENCIES[deficiency])
    seen = [lab(np.clip(matrix @ linear(c), 0, 1)) for c in (first, second)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)  # the grey that just fails AA


def test_the_grounds_are_those_of_the_themes() -> None:
    for theme, ground in palette.GROUNDS.items():
        assert THEMES[theme]["backgroundColor"] == ground
        assert palette.INK[theme] == THEMES[theme]["textColor"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_graphics_keep_three_to_one_on_either_ground(theme: str) -> None:
    low = {name: c for name, c in GRAPHICS.items() if contrast(c, palette.GROUNDS[theme]) < 3}
    assert not low


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_keep_aa(theme: str) -> None:
    colours = THEMES[theme]
    for ground in (colours["backgroundColor"], colours["secondaryBackgroundColor"]):
        for name in ("textColor", "codeTextColor"):
            assert contrast(colours[name], ground) >= 4.5, name
        # Streamlit draws captions with 60 % of the text's colour
        mixed = [
            round(0.6 * int(colours["textColor"][i : i + 2], 16) + 0.4 * int(ground[i : i + 2], 16)) for i in (1, 3, 5)
        ]
        assert contrast("#{:02X}{:02X}{:02X}".format(*mixed), ground) >= 4.5
    assert contrast(colours["primaryColor"], "#FFFFFF") >= 4.5  # the text of a primary button


@given(st.integers(0, 0xFFFFFF))
def test_text_on_any_colour_keeps_aa(value: int) -> None:
    colour = f"#{value:06X}"
    assert contrast(text_on(colour), colour) >= 4.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_two_sides_are_told_apart_by_anybody(deficiency: str) -> None:
    assert difference(palette.BEFORE, palette.AFTER, deficiency) >= 40


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_statuses_and_verdicts_are_told_apart_by_anybody(deficiency: str) -> None:
    for colours in (palette.VERDICT_COLOURS, palette.STATUS_COLOURS):
        for (a, first), (b, second) in itertools.combinations(colours.items(), 2):
            assert difference(first, second, deficiency) >= 12, (a, b)


def test_every_category_and_status_has_a_colour_of_its_own_and_one_place_defines_it() -> None:
    assert set(palette.CATEGORY_COLOURS) == set(CATEGORIES) and set(palette.STATUS_COLOURS) == set(STATUSES)
    assert len(set(palette.CATEGORY_COLOURS.values())) == len(CATEGORIES)
    for path in sorted((ROOT / "dashboard").rglob("*.py")):
        if path.name != "palette.py":
            found = re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text("utf-8"))
            assert not found, f"{path}: {found}"


def categories(figure: Chart) -> dict[str, str]:
    return {t["legendgroup"]: t["marker"]["color"] for t in figure.data if t.get("legendgroup") in CATEGORIES}


def test_categories_have_the_same_colours_in_every_chart_and_on_the_canvas() -> None:
    table = pd.DataFrame({"category": list(CATEGORIES), "time_ns": 1.0, "kernels": 1.0})
    frame = pd.DataFrame(
        {
            "lane": "stream 7",
            "start_us": 0.0,
            "duration_us": 1.0,
            "colour_key": list(CATEGORIES),
            "tensor_cores": "no",
            "label": "k",
            "detail": "",
        }
    )
    by_kind = categories(category_bars({"before": table}))
    over_time = categories(timeline_figure({"before": frame}, {"before": ["stream 7"]}, {"before": "b"}))
    row = Row("x", None, "", "", "", None, None, "kept", None, "")
    ticks = tuple(Work("kernel", k, c, c, "no", k, 1) for k, c in enumerate(CATEGORIES))
    block = Block("x", "", (Box(row, "a", ticks, 0),), (Box(row, "b", ticks[:1]),), 0)
    for picture in (figure(block), module_timelines(block.modules)):
        assert picture is not None
        drawn = {t["name"]: t["marker"]["color"] for t in picture.data if t["type"] == "bar" and "name" in t}
        assert drawn == {CATEGORY_LABELS[c]: colour for c, colour in palette.CATEGORY_COLOURS.items()}
    assert by_kind == over_time == palette.CATEGORY_COLOURS
    assert {k: v for k, v in bar_colours().items() if k in CATEGORIES} == palette.CATEGORY_COLOURS
    assert set(bar_inks()) == set(bar_colours())


def test_pictures_of_the_hand_over_say_which_runs_they_show() -> None:
    pair = [Run(open_trace(bundled(run))) for run in ("torch-fp32-eager-b8", "trt-int8-stream-b8")]
    drawn = figures(gather(*pair))
    assert len(drawn) >= 7
    for d in drawn:
        under = d.figure.layout["title"]["subtitle"]["text"]
        assert d.figure.title, d.id
        made = json.loads(d.for_html().json)
        assert go.Figure(made).to_plotly_json()["data"] == made["data"], d.id  # Plotly knows every property and value
        for said in ("before: PyTorch FP32, eager", "after: TensorRT INT8, stream", "batch 8", "NVIDIA H200"):
            assert said in under, d.id


def test_what_is_not_known_of_a_run_is_said(tmp_path: Path) -> None:
    simple().write(tmp_path / "mine.sqlite")
    facts = Run(open_trace(tmp_path / "mine.sqlite")).facts
    assert labels.runs({"before": facts})[-1].startswith("batch unknown")
    assert labels.runs({}) == []


@given(st.text(max_size=300), st.lists(st.text(max_size=200), max_size=4))
def test_labels_are_text_however_they_are_named(title: str, lines: list[str]) -> None:
    made = labels.labelled(Chart(layout={"title": title}), lines)
    for text in (made.title, made.layout["title"]["subtitle"]["text"]):
        assert not re.search(r"<(?!/?b>|br>)", text or "")
    assert made.layout["height"] > made.layout["margin"]["t"]


def test_labels_leave_the_figure_that_was_given_as_it_was() -> None:
    figure = waterfall(["a"], [1.0], 3.0, 2.0, "t")
    made = labels.labelled(figure, ["x"], theme="dark")
    assert made.layout["yaxis"]["tickfont"]["color"] == palette.INK["dark"]
    assert labels.labelled(made).layout["title"]["subtitle"]["text"] == "x"
    assert figure.layout["title"] == {"text": "t"}


def test_every_latency_is_written_behind_its_line_and_says_which_it_is() -> None:
    runs = pd.DataFrame({"framework": ["TensorRT", "PyTorch"], "p50_ms": [0.4, 7.0], "p99_ms": [0.5, math.nan]})
    bars_, texts = latency_bars(["a", "b"], runs, "t").data
    assert texts["text"] == ["\u2002p50 0.400 ms", "\u2002p50 7 ms"] and list(texts["x"]) == [0.5, 7.0]
    assert "text" not in bars_ and texts["cliponaxis"] is False


def test_ranges_are_told_from_every_kind_of_kernel() -> None:
    near = {c: difference(palette.NVTX_COLOUR, v, "none") for c, v in palette.CATEGORY_COLOURS.items() if c != "other"}
    assert min(near.values()) >= 20, near


def test_waterfall_ends_at_the_latency_after() -> None:
    figure = waterfall(["gone", "grown"], [5.0, -2.0], 10.0, 7.0, "t")
    bar = figure.data[0]
    assert bar["x"] == [10.0, 5.0, 2.0, 7.0] and bar["base"] == [0.0, 5.0, 5.0, 0.0]
    assert [t.split("<br>")[0] for t in bar["hovertext"]] == ["before", "gone", "grown", "after"]
    assert not math.isnan(figure.layout["xaxis"]["range"][1])
