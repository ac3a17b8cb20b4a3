"""Quantising one layer at a time: held against ONNX Runtime, which computes the same model with its Q/DQ pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the simulation needs PyTorch")
onnx = pytest.importorskip("onnx", reason="the models need onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="calibration needs onnxruntime")

from profiler.engine import export  # noqa: E402
from profiler.errors import ProfilerError  # noqa: E402
from profiler.workloads import sensitivity  # noqa: E402
from profiler.workloads.fake_quantisation import FakeQuantised  # noqa: E402

SHAPE = ["--model", "tests.support.small_network:make", "--input-shape", "3,32,32"]


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(5).standard_normal((16, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, images: Any) -> Path:
    folder = tmp_path_factory.mktemp("models")
    np.save(folder / "c.npy", images)
    export.main([*SHAPE, "--output", str(folder / "float.onnx")])
    common = ["--int8", "--calibration", str(folder / "c.npy"), "--calibrator", "max"]
    for style in ("fused", "badqdq"):
        export.main([*SHAPE, "--output", str(folder / f"{style}.onnx"), *common, "--quantisation", style])
    return folder


def run(path: Path, images: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def simulated(path: Path, images: Any, units: Any = None) -> Any:
    model = FakeQuantised(torch, onnx.load(str(path)), "cpu")
    with torch.inference_mode():
        return model.run(torch.from_numpy(images), model.units if units is None else units).numpy()


@pytest.mark.parametrize("style", ["fused", "badqdq"])
def test_all_on_is_the_model_and_all_off_is_the_float_model(folder: Path, images: Any, style: str) -> None:
    exact, quantised = run(folder / "float.onnx", images), run(folder / f"{style}.onnx", images)
    np.testing.assert_allclose(simulated(folder / f"{style}.onnx", images, ()), exact, rtol=1e-4, atol=1e-5)
    found = simulated(folder / f"{style}.onnx", images)
    # values that lie exactly between two steps may be rounded either way; what that changes is small beside the quantisation itself
    assert np.square(found - quantised).sum() < 0.2 * np.square(exact - quantised).sum()


def test_a_unit_is_a_layer_that_reads_quantised_tensors(folder: Path) -> None:
    fused, bad = (FakeQuantised(torch, onnx.load(str(folder / f"{s}.onnx")), "cpu") for s in ("fused", "badqdq"))
    kinds = [fused.operator(unit) for unit in fused.units]
    assert (kinds.count("Conv"), kinds.count("Gemm"), kinds.count("Add")) == (10, 1, 4)
    assert {"MaxPool", "GlobalAveragePool"} <= set(kinds)
    assert not {"MaxPool", "GlobalAveragePool"} & {bad.operator(unit) for unit in bad.units}


def test_the_document(folder: Path, tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(dice.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(
                tmp_path / "images" / name / f"{i}.png"
            )
    target = tmp_path / "s.json"
    models = [str(folder / "fused.onnx"), str(folder / "badqdq.onnx")]
    sensitivity.main(["--onnx", *models, "--images", str(tmp_path / "images"), "-o", str(target), "--batch", "4"])
    document = json.loads(target.read_text())
    assert document["format"] == "profiler-sensitivity/1" and document["images"] == 6
    assert [m["onnx"] for m in document["models"]] == ["fused.onnx", "badqdq.onnx"]
    whole = document["models"][0]["sqnr_db"]
    assert len(document["layers"]) == 17
    for layer in document["layers"]:  # one layer costs less than all of them
        assert layer["alone"]["sqnr_db"] is None or layer["alone"]["sqnr_db"] > whole
    assert not list(tmp_path.glob(".*"))


def test_models_that_cannot_be_simulated_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProfilerError, match="holds no Q/DQ pairs"):
        FakeQuantised(torch, onnx.load(str(folder / "float.onnx")), "cpu")
    with pytest.raises(ProfilerError, match="no such file"):
        sensitivity.main(
            ["--onnx", str(tmp_path / "no.onnx"), "--images", str(tmp_path), "-o", str(tmp_path / "o.json")]
        )
