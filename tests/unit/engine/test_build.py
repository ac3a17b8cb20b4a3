from __future__ import annotations

import argparse
import json
import lzma
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.engine import build, inspector, versions
from profiler.engine.logger import BuildLog
from profiler.engine.progress import Ticker
from profiler.errors import MissingToolError, OutputError, ProfilerError, UsageError
from profiler.files import write_json
from tests.support.fake_tensorrt import FakeCuda, FakeTensorRT


class Bench:
    """A folder with a model, and a way to build it with a stand-in for TensorRT."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.onnx, self.plan = folder / "m.onnx", folder / "m.plan"
        self.onnx.write_bytes(b"onnx")
        self.trt = FakeTensorRT()
        monkeypatch.setattr(versions, "import_tensorrt", lambda _module=None: self.trt)
        monkeypatch.setattr(build, "Cuda", FakeCuda)

    def run(self, *argv: str, precision: str = "fp16") -> dict[str, Any]:
        common = ["--onnx", str(self.onnx), "--plan", str(self.plan), "--quiet"]
        build.main([*common, "--precision", precision, *argv])
        document: dict[str, Any] = json.loads(self.plan.with_name("m.plan.build.json").read_text())
        return document

    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_all_four_files(bench: Bench) -> None:
    record = bench.run("--profile", "1:8:16")
    assert bench.left() == ["m.onnx", "m.plan", "m.plan.build.json", "m.plan.build.log.xz", "m.plan.layers.json"]
    assert bench.plan.read_bytes() == b"plan"
    assert json.loads((bench.folder / "m.plan.layers.json").read_text())["Layers"] == [{"Name": "a"}]
    log = lzma.decompress((bench.folder / "m.plan.build.log.xz").read_bytes()).decode()
    assert log.startswith("[V] --------------- Timing Runner: /conv1/Conv")
    assert record["format"] == "profiler-engine/1" and record["tensorrt_version"] == "8.5.3.1"
    assert record["precision"] == "fp16" and record["flags"] == ["TF32", "FP16"]
    assert record["plan_bytes"] == 4 and record["device_memory_bytes"] == 1024 and record["runners_timed"] == 1
    assert record["profiles"] == [{"input": "input", "min": [1, 3, 4, 4], "opt": [8, 3, 4, 4], "max": [16, 3, 4, 4]}]
    assert record["timing_cache"] == "none" and record["detailed"] is True
    assert len(record["onnx_sha256"]) == 64 and record["onnx_export"] is None


@pytest.mark.parametrize(
    ("precision", "flags", "bits"),
    [("fp32", [], set()), ("tf32", ["TF32"], {7}), ("fp16", ["TF32", "FP16"], {7, 0})],
)
def test_flags_on_8_5(bench: Bench, precision: str, flags: list[str], bits: set[int]) -> None:
    assert bench.run("--profile", "8", precision=precision)["flags"] == flags
    assert bench.trt.flags == bits and bench.trt.network_flags == 1


def test_int8_needs_pairs_and_sets_fp16_too(bench: Bench) -> None:
    with pytest.raises(ProfilerError, match="no QuantizeLinear"):
        bench.run("--profile", "8", precision="int8")
    bench.trt.quantised = True
    assert bench.run("--profile", "8", precision="int8")["flags"] == ["TF32", "FP16", "INT8"]
    with pytest.raises(ProfilerError, match="holds QuantizeLinear"):
        bench.run("--profile", "8", "--force", precision="fp16")


def test_from_10_on_the_model_decides(bench: Bench) -> None:
    bench.trt.__version__ = "10.13.3.9"
    with pytest.raises(ProfilerError, match="computes in FP32") as caught:
        bench.run("--profile", "8", precision="fp16")
    assert "--precision fp16" in (caught.value.hint or "")
    bench.trt.half = True
    record = bench.run("--profile", "8", precision="fp16")
    assert record["strongly_typed"] is True and record["flags"] == ["TF32"] and bench.trt.flags == {7}
    assert bench.trt.network_flags == 2
    with pytest.raises(ProfilerError, match="computes in FP16"):
        bench.run("--profile", "8", "--force", precision="tf32")


def test_options(bench: Bench) -> None:
    record = bench.run(
        "--profile", "8", "--workspace", "256", "--tactic-sources=-CUDNN", "--io", "fp16", "--no-detailed"
    )
    assert bench.trt.workspace == 256 << 20 and bench.trt.mask == 0b011
    assert record["tactic_sources"] == ["CUBLAS", "CUBLAS_LT"] and record["io"] == "fp16"
    assert [t.dtype for t in bench.trt._io] == ["float16", "float16"]
    assert bench.trt.config.profiling_verbosity == 0
    with pytest.raises(UsageError, match=r"came with 8\.6"):
        bench.run("--profile", "8", "--force", "--optimization-level", "5")
    with pytest.raises(UsageError, match="has no NONSENSE"):
        bench.run("--profile", "8", "--force", "--tactic-sources", "NONSENSE")
    with pytest.raises(UsageError, match="each with"):
        bench.run("--profile", "8", "--force", "--tactic-sources", "CUDNN,+CUBLAS")


def test_timing_cache(bench: Bench) -> None:
    cache = bench.folder / "t.cache"
    assert bench.run("--profile", "8", "--timing-cache", str(cache))["timing_cache"] == "fresh"
    assert cache.read_bytes() == b"cache"
    assert bench.run("--profile", "8", "--timing-cache", str(cache), "--force")["timing_cache"] == "reused"
    bench.trt.cache_accepted = False
    record = bench.run("--profile", "8", "--timing-cache", str(cache), "--force")
    assert record["timing_cache"] == "fresh" and "another TensorRT or GPU" in record["warnings"][0]


def test_shapes_have_to_fit(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no --profile was given"):
        bench.run()
    with pytest.raises(UsageError, match="does not fit"):
        bench.run("--profile", "1x3x5x5:2x3x5x5:3x3x5x5")
    bench.run("--profile", "1x3x4x4:2x3x4x4:3x3x4x4")
    bench.trt.batch = 8
    with pytest.raises(UsageError, match="fixed shapes"):
        bench.run("--profile", "8", "--force")
    assert bench.run("--force")["profiles"] == []


@pytest.mark.parametrize("text", ["0", "a", "8:4:16", "1:2", "1:2:3:4", "1x3:2:3", "", "-1"])
def test_shape_ranges_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="min:opt:max"):
        build.shape_range(text)


def test_failures_leave_nothing(bench: Bench) -> None:
    bench.trt.parse_errors = ["No importer registered for op: Frob"]
    with pytest.raises(ProfilerError, match=r"cannot parse this model: No importer.*Frob \[at node 3\]"):
        bench.run("--profile", "8")
    bench.trt.parse_errors = []
    bench.trt.build_errors = ["[defaultAllocator.cpp] Cuda Runtime (out of memory)"]
    with pytest.raises(ProfilerError, match="out of memory") as caught:
        bench.run("--profile", "8")
    assert "too little free memory" in (caught.value.hint or "")
    bench.trt.build_errors = ["Could not find any implementation for node X"]
    with pytest.raises(ProfilerError) as caught:
        bench.run("--profile", "8")
    assert "--workspace" in (caught.value.hint or "")
    bench.trt.build_errors, bench.trt.interrupt = [], True
    with pytest.raises(KeyboardInterrupt):
        bench.run("--profile", "8")
    assert bench.left() == ["m.onnx"]


def test_a_failed_rebuild_keeps_the_plan(bench: Bench) -> None:
    bench.run("--profile", "8")
    with pytest.raises(OutputError, match="exists already"):
        bench.run("--profile", "8")
    bench.trt.build_errors = ["broken"]
    with pytest.raises(ProfilerError, match="broken"):
        bench.run("--profile", "8", "--force")
    assert bench.plan.read_bytes() == b"plan" and len(bench.left()) == 5


def test_inputs_and_outputs_that_are_not_there(bench: Bench) -> None:
    bench.plan = bench.folder / "missing" / "m.plan"
    with pytest.raises(OutputError, match="cannot be written"):
        bench.run("--profile", "8")
    bench.onnx.unlink()
    with pytest.raises(ProfilerError, match="no such file"):
        bench.run("--profile", "8")


def test_the_log_hides_the_users_folder(bench: Bench) -> None:
    bench.trt.build_errors = []
    original = bench.trt._build

    def with_path(network: Any, config: Any) -> Any:
        bench.trt.logger.log("Severity.INFO", f"Input filename:   {bench.onnx}")
        return original(network, config)

    bench.trt._build = with_path  # type: ignore[method-assign]
    bench.run("--profile", "8")
    log = lzma.decompress((bench.folder / "m.plan.build.log.xz").read_bytes()).decode()
    assert "Input filename:   m.onnx" in log and str(bench.folder) not in log


def test_the_exports_record_is_carried_on(bench: Bench) -> None:
    record = {"format": "profiler-onnx/1", "model": "resnet50"}
    (bench.folder / "m.onnx.json").write_text(json.dumps(record))
    assert bench.run("--profile", "8")["onnx_export"] == record
    (bench.folder / "m.onnx.json").write_text("{}")
    with pytest.raises(ProfilerError, match="its format is"):
        bench.run("--profile", "8", "--force")


def test_no_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise MissingToolError("this process sees no NVIDIA GPU.")

    monkeypatch.setattr(build, "Cuda", none)
    with pytest.raises(MissingToolError, match="no NVIDIA GPU"):
        bench.run("--profile", "8")
    assert bench.left() == ["m.onnx"]


@pytest.mark.parametrize(
    ("errors", "hint"),
    [
        (
            ["Error Code 1: Serialization (Serialization assertion failed.Version tag does not match.)"],
            "another TensorRT",
        ),
        (["Error Code 3: getPluginCreator could not find plugin: Foo version: 1"], "--plugin"),
        (  # what 8.5 logs: the line that names the cause comes first, the last says nothing
            [
                "3: getPluginCreator could not find plugin: ProfilerQuickGelu version: 1",
                "1: [pluginV2Runner.cpp::load::299] Error Code 1: Serialization (Serialization assertion creator failed."
                "Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry)",
                "4: [runtime.cpp::deserializeCudaEngine::66] Error Code 4: Internal Error (Engine deserialization failed.)",
            ],
            "--plugin FILE.so",
        ),
        (
            ["Error Code 4: Internal Error (Engine deserialization failed.)"],
            "needs a plugin that was not given (--plugin)",
        ),
        (["ProfilerQuickGelu: a: the plan was built with another version of this plugin."], "do not belong together"),
        (["The engine was generated on an incompatible device"], "kind of GPU"),
        ([], "damaged"),
    ],
)
def test_why_a_plan_does_not_load(errors: list[str], hint: str) -> None:
    message, found = versions.explain_plan_errors(errors, "8.5.3.1")
    assert hint in found
    assert all(error in message for error in errors)


def test_progress_line() -> None:
    log = BuildLog(None)
    with Ticker(log, quiet=True) as ticker:
        log.add("VERBOSE", "--------------- Timing Runner: /layer1/layer1.0/conv1/Conv + /relu (CaskConvolution)")
        assert ticker.line() == "building: 0 s, 1 runners timed, at /layer1/layer1.0/conv1/Conv + /relu"
        ticker.phase = "Building engine 3/9"
        assert ticker.line().endswith("at Building engine 3/9")


def test_tensorrt_rtx_has_the_interface_of_11_and_says_what_it_cannot_do(bench: Bench) -> None:
    bench.trt = FakeTensorRT("1.6.1.120")
    bench.trt.__name__ = "tensorrt_rtx"
    bench.trt.half = True
    record = bench.run("--profile", "1:8:16")
    assert record["tensorrt_version"] == "RTX 1.6.1.120" and record["trt_module"] == "tensorrt_rtx"
    assert record["strongly_typed"] is True and record["flags"] == ["TF32"]
    bench.plan.unlink()
    bench.trt.quantised = True
    with pytest.raises(ProfilerError, match="refuses INT8 Q/DQ pairs"):
        bench.run("--profile", "8", precision="int8")
    assert not bench.plan.exists()
    bench.trt.__version__ = "1.7.1.116"
    with pytest.raises(ProfilerError, match=r"1\.7\.1\.116 does not support Hopper"):
        bench.run("--profile", "8")


def test_raw_control_characters_of_the_inspector_are_read_and_written_escaped(bench: Bench) -> None:
    raw = '{"Layers": [{"Name": "a", "Metadata": "[ONNX Layer: /conv1/Conv]\x1e\x1f[ONNX Layer: b]"}], "Bindings": []}'
    engine = SimpleNamespace(
        create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda _format: raw)
    )
    information = inspector.engine_information(bench.trt, engine)
    write_json(bench.folder / "x.json", information)
    text = (bench.folder / "x.json").read_text()
    assert "\x1e" not in text and json.loads(text) == information


def test_hardware_compatibility_needs_8_6(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"8\.5\.3\.1 has none \(they came with 8\.6\)"):
        bench.run("--profile", "8", "--hardware-compatibility", "ampere-plus")
    bench.trt = FakeTensorRT("8.6.0")
    bench.trt.HardwareCompatibilityLevel = SimpleNamespace(__members__={"NONE": 0, "AMPERE_PLUS": 1})
    assert (
        bench.run("--profile", "8", "--hardware-compatibility", "ampere-plus")["hardware_compatibility"]
        == "ampere-plus"
    )
    assert bench.trt.config.hardware_compatibility_level == 1
