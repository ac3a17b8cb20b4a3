"""Prove what TensorRT did to a PyTorch model, from NVIDIA Nsight Systems traces.

The public API. Names are imported when they are first used, so that the TensorRT runner can import this package where
pandas is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiler.analysis.compare import Comparison, compare
    from profiler.analysis.fusion.decompose import Decomposition, decompose
    from profiler.analysis.fusion.ledger import Ledger
    from profiler.analysis.fusion.traffic import memory_traffic
    from profiler.analysis.names.classify import classify
    from profiler.analysis.pair import PairCheck, check_pair, fusion
    from profiler.analysis.run.run import Run, open_run
    from profiler.errors import ProfilerError
    from profiler.fleet.results import FleetResult, read_fleet
    from profiler.fleet.run import run_fleet
    from profiler.module_ranges import annotate
    from profiler.trace import Trace, open_trace

__all__ = [
    "Comparison",
    "Decomposition",
    "FleetResult",
    "Ledger",
    "PairCheck",
    "ProfilerError",
    "Run",
    "Trace",
    "annotate",
    "check_pair",
    "classify",
    "compare",
    "decompose",
    "fusion",
    "memory_traffic",
    "open_run",
    "open_trace",
    "read_fleet",
    "run_fleet",
]

_HOMES = {
    "Comparison": "profiler.analysis.compare",
    "Decomposition": "profiler.analysis.fusion.decompose",
    "FleetResult": "profiler.fleet.results",
    "PairCheck": "profiler.analysis.pair",
    "Ledger": "profiler.analysis.fusion.ledger",
    "ProfilerError": "profiler.errors",
    "Run": "profiler.analysis.run.run",
    "Trace": "profiler.trace",
    "annotate": "profiler.module_ranges",
    "check_pair": "profiler.analysis.pair",
    "classify": "profiler.analysis.names.classify",
    "compare": "profiler.analysis.compare",
    "decompose": "profiler.analysis.fusion.decompose",
    "fusion": "profiler.analysis.pair",
    "memory_traffic": "profiler.analysis.fusion.traffic",
    "open_run": "profiler.analysis.run.run",
    "open_trace": "profiler.trace",
    "read_fleet": "profiler.fleet.results",
    "run_fleet": "profiler.fleet.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, inside = _HOMES[name].partition(":")
    return getattr(import_module(home), inside or name)
