"""The capturing verbs, from the command line, on a machine made of scripts. (A real nsys: test_study_cli.py.)"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from profiler.cli import main as cli
from profiler.trace import open_trace
from profiler.trace.manifest import manifest_of
from tests.support.accuracy_study import write_study
from tests.support.machine import Machine, contents, listing, read, recorded

VERBS = ("capture", "build", "bench", "doctor", "study", "accuracy")
ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str | Path) -> int:
    return cli.main([str(a) for a in arguments])


def record(machine: Machine, target: Path, *more: str) -> int:
    return call(
        "capture",
        "--framework",
        "pytorch",
        "--precision",
        "fp16",
        "--batch",
        "8",
        "--torch-python",
        machine.python,
        "-o",
        target,
        *more,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_is_documented(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(verb, "--help")
    description = import_module(f"profiler.cli.{verb}").DESCRIPTION
    assert stopped.value.code == 0 and description[:40] in " ".join(capsys.readouterr().out.split())
    assert f"profiler {verb}" in (ROOT / "docs" / "capture.md").read_text()


# -- capture -----------------------------------------------------------------------------------------------------


def test_a_run(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record(machine, tmp_path / "run") == 0
    assert listing(tmp_path / "run") == ["manifest.json", "trace.sqlite.xz"]
    out, err = capsys.readouterr()
    assert "PyTorch FP16, eager, batch 8: 1 ms p50, 8,000 images/s, 4 kernels per inference" in out
    assert "recording under nsys" in err
    document = read(tmp_path / "run" / "manifest.json")
    assert document["bench"]["latency_ms"]["p50"] == 1.0 and document["bench"]["telemetry"]["power_w"]["mean"] == 300
    assert document["profiled"] == {
        "ms_per_inference": 0.09,
        "inferences": 10,
        "kernels": 40,
        "graph_launches": 0,
        "module_ranges": True,
        "ratio_to_bench_mean": 0.09,
    }
    assert document["nsys"]["gpu_metrics_frequency_hz"] == 20_000 and document["modules"][0]["name"] == "conv1"
    assert document["weights"] == "random (seed 0)" and document["complete"]
    whole = (tmp_path / "run" / "manifest.json").read_text()
    assert str(machine.folder) not in whole and str(tmp_path) not in whole
    manifest = manifest_of(tmp_path / "run" / "trace.sqlite.xz")
    assert manifest is not None and manifest.title == "PyTorch FP16, eager, batch 8" and manifest.batch == 8
    with open_trace(tmp_path / "run" / "trace.sqlite.xz") as trace:
        assert trace.kernel_count == 40 and not trace.session.holds_environment
    assert sorted(p.name for p in tmp_path.iterdir()) == ["machine", "run"]
    # latency was measured in a process of its own, without ranges and without the profiler
    (bench_call, profile_call) = [c for c in machine.calls() if c[0] == "-m"]
    assert "--bench" in bench_call and "--profile" not in bench_call and "--nvtx-modules" not in bench_call
    assert "--profile" in profile_call and "--bench" not in profile_call


def test_a_tensorrt_run_from_a_model(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    arguments = [
        "--framework",
        "tensorrt",
        "--precision",
        "int8",
        "--mode",
        "graph",
        "--onnx",
        tmp_path / "m.onnx",
        "--trt-python",
        machine.python,
    ]
    assert call("capture", *arguments, "-o", tmp_path / "run") == 0
    assert listing(tmp_path / "run") == ["build.json", "layers.json", "manifest.json", "trace.sqlite.xz"]
    document = read(tmp_path / "run" / "manifest.json")
    assert document["engine"]["build_seconds"] == 12.5 and len(document["engine"]["plan_sha256"]) == 64
    assert document["layers"] == "layers.json" and document["warnings"][-1] == "scales are meaningless"
    assert read(tmp_path / "run" / "layers.json")["Layers"][0]["Name"] == "/layer1/layer1.0/conv1/Conv"
    assert machine.modules() == ["profiler.engine.build", "profiler.workloads.tensorrt", "profiler.workloads.tensorrt"]


def test_existing_output(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record(machine, tmp_path / "run", "--no-bench") == 0
    before = read(tmp_path / "run" / "manifest.json")
    assert (
        before["bench"]["reason"] == "not measured (--no-bench)" and before["profiled"]["ratio_to_bench_mean"] is None
    )
    capsys.readouterr()
    assert record(machine, tmp_path / "run") == 1
    assert "exists already" in capsys.readouterr().err and read(tmp_path / "run" / "manifest.json") == before
    assert record(machine, tmp_path / "run", "--force") == 0
    assert read(tmp_path / "run" / "manifest.json")["bench"]["latency_ms"]


@pytest.mark.parametrize(
    ("variables", "arguments", "message", "hint"),
    [
        ({"FAKE_FAIL": "--bench=error: no memory for batch 8\\n  Use a smaller --batch."}, (), "no memory for batch 8", "Use a smaller"),
        ({"FAKE_FAIL": "--profile=torch.OutOfMemoryError: CUDA out of memory"}, (), "it printed: torch.OutOf", "smaller --batch"),
        ({"FAKE_FAIL": "workloads=ModuleNotFoundError: No module named 'torch'"}, (), "exit status 1", "lacks torch"),
        ({"FAKE_NSYS_FAIL": "no-report"}, (), "nsys wrote no report", "cudaProfilerStart"),
        ({"FAKE_NSYS_FAIL": "export"}, (), "could not export it", "version"),
        ({}, ("--iterations", "12"), "10 inference ranges were recorded, but 12 inferences ran", "record again"),
        ({"FAKE_SM": "7.5"}, ("--precision", "bf16"), "BF16 needs compute capability 8.0; this GPU has 7.5", "--precision"),
    ],
)  # fmt: skip
def test_runs_that_fail_leave_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    variables: dict[str, str], arguments: tuple[str, ...], message: str, hint: str,
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert record(machine, tmp_path / "run", *arguments) == 1
    err = capsys.readouterr().err
    assert message in err and hint in err and "Traceback" not in err.split("error: ")[0]
    assert [p.name for p in tmp_path.iterdir()] == ["machine"]


def test_a_trace_without_kernels_is_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_NSYS_REPORT", str(recorded(machine.folder / "empty.sqlite", kernels=0)))
    assert record(machine, tmp_path / "run") == 1
    assert "no kernels" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_without_permission_the_run_goes_on_without_metrics(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_NSYS_FAIL", "denied")
    assert record(machine, tmp_path / "run") == 0
    assert "warning: recorded without GPU metrics" in capsys.readouterr().err
    document = read(tmp_path / "run" / "manifest.json")
    assert document["nsys"]["gpu_metrics_frequency_hz"] == 0 and "ERR_NVGPUCTRPERM" in document["warnings"][0]
    monkeypatch.setenv("FAKE_NSYS_FAIL", "metrics")
    assert record(machine, tmp_path / "again") == 0
    assert "recorded without GPU metrics: nsys could not sample them" in " ".join(
        read(tmp_path / "again" / "manifest.json")["warnings"]
    )
    assert machine.modules().count("profiler.workloads.pytorch") == 4


def test_what_is_missing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call(
            "capture",
            "--framework",
            "tensorrt",
            "--plan",
            tmp_path / "none.plan",
            "--trt-python",
            machine.python,
            "-o",
            tmp_path / "run",
        )
        == 1
    )
    assert "none.plan: no such file" in capsys.readouterr().err
    assert record(machine, tmp_path / "machine" / "nsys" / "run") == 1  # below a file
    assert "A file is in the way" in capsys.readouterr().err
    (machine.folder / "nvidia-smi").unlink()
    assert record(machine, tmp_path / "run") == 1
    assert "no NVIDIA GPU was found" in capsys.readouterr().err
    monkeypatch.setenv("PROFILER_NSYS", str(tmp_path / "no-nsys"))
    assert record(machine, tmp_path / "run") == 1
    assert "cannot be run (No such file or directory)" in capsys.readouterr().err
    assert call("capture", "--framework", "pytorch", "--plan", "x", "-o", tmp_path / "run") == 2
    assert [p.name for p in tmp_path.iterdir()] == ["machine"]


def test_a_full_disk(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("profiler.files.shutil.copyfileobj", full)
    assert record(machine, tmp_path / "run") == 1
    assert "The disk is full" in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == ["machine"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["--bench", "--profile"])
def test_an_interrupt_leaves_nothing(machine: Machine, tmp_path: Path, sign: signal.Signals, where: str) -> None:
    environment = {**os.environ, "FAKE_FAIL": f"{where}=hang", "PYTHONPATH": str(ROOT)}
    code = "import sys; from profiler.cli import main; sys.exit(main.main(sys.argv[1:]))"
    arguments = ["capture", "--framework", "pytorch", "--torch-python", machine.python, "-o", str(tmp_path / "run")]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not any(where in c for c in machine.calls()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(sign)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130 and err.endswith("interrupted\n")
    assert [p.name for p in tmp_path.iterdir()] == ["machine"]
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if machine.python in contents(p)]


# -- build, bench, doctor, accuracy -------------------------------------------------------------------------------


def test_build(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "build",
        "--precision",
        "fp16",
        "--batch",
        "8",
        "--torch-python",
        machine.python,
        "--trt-python",
        machine.python,
        "-o",
        tmp_path / "e" / "a.plan",
    ]
    assert call(*arguments) == 0
    assert "a.plan: 0.000004 MiB, built in 12.5 s" in capsys.readouterr().out
    assert listing(tmp_path / "e") == ["a.plan", "a.plan.build.json", "a.plan.layers.json"]
    assert call(*arguments) == 1 and "exists already" in capsys.readouterr().err
    monkeypatch.setenv(
        "FAKE_FAIL",
        "engine.build=error: m.onnx: cannot parse this model: no importer for GridSample\\n  Replace the operator.",
    )
    assert call(*arguments[:-1], tmp_path / "b.plan") == 1
    assert "no importer for GridSample" in capsys.readouterr().err and not (tmp_path / "b.plan").exists()


def test_a_model_whose_batch_is_fixed(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    arguments = [
        "build",
        "--precision",
        "fp16",
        "--onnx",
        tmp_path / "m.onnx",
        "--trt-python",
        machine.python,
        "-o",
        tmp_path / "a.plan",
    ]
    monkeypatch.setenv(
        "FAKE_FAIL", "--profile=error: --profile: the model's inputs have fixed shapes (input [8, 3, 224, 224])."
    )
    assert call(*arguments) == 0 and (tmp_path / "a.plan").exists()
    assert call(*arguments, "--force", "--profile", "1:8:8") == 1


def test_bench(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--framework", "pytorch", "--precision", "fp32", "--torch-python", machine.python]
    assert call(*arguments) == 0
    out = capsys.readouterr().out
    assert "latency p50" in out and "4 ms" in out and "250 images/s" in out and "SM clock" in out and "—" in out
    assert call(*arguments, "--format", "json", "-o", tmp_path / "b.json") == 0
    assert read(tmp_path / "b.json")["latency_ms"]["p99"] == pytest.approx(4.8)
    assert call(*arguments, "--format", "csv") == 0
    assert "latency p50,4.0,ms" in capsys.readouterr().out


def test_doctor(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["doctor", "--torch-python", sys.executable, "--trt-python", "no-such-python", "--folder", tmp_path]
    assert call(*arguments) == 0
    out = capsys.readouterr().out
    assert (
        "NVIDIA H200, compute capability 9.0" in out
        and "2025.3.2" in out
        and "no-such-python: no such Python interpreter" in out
    )
    assert call(*arguments, "--strict") == 1
    capsys.readouterr()
    assert call(*arguments, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    statuses = {f["what"]: f["status"] for f in document["findings"]}
    assert (
        statuses["nsys"] == "found"
        and statuses["TensorRT interpreter"] == "missing"
        and "TensorRT interpreter" in document["faults"]
    )
    for finding in document["findings"]:
        assert finding["status"] == "found" or finding["remedy"], finding
    (machine.folder / "nvidia-smi").unlink()
    monkeypatch.setenv("PROFILER_NSYS", "/none")
    assert call(*arguments) == 0
    out = capsys.readouterr().out
    assert "nvidia-smi is not on the PATH" in out and "/none: cannot be run" in out


def test_doctor_reads_the_drivers_rule(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from profiler.capture import doctor as library  # noqa: PLC0415

    monkeypatch.setattr(library, "PARAMETERS", tmp_path / "params")
    (tmp_path / "params").write_text("ResmanDebugLevel: 1\nRmProfilingAdminOnly: 1\n")
    monkeypatch.setattr(library.os, "geteuid", lambda: 1000)
    assert library._counters().status == library.WARNING
    monkeypatch.setattr(library.os, "geteuid", lambda: 0)
    assert library._counters().status == library.FOUND
    (tmp_path / "params").write_text("RmProfilingAdminOnly: 0\n")
    assert "every user" in library._counters().detail


def test_agreement_of_a_run(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.plan").write_bytes(b"plan")
    arguments = [
        "accuracy",
        "--framework",
        "tensorrt",
        "--precision",
        "int8",
        "--plan",
        tmp_path / "a.plan",
        "--trt-python",
        machine.python,
        "--torch-python",
        machine.python,
    ]
    assert call(*arguments) == 0
    out = capsys.readouterr().out
    assert "top-1 agreement" in out and "SQNR" in out and "not accuracy" in out and "top-1 accuracy" not in out
    assert machine.modules() == ["profiler.workloads.tensorrt", "profiler.workloads.pytorch"]


def test_accuracy_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path / "runs")
    assert call("accuracy", "--study", study) == 0
    out = capsys.readouterr().out
    assert "trt-int8-max-graph-b8" in out and "within 0.5 points" in out
    assert call("accuracy", "--study", study, "--fail-if", "top1_difference_points<-0.5") == 3
    said = capsys.readouterr().err
    assert "trt-int8-max-graph-b8" in said and "trt-int8-graph-b8" not in said
    assert call("accuracy", "--study", study, "--fail-if", "top1_difference_points<-3") == 0
    assert (
        call("accuracy", "--study", tmp_path) == 1
        and "no run here was given labelled images" in capsys.readouterr().err
    )


def test_accuracy_of_saved_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image  # noqa: PLC0415

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name / "1.png")
    np.save(tmp_path / "o.npy", np.array([[2, 1], [2, 1]], dtype=np.float32))
    assert call("accuracy", "--outputs", tmp_path / "o.npy", "--images", tmp_path / "images", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found.pop("top1_interval_pct")
    assert found == {"kind": "accuracy", "images": 2, "top1_pct": 50.0, "top5_pct": 100.0}
    half = 1.959964 * (0.25 / 2 + 1.959964**2 / 16) ** 0.5 / (1 + 1.959964**2 / 2)  # Wilson's interval of 1 in 2
    assert (low, high) == pytest.approx((50 - 100 * half, 50 + 100 * half), abs=1e-3)
    assert call("accuracy", "--outputs", tmp_path / "o.npy", "--reference", tmp_path / "o.npy") == 0
    assert "identical" in capsys.readouterr().out
    # labels and a reference: the difference on the same images, and gates on it
    np.save(tmp_path / "r.npy", np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    both = (
        "accuracy",
        "--outputs",
        tmp_path / "o.npy",
        "--reference",
        tmp_path / "r.npy",
        "--images",
        tmp_path / "images",
    )
    assert call(*both, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["top1_difference_points"] == -50.0
    assert call(*both, "--fail-if", "top1_difference_points<-0.5") == 3
    assert "top1_difference_points is −50" in capsys.readouterr().err.replace("-50", "−50")
    assert call(*both, "--fail-if", "top1_pct<10") == 0
    assert call(*both, "--fail-if", "sqnr<1") == 2 and "no figure 'sqnr'" in capsys.readouterr().err
    assert call("accuracy", "--outputs", tmp_path / "o.npy") == 2
    assert call("accuracy") == 2
