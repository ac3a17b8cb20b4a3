"""The study, from the command line, on a machine made of scripts; and captures with a real nsys where there is one."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from profiler.capture import nsys as nsys_module
from profiler.capture.nsys import Recording, end_session, inspect, profile_argv
from profiler.capture.process import run
from profiler.capture.sanitise import sanitise
from profiler.cli import main as cli
from profiler.trace import nsys_export, open_trace
from profiler.trace.nsys_export import find_nsys
from tests.support.machine import Machine, contents, listing, read

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str | Path) -> int:
    return cli.main([str(a) for a in arguments])


SMALL = (
    "--batches",
    "8",
    "--torch-precisions",
    "fp32,fp16",
    "--torch-modes",
    "eager",
    "--trt-precisions",
    "int8",
    "--trt-modes",
    "graph",
)


def run_study(machine: Machine, folder: Path, *more: str) -> int:
    return call("study", "-o", folder, "--torch-python", machine.python, "--trt-python", machine.python, *SMALL, *more)


def test_a_study_is_resumed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    assert run_study(machine, folder) == 0
    out, err = capsys.readouterr()
    assert "6 steps done, 0 done before, 0 not done" in out and "[6/6] accuracy-resnet50: done" in err
    document = read(folder / "summary.json")
    rows = {r["name"]: r for r in document["runs"]}
    assert set(rows) == {"torch-fp32-eager-b8", "torch-fp16-eager-b8", "trt-int8-graph-b8"}
    assert rows["trt-int8-graph-b8"]["speedup"] == 4 and rows["trt-int8-graph-b8"]["kernels_per_inference"] == 4
    assert rows["torch-fp32-eager-b8"]["sqnr_db"] is None and rows["trt-int8-graph-b8"]["sqnr_db"] > 20
    assert rows["trt-int8-graph-b8"]["top1_pct"] is None
    with (folder / "summary.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    text = (folder / "summary.md").read_text()
    assert "| trt-int8-graph-b8 |" in text and "they are not accuracy" in text and "Not done" not in text
    manifest = read(folder / "trt-int8-graph-b8" / "manifest.json")
    assert (
        manifest["accuracy"]["agreement"]["note"].startswith("agreement") and manifest["accuracy"]["accuracy"] is None
    )
    called = len(machine.modules())
    assert run_study(machine, folder) == 0
    assert "1 step done, 5 done before" in capsys.readouterr().out and len(machine.modules()) == called
    (folder / "torch-fp16-eager-b8" / "trace.sqlite.xz").unlink()
    assert run_study(machine, folder) == 0
    assert "2 steps done, 4 done before" in capsys.readouterr().out
    assert run_study(machine, folder, "--iterations", "10", "--seed", "1") == 0
    assert "6 steps done, 0 done before" in capsys.readouterr().out
    assert run_study(machine, folder, "--seed", "1", "--redo", "--only", "torch-fp16*") == 0
    assert "1 step done, 0 done before" in capsys.readouterr().out


def test_engines_may_be_deleted_and_the_study_go_on_in_parts(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    assert run_study(machine, folder, "--frameworks", "pytorch") == 0
    assert run_study(machine, folder, "--frameworks", "tensorrt") == 0
    assert "4 steps done, 0 done before" in capsys.readouterr().out
    rows = {r["name"]: r for r in read(folder / "summary.json")["runs"]}
    assert len(rows) == 3 and rows["trt-int8-graph-b8"]["sqnr_db"] > 20
    shutil.rmtree(folder / "engines")
    built = machine.modules().count("profiler.engine.build")
    assert run_study(machine, folder) == 0
    assert machine.modules().count("profiler.engine.build") == built
    assert "1 step done, 5 done before" in capsys.readouterr().out
    assert run_study(machine, folder, "--steps", "build") == 0
    assert machine.modules().count("profiler.engine.build") == built + 1


def test_a_failing_step_does_not_stop_the_rest(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(
        "FAKE_FAIL", "engine.build=error: the GPU has too little memory for this build\\n  Lower --workspace."
    )
    folder = tmp_path / "study"
    assert run_study(machine, folder) == 1
    out, err = capsys.readouterr()
    assert (
        "failed: engine-int8-b8: the GPU has too little memory" in out
        and "blocked: trt-int8-graph-b8" in out
        and "(Lower --workspace.)" in err
    )
    assert {s["step"]: s["status"] for s in read(folder / "study.json")["steps"]} == {
        "onnx-resnet50-int8": "done", "engine-int8-b8": "failed", "torch-fp32-eager-b8": "done", "torch-fp16-eager-b8": "done",
        "trt-int8-graph-b8": "blocked", "accuracy-resnet50": "done",
    }  # fmt: skip
    assert "engine-int8-b8 (failed)" in (folder / "summary.md").read_text()
    monkeypatch.delenv("FAKE_FAIL")
    assert run_study(machine, folder) == 0
    assert "3 steps done, 3 done before" in capsys.readouterr().out


def test_a_study_of_latency_alone_needs_no_nsys(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILER_NSYS", "/none")
    assert run_study(machine, tmp_path / "study", "--no-trace") == 0
    assert listing(tmp_path / "study" / "bench") == [
        "torch-fp16-eager-b8.json",
        "torch-fp32-eager-b8.json",
        "trt-int8-graph-b8.json",
    ]
    assert read(tmp_path / "study" / "bench" / "trt-int8-graph-b8.json")["accuracy"]["agreement"]["images"] == 4
    assert run_study(machine, tmp_path / "other") == 1


def test_a_time_limit(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_study(machine, tmp_path / "study", "--time-limit", "0") == 1
    assert "not started: torch-fp32-eager-b8" in capsys.readouterr().out
    assert run_study(machine, tmp_path / "study") == 0


def test_the_matrix_can_be_printed_without_a_gpu(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.folder / "nvidia-smi").unlink()
    assert call("study", "-o", tmp_path / "s", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert "no GPU here: 66 steps" in out and "trt-int8-graph-b64" in out and "warning: no NVIDIA GPU" in err
    assert not (tmp_path / "s").exists()
    assert call("study", "-o", tmp_path / "s") == 1


def test_a_turing_chip(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_SM", "7.5")
    assert call("study", "-o", tmp_path / "s", "--dry-run", "--batches", "8") == 0
    out, err = capsys.readouterr()
    assert (
        "tf32" not in out
        and "left out: pytorch tf32: TF32 needs compute capability 8.0" in err
        and "Tensor Active / FP16 Active" in err
    )


def test_a_study_with_images(machine: Machine, tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (300, 300)).save(tmp_path / "images" / name / f"{i}.png")
    assert run_study(machine, tmp_path / "study", "--images", str(tmp_path / "images")) == 0
    found = read(tmp_path / "study" / "torch-fp16-eager-b8" / "manifest.json")["accuracy"]
    assert found["accuracy"]["images"] == 4 and found["agreement"]["images"] == 4
    exported = next(c for c in machine.calls() if "profiler.engine.export" in c)
    assert exported[exported.index("--calibration") + 1] == str(tmp_path / "images")


# -- a real nsys --------------------------------------------------------------------------------------------------

real_nsys = pytest.mark.skipif(find_nsys() is None, reason="no nsys here")


@pytest.mark.nsys
@real_nsys
def test_a_real_nsys_takes_our_argv_and_its_export_is_sanitised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU there are no kernels, but the options, the report, the export and what it tells are real."""
    monkeypatch.setenv("A_SECRET_TOKEN", "hunter2-in-the-environment")
    nsys = inspect(find_nsys() or Path())
    (tmp_path / "private_name.py").write_text("print('printed by the program itself')")
    recording = Recording(metrics_hz=0, capture_range="none")
    argv, warnings = profile_argv(
        nsys, recording, tmp_path / "report", [sys.executable, str(tmp_path / "private_name.py")], "profilertest1"
    )
    done = run(argv, timeout_s=120)
    assert done.exit_code == 0, done.output
    assert not warnings
    report = next(p for p in tmp_path.glob("report.*") if p.suffix in (".nsys-rep", ".qdrep"))
    nsys_export.export(report, tmp_path / "raw.sqlite")
    dirt = (
        b"hunter2-in-the-environment",
        b"private_name.py",
        b"printed by the program itself",
        str(tmp_path).encode(),
        os.uname().release.encode(),
    )
    raw = (tmp_path / "raw.sqlite").read_bytes()
    assert [d for d in dirt if d not in raw] == []
    sanitise(tmp_path / "raw.sqlite", tmp_path / "clean.sqlite")
    clean = (tmp_path / "clean.sqlite").read_bytes()
    assert [d for d in dirt if d in clean] == []
    with open_trace(tmp_path / "clean.sqlite") as trace:
        assert (
            trace.session.nsys_version
            and not trace.session.holds_environment
            and "no kernels" in str(trace.no_kernels_reason)
        )


@pytest.mark.nsys
@real_nsys
def test_a_real_nsys_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    nsys = inspect(find_nsys() or Path())
    program = f"import time; open({str(tmp_path / 'started')!r}, 'w').close(); time.sleep(120)"
    argv, _ = profile_argv(
        nsys, Recording(metrics_hz=0), tmp_path / "report", [sys.executable, "-c", program], "profilertest2"
    )
    done = run(
        argv, {**os.environ, "TMPDIR": "/tmp"}, timeout_s=6, before_kill=lambda: end_session(nsys, "profilertest2")
    )
    assert done.timed_out and (tmp_path / "started").exists()
    time.sleep(0.5)
    left = [
        t
        for p in Path("/proc").glob("[0-9]*/cmdline")
        if "profilertest2" in (t := contents(p)) or str(tmp_path / "started") in t
    ]
    assert left == [] and not list(tmp_path.glob("report*"))
    assert nsys_module.WANTED_TRACES


def test_tensorrt_rtx_is_found_when_it_is_the_only_one(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_TRT", "tensorrt_rtx 1.6.1.120")
    options = (
        "--frameworks",
        "tensorrt",
        "--batches",
        "8",
        "--trt-precisions",
        "fp32,tf32,fp16,int8",
        "--trt-modes",
        "stream,graph",
    )
    assert run_study(machine, tmp_path / "study", *options) == 0
    names = {name.split("/")[0] for name in listing(tmp_path / "study")}
    assert {"rtx-fp16-graph-b8", "rtx-fp32-stream-b8", "rtx-tf32-graph-b8"} <= names and not any(
        "int8" in n for n in names
    )
    err = capsys.readouterr().err
    assert "left out: tensorrt int8: TensorRT-RTX has no INT8 calibrator" in err
    builds = [c for c in machine.calls() if c[1:2] == ["profiler.engine.build"]]
    assert builds and all(c[c.index("--trt-module") + 1] == "tensorrt_rtx" for c in builds)
    exports = [c for c in machine.calls() if c[1:2] == ["profiler.engine.export"]]
    assert any("--precision" in c and c[c.index("--precision") + 1] == "fp16" for c in exports)  # strongly typed
    assert (
        read(tmp_path / "study" / "rtx-fp16-graph-b8" / "manifest.json")["title"]
        == "TensorRT-RTX FP16, CUDA graph, batch 8"
    )


def test_options_of_8_6_reach_the_build(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TRT", "tensorrt 8.6.0")
    options = ("--frameworks", "tensorrt", "--trt-precisions", "int8", "--batches", "8")
    levels = ("--optimization-level", "5", "--hardware-compatibility", "ampere-plus")
    assert run_study(machine, tmp_path / "study", *options, *levels) == 0
    call_ = next(c for c in machine.calls() if c[1:2] == ["profiler.engine.build"])
    assert call_[call_.index("--optimization-level") + 1] == "5"
    assert call_[call_.index("--hardware-compatibility") + 1] == "ampere-plus" and "--trt-module" not in call_


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("interpreter", "not a working Python interpreter"),
        ("module", "lacks cuda-python"),
        ("torch", "lacks torchvision, onnx"),
        ("output", "cannot be written (File exists)"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
    said: str,
) -> None:
    folder, more = tmp_path / "study", []
    if broken == "interpreter":
        more = ["--trt-python", "/bin/false"]
    elif broken == "output":
        folder.write_text("in the way")
    else:
        monkeypatch.setenv("FAKE_MISSING", "cuda" if broken == "module" else "torchvision,onnx")
    began = time.monotonic()
    assert run_study(machine, folder, *more) == 1
    assert said in capsys.readouterr().err and time.monotonic() - began < 5
    assert not machine.modules()
