"""Finding nsys, asking it, and the argv of a recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.capture import nsys as module
from profiler.capture.nsys import Nsys, Recording, inspect, locate, metrics_device, metrics_failed, profile_argv
from profiler.errors import MissingToolError, ProfilerError
from tests.support.machine import Machine

NEW = frozenset(
    {
        "gpu-metrics-devices",
        "gpu-metrics-frequency",
        "sample",
        "cpuctxsw",
        "capture-range-end",
        "cuda-graph-trace",
        "session-new",
    }
)


def made(options: frozenset[str] = NEW, traces: tuple[str, ...] = ("cuda", "nvtx", "cudnn", "cublas")) -> Nsys:
    return Nsys(Path("/x/nsys"), (2025, 3), "2025.3", options, frozenset(traces))


def argv(nsys: Nsys, recording: Recording) -> list[str]:
    return profile_argv(nsys, recording, Path("out/report"), ["python", "-m", "profiler.workloads.pytorch"], "s1")[0]


def test_argv_of_a_new_nsys() -> None:
    assert argv(made(), Recording(metrics_device="0")) == [
        "/x/nsys", "profile", "--trace=cuda,nvtx,cudnn,cublas", "--sample=none", "--cpuctxsw=none", "--capture-range=cudaProfilerApi",
        "--capture-range-end=stop", "--cuda-graph-trace=node", "--gpu-metrics-devices=0", "--gpu-metrics-frequency=20000",
        "--session-new=s1", "--output=out/report", "--force-overwrite=true", "python", "-m", "profiler.workloads.pytorch",
    ]  # fmt: skip


def test_argv_of_an_old_nsys() -> None:
    old = made(frozenset({"gpu-metrics-device", "sample", "cuda-graph-trace"}), ("cuda", "nvtx"))
    found, warnings = profile_argv(old, Recording(metrics_device="0"), Path("r"), ["p"], "s")
    assert "--gpu-metrics-device=0" in found and "--trace=cuda,nvtx" in found
    assert "--stop-on-range-end=true" in found and not [a for a in found if a.startswith(("--session", "--cpuctxsw"))]
    assert "cannot trace cudnn, cublas" in warnings[0]


def test_no_metrics_when_they_are_off_or_not_to_be_had() -> None:
    for recording in (Recording(metrics_hz=0, metrics_device="0"), Recording(metrics_device=None)):
        assert not [a for a in argv(made(), recording) if "metrics" in a]


def test_graph_level_needs_the_option() -> None:
    with pytest.raises(ProfilerError, match="no --cuda-graph-trace"):
        argv(made(NEW - {"cuda-graph-trace"}), Recording(cuda_graph_trace="graph"))
    assert "--cuda-graph-trace=graph" in argv(made(), Recording(cuda_graph_trace="graph"))


def test_there_is_no_separator() -> None:
    """nsys 2024.2 takes "--" for an ambiguous option and refuses to run."""
    assert "--" not in argv(made(), Recording())


def test_found_and_asked(machine: Machine) -> None:
    nsys = locate()
    assert (
        nsys.path == machine.nsys and nsys.version == (2025, 3, 2, 474) and nsys.metrics_option == "gpu-metrics-devices"
    )
    assert nsys.traces == {"cuda", "nvtx", "cublas", "osrt", "none"}
    assert metrics_device(nsys) == ("0", None)


def test_metrics_denied(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    nsys = locate()
    monkeypatch.setenv("FAKE_NSYS_FAIL", "denied")
    device, reason = metrics_device(nsys)
    assert device is None and "ERR_NVGPUCTRPERM" in str(reason) and "NVreg_RestrictProfilingToAdminUsers" in str(reason)


def test_metrics_of_the_visible_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    device, reason = metrics_device(locate())
    assert device is None and "GPU 3" in str(reason)


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        ("Illegal --gpu-metrics-devices argument", True),
        ("ERR_NVGPUCTRPERM - The user does not have permission", True),
        ("GPU Metrics [0]: sampling started. RuntimeError: CUDA out of memory", True),
        ("ModuleNotFoundError: No module named torch", False),
    ],
)
def test_whether_metrics_were_the_reason(output: str, failed: bool) -> None:
    assert metrics_failed(output) is failed


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_nsys_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingToolError, match="does not answer --version"):
        inspect(script(tmp_path / "a", "echo hello"))
    with pytest.raises(MissingToolError, match=r"2021\.1 or newer"):
        inspect(script(tmp_path / "b", "echo NVIDIA Nsight Systems version 2020.3.2.6-87e152c"))
    with pytest.raises(MissingToolError, match="cannot be run"):
        inspect(tmp_path / "none")
    hidden = script(
        tmp_path / "nsight-compute/2025.3/host/target-linux-x64/nsys", "echo NVIDIA Nsight Systems version 2025.3.2"
    )
    with pytest.raises(MissingToolError, match="inside Nsight Compute"):
        inspect(hidden)
    assembled = hidden.parent.parent / "host-linux-x64"
    assembled.mkdir()
    (assembled / "QdstrmImporter").touch()
    assert inspect(hidden).version == (2025, 3, 2)
    monkeypatch.setattr(module, "find_nsys", lambda: None)
    with pytest.raises(MissingToolError, match="was not found") as caught:
        locate()
    assert "PROFILER_NSYS" in str(caught.value.hint)
