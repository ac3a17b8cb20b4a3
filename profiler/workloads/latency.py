"""How long an inference takes, by CUDA events, without a profiler attached.

Two different questions, never one figure:

* *latency*: one inference at a time. An event before it, one after it, then a wait. What a program waits for that needs
  the answer before it goes on; it includes the time that the GPU idles while the CPU still launches kernels.
* *throughput*: many inferences put on the stream one after another, timed as a whole. What a busy server gets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

MAX_ITERATIONS = 200_000


class Event(Protocol):
    """A CUDA event."""

    def record(self) -> None:
        """Put the event on the workload's stream."""

    def synchronize(self) -> None:
        """Wait until it has happened."""

    def elapsed_ms(self, end: Event) -> float:
        """Milliseconds from this event to a later one."""


class Enqueues(Protocol):
    """What can be timed."""

    def enqueue(self) -> None:
        """Start one inference on the stream, and do not wait for it."""

    def synchronize(self) -> None:
        """Wait for all that was started."""

    def event(self) -> Event:
        """A new event."""


@dataclass(frozen=True)
class Distribution:
    """Latencies in milliseconds; ``stddev`` is the sample's (None for one sample)."""

    p50: float
    p90: float
    p99: float
    mean: float
    min: float
    max: float
    stddev: float | None
    n: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile of ascending values, linear between neighbours (type 7 of Hyndman and Fan 1996, as NumPy's).

    Raises:
        ValueError: no values, or a percent outside 0 to 100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ValueError("percentile needs values, and a percent between 0 and 100")
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def describe(samples_ms: Sequence[float]) -> Distribution:
    """The distribution of samples in milliseconds.

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples_ms)
    n = len(ordered)
    mean = math.fsum(ordered) / n if n else 0.0
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in ordered) / (n - 1)) if n > 1 else None
    return Distribution(
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        mean=mean,
        min=ordered[0],
        max=ordered[-1],
        stddev=deviation,
        n=n,
    )


def measure_latency(workload: Enqueues, min_iterations: int, min_seconds: float) -> Distribution:
    """Time inferences one at a time until both minima are reached (at most ``MAX_ITERATIONS``)."""
    begin, end = workload.event(), workload.event()
    samples: list[float] = []
    workload.synchronize()
    deadline = time.monotonic() + min_seconds
    while len(samples) < min_iterations or time.monotonic() < deadline:
        begin.record()
        workload.enqueue()
        end.record()
        end.synchronize()
        samples.append(begin.elapsed_ms(end))
        if len(samples) >= MAX_ITERATIONS:
            break
    return describe(samples)


def measure_throughput(
    workload: Enqueues, batch: int, min_iterations: int, min_seconds: float, streams: int = 1
) -> dict[str, Any]:
    """Time inferences back to back.

    Args:
        streams: on how many streams the workload spreads them; only said in the result.

    Returns:
        ``images_per_s``, ``ms_per_inference`` (the mean of the whole stretch), ``n``, ``streams`` and ``how``.
    """
    begin, end = workload.event(), workload.event()
    probe = max(1, min(10, min_iterations))
    elapsed = _stretch(workload, begin, end, probe)
    wanted = math.ceil(min_seconds * 1e3 / max(elapsed / probe, 1e-3))
    count = min(max(min_iterations, wanted), MAX_ITERATIONS)
    mean_ms = _stretch(workload, begin, end, count) / count
    return {
        "images_per_s": batch * 1e3 / mean_ms if mean_ms > 0 else None,
        "ms_per_inference": mean_ms,
        "n": count,
        "streams": streams,
        "how": "CUDA events around inferences enqueued back to back, no wait between them"
        + (f", in turn on {streams} streams that run at the same time" if streams > 1 else ""),
    }


def _stretch(workload: Enqueues, begin: Event, end: Event, count: int) -> float:
    workload.synchronize()
    begin.record()
    for _ in range(count):
        workload.enqueue()
    end.record()
    end.synchronize()
    return begin.elapsed_ms(end)
