"""What is known of one bar of a timeline, as pairs of words and values."""

from __future__ import annotations

import numpy as np

from profiler.analysis.names.classify import CATEGORY_LABELS, classify, explain
from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import GRAPH, KERNEL, MEMCPY, NVTX, Part
from profiler.text import duration, number_of_bytes


def bar_details(analysis: Run, part: Part, kind: str, row: int) -> tuple[str, dict[str, str]]:
    """Name and facts of a piece of GPU work or an NVTX range; texts come from the trace and are not escaped."""
    trace = analysis.trace
    frame = {KERNEL: "kernels", MEMCPY: "memcpys", GRAPH: "graph_traces", NVTX: "nvtx_ranges"}.get(kind, "memsets")
    event = getattr(trace, frame).iloc[row]
    zero = f"the host entered {part.label}" if part.inference is not None else "the first kernel"
    found = {
        "start": f"{duration(int(event['start_ns']) - part.origin_ns)} after {zero}",
        "duration": f"{duration(int(event['end_ns']) - int(event['start_ns']))} ({int(event['end_ns']) - int(event['start_ns']):,} ns)",
    }
    if kind == NVTX:
        path = " › ".join(trace.nvtx_path(row))
        found |= {"domain": str(event["domain"]) or "none", "inside": path, "kind": str(event["kind"])}
        return str(event["text"]) or "(no text)", found
    found["stream"] = str(event["stream_id"])
    call = int(event["api_call"])
    if call >= 0:
        launch = trace.api_calls.iloc[call]
        found["launched by"] = (
            f"{launch['name']}, {duration(int(event['start_ns']) - int(launch['start_ns']))} before it started"
        )
    path = " › ".join(trace.nvtx_path(int(event["nvtx"])))
    found["launched in"] = path or "no NVTX range"
    if kind == GRAPH:
        return "CUDA graph, recorded as one event: its kernels are not in the trace", found
    if kind != KERNEL:
        found["bytes"] = number_of_bytes(float(event["bytes"]))
        return f"memory copy, {event['kind']}" if kind == MEMCPY else "memory set", found
    sms = {gpu.sm for gpu in trace.session.gpus}
    judged = classify(str(event["name"]), str(event["short_name"]), sms.pop() if len(sms) == 1 else None)
    details = trace.kernel_details(np.asarray([row])).iloc[0]
    found |= {
        "kind": f"{CATEGORY_LABELS[judged.category]} (rule {judged.category_rule}: {explain(judged.category_rule).reason})",
        "Tensor Cores, by name": f"{judged.tensor_cores} (rule {judged.rule}: {explain(judged.rule).reason})",
        "precision": judged.precision or "not stated in the name",
        "grid": "×".join(str(details[c]) for c in ("grid_x", "grid_y", "grid_z")),
        "block": "×".join(str(details[c]) for c in ("block_x", "block_y", "block_z")),
        "registers per thread": str(details["registers"]) if details["registers"] >= 0 else "unknown",
    }
    return str(event["name"]), found
