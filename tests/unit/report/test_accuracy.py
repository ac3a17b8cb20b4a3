"""A study with labels as sentences, tables and charts; documents from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.analysis.run.run import Run
from profiler.charts import accuracy as charts
from profiler.charts.figures import figures
from profiler.charts.handover import html_report
from profiler.errors import ProfilerError
from profiler.report.accuracy import labelled_study, read_study, sentences, table
from profiler.report.documents import report_document
from profiler.report.evidence import gather
from profiler.report.markdown import summary
from profiler.trace import open_trace
from tests.support.accuracy_study import write_study
from tests.support.traces import bundled


def test_what_a_study_says(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert study is not None and [run.name for run in study.runs][-1] == "torch-fp32-eager-b8"
    reference, int8, fastest = sentences(study)
    assert reference == "PyTorch FP32 answers 99.00 % of 1,000 test images correctly (95 % interval 98.30 to 99.50 %)."
    assert int8 == (
        "TensorRT INT8, CUDA graph, batch 8: 98.90 %, a difference of −0.10 points (95 % interval −0.30 to +0.10): within 0.5 points."
    )
    assert "is TensorRT INT8, CUDA graph, batch 8: 0.400 ms, 10× faster" in fastest
    assert study.trained == (
        "resnet50 trained for 3 epochs on drawings (600 train, 100 calibration, 1,000 test images, none in two sets)."
    )


def test_verdicts_follow_the_interval(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert study is not None
    verdicts = {run.name: run.difference.verdict for run in study.runs if run.difference}
    assert verdicts["trt-int8-graph-b8"] == "within 0.5 points"
    assert verdicts["trt-int8-max-graph-b8"] == "more than 0.5 points lower"
    assert verdicts["trt-int8-16-images-graph-b8"] == "within 0.5 points as measured; too few images to be sure"


def test_the_noise_of_a_layer_is_its_sqnr(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert study is not None and study.sensitivity is not None
    first, second = study.sensitivity.layers
    share = 100 * 10**-0.2  # 20 dB alone, 18 dB all
    assert (first.noise_pct, second.noise_pct) == (pytest.approx(share), pytest.approx(share / 10))
    figure = charts.costly_layers(study.sensitivity.layers, "t")
    assert figure is not None and figure.data[0]["x"] == [
        pytest.approx(share / 10),
        pytest.approx(share),
    ]  # the costliest at the top


def test_charts_and_table(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert study is not None
    rows = table(study.runs)
    assert rows.loc[0, "quantisation"] == "fused, entropy, 512 images" or "fused, entropy, 512 images" in set(
        rows["quantisation"]
    )
    front = charts.accuracy_front(study.runs, "t")
    assert front is not None and {"1: TensorRT INT8, CUDA graph", "2: TensorRT FP16, CUDA graph"} <= {
        d.get("name") for d in front.data
    }
    found = charts.differences(study.runs, "t")
    assert found is not None and sorted(found.data[0]["x"]) == [-2.0, -0.3, -0.1, 0.0]
    assert charts.memory_bars(study.memory, "t") is not None
    reference = study.reference
    assert reference is not None
    wrong = charts.wrong_answers(reference, study.at("resnet50", 8)[0], "t")
    assert wrong is not None and list(wrong.data[0]["y"]) == [5, 5]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"accuracy": 3}', '{"accuracy": {"accuracy": {"images": 1e999}}}', "null"]
)
def test_documents_from_elsewhere_are_no_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "bench").mkdir()
    for path in (tmp_path / "bench" / "a.json", tmp_path / "sensitivity.json", tmp_path / "training.json"):
        path.write_text(content)
    assert read_study(tmp_path) is None
    study = write_study(tmp_path / "good")
    (study / "sensitivity.json").write_text(content)
    found = read_study(study)
    assert found is not None and found.sensitivity is None


def test_without_the_reference_nothing_is_claimed(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    (folder / "bench" / "torch-fp32-eager-b8.json").unlink()
    document = json.loads((folder / "bench" / "trt-int8-graph-b8.json").read_text())
    del document["accuracy"]["accuracy"]["against_fp32"]
    (folder / "bench" / "trt-int8-graph-b8.json").write_text(json.dumps(document))
    study = read_study(folder)
    assert study is not None and "cannot be compared with it" in sentences(study)[0]


def test_the_hand_over_has_the_study(tmp_path: Path) -> None:
    study = labelled_study(write_study(tmp_path))
    with open_trace(bundled("torch-fp16-eager-b8")) as before, open_trace(bundled("trt86-fp16-stream-b8")) as after:
        evidence = gather(Run(before), Run(after), accuracy=study)
        page, text = html_report(evidence, []), summary(evidence)
        document = report_document(evidence)
        assert {"accuracy", "accuracy_differences", "sensitivity"} <= {drawn.id for drawn in figures(evidence)}
    assert "Accuracy on labelled images" in page and "within 0.5 points" in page
    assert "**Accuracy.** PyTorch FP32 answers 99.00 % of 1,000 test images correctly" in text
    assert {row["top-1, %"] for row in document["accuracy"]["runs"]} == {97.0, 98.7, 98.9, 99.0}
    with pytest.raises(ProfilerError, match="no run here was given labelled images"):
        labelled_study(tmp_path / "nothing")
