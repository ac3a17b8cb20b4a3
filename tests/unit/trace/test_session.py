"""What a trace says about itself."""

from __future__ import annotations

from collections.abc import Callable

from profiler.trace import Trace
from tests.support.make_trace import TraceMaker

Open = Callable[[TraceMaker], Trace]


def test_gpus_of_both_schemas(opened: Open) -> None:
    maker = TraceMaker()
    maker.gpu("Tesla T4", 7, 5)
    maker.gpu("Tesla T4", 7, 5, index=1)
    gpus = opened(maker).session.gpus
    assert [(g.index, g.name, g.sm) for g in gpus] == [(0, "Tesla T4", 75), (1, "Tesla T4", 75)]
    old = TraceMaker()
    old.kernel(0, 5)
    old.add("TARGET_INFO_CUDA_GPU", deviceId=0, name="Tesla V100", numMultiprocessors=80, globalMemorySize=16 * 10**9,
            globalMemoryBandwidth=900 * 10**9, coreClockRate=1_530_000_000, computeCapabilityMajor=7, computeCapabilityMinor=0)  # fmt: skip
    (gpu,) = opened(old).session.gpus
    assert (gpu.name, gpu.sm, gpu.sm_count, gpu.memory_bandwidth_bytes_per_s) == ("Tesla V100", 70, 80, 900 * 10**9)
