"""Prove what TensorRT did to a PyTorch model, from NVIDIA Nsight Systems traces.

The public API. Names are imported when they are first used, so that the TensorRT runner can import this package where
pandas is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiler.analysis.compare import Comparison, compare
    from profiler.analysis.fusion.decompose import decompose
    from profiler.analysis.fusion.ledger import Ledger, build_ledger
    from profiler.analysis.fusion.traffic import memory_traffic
    from profiler.analysis.names.classify import classify
    from profiler.analysis.run.inferences import find_inferences
    from profiler.analysis.run.kernels import summarise_kernels
    from profiler.analysis.run.launches import launch_report
    from profiler.analysis.run.run import Run
    from profiler.analysis.run.tensor_cores import tensor_core_report
    from profiler.errors import ProfilerError
    from profiler.fleet.results import FleetResult, read_fleet
    from profiler.fleet.run import run_fleet
    from profiler.trace import Trace, open_trace

_HOMES = {
    "Run": "profiler.analysis.run.run",
    "Comparison": "profiler.analysis.compare",
    "FleetResult": "profiler.fleet.results",
    "Ledger": "profiler.analysis.fusion.ledger",
    "ProfilerError": "profiler.errors",
    "Trace": "profiler.trace",
    "build_ledger": "profiler.analysis.fusion.ledger",
    "classify": "profiler.analysis.names.classify",
    "compare": "profiler.analysis.compare",
    "decompose": "profiler.analysis.fusion.decompose",
    "find_inferences": "profiler.analysis.run.inferences",
    "launch_report": "profiler.analysis.run.launches",
    "memory_traffic": "profiler.analysis.fusion.traffic",
    "open_trace": "profiler.trace",
    "read_fleet": "profiler.fleet.results",
    "run_fleet": "profiler.fleet.run",
    "summarise_kernels": "profiler.analysis.run.kernels",
    "tensor_core_report": "profiler.analysis.run.tensor_cores",
}

__all__ = [
    "Comparison",
    "FleetResult",
    "Ledger",
    "ProfilerError",
    "Run",
    "Trace",
    "build_ledger",
    "classify",
    "compare",
    "decompose",
    "find_inferences",
    "launch_report",
    "memory_traffic",
    "open_trace",
    "read_fleet",
    "run_fleet",
    "summarise_kernels",
    "tensor_core_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
