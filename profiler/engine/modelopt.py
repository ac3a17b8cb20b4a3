"""NVIDIA ModelOpt's quantisation of an ONNX model: its own choice of places and scales, to hold ours against."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import onnx_graph
from profiler.engine.calibration import CalibrationData
from profiler.errors import MissingToolError, ProfilerError

METHODS = ("entropy", "max")
_IR_OF_17 = 8  # the version of the file format that came with opset 17
_SAME_IN_19 = frozenset(
    (
        "Conv",
        "Relu",
        "Clip",
        "Add",
        "MaxPool",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
        "QuantizeLinear",
        "DequantizeLinear",
    )
)
"""Operators whose meaning for float32 and INT8 is the same in opsets 17 and 19 (ONNX's operator changelog)."""


def quantise(model: Any, data: CalibrationData, method: str, batch: int) -> tuple[Any, dict[str, Any]]:
    """A copy of the model with ModelOpt's Q/DQ pairs, and the record's ``quantisation``.

    ModelOpt raises the opset to 19, which TensorRT 8 does not parse; where no operator changed since 17, the model says 17 again.

    Raises:
        MissingToolError: ModelOpt is not installed.
        ProfilerError: it does not know the calibration method, or fails.
    """
    if method not in METHODS:
        raise ProfilerError(f"ModelOpt has no calibration by {method}.", f"It has {' and '.join(METHODS)}.")
    try:
        import modelopt  # noqa: PLC0415 - only where it runs
        from modelopt.onnx.quantization import quantize  # noqa: PLC0415
    except ImportError as error:
        raise MissingToolError(
            f"NVIDIA ModelOpt cannot be imported ({' '.join(str(error).split())[:300]}).",
            "pip install nvidia-modelopt[onnx], or leave --quantisation modelopt out.",
        ) from error
    onnx = onnx_graph.import_onnx()
    images = np.concatenate(list(data.batches(batch)))
    with tempfile.TemporaryDirectory(prefix="profiler-modelopt-") as folder, contextlib.redirect_stdout(io.StringIO()):
        source, target = Path(folder, "float.onnx"), Path(folder, "quantised.onnx")
        onnx.save(model, str(source))
        try:
            quantize(
                str(source),
                quantize_mode="int8",
                calibration_data={model.graph.input[0].name: images},
                calibration_method=method,
                calibration_eps=["cpu"],
                high_precision_dtype="fp32",
                output_path=str(target),
                log_level="ERROR",
            )
            quantised = onnx.load(str(target))
        except Exception as error:  # its errors share no base class
            raise ProfilerError(
                f"ModelOpt {modelopt.__version__} cannot quantise this model ({' '.join(str(error).split())[:400]}).",
                "Leave --quantisation modelopt out.",
            ) from error
    _lower_opset(quantised)
    made_by = onnx_graph.producers(quantised)
    constants = onnx_graph.initialisers(quantised)
    made = [made_by.get(node.input[0]) for node in quantised.graph.node if node.op_type == "DequantizeLinear"]
    weights = sum(node is None or node.input[0] in constants for node in made)  # weights may be stored quantised
    return quantised, {
        "placement": f"ModelOpt {modelopt.__version__}",
        "calibrator": method,
        "data": {"kind": data.kind, "label": data.label, "images": data.images},
        "warning": data.warning,
        "activation_pairs": len(made) - weights,
        "weight_pairs": weights,
    }


def _lower_opset(model: Any) -> None:
    if not {node.op_type for node in model.graph.node} <= _SAME_IN_19:
        return
    model.ir_version = min(model.ir_version, _IR_OF_17)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and onnx_graph.MAX_OPSET < entry.version <= 19:
            entry.version = onnx_graph.MAX_OPSET
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            kept = [attribute for attribute in node.attribute if attribute.name == "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)
