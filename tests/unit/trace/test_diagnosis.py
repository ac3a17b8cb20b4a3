"""Warnings, and why a trace holds no kernels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profiler.trace import Trace
from tests.support.make_trace import TraceMaker, simple

Open = Callable[[TraceMaker], Trace]


def _api_only(maker: TraceMaker) -> None:
    maker.launch(5)


def _api_and_a_warning(maker: TraceMaker) -> None:
    maker.launch(5)
    maker.add("DIAGNOSTIC_EVENT", timestamp=0, severity=2, text="CUPTI could not\nbe initialised")


def _copies_only(maker: TraceMaker) -> None:
    maker.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=0, end=5, bytes=64, copyKind=1)


def _ranges_only(maker: TraceMaker) -> None:
    maker.range("forward", 0, 10)


def _protected(maker: TraceMaker) -> None:
    maker.add("DIAGNOSTIC_EVENT", timestamp=0, severity=3, text="CUPTI: unsupported in Protected Memory mode")


def _cuda_off(maker: TraceMaker) -> None:
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:COLLECT_CUDA_TRACE", value="false")
    maker.range("forward", 0, 10)


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (_api_only, "1 CUDA API calls were recorded, but no kernel"),
        (_api_only, "nsys reported no warning or error"),
        (_api_and_a_warning, "nsys reported “CUPTI could not be initialised”"),
        (_copies_only, "1 memory copies were recorded"),
        (_ranges_only, "only NVTX ranges were recorded"),
        (_protected, "Protected Memory mode"),
        (_cuda_off, "CUDA was not traced"),
        (lambda maker: None, "did not use a GPU"),
    ],
)
def test_why_there_are_no_kernels(opened: Open, fill: Callable[[TraceMaker], None], said: str) -> None:
    maker = TraceMaker()
    fill(maker)
    trace = opened(maker)
    assert said in (trace.no_kernels_reason or "")
    assert not len(trace.kernels)


def test_environment_is_noticed(opened: Open) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value="TOKEN=secret")
    assert "environment" in {w.id for w in opened(maker).warnings}
