"""The way from a model to figures, on a real GPU: export, build, run, in PyTorch and TensorRT.

Two interpreters may be given, as the two frameworks seldom share an environment: PROFILER_TORCH_PYTHON and PROFILER_TRT_PYTHON
(default: this one). A test is skipped where its interpreter lacks what it needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.trace.build_log import read_build_log
from tests.support.gpu import TORCH_PYTHON, TRT_PYTHON, has_gpu, module, need, python

BATCH = 4


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU here")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("engines")
    np.save(found / "inputs.npy", np.random.default_rng(1).standard_normal((16, 3, 32, 32), dtype=np.float32))
    return found


@pytest.fixture(scope="module")
def torch_folder(folder: Path) -> Path:
    need(TORCH_PYTHON, "import torch, onnx, onnxruntime; assert torch.cuda.is_available(), 'torch sees no GPU'")
    common = ["--model", "tests.support.small_network:make", "--input-shape", "3,32,32"]
    export = "profiler.engine.export"
    module(TORCH_PYTHON, export, *common, "--output", str(folder / "fp32.onnx"))
    module(TORCH_PYTHON, export, *common, "--output", str(folder / "fp16.onnx"), "--precision", "fp16")
    calibration = ["--int8", "--calibration", str(folder / "inputs.npy"), "--calibrator", "max"]
    module(TORCH_PYTHON, export, *common, "--output", str(folder / "int8.onnx"), *calibration)
    return folder


def torch_run(folder: Path, label: str, *argv: str) -> dict[str, Any]:
    common = ["--model", "tests.support.small_network:make", "--input-shape", "3,32,32", "--batch", str(BATCH)]
    common += ["--inputs", str(folder / "inputs.npy"), "--save-outputs", str(folder / f"{label}.npy")]
    common += ["--output", str(folder / f"{label}.json"), "--bench", "--bench-seconds", "0.2"]
    module(TORCH_PYTHON, "profiler.workloads.pytorch", *common, *argv)
    document: dict[str, Any] = json.loads((folder / f"{label}.json").read_text())
    return document


def close(folder: Path, label: str, tolerance: float) -> None:
    reference, other = np.load(folder / "reference.npy"), np.load(folder / f"{label}.npy")
    assert other.shape == reference.shape
    assert np.abs(other - reference).max() <= tolerance * np.abs(reference).max()


@pytest.fixture(scope="module")
def reference(torch_folder: Path) -> dict[str, Any]:
    return torch_run(torch_folder, "reference", "--precision", "fp32", "--profile", "--nvtx-modules")


def test_eager_fp32(reference: dict[str, Any]) -> None:
    assert reference["latency_ms"]["n"] >= 200 and reference["latency_ms"]["p50"] > 0
    assert reference["throughput"]["images_per_s"] > 0
    assert {row["name"] for row in reference["modules"]} >= {"conv1", "layer2.0.downsample.0", "fc"}
    assert reference["telemetry"]["samples"] > 0


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16"])
def test_pytorch_agrees_with_fp32(torch_folder: Path, reference: dict[str, Any], mode: str, precision: str) -> None:
    if precision != "fp16" and reference["gpu"]["sm"] < 80:
        pytest.skip(f"this GPU has no {precision}")
    label = f"torch-{precision}-{mode}"
    found = torch_run(torch_folder, label, "--precision", precision, "--mode", mode)
    assert found["mode"] == mode and found["precision"] == precision
    close(torch_folder, label, {"tf32": 0.01, "fp16": 0.02, "bf16": 0.1}[precision])


def test_torch_compile(torch_folder: Path, reference: dict[str, Any]) -> None:
    torch_run(torch_folder, "torch-compile", "--precision", "fp16", "--mode", "compile")
    close(torch_folder, "torch-compile", 0.02)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_tensorrt(torch_folder: Path, reference: dict[str, Any], precision: str) -> None:
    need(TRT_PYTHON, "import tensorrt, numpy; from profiler.runtime.cuda_runtime import Cuda; Cuda()")
    version = python(TRT_PYTHON, "-c", "import tensorrt; print(tensorrt.__version__)").stdout
    flags = int(version.split(".")[0]) < 10
    source = "fp32" if precision in ("fp32", "tf32") or (precision == "fp16" and flags) else precision
    plan = torch_folder / f"{precision}.plan"
    argv = ["--onnx", str(torch_folder / f"{source}.onnx"), "--precision", precision, "--plan", str(plan)]
    module(TRT_PYTHON, "profiler.engine.build", *argv, "--profile", f"1:{BATCH}:{BATCH}")
    record = json.loads(plan.with_name(f"{plan.name}.build.json").read_text())
    assert record["detailed"] and record["device_memory_bytes"] > 0
    table = read_build_log(plan.with_name(f"{plan.name}.build.log.xz"))
    assert len(table.rows) > 10
    for mode in ("stream", "graph"):
        label = f"trt-{precision}-{mode}"
        argv = ["--plan", str(plan), "--batch", str(BATCH), "--input-shape", "3,32,32", "--mode", mode, "--profile"]
        argv += ["--inputs", str(torch_folder / "inputs.npy"), "--save-outputs", str(torch_folder / f"{label}.npy")]
        argv += ["--output", str(torch_folder / f"{label}.json"), "--bench", "--bench-seconds", "0.2"]
        module(TRT_PYTHON, "profiler.workloads.tensorrt", *argv)
        found = json.loads((torch_folder / f"{label}.json").read_text())
        assert found["precision"] == precision and found["latency_ms"]["n"] >= 200
        close(torch_folder, label, {"fp32": 0.001, "tf32": 0.01, "fp16": 0.02, "int8": 0.3}[precision])
    too_many = [a if a != str(BATCH) else "64" for a in argv]
    done = python(TRT_PYTHON, "-m", "profiler.workloads.tensorrt", *too_many)
    assert done.returncode == 1 and "was built for the shapes" in done.stderr
