"""Streams at once, on a simulated GPU whose streams are clocks."""

from __future__ import annotations

from typing import Any

import pytest

from profiler.runtime.cuda_runtime import Cuda, CudaEvent
from profiler.workloads.lanes import Lanes
from profiler.workloads.latency import measure_throughput


class SimulatedCuda:
    """Streams that run at the same time: each is the time at which its work so far ends."""

    def __init__(self) -> None:
        self.stream, self.time = id(self), 0.0

    def call(self, name: str, *arguments: Any) -> Any:
        if name == "cudaEventCreate":
            return {"time": 0.0}
        if name == "cudaEventRecord":
            arguments[0]["time"] = self.time
        elif name == "cudaStreamWaitEvent":
            self.time = max(self.time, arguments[1]["time"])
        elif name == "cudaEventElapsedTime":
            return arguments[1]["time"] - arguments[0]["time"]
        return None

    event, wait, synchronize = Cuda.event, Cuda.wait, Cuda.synchronize


class Workload:
    def __init__(self, cuda: SimulatedCuda, milliseconds: float) -> None:
        self.cuda, self.milliseconds, self.runs = cuda, milliseconds, 0

    def enqueue(self) -> None:
        self.cuda.time += self.milliseconds
        self.runs += 1

    def synchronize(self) -> None:
        self.cuda.synchronize()

    def event(self) -> CudaEvent:
        return self.cuda.event()


def lanes(*milliseconds: float) -> tuple[Lanes, list[Workload]]:
    workloads = [Workload(SimulatedCuda(), duration) for duration in milliseconds]
    return Lanes([(w, w.cuda) for w in workloads]), workloads  # type: ignore[misc]


@pytest.mark.parametrize(("count", "expected_ms"), [(1, 2.0), (2, 1.0), (4, 0.5)])
def test_equal_streams_share_the_work(count: int, expected_ms: float) -> None:
    together, workloads = lanes(*[2.0] * count)
    found = measure_throughput(together, 8, 40, 0.0, count)
    assert found["ms_per_inference"] == pytest.approx(expected_ms)
    assert found["images_per_s"] == pytest.approx(8e3 / expected_ms) and found["streams"] == count
    assert max(w.runs for w in workloads) - min(w.runs for w in workloads) <= 1


def test_the_stretch_ends_with_the_slowest_stream() -> None:
    together, _ = lanes(1.0, 3.0)
    assert measure_throughput(together, 1, 20, 0.0, 2)["ms_per_inference"] == pytest.approx(1.5)  # 10 × 3 ms for 20


def test_an_event_waits_for_every_stream_and_holds_every_stream() -> None:
    together, workloads = lanes(1.0, 5.0, 2.0)
    for _ in range(3):
        together.enqueue()
    together.event().record()
    assert [w.cuda.time for w in workloads] == [5.0, 5.0, 5.0]
