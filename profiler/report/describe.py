"""What a trace holds, as one document: for ``info`` and for the dashboard's details page."""

from __future__ import annotations

from typing import Any

from profiler.analysis.statistics import count_codes
from profiler.trace import Trace


def describe(trace: Trace) -> dict[str, Any]:
    """The ``info`` document; its keys are part of the documented interface."""
    session = trace.session
    frames = (trace.kernels, trace.nvtx_ranges)  # reading them finds what is wrong with them
    del frames
    return {
        "trace": str(trace.path),
        "opened": trace.how_opened or "as it is",
        "structure": trace.database.structure,
        "nsys_version": session.nsys_version,
        "schema_version": session.schema_version,
        "driver_version": session.driver_version,
        "cuda_version": session.cuda_version,
        "recorded_utc": session.recorded_utc,
        "gpus": [gpu.as_dict() for gpu in session.gpus],
        "kernels": trace.kernel_count,
        "nvtx_ranges": trace.nvtx_range_count,
        "runtime_calls": trace.api_call_count,
        "memcpys": len(trace.memcpys),
        "memsets": len(trace.memsets),
        "graph_launches": graph_launches(trace),
        "graph_trace_mode": session.graph_trace_mode,
        "graph_level_only": trace.graph_level_only,
        "gpu_metrics": gpu_metrics(trace),
        "holds_environment": session.holds_environment,
        "warnings": [w.message for w in trace.warnings],
    }


def graph_launches(trace: Trace) -> int:
    """Calls of cudaGraphLaunch and cuGraphLaunch; where the calls are not recorded, the graphs that were."""
    names = trace.api_calls["name"].cat
    counts = count_codes(names.codes.to_numpy(), len(names.categories))
    launches = names.categories.isin(["cudaGraphLaunch", "cuGraphLaunch"])
    return int(counts[launches].sum()) or trace.graph_trace_count


def gpu_metrics(trace: Trace) -> dict[str, Any]:
    metrics = trace.gpu_metrics
    tensor = metrics.tensor_active(min(metrics.names, default=0))
    return {
        "storage": metrics.storage,
        "names": {str(gpu): list(names) for gpu, names in metrics.names.items()},
        "samples": len(tensor.timestamps_ns) if tensor else 0,
        "frequency_hz": tensor.frequency_hz if tensor else None,
        "tensor_counter": tensor.name if tensor else None,
    }
