"""Run an ONNX model with Q/DQ pairs in PyTorch, each pair on or off: what a layer's quantisation costs, apart from everything else.

Quantised values are computed in float32 (rounded to the grid, then multiplied by the scale), so that any layer can be quantised alone.
Only the operators of convolutional classifiers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.engine import onnx_graph
from profiler.errors import ProfilerError


@dataclass(frozen=True)
class Pair:
    """A QuantizeLinear and DequantizeLinear: the float tensor that they read, its scale (a number or one per channel) and range."""

    source: str
    scale: Any
    low: float
    high: float


class FakeQuantised:
    """A model with Q/DQ pairs.

    Attributes:
        units: the nodes that read quantised tensors, in the graph's order: ``/layer1/layer1.0/conv1/Conv`` and so on.

    Raises:
        ProfilerError: the model holds no pairs, or an operator that is not known here.
    """

    def __init__(self, torch: Any, model: Any, device: str) -> None:
        self._torch, self._device = torch, device
        graph = model.graph
        self._nodes = [n for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear", "Constant")]
        unknown = sorted({node.op_type for node in self._nodes} - set(_OPERATORS))
        if unknown:
            raise ProfilerError(
                f"the model holds {', '.join(unknown)}, which are not simulated.",
                f"Only {', '.join(sorted(_OPERATORS))} are; measure the engine instead: python -m profiler study.",
            )
        onnx = onnx_graph.import_onnx()
        self._constants = {t.name: _array(onnx, t) for t in graph.initializer}
        self._constants |= {
            node.output[0]: _array(onnx, node.attribute[0].t) for node in graph.node if node.op_type == "Constant"
        }
        self._pairs = self._find_pairs(model)
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._tensors = {
            name: torch.from_numpy(np.array(value, dtype=np.float32)).to(device)
            for name, value in self._constants.items()
            if value is not None and value.dtype.kind == "f"
        }
        self._weights: dict[str, Any] = {}
        self.units = tuple(node.name for node in self._nodes if any(name in self._pairs for name in node.input))
        if not self.units:
            raise ProfilerError("the model holds no Q/DQ pairs.", "Export it with --int8 and --calibration.")

    def _find_pairs(self, model: Any) -> dict[str, Pair]:
        made_by = onnx_graph.producers(model)
        pairs = {}
        for node in model.graph.node:
            if node.op_type != "DequantizeLinear":
                continue
            quantise = made_by.get(node.input[0])
            zero_point = self._constants.get(node.input[2]) if len(node.input) > 2 else None
            if quantise is None or zero_point is None or zero_point.dtype != np.int8 or zero_point.any():
                raise ProfilerError(
                    f"{node.name}: not a pair of INT8 with a zero point of 0, which is all that is simulated."
                )
            scale = np.asarray(self._constants[node.input[1]], dtype=np.float32)
            if scale.size > 1:  # per channel: shaped to be divided by
                source = self._constants.get(quantise.input[0])
                axis = onnx_graph.attribute(node, "axis", 1)
                scale = scale.reshape([-1 if d == axis else 1 for d in range(4 if source is None else source.ndim)])
            pairs[node.output[0]] = Pair(
                quantise.input[0], self._torch.from_numpy(np.array(scale)).to(self._device), -128.0, 127.0
            )
        return pairs

    def operator(self, unit: str) -> str:
        """The operator of one of the units: Conv, Gemm, Add, ..."""
        return str(next(node.op_type for node in self._nodes if node.name == unit))

    def run(self, images: Any, quantised: Collection[str]) -> Any:
        """Logits [N, classes] of images [N, C, H, W] on the device, with the pairs of these units on and all others off."""
        values = {self._input: images}
        remaining: dict[str, int] = {}
        for node in self._nodes:
            for name in node.input:
                origin = self._pairs[name].source if name in self._pairs else name
                remaining[origin] = remaining.get(origin, 0) + 1
        grids: dict[str, Any] = {}  # a tensor that several units read is quantised once
        for node in self._nodes:
            inputs = [self._value(name, values, grids, node.name in quantised) for name in node.input if name]
            values[node.output[0]] = _OPERATORS[node.op_type](
                self._torch.nn.functional, node, inputs, [self._constants.get(name) for name in node.input]
            )
            for name in node.input:
                origin = self._pairs[name].source if name in self._pairs else name
                remaining[origin] -= 1
                if not remaining[origin]:
                    values.pop(origin, None)
                    grids.pop(origin, None)
        return values[self._output]

    def _value(self, name: str, values: dict[str, Any], grids: dict[str, Any], on: bool) -> Any:
        pair = self._pairs.get(name)
        if pair is None:
            return values[name] if name in values else self._tensors.get(name)
        exact = values.get(pair.source)
        if exact is None:  # weights
            exact, grids = self._tensors[pair.source], self._weights
        if not on:
            return exact
        if pair.source not in grids:
            grids[pair.source] = (exact / pair.scale).round_().clamp_(pair.low, pair.high).mul_(pair.scale)
        return grids[pair.source]


def _array(onnx: Any, tensor: Any) -> Any:
    """A constant as an array; None for a type that NumPy does not have."""
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError):
        return None


def _ints(node: Any, name: str, default: list[int]) -> list[int]:
    return next((list(entry.ints) for entry in node.attribute if entry.name == name), default)


def _conv(f: Any, node: Any, inputs: list[Any], _constants: list[Any]) -> Any:
    top, left, bottom, right = _ints(node, "pads", [0, 0, 0, 0])
    image = inputs[0] if (top, left) == (bottom, right) else f.pad(inputs[0], (left, right, top, bottom))
    padding = (top, left) if (top, left) == (bottom, right) else 0
    bias = inputs[2] if len(inputs) > 2 else None
    strides, dilations = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    return f.conv2d(image, inputs[1], bias, strides, padding, dilations, onnx_graph.attribute(node, "group", 1))


def _max_pool(f: Any, node: Any, inputs: list[Any], _constants: list[Any]) -> Any:
    pads = _ints(node, "pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:]:
        raise ProfilerError(f"{node.name}: pads unevenly, which is not simulated.")
    kernel, strides = _ints(node, "kernel_shape", []), _ints(node, "strides", [1, 1])
    return f.max_pool2d(
        inputs[0], kernel, strides, pads[:2], ceil_mode=bool(onnx_graph.attribute(node, "ceil_mode", 0))
    )


def _gemm(f: Any, node: Any, inputs: list[Any], _constants: list[Any]) -> Any:
    weights = inputs[1] if onnx_graph.attribute(node, "transB", 0) else inputs[1].T
    return f.linear(inputs[0], weights, inputs[2] if len(inputs) > 2 else None)


def _clip(_f: Any, _node: Any, inputs: list[Any], constants: list[Any]) -> Any:
    low, high = ((None if c is None else float(c)) for c in [*constants[1:], None, None][:2])
    return inputs[0].clamp(low, high)


_OPERATORS: dict[str, Callable[[Any, Any, list[Any], list[Any]], Any]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
    "Clip": _clip,
    "Relu": lambda f, _node, inputs, _constants: f.relu(inputs[0]),
    "Add": lambda _f, _node, inputs, _constants: inputs[0] + inputs[1],
    "GlobalAveragePool": lambda f, _node, inputs, _constants: f.adaptive_avg_pool2d(inputs[0], 1),
    "Flatten": lambda _f, node, inputs, _constants: inputs[0].flatten(onnx_graph.attribute(node, "axis", 1)),
}
