"""What ran: from the manifest beside the trace, else from the trace itself, else unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.text import visible
from profiler.trace import Trace
from profiler.trace.arrays import encode
from profiler.trace.engine_file import parse_payloads
from profiler.trace.manifest import Manifest, manifest_of


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run. ``origin`` names, per field, where it is from: "manifest" or "trace"; unknown fields are None."""

    title: str
    gpu: str | None
    sm: int | None
    framework: str | None
    model: str | None
    precision: str | None
    mode: str | None
    batch: int | None
    input_shape: tuple[int, ...] | None
    origin: dict[str, str]
    manifest: Manifest | None


def run_facts(trace: Trace) -> RunFacts:
    """Collect what is known of the run behind a trace.

    Raises:
        TraceError: a manifest lies beside the trace and is broken.
    """
    manifest = manifest_of(trace.path)
    gpus = [g for g in trace.session.gpus if g.name]
    used = _gpu_used(trace)
    gpu = next((g for g in gpus if g.index == used), gpus[0] if len(gpus) == 1 else None)
    from_trace: dict[str, Any] = {"gpu": gpu.name if gpu else None, "sm": gpu.sm if gpu else None}
    if "TensorRT" in trace.events.nvtx_ranges["domain"].texts:
        from_trace["framework"] = "TensorRT"
        from_trace["input_shape"] = tensorrt_input_shape(trace)
        if from_trace["input_shape"]:
            from_trace["batch"] = from_trace["input_shape"][0]
    elif any("at::native" in n for n in trace.events.kernels["name"].texts):
        from_trace["framework"] = "PyTorch"
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name in ("gpu", "sm", "framework", "model", "precision", "mode", "batch", "input_shape"):
        stated = getattr(manifest, "model_label" if name == "model" else name, None) if manifest else None
        # the GPU is recorded by nsys itself, so the trace is the better witness
        order = [("trace", from_trace.get(name)), ("manifest", stated)]
        if name not in ("gpu", "sm"):
            order.reverse()
        values[name] = None
        for where, value in order:
            if value is not None:
                values[name], origin[name] = value, where
                break
    title = manifest.title if manifest and manifest.title else visible(trace.path.name)
    return RunFacts(
        title=f"{title} (excerpt)" if trace.excerpt else title,
        origin=origin,
        manifest=manifest,
        **values,
    )


def _gpu_used(trace: Trace) -> int:
    return trace.device_used or 0


def tensorrt_input_shape(trace: Trace) -> tuple[int, ...] | None:
    """The shape of the network's input, from the layer descriptions that TensorRT leaves in its NVTX payloads.

    It is the dimensions of the tensor that a layer reads and no layer writes; None when there is no payload (the engine was
    not built with detailed profiling verbosity) or more than one such tensor.
    """
    ranges = trace.events.nvtx_ranges
    _, ids = encode(ranges["json_id"][ranges["domain"].are("TensorRT")])
    layers = parse_payloads(trace.payloads(ids.astype(np.int64))).values()
    written = {tensor.name for layer in layers for tensor in layer.outputs}
    read = [tensor for layer in layers for tensor in layer.inputs if tensor.name not in written]
    outside = {tensor.dims for tensor in read if tensor.dims and min(tensor.dims) > 0}
    return outside.pop() if len(outside) == 1 else None
