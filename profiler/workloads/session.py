"""The order of a workload: warm up, measure, profile, save the outputs. Frameworks differ only in the runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from profiler.runtime import contract
from profiler.runtime.contract import RunOptions
from profiler.runtime.telemetry import Telemetry
from profiler.workloads.latency import Enqueues, measure_latency, measure_throughput
from profiler.workloads.ranges import Ranges


class Runner(Enqueues, Protocol):
    """A model that is loaded, with buffers of its own, on a stream of its own."""

    def load(self, images: np.ndarray[Any, Any]) -> None:
        """Copy one batch of float32 images [B, C, H, W] into the input buffer, and wait."""

    def read(self) -> np.ndarray[Any, Any]:
        """Wait, then return the first output of the last inference, float32 [B, …]."""

    def instrument(self, ranges: Ranges) -> None:
        """From now on push what ranges the framework can push inside an inference."""

    def profiler_start(self) -> None:
        """``cudaProfilerStart``."""

    def profiler_stop(self) -> None:
        """``cudaProfilerStop``."""


def run_session(
    runner: Runner,
    options: RunOptions,
    images: np.ndarray[Any, Any],
    ranges: Ranges,
    device: str | None,
    warnings: list[str],
    lanes: Callable[[], tuple[Enqueues, int]] | None = None,
) -> dict[str, Any]:
    """Run what the options ask for.

    Args:
        lanes: makes what throughput is measured on, and says how many streams it has; None: the runner itself, one. It is called
            after the latencies, which must have the GPU to themselves.

    Returns:
        the result's ``iterations``, ``latency_ms``, ``throughput`` and ``telemetry``, each None with a reason when not asked for.
    """
    first, _ = next(contract.batches(images, options.batch))
    runner.load(first)
    for _ in range(options.warmup):
        runner.enqueue()
    runner.synchronize()
    result: dict[str, Any] = {
        "iterations": options.iterations if options.profile else None,
        "warmup": options.warmup,
        "latency_ms": None,
        "throughput": None,
        "telemetry": None,
        "reason_missing": None,
    }
    if options.bench:
        if options.profile:
            warnings.append("--bench and --profile in one process: if a profiler is attached, it is in these latencies")
        result["latency_ms"] = measure_latency(runner, options.bench_iterations, options.bench_seconds).as_json()
        busy, streams = lanes() if lanes else (runner, 1)
        # sampled while the GPU is kept busy, and not during the latencies, which the sampling thread could disturb
        with Telemetry(device) as telemetry:
            result["throughput"] = measure_throughput(
                busy, options.batch, options.bench_iterations, options.bench_seconds, streams
            )
        result["telemetry"] = telemetry.summary()
    else:
        result["reason_missing"] = "latency, throughput and telemetry are measured with --bench, which was not given"
    if options.profile:
        profile(runner, options.iterations, ranges)
    if options.save_outputs is not None:
        contract.write_array(options.save_outputs, all_outputs(runner, images, options.batch))
    return result


def profile(runner: Runner, iterations: int, ranges: Ranges) -> None:
    """Run inferences between cudaProfilerStart and cudaProfilerStop, each in a range of its own.

    A range ends after the stream was waited for, so that an inference's kernels lie inside it on the GPU's time line too.
    """
    runner.instrument(ranges)
    runner.enqueue()  # once outside, so that registering the ranges' names costs no measured inference anything
    runner.synchronize()
    runner.profiler_start()
    try:
        for index in range(iterations):
            ranges.push(f"inference {index}")
            runner.enqueue()
            runner.synchronize()
            ranges.pop()
    finally:
        runner.profiler_stop()


def all_outputs(runner: Runner, images: np.ndarray[Any, Any], batch: int) -> np.ndarray[Any, Any]:
    """The first output for every image, float32 [N, …]: the input of any statement on agreement or accuracy."""
    collected = []
    for part, valid in contract.batches(images, batch):
        runner.load(part)
        runner.enqueue()
        collected.append(np.asarray(runner.read(), dtype=np.float32)[:valid])
    return np.concatenate(collected)
