"""Files of other tools, given as traces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from profiler.errors import TraceError
from profiler.trace import open_trace

_KINETO = json.dumps({"schemaVersion": 1, "deviceProperties": [{"id": 0}], "traceEvents": []}).encode()
FILES = {
    "model.plan": (b"ptrt" + bytes(200), "a TensorRT engine"),
    "resnet.engine": (bytes(range(200)), "a TensorRT engine"),
    "report.qdstrm": (b"\x01\x02" * 90, "an unfinished nsys recording"),
    "profile.pt.trace.json": (_KINETO, "a trace of torch.profiler"),
    "profile.json.gz": (gzip.compress(_KINETO), "a trace of torch.profiler"),
    "stats.csv": (b'Time (%),Total Time (ns),Instances,"Avg (ns)"\n40.1,1000,3,333\n', "a table of nsys stats"),
    "stats.txt": (
        b"\n ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):\n\n Time (%)  Total Time (ns)\n",
        "a table of nsys stats",
    ),
    "layers.json": (b'{"Layers": [{"Name": "conv1", "LayerType": "CaskConvolution"}]}', "the description of an engine"),
    "report.ncu-rep": (b"NVR\x00" + bytes(100), "a report of Nsight Compute"),
    "build.log": (b"[11/28/2026-10:00:00] [V] [TRT] Graph construction completed\n" * 4, "a log of TensorRT"),
    "model.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(100), "an ONNX model"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_it_is_and_what_to_do_is_said(name: str, tmp_path: Path) -> None:
    content, what = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert f"not an nsys trace, but {what}" in caught.value.message and name in caught.value.message
    assert caught.value.hint


def test_an_unknown_file_is_not_given_a_name(tmp_path: Path) -> None:
    path = tmp_path / "something.bin"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(TraceError, match="it starts with"):
        open_trace(path)
