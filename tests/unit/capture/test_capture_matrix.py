"""The matrix of a study, the argv of runs and builds, and what a chip cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiler.capture.engines import EngineSpec
from profiler.capture.gpu import chip_notes, current_gpu, find_gpus, missing_mode, missing_precision
from profiler.capture.matrix import MatrixOptions, build_matrix
from profiler.capture.spec import RunSpec
from profiler.errors import MissingToolError, UsageError
from tests.support.machine import Machine


def names(options: MatrixOptions, sm: int | None = 90) -> list[str]:
    return [s.name for s in build_matrix(options, sm, "py", "trt").steps]


def test_the_whole_matrix() -> None:
    matrix = build_matrix(MatrixOptions(), 90, "py", "trt")
    runs = [s for s in matrix.steps if s.kind == "run"]
    assert len(runs) == 3 * (3 * 3 + 4 * 2) and not matrix.left_out
    assert sum(s.kind == "build" for s in matrix.steps) == 12 and sum(s.kind == "export" for s in matrix.steps) == 2
    assert {s.run.python for s in runs if s.run and s.run.framework == "tensorrt"} == {"trt"}
    done: set[str] = set()
    for step in matrix.steps:  # what a step needs comes before it
        assert set(step.needs) <= done
        done.add(step.name)


def test_what_turing_cannot_do_is_left_out_and_named() -> None:
    matrix = build_matrix(MatrixOptions(torch_precisions=("fp32", "tf32", "fp16", "bf16")), 75, "py", "trt")
    assert {what for what, _ in matrix.left_out} == {"pytorch tf32", "pytorch bf16", "tensorrt tf32"}
    assert all("needs compute capability 8.0" in reason for _, reason in matrix.left_out)
    assert not [s for s in matrix.steps if "tf32" in s.name or "bf16" in s.name]
    assert "Tensor Active / FP16 Active" in chip_notes(75)[0]


@pytest.mark.parametrize(
    ("sm", "framework", "precision", "missing"),
    [
        (90, "tensorrt", "int8", False), (75, "tensorrt", "int8", False), (61, "tensorrt", "int8", False), (60, "tensorrt", "int8", True),
        (62, "tensorrt", "int8", True), (80, "pytorch", "bf16", False), (75, "pytorch", "tf32", True), (52, "pytorch", "fp16", True),
        (35, "pytorch", "fp32", False), (None, "pytorch", "tf32", False),
    ],
)  # fmt: skip
def test_precisions_of_chips(sm: int | None, framework: str, precision: str, missing: bool) -> None:
    assert bool(missing_precision(sm, framework, precision)) is missing


def test_modes_and_notes_of_chips() -> None:
    assert missing_mode(61, "compile") and not missing_mode(61, "graph") and not missing_mode(None, "compile")
    assert "no Tensor Cores" in chip_notes(61)[0] and "FP16 only" in chip_notes(70)[0] and chip_notes(90) == []
    assert "older than 510" in chip_notes(None)[0]


def test_only_some_batches_are_recorded() -> None:
    matrix = build_matrix(MatrixOptions(trace_batches=(8,)), 90, "py", "trt")
    kinds = {s.name: s.kind for s in matrix.steps}
    assert kinds["torch-fp32-eager-b8"] == "run" and kinds["torch-fp32-eager-b1"] == "bench"
    assert {s.path for s in matrix.steps if s.name == "trt-int8-graph-b64"} == {Path("bench/trt-int8-graph-b64.json")}


def test_choosing_brings_along_what_is_needed() -> None:
    matrix = build_matrix(MatrixOptions(batches=(8,)), 90, "py", "trt")
    assert [s.name for s in matrix.chosen(["trt-int8-graph*"], []).steps] == [
        "onnx-resnet50-int8",
        "engine-int8-b8",
        "trt-int8-graph-b8",
    ]
    assert [s.name for s in matrix.chosen([], ["accuracy"]).steps] == ["accuracy-resnet50"]
    assert {s.kind for s in matrix.chosen([], ["build"]).steps} == {"export", "build"}
    assert matrix.chosen([], []) is matrix
    with pytest.raises(UsageError, match="no step matches"):
        matrix.chosen(["nothing*"], [])


def test_nothing_left() -> None:
    with pytest.raises(UsageError, match=r"nothing is left to run\. TF32 needs"):
        names(MatrixOptions(frameworks=("pytorch",), torch_precisions=("tf32",)), 75)


def test_other_models_have_their_own_names() -> None:
    found = names(
        MatrixOptions(
            models=("resnet18", "mine:make"),
            batches=(1,),
            frameworks=("pytorch",),
            torch_modes=("eager",),
            torch_precisions=("fp32",),
        )
    )
    assert found == [
        "resnet18-torch-fp32-eager-b1",
        "mine-make-torch-fp32-eager-b1",
        "accuracy-resnet18",
        "accuracy-mine.make",
    ]


def test_argv_of_a_pytorch_run(tmp_path: Path) -> None:
    spec = RunSpec("pytorch", "fp16", "compile", 8, weights="/data/me/best.pth", inputs=tmp_path / "x.npy", python="py")
    assert spec.profile_arguments(Path("o.json")) == [
        "--mode", "compile", "--batch", "8", "--precision", "fp16", "--model", "resnet50", "--weights", "/data/me/best.pth",
        "--input-shape", "3,224,224", "--iterations", "10", "--seed", "0", "--inputs", str(tmp_path / "x.npy"), "--warmup", "20",
        "--profile", "--nvtx-modules", "--output", "o.json",
    ]  # fmt: skip
    bench = spec.bench_arguments(Path("o.json"), Path("logits.npy"))
    assert (
        "--profile" not in bench
        and "--nvtx-modules" not in bench
        and bench[-4:] == ["--save-outputs", "logits.npy", "--output", "o.json"]
    )
    assert spec.name == "torch-fp16-compile-b8" and spec.title == "PyTorch FP16, torch.compile, batch 8"


def test_a_manifest_names_no_folders(tmp_path: Path) -> None:
    spec = RunSpec(
        "tensorrt",
        "int8",
        "graph",
        8,
        plan=tmp_path / "a.plan",
        plugins=(tmp_path / "p.so",),
        inputs=tmp_path / "x.npy",
        python="/home/me/py",
    )
    text = spec.command_line({"cuda_graph_trace": "node"}) + str(spec.parameters())
    assert str(tmp_path) not in text and "/home/me" not in text
    assert "--plan a.plan" in text and "--plugin p.so" in text and "--cuda-graph-trace node" in text
    assert "--nvtx-modules" not in spec.profile_arguments(Path("o"))


def test_bad_specs() -> None:
    with pytest.raises(UsageError, match="precision is 'int8'; for PyTorch expected one of fp32, tf32, fp16, bf16"):
        RunSpec("pytorch", "int8", "eager")
    with pytest.raises(UsageError, match="mode is 'eager'; for TensorRT"):
        RunSpec("tensorrt", "fp32", "eager", plan=Path("p"))
    with pytest.raises(UsageError, match="needs an engine"):
        RunSpec("tensorrt", "fp32", "stream")
    with pytest.raises(UsageError, match="framework is 'jax'"):
        RunSpec("jax", "fp32", "eager")
    with pytest.raises(UsageError, match="precision is 'int4'"):
        EngineSpec("int4", 1)


def test_argv_of_a_build() -> None:
    spec = EngineSpec(
        "int8",
        8,
        calibration="imgs",
        workspace_mib=1024,
        tactic_sources="CUBLAS",
        timing_cache=Path("c"),
        plugins=(Path("p.so"),),
    )
    assert spec.export_arguments(Path("m.onnx"))[-5:] == ["--int8", "--calibration", "imgs", "--calibrator", "entropy"]
    assert spec.build_arguments(Path("m.onnx"), Path("m.plan")) == [
        "--onnx", "m.onnx", "--precision", "int8", "--plan", "m.plan", "--force", "--profile", "8:8:8", "--workspace", "1024",
        "--plugin", "p.so", "--tactic-sources", "CUBLAS", "--timing-cache", "c",
    ]  # fmt: skip
    assert (spec.onnx_name, spec.name) == ("resnet50-int8.onnx", "int8-b8")


def test_typed_networks_have_a_model_for_fp16() -> None:
    typed = EngineSpec("fp16", 8, typed_model=True)
    assert typed.onnx_name == "resnet50-fp16.onnx" and typed.export_arguments(Path("m"))[-4:] == [
        "--precision",
        "fp16",
        "--io",
        "fp32",
    ]
    assert EngineSpec("fp32", 8, typed_model=True).onnx_name == "resnet50.onnx"
    typed_models = MatrixOptions(engine=EngineSpec("fp32", 1, typed_model=True))
    assert "onnx-resnet50-fp16" in names(typed_models) and "onnx-resnet50-fp16" not in names(MatrixOptions())


def test_gpus(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (chip,) = find_gpus()
    assert (chip.name, chip.sm, chip.driver, chip.mig) == ("NVIDIA H200", 90, "580.159.04", False)
    monkeypatch.setenv("FAKE_SM", "old")
    assert find_gpus()[0].sm is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(MissingToolError, match="this machine has GPU 0"):
        current_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(MissingToolError, match="hides every GPU"):
        current_gpu()
    (machine.folder / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9")
    with pytest.raises(MissingToolError, match="exit status 9: NVIDIA-SMI has failed"):
        find_gpus()
    (machine.folder / "nvidia-smi").unlink()
    with pytest.raises(MissingToolError, match="nvidia-smi is not on the PATH"):
        find_gpus()


def test_an_activation_is_in_names_titles_and_arguments() -> None:
    torch_run = RunSpec("pytorch", "fp16", "eager", 8, activation="quickgelu")
    assert torch_run.name == "quickgelu-torch-fp16-eager-b8"
    assert torch_run.title == "PyTorch FP16, eager, batch 8, QuickGELU"
    assert " --activation quickgelu " in " ".join(torch_run.arguments())
    assert "--activation quickgelu" in torch_run.command_line({})
    plan, plugin = Path("a.plan"), (Path("p.so"),)
    fused = RunSpec("tensorrt", "fp16", "graph", 8, plan=plan, activation="quickgelu")
    custom = RunSpec("tensorrt", "fp16", "graph", 8, plan=plan, activation="quickgelu", plugins=plugin)
    assert fused.name == "quickgelu-trt-fp16-graph-b8" and fused.title.endswith("QuickGELU as operators")
    assert custom.name == "quickgelu-plugin-trt-fp16-graph-b8" and custom.title.endswith("QuickGELU as plugin")
    assert "--activation" not in fused.arguments()  # the plan has it
    assert fused.parameters()["activation"] == "quickgelu"
    assert "activation" not in RunSpec("pytorch", "fp16", "eager", 8).parameters()
    with pytest.raises(UsageError, match="activation is 'mish'; expected quickgelu"):
        RunSpec("pytorch", "fp16", "eager", activation="mish")


def test_an_engine_has_the_activation_as_plugin_or_as_operators() -> None:
    custom = EngineSpec("int8", 8, activation="quickgelu", plugins=(Path("p.so"),))
    fused = EngineSpec("int8", 8, activation="quickgelu")
    assert custom.onnx_name == "resnet50-quickgelu-plugin-int8.onnx" and custom.name == "quickgelu-plugin-int8-b8"
    assert fused.onnx_name == "resnet50-quickgelu-operators-int8.onnx" and fused.name == "quickgelu-int8-b8"
    assert "plugin" in custom.export_arguments(Path("m")) and "operators" in fused.export_arguments(Path("m"))
    assert custom.export_parameters() != fused.export_parameters()


def test_a_study_of_an_activation_compares_the_plugin_with_the_operators() -> None:
    options = MatrixOptions(
        batches=(8,), torch_precisions=("fp16",), torch_modes=("eager", "compile"), trt_precisions=("fp16",),
        trt_modes=("graph",), run=RunSpec("pytorch", "fp32", "eager", activation="quickgelu"),
        engine=EngineSpec("fp32", 1, activation="quickgelu", plugins=(Path("p.so"),)),
    )  # fmt: skip
    names = {s.name for s in build_matrix(options, 90, "py", "py").steps if s.run}
    assert names == {
        "quickgelu-torch-fp16-eager-b8",
        "quickgelu-torch-fp16-compile-b8",
        "quickgelu-trt-fp16-graph-b8",
        "quickgelu-plugin-trt-fp16-graph-b8",
    }


def test_int8_in_several_ways_differs_in_one_thing_each() -> None:
    matrix = build_matrix(
        MatrixOptions(
            frameworks=("tensorrt",), batches=(8,), trt_precisions=("fp16", "int8"), trt_modes=("graph",), calibrators=("entropy", "max"),
            calibration_images=(512, 16), quantisations=("fused", "badqdq", "modelopt"),
        ),
        90, "python", "python",
    )  # fmt: skip
    engines = {s.run.name: next(e.engine for e in matrix.steps if e.name == s.needs[0]) for s in matrix.steps if s.run}
    assert list(engines) == [
        "trt-fp16-graph-b8", "trt-int8-graph-b8", "trt-int8-max-graph-b8", "trt-int8-16-images-graph-b8", "trt-int8-badqdq-graph-b8",
        "trt-int8-modelopt-graph-b8",
    ]  # fmt: skip
    made = {name: (e.calibrator, e.calibration_images, e.quantisation) for name, e in engines.items() if e}
    assert made["trt-int8-graph-b8"] == ("entropy", 512, "fused")
    assert made["trt-int8-max-graph-b8"] == ("max", 512, "fused")
    assert made["trt-int8-16-images-graph-b8"] == ("entropy", 16, "fused")
    assert made["trt-int8-badqdq-graph-b8"] == ("entropy", 512, "badqdq")
    models = [s.path.name for s in matrix.steps if s.kind == "export"]
    assert len(set(models)) == 6 and "resnet50-int8-16-images.onnx" in models
    spec = engines["trt-int8-16-images-graph-b8"]
    assert spec and spec.export_arguments(Path("m.onnx"))[-2:] == ["--calibration-images", "16"]
    assert "calibration_images" not in engines["trt-int8-graph-b8"].export_parameters()  # type: ignore[union-attr]


def test_fp8_is_for_rtx_and_typed_networks() -> None:
    def left_out(version: str | None = None, **engine: Any) -> list[str]:
        options = MatrixOptions(
            engine=EngineSpec("fp32", 1, **engine), batches=(8,), trt_precisions=("fp32", "fp8"), trt_version=version
        )
        matrix = build_matrix(options, 90, "p", "p")
        return [reason for what, reason in matrix.left_out if what == "tensorrt fp8"]

    assert "TensorRT-RTX" in left_out()[0]
    assert left_out(typed_model=True) == []
    assert left_out("1.6.1.120", typed_model=True, trt_module="tensorrt_rtx") == []
    spec = EngineSpec("fp8", 8, typed_model=True, trt_module="tensorrt_rtx", calibration="cal")
    assert spec.onnx_name == "resnet50-fp8.onnx" and spec.name == "rtx-fp8-b8"
    assert spec.export_arguments(Path("m.onnx"))[-2:] == ["--opset", "19"]
