from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.engine import versions
from profiler.engine.logger import make_logger
from profiler.errors import ProfilerError
from profiler.workloads import tensorrt
from tests.support.fake_tensorrt import FakeCuda, FakeTensorRT


class Bench:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.plan = folder, folder / "m.plan"
        self.plan.write_bytes(b"plan")
        self.trt = FakeTensorRT()
        monkeypatch.setattr(versions, "import_tensorrt", lambda _module=None: self.trt)
        monkeypatch.setattr(tensorrt, "Cuda", FakeCuda)
        monkeypatch.setitem(sys.modules, "pynvml", None)

    def run(self, *argv: str) -> dict[str, Any]:
        common = ["--plan", str(self.plan), "--output", str(self.folder / "o.json"), "--input-shape", "3,4,4"]
        tensorrt.main([*common, *argv])
        document: dict[str, Any] = json.loads((self.folder / "o.json").read_text())
        return document


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_a_whole_run(bench: Bench) -> None:
    record = {
        "format": "profiler-engine/1",
        "precision": "int8",
        "tensorrt_version": "8.5.3.1",
        "onnx_export": {
            "model": "resnet50",
            "weights": {"kind": "random", "label": "random weights", "seed": 3},
            "quantisation": {"warning": "scales are meaningless"},
        },
    }
    (bench.folder / "m.plan.build.json").write_text(json.dumps(record))
    images = np.arange(5 * 48, dtype=np.float32).reshape(5, 3, 4, 4)
    np.save(bench.folder / "in.npy", images)
    outputs = bench.folder / "out.npy"
    argv = ["--batch", "2", "--mode", "graph", "--profile", "--inputs", str(bench.folder / "in.npy")]
    found = bench.run(
        *argv, "--save-outputs", str(outputs), "--bench", "--bench-iterations", "5", "--bench-seconds", "0"
    )
    assert found["format"] == "profiler-workload/1" and found["framework"] == "TensorRT"
    assert found["precision"] == "int8" and found["model"] == "resnet50" and found["mode"] == "graph"
    assert found["weights"] == {"kind": "plan", "label": "random weights", "seed": 3}
    assert found["input_shape"] == [2, 3, 4, 4] and found["latency_ms"]["n"] == 5
    assert found["gpu"]["sm"] == 90 and "scales are meaningless" in found["warnings"]
    assert np.load(outputs).ravel().tolist() == images.mean(axis=(1, 2, 3)).tolist()


def test_outputs_in_stream_mode(bench: Bench) -> None:
    images = np.arange(5 * 48, dtype=np.float32).reshape(5, 3, 4, 4)
    np.save(bench.folder / "in.npy", images)
    outputs = bench.folder / "out.npy"
    found = bench.run("--batch", "2", "--inputs", str(bench.folder / "in.npy"), "--save-outputs", str(outputs))
    assert np.load(outputs).ravel().tolist() == images.mean(axis=(1, 2, 3)).tolist()
    assert found["precision"] is None and "not known" in found["warnings"][0]
    assert found["latency_ms"] is None and "--bench" in found["reason_missing"]


def test_the_graph_is_captured_once_and_launched(bench: Bench) -> None:
    cuda = FakeCuda()
    runner = tensorrt.TensorRTRunner(bench.trt, cuda, bench.plan, (4, 3, 4, 4), make_logger(bench.trt))
    runner.capture()
    assert runner.context.runs == 2 and cuda.calls[-2:] == ["begin", "end"]
    runner.enqueue()
    assert cuda.calls[-1] == "launch graph" and runner.context.runs == 2


def test_throughput_on_several_streams(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeCuda] = []

    class Counted(FakeCuda):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(tensorrt, "Cuda", Counted)
    few = ["--bench", "--bench-iterations", "6", "--bench-seconds", "0"]
    found = bench.run("--batch", "2", "--mode", "graph", "--streams", "3", *few)
    assert found["throughput"]["streams"] == 3 and "3 streams" in found["throughput"]["how"]
    assert len(made) == 3 and all(cuda.calls.count("begin") == 1 for cuda in made)  # a graph of its own for each
    timed = [sum(call == "launch graph" for call in cuda.calls) for cuda in made]
    assert timed[1] == timed[2] and timed[0] > timed[1]  # the first also did the warm-up and the latencies
    assert bench.run("--batch", "2", *few)["throughput"]["streams"] == 1


def test_the_profile_that_fits_is_selected(bench: Bench) -> None:
    bench.trt.profiles = [((1, 3, 4, 4),) * 3, ((8, 3, 4, 4), (8, 3, 4, 4), (64, 3, 4, 4))]
    cuda = FakeCuda()
    runner = tensorrt.TensorRTRunner(bench.trt, cuda, bench.plan, (32, 3, 4, 4), make_logger(bench.trt))
    assert runner.context.selected == 1 and runner.context.shape == (32, 3, 4, 4)
    with pytest.raises(ProfilerError, match=r"was built for the shapes \[1, 3, 4, 4\] to") as caught:
        bench.run("--batch", "4")
    assert "--batch" in (caught.value.hint or "")


def test_what_does_not_run(bench: Bench) -> None:
    bench.trt.batch = 8
    with pytest.raises(ProfilerError, match=r"takes the shape \[8, 3, 4, 4\]"):
        bench.run("--batch", "4")
    bench.trt.output_format = 4
    with pytest.raises(ProfilerError, match="expected row-major"):
        bench.run("--batch", "8")
    bench.trt.output_format, bench.trt.no_context = 0, True
    with pytest.raises(ProfilerError, match="no execution context"):
        bench.run("--batch", "8")
    bench.trt.load_errors = ["Serialization assertion failed. Version tag does not match."]
    with pytest.raises(ProfilerError, match="cannot load this plan"):
        bench.run("--batch", "8")
    bench.plan.unlink()
    with pytest.raises(ProfilerError, match="no such file"):
        bench.run("--batch", "8")
    assert not (bench.folder / "o.json").exists()


def test_a_plan_of_another_version(bench: Bench) -> None:
    record = {"format": "profiler-engine/1", "tensorrt_version": "10.13.3.9"}
    (bench.folder / "m.plan.build.json").write_text(json.dumps(record))
    with pytest.raises(ProfilerError, match=r"was built by TensorRT 10\.13\.3\.9, and this is TensorRT 8\.5\.3\.1"):
        bench.run()


def test_a_missing_plugin(bench: Bench) -> None:
    with pytest.raises(ProfilerError, match=r"p\.so: no such file"):
        bench.run("--plugin", str(bench.folder / "p.so"))
    (bench.folder / "p.so").write_bytes(b"no library")
    with pytest.raises(ProfilerError, match="does not load"):
        bench.run("--plugin", str(bench.folder / "p.so"))


def test_a_plan_that_needs_a_plugin_and_has_no_record(bench: Bench) -> None:
    bench.trt.load_errors = [
        "3: getPluginCreator could not find plugin: ProfilerQuickGelu version: 1",
        "4: [runtime.cpp::deserializeCudaEngine::66] Error Code 4: Internal Error (Engine deserialization failed.)",
    ]
    with pytest.raises(ProfilerError, match="could not find plugin: ProfilerQuickGelu version: 1; 4: ") as caught:
        bench.run("--batch", "2")
    assert "--plugin FILE.so" in (caught.value.hint or "")


def test_a_plan_that_needs_a_plugin_names_it(bench: Bench) -> None:
    record = {"format": "profiler-engine/1", "tensorrt_version": "8.5.3.1", "plugins": ["quick_gelu.so"]}
    (bench.folder / "m.plan.build.json").write_text(json.dumps(record))
    with pytest.raises(
        ProfilerError, match=r"was built with the plugin library quick_gelu\.so, and no plugin"
    ) as caught:
        bench.run("--batch", "2")
    assert "--plugin quick_gelu.so" in (caught.value.hint or "")
