"""DRAM traffic of an inference, from nsys's sampled counters."""

from __future__ import annotations

from dataclasses import dataclass

from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.tensor_cores import SampledMetric, gpu_index, sample, windows
from profiler.trace import Trace


@dataclass(frozen=True)
class SampledBytes:
    """DRAM traffic of one inference, from sampled counters.

    Attributes:
        read_bytes, written_bytes: mean per inference; None with a ``reason``.
        samples: samples inside the inferences' GPU spans.
    """

    read_bytes: float | None
    written_bytes: float | None
    samples: int
    frequency_hz: float | None
    reason: str | None


def sampled_bytes(trace: Trace, inferences: Inferences) -> SampledBytes:
    """DRAM bytes of one inference: mean of the samples in the GPU spans × the peak × the mean span."""
    index = gpu_index(trace)
    read, write = (
        sample(trace, series, *windows(trace, inferences))
        for series in (trace.gpu_metrics.dram_read(index), trace.gpu_metrics.dram_write(index))
    )
    gpu = next((g for g in trace.session.gpus if g.index == index), None)
    peak = gpu.memory_bandwidth_bytes_per_s if gpu else None
    spans = inferences.table["gpu_span_ns"].dropna()
    reason = read.reason or write.reason
    if reason is None and not peak:
        reason = "The trace does not say the GPU's memory bandwidth."
    if reason is None and not len(spans):
        reason = "There are no inferences to sample over."
    if reason is not None or not peak:
        return SampledBytes(None, None, read.samples, read.frequency_hz, reason)
    seconds = float(spans.mean()) * 1e-9

    def total(metric: SampledMetric) -> float:
        return (metric.value_pct or 0.0) / 100.0 * peak * seconds

    return SampledBytes(total(read), total(write), read.samples, read.frequency_hz, None)
