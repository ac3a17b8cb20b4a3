"""The page Accuracy on a made-up study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboard import sources
from dashboard.views import accuracy
from tests.support.accuracy_study import write_study
from tests.support.pages import app, text, unfolded


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_study(tmp_path / "study", images=True)
    monkeypatch.setattr(sources, "BUNDLED_ACCURACY", folder)
    return folder


def test_the_page_says_what_int8_costs(study: Path) -> None:
    test = app("accuracy").run()
    assert not test.exception
    shown = text(test).replace("\\", "")
    assert "within 0.5 points" in shown and "10× faster" in shown
    values = {m.label: m.value for m in test.metric}
    assert values["Top-1, PyTorch FP32"] == "99.00 %" and values["Weights"] == "100 → 25 MiB"
    table = test.dataframe[0].value.set_index("run")
    assert table.loc["TensorRT INT8 (max), CUDA graph, batch 8", "answered differently"] == 24
    assert "5 images: 3 that only PyTorch FP32 answers correctly, 2 that only this run does" in shown
    test.selectbox(key="accuracy_run").select_index(2).run()
    assert not test.exception


def test_parts_open_by_their_tabs(study: Path) -> None:
    for part, chart in (("Where the answers differ", "Wrong answers by class"), ("Memory", "GPU memory of weights")):
        test = unfolded(app("accuracy"), accuracy_part=part)
        charts = [json.loads(c.proto.spec)["layout"]["title"]["text"] for c in test.run().get("plotly_chart")]
        assert not test.exception and [title for title in charts if title.startswith(chart)] == charts[2:]


def test_only_images_inside_the_folder_are_shown(study: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes((study / "images" / "cat" / "0.png").read_bytes())
    (study / "images" / "link.png").symlink_to(outside)
    assert accuracy._thumbnail(study / "images", "cat/0.png") is not None
    for name in ("../../secret.png", str(outside), "link.png", "no.png", "\0"):
        assert accuracy._thumbnail(study / "images", name) is None


def test_a_study_that_lies(study: Path) -> None:
    path = study / "bench" / "trt-int8-graph-b8.json"
    document = json.loads(path.read_text())
    document["title"] = "<script>alert(1)</script> [x](javascript:1)"
    document["accuracy"]["accuracy"]["against_fp32"]["images"] = [
        {"image": "../../etc/passwd", "label": "*a*", "reference": "b", "this": "c"}
    ]
    document["accuracy"]["accuracy"]["classes"] = "none"
    path.write_text(json.dumps(document))
    test = app("accuracy").run()
    assert not test.exception
    assert "<script>" not in text(test) or "\\<script" in text(test)


def test_nothing_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BUNDLED_ACCURACY", tmp_path)
    test = app("accuracy").run()
    assert not test.exception and "was given labelled images" in test.info[0].value
