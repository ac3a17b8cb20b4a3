"""Everything that the command line and the pages compute of a trace, in one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from profiler.analysis.compare import compare
from profiler.analysis.fusion.decompose import decompose
from profiler.analysis.fusion.layers import engine_side
from profiler.analysis.fusion.ledger import fusion
from profiler.analysis.fusion.traffic import memory_traffic
from profiler.analysis.run.run import Run
from profiler.analysis.run.work import gpu_work
from profiler.errors import ProfilerError
from profiler.report.documents import comparison_document, info_document, ledger_document
from profiler.trace import Trace, open_trace

FRAMES = ("kernels", "api_calls", "memcpys", "memsets", "graph_traces", "nvtx_ranges")


def exercise(path: Path) -> dict[str, Any]:
    """Open a trace and compute every figure of it, and of the trace held against itself.

    Returns:
        The figures by name; a part that the trace cannot give is its ProfilerError.

    Raises:
        ProfilerError: the trace cannot be opened. Nothing else may be raised, whatever the file holds.
    """
    with open_trace(path) as trace:
        return figures(trace)


def figures(trace: Trace) -> dict[str, Any]:
    """The figures of an open trace; see :func:`exercise`."""
    analysis = Run(trace)
    found: dict[str, Any] = {}
    parts: dict[str, Callable[[], Any]] = {
        "describe": lambda: info_document(trace),
        **{name: lambda name=name: _counted(getattr(trace, name)) for name in FRAMES},
        "inferences": lambda: analysis.inferences.table,
        "kernel summary": lambda: analysis.kernels,
        "categories": lambda: analysis.categories,
        "tensor cores": lambda: analysis.tensor_cores,
        "launches": lambda: analysis.launches,
        "facts": lambda: analysis.facts,
        "comparison": lambda: comparison_document(compare(analysis, analysis)),
        "ledger": lambda: _ledger(analysis),
        "steps": lambda: decompose(fusion(analysis, analysis)),
        "engine": lambda: engine_side(trace, analysis.inferences, gpu_work(trace, analysis.inferences)),
        "warnings": lambda: trace.warnings,
    }
    for name, part in parts.items():
        try:
            found[name] = part()
        except ProfilerError as error:
            assert error.message
            found[name] = error
    # every document can be written as JSON, whatever the names in it
    json.dumps(found["describe"] if isinstance(found["describe"], dict) else None).encode("utf-8", "strict")
    return found


def _counted(frame: pd.DataFrame) -> pd.DataFrame:
    if "duration_ns" in frame:
        assert (frame["duration_ns"] >= 0).all()
        if "end_ns" in frame:
            assert (frame["end_ns"] - frame["start_ns"] == frame["duration_ns"]).all()
    return frame


def _ledger(analysis: Run) -> dict[str, Any]:
    ledger = fusion(analysis, analysis)
    memory_traffic(ledger)
    return ledger_document(ledger)
