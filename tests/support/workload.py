"""A workload without a GPU: a clock that enqueues, a runner, and options to run it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from profiler.runtime.contract import RunOptions


class Clock:
    """A GPU on which an inference takes 2 ms, or 1 ms when enqueued while another runs."""

    def __init__(self) -> None:
        self.now_ms, self.pending, self.waits = 0.0, 0, 0

    def enqueue(self) -> None:
        self.now_ms += 1.0 if self.pending else 2.0
        self.pending += 1

    def synchronize(self) -> None:
        self.pending = 0
        self.waits += 1

    def event(self) -> ClockEvent:
        return ClockEvent(self)


class ClockEvent:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.at = clock, 0.0

    def record(self) -> None:
        self.at = self.clock.now_ms

    def synchronize(self) -> None:
        self.clock.synchronize()

    def elapsed_ms(self, end: ClockEvent) -> float:
        return end.at - self.at


class FakeRunner(Clock):
    """Its output is the mean of each image; every call is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.images: np.ndarray[Any, Any] = np.zeros(1)

    def enqueue(self) -> None:
        super().enqueue()
        self.calls.append("enqueue")

    def synchronize(self) -> None:
        super().synchronize()
        self.calls.append("wait")

    def load(self, images: np.ndarray[Any, Any]) -> None:
        self.images = images

    def read(self) -> np.ndarray[Any, Any]:
        return self.images.mean(axis=(1, 2, 3), keepdims=True)[:, :, 0, 0]

    def instrument(self, ranges: Any) -> None:
        self.calls.append("instrument")

    def profiler_start(self) -> None:
        self.calls.append("start")

    def profiler_stop(self) -> None:
        self.calls.append("stop")


def options(**changes: Any) -> RunOptions:
    values: dict[str, Any] = {
        "batch": 2,
        "input_shape": (1, 2, 2),
        "mode": "stream",
        "warmup": 3,
        "iterations": 2,
        "profile": False,
        "bench": False,
        "bench_iterations": 5,
        "bench_seconds": 0.0,
        "inputs": None,
        "seed": 0,
        "save_outputs": None,
        "output": Path("o.json"),
    }
    return RunOptions(**{**values, **changes})
