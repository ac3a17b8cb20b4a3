from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from profiler.workloads import session
from profiler.workloads.ranges import CallableRanges, NoRanges, NvtxRanges, open_ranges
from tests.support.workload import FakeRunner, options

IMAGES = np.arange(5 * 4, dtype=np.float32).reshape(5, 1, 2, 2)


def test_a_profiled_run_is_bracketed_and_ranged() -> None:
    runner = FakeRunner()
    ranges = CallableRanges(lambda name: runner.calls.append(f"[{name}"), lambda: runner.calls.append("]"))
    found = session.run_session(runner, options(profile=True), IMAGES, ranges, None, [])
    assert runner.calls == [
        *["enqueue"] * 3,
        "wait",
        "instrument",
        "enqueue",
        "wait",
        "start",
        "[inference 0",
        "enqueue",
        "wait",
        "]",
        "[inference 1",
        "enqueue",
        "wait",
        "]",
        "stop",
    ]
    assert found["iterations"] == 2 and found["latency_ms"] is None and "--bench" in found["reason_missing"]


def test_the_profiler_is_stopped_after_a_failure() -> None:
    class Fails(FakeRunner):
        def enqueue(self) -> None:
            super().enqueue()
            if "start" in self.calls:
                raise RuntimeError("broken")

    runner = Fails()
    with pytest.raises(RuntimeError):
        session.profile(runner, 1, NoRanges())
    assert runner.calls[-1] == "stop"


def test_a_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    warnings: list[str] = []
    found = session.run_session(FakeRunner(), options(bench=True, profile=True), IMAGES, NoRanges(), None, warnings)
    assert found["latency_ms"]["n"] == 5 and found["latency_ms"]["p50"] == 2
    assert found["throughput"]["images_per_s"] > 0 and found["reason_missing"] is None
    assert "pynvml is not installed" in found["telemetry"]["reason_missing"]
    assert "one process" in warnings[0]


def test_outputs_of_all_inputs_are_saved(tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    session.run_session(FakeRunner(), options(save_outputs=target), IMAGES, NoRanges(), None, [])
    saved = np.load(target)
    assert saved.dtype == np.float32 and saved.ravel().tolist() == [1.5, 5.5, 9.5, 13.5, 17.5]


def test_ranges_are_in_the_projects_domain() -> None:
    nvtx = pytest.importorskip("nvtx")
    warnings: list[str] = []
    ranges = open_ranges(warnings)
    assert isinstance(ranges, NvtxRanges) and warnings == []
    assert nvtx.get_domain("profiler") is ranges._domain
    ranges.push("inference 0")
    ranges.push("inference 0")
    ranges.pop()
    ranges.pop()
    assert len(ranges._attributes) == 1


def test_without_nvtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvtx", None)
    warnings: list[str] = []
    assert isinstance(open_ranges(warnings), NoRanges)
    assert isinstance(open_ranges(warnings, (print, print)), CallableRanges)
    assert "no NVTX ranges" in warnings[0] and "default domain" in warnings[1]


def test_an_nvtx_package_without_domain_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str | None, str]] = []
    old = SimpleNamespace(
        push_range=lambda name, domain: calls.append((name, domain)),
        pop_range=lambda domain: calls.append((None, domain)),
    )
    monkeypatch.setitem(sys.modules, "nvtx", old)
    warnings: list[str] = []
    ranges = open_ranges(warnings)
    ranges.push("inference 0")
    ranges.pop()
    assert calls == [("inference 0", "profiler"), (None, "profiler")] and warnings == []
