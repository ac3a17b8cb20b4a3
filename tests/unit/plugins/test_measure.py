"""The measurement's own logic, without a GPU: the kernels are stood in for by functions on host memory, right and wrong ones."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from profiler.errors import ProfilerError
from profiler.plugins import measure

torch = pytest.importorskip("torch")

ALPHA = np.float64(np.float32(1.702))


class HostKernels:
    """What the library's kernels do, on host memory.

    Args:
        fault: "" (right), "error" (2e-3 off), "tail" (the last element is left out), "guard" (one element too many).
    """

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def launch(
        self,
        precision: str,
        source: int,
        target: int,
        count: int,
        alpha: float,
        scales: tuple[float, float] = (0.0, 0.0),
        stream: int = 0,
    ) -> None:
        dtype = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}[precision]

        def view(address: int, size: int) -> Any:
            raw = (ctypes.c_char * (size * np.dtype(dtype).itemsize)).from_address(address)
            return np.frombuffer(raw, dtype)

        x = view(source, count).astype(np.float64)
        with np.errstate(over="ignore"):
            if precision == "int8":
                x = x * np.float64(np.float32(scales[0]))
                y = np.rint(x / (1 + np.exp(-ALPHA * x)) / np.float64(np.float32(scales[1])))
                y = np.clip(y + (2 if self.fault == "error" else 0), -128, 127)
            else:
                y = x / (1 + np.exp(-ALPHA * x)) * (1.002 if self.fault == "error" else 1)
        odd = count in measure._SIZES  # not the aligned whole, by which the others are judged
        wanted = count - 1 if self.fault == "tail" and odd else count
        extra = 1 if self.fault == "guard" and odd else 0
        view(target, wanted + extra)[:wanted] = y[:wanted].astype(dtype)
        if extra:
            view(target, wanted + extra)[-1] = 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "DEVICE", "cpu")
    monkeypatch.setattr(measure, "_SWEEP", 1 << 12)
    monkeypatch.setattr(measure, "_MIB", 1 << 12)
    monkeypatch.setattr(measure, "_MANY", (1 << 14) + 37)
    monkeypatch.setattr(measure, "_SIZES", (1, 15, 16, 17, 4097))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_right_kernels_are_within_the_bounds(precision: str) -> None:
    rows = list(measure._agreement(torch, HostKernels(), precision))
    assert rows and all(row["within"] for row in rows)
    assert {row["variant"] for row in rows} >= {measure.KERNEL}
    assert all(row["max_error"] <= row["bound"] for row in rows if row["bound"] is not None)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_error_beyond_the_bound_is_found(precision: str) -> None:
    rows = list(measure._agreement(torch, HostKernels("error"), precision))
    ours = [row for row in rows if row["bound"] is not None]
    assert ours and not any(row["within"] for row in ours)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("fault", "said"), [("", None), ("tail", "differs"), ("guard", "outside")])
def test_edges(precision: str, fault: str, said: str | None) -> None:
    found = measure._edges(torch, HostKernels(fault), precision)
    assert found["cases"] == 3 * 5 + 1
    if said is None:
        assert found["wrong"] == []
    else:
        assert any(said in text for text in found["wrong"])


class Clock:
    """CUDA events, graphs and streams, without a GPU; every call takes one millisecond."""

    now = 0.0

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.at = 0.0

        def record(self) -> None:
            Clock.now += 1.0
            self.at = Clock.now

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, end: Any) -> float:
            return float(end.at - self.at)


class Graph:
    def replay(self) -> None:
        pass

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "Event", Clock.Event)
    monkeypatch.setattr(cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(cuda, "graph", lambda graph: graph)
    monkeypatch.setattr(cuda, "synchronize", lambda: None)
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        cuda,
        "get_device_properties",
        lambda _d: SimpleNamespace(name="pretended", major=9, minor=0, multi_processor_count=132),
    )


@pytest.mark.parametrize(("fault", "fails"), [("", False), ("error", True)])
def test_the_document_is_written_either_way(
    fault: str, fails: bool, pretended_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure.library, "Kernels", lambda _p: HostKernels(fault))
    monkeypatch.setattr(measure.library, "load", lambda _p: SimpleNamespace())
    target = tmp_path / "m.json"
    argv = ["--library", "x.so", "--output", str(target), "--sizes-mib", "1", "--repeats", "2"]
    if fails:
        with pytest.raises(ProfilerError, match="out of bounds"):
            measure.main(argv)
    else:
        measure.main(argv)
    document = json.loads(target.read_text())
    assert document["format"] == measure.FORMAT and len(document["edges"]) == 3
    names = {row["what"] for row in document["bandwidth"] if row["precision"] == "fp16"}
    assert names == {measure.COPY, measure.COPY_STREAM, measure.KERNEL, measure.EAGER}
    row = next(r for r in document["bandwidth"] if r["what"] == measure.KERNEL)
    assert row["gb_per_s"] == pytest.approx(2 * (1 << 12) / row["ms"] / 1e6)
