"""The Custom layer page, and what a model with another activation changes elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import data, settings
from dashboard.views import custom_layer
from profiler.capture.summary import collect
from tests.support.pages import app, text, unfolded
from tests.support.traces import TRACES

FP16 = "resnet50, QuickGELU, FP16, batch 8, NVIDIA H200"
INT8 = "resnet50, QuickGELU, INT8, batch 8, NVIDIA H200"


def frame(test: AppTest, column: str) -> pd.DataFrame:
    """The table of the page that has this column."""
    found: pd.DataFrame = next(d.value for d in test.dataframe if column in d.value.columns)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path))
    data.folder_sources.clear()
    return tmp_path


def test_the_four_runs_and_the_verdict() -> None:
    test = unfolded(app("custom-layer"), "all_activations").run()
    assert not test.exception and not test.error
    assert test.selectbox(key="custom_layer_group").value == FP16
    table = frame(test, "own kernels").set_index("run")
    assert list(table.index) == list(custom_layer.ROLES)
    assert table["kernels"].tolist() == [380, 107, 107, 62]
    assert table["own kernels"].tolist() == [147, 0, 49, 4]
    assert table["in another kernel"].tolist() == [0, 49, 0, 45]
    assert table["kB per activation"].round().tolist() == [21963, 0, 6275, 573]
    assert table["latency p50, ms"].round(3).tolist() == [7.016, 0.790, 0.649, 0.599]
    verdict = test.warning[0].value
    assert (
        "the plugin costs 49.8 µs per inference" in verdict
        and "45 more kernels" in verdict
        and "279 MB more" in verdict
    )
    shown = text(test)
    assert "147 kernels and 353 µs" in shown and "3.22×" in shown
    assert "**1.22 µs** on average" in shown and "even the shortest takes 1.29 µs" in shown
    parts = frame(test, "added, µs")
    assert parts["added, µs"].round(1).tolist() == [-71.2, 95.0, -0.6, 8.7, -0.1, 49.4]
    assert len(frame(test, "activation")) == 49
    agreement = frame(test, "largest error")
    assert set(agreement["precision"]) == {"fp32", "fp16", "int8"}
    assert "All errors are within bounds" in shown and "2,199 cases, 0 wrong" in shown


def test_int8_says_what_was_not_recorded() -> None:
    test = app("custom-layer").run()
    test.selectbox(key="custom_layer_group").select(INT8).run()
    assert not test.exception and not test.error
    table = frame(test, "own kernels")
    assert table["run"].tolist() == [custom_layer.PLUGIN]
    assert table["own kernels"].tolist() == [49]
    assert not test.warning
    shown = text(test)
    assert "Both engines, with and without the plugin, are needed" in shown
    assert "Not recorded, and so not shown" in shown and custom_layer.OPERATORS in shown


def test_a_plugin_that_saves_time_is_said_to_save(folder: Path) -> None:
    """The verdict follows the figures: the same traces, with the latencies of the two engines exchanged."""
    names = {"quickgelu-plugin-trt-fp16-graph-b8": 0.5, "quickgelu-trt-fp16-graph-b8": 0.6}
    for name in (*names, "quickgelu-torch-fp16-eager-b8"):
        shutil.copytree(TRACES / name, folder / name)
        path = folder / name / "manifest.json"
        document = json.loads(path.read_text("utf-8"))
        document["bench"]["latency_ms"]["p50"] = names.get(name, 7.0)
        path.write_text(json.dumps(document), "utf-8")
    test = app("custom-layer").run()
    test.selectbox(key="custom_layer_group").select(f"{FP16} (your folder)").run()
    assert not test.exception and not test.error
    assert "the plugin saves 100.0 µs per inference" in test.success[0].value
    assert custom_layer.COMPILED in text(test)  # not recorded there


def test_runs_that_cannot_be_attributed_say_why(folder: Path) -> None:
    for name in ("quickgelu-plugin-trt-fp16-graph-b8", "quickgelu-trt-fp16-graph-b8"):
        shutil.copytree(TRACES / name, folder / name)
        path = folder / name / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model": "mine"}), "utf-8")
    (folder / "measure.json").write_text('{"format": "profiler-plugin-measure/2", "bandwidth": [{}]}', "utf-8")
    test = app("custom-layer").run()
    assert any("measure\\.json" in e.value and "precision" in e.value for e in test.error)
    test.selectbox(key="custom_layer_group").select(f"{FP16} (your folder)".replace("resnet50", "mine")).run()
    assert not test.exception
    assert any("lists the modules of the activation" in e.value for e in test.error)


def test_the_fusion_page_shows_the_plugin() -> None:
    test = app("fusion", before="quickgelu-torch-fp16-eager-b8", after="quickgelu-plugin-trt-fp16-graph-b8").run()
    assert not test.exception and not test.error
    tables = [d.value for d in test.dataframe]
    assert any("layer3.5.relu (3rd call)" in frame.to_string() for frame in tables)
    kernels = app("kernels", before="quickgelu-torch-fp16-eager-b8", after="quickgelu-plugin-trt-fp16-graph-b8").run()
    assert any("custom plugin" in frame.value.to_string() for frame in kernels.dataframe)


def test_the_runs_page_keeps_the_models_apart() -> None:
    test = app("runs").run()
    models = test.selectbox(key="runs_model")
    assert models.value == "resnet50" and "resnet50, QuickGELU" in models.options
    plain = [r for r in collect(TRACES) if r["model"] == "resnet50"]
    assert plain and not [r for r in plain if r["name"].startswith("quickgelu")]
    models.select("resnet50, QuickGELU").run()
    assert not test.exception
    table = frame(test, "model")
    assert set(table.loc[table["run"].str.startswith("quickgelu"), "model"]) == {"resnet50, QuickGELU"}


def test_two_models_are_not_compared_unsaid() -> None:
    test = app("overview", before="torch-fp16-eager-b8", after="quickgelu-trt-fp16-graph-b8").run()
    assert not test.exception
    assert "QuickGELU" in text(test)
