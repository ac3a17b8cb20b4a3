"""Several streams at once: what fills a GPU that one inference leaves partly idle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profiler.runtime.cuda_runtime import Cuda
from profiler.workloads.latency import Enqueues


class Lanes:
    """Equal workloads, each on a stream of its own; inferences go to them in turn.

    Args:
        lanes: the workloads with their streams, at least one.
    """

    def __init__(self, lanes: Sequence[tuple[Enqueues, Cuda]]) -> None:
        self._workloads = [workload for workload, _ in lanes]
        self._streams = [cuda for _, cuda in lanes]
        self._next = 0

    def enqueue(self) -> None:
        self._workloads[self._next].enqueue()
        self._next = (self._next + 1) % len(self._workloads)

    def synchronize(self) -> None:
        for workload in self._workloads:
            workload.synchronize()

    def event(self) -> BarrierEvent:
        return BarrierEvent(self._streams)


class BarrierEvent:
    """An event that all streams reach together: none goes on before each has done what was put on it earlier.

    So the time between two of them is the time of all the work between them, on whichever stream.
    """

    def __init__(self, streams: Sequence[Cuda]) -> None:
        self._first, self._others = streams[0], streams[1:]
        self._event = self._first.event()
        self._arrivals = [stream.event() for stream in self._others]

    def record(self) -> None:
        for arrival in self._arrivals:
            arrival.record()
            self._first.wait(arrival)
        self._event.record()
        for stream in self._others:
            stream.wait(self._event)

    def synchronize(self) -> None:
        self._event.synchronize()

    def elapsed_ms(self, end: Any) -> float:
        return self._event.elapsed_ms(end._event)
