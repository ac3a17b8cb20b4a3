"""Files that are given as traces and are something else: what each is, and what to do with it."""

from __future__ import annotations

import re
from pathlib import Path

HEAD_BYTES = 1 << 16
"""What tells a file's kind lies in its beginning: in a trace of torch.profiler after the devices and the distributed set-up."""

_KINETO = re.compile(rb'"(?:traceEvents|deviceProperties|schemaVersion|trace_id)"')
_STATS = re.compile(
    rb"Time \(%\)\W{0,6}Total Time|\*\* .{0,60}(?:Summary|Statistics)|CUDA GPU (?:Kernel|MemOps) Summary"
)
_LAYERS = re.compile(rb'"(?:Layers|LayerType|TacticName)"')
_BUILD_LOG = re.compile(rb"\[(?:TRT|TensorRT|[VIWE])\]|trtexec")
_NSYS_JSON = re.compile(rb'^\s*\{"(?:Type|data|Header)"')
_TEXT = re.compile(rb"^[\s\x20-\x7e\x80-\xff]*$")
_SQLITE = "nsys export --type sqlite REPORT.nsys-rep"


def describe(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a file is, and what to do: by its first bytes, else by its name; None when that is not known."""
    name = path.name.lower()
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:4] in (b"ptrt", b"ftrt") or name.endswith((".plan", ".engine", ".trt")):
        return (
            "a TensorRT engine (a plan), not a recording of one",
            "Record it while it runs: nsys profile -t cuda,nvtx --cuda-graph-trace=node trtexec --loadEngine=ENGINE",
        )
    if name.endswith(".qdstrm"):
        return (
            "an unfinished nsys recording (.qdstrm)",
            "Convert it with the QdstrmImporter of Nsight Systems (QdstrmImporter --input-file FILE), then: nsys export --type sqlite",
        )
    if name.endswith(".ncu-rep") or head.startswith(b"NVR\x00"):
        return (
            "a report of Nsight Compute",
            "Record the program with Nsight Systems instead: nsys profile -t cuda,nvtx …",
        )
    if not start.startswith(b"{") and _BUILD_LOG.search(head[:4096]) and _TEXT.match(head[:4096]):
        return "a log of TensorRT", "Read its auto-tuning with the verb tactics."
    if start[:1] in (b"{", b"["):
        if _KINETO.search(head):
            return (
                "a trace of torch.profiler or another Chrome trace (JSON)",
                "It lacks what is read here. Record the program with nsys instead: nsys profile -t cuda,nvtx …",
            )
        if _LAYERS.search(head):
            return (
                "the description of an engine's layers (JSON)",
                "Give it with --after-engine, beside the trace of that engine.",
            )
        if _NSYS_JSON.match(head):
            return "an nsys report exported as JSON", f"Export it again as SQLite: {_SQLITE}"
        return "a JSON file", f"Expected an nsys export: {_SQLITE}"
    if head.startswith((b"\x89HDF", b"PAR1", b"ARROW1")):
        return "an nsys report exported in another format", f"Export it again as SQLite: {_SQLITE}"
    if _STATS.search(head):
        return (
            "a table of nsys stats",
            f"It contains only sums; the trace itself is needed. Export the report: {_SQLITE}",
        )
    if name.endswith(".onnx"):
        return "an ONNX model", "Build and record it: see the verbs build and capture."
    if name.endswith((".pt", ".pth", ".pt2", ".ckpt", ".safetensors")):
        return "a PyTorch model or checkpoint", "Record a run of it: see the verb capture."
    return None
