"""The custom activation in an ONNX graph: one node of a custom domain, stock operators, or one INT8 node between Q and DQ.

The custom node is what TensorRT's parser looks a plugin up by: its operator type is the plugin's name, its attributes ``plugin_version``
and ``plugin_namespace`` complete the key, and the others are the plugin's fields.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from profiler.engine import onnx_graph
from profiler.plugins.names import ALPHA, DOMAIN, OP_TYPE


def is_custom(node: Any) -> bool:
    """Whether a node is the custom activation."""
    return bool(node.domain == DOMAIN and node.op_type == OP_TYPE)


def alpha_of(node: Any) -> float:
    """The node's ``alpha``, as the 32-bit float that the attribute is."""
    return next((float(a.f) for a in node.attribute if a.name == "alpha"), float(np.float32(ALPHA)))


def to_stock_operators(model: Any) -> Any:
    """A copy with Mul, Sigmoid, Mul in the place of each custom node; the tensors around it keep their names.

    This is how an exporter writes ``x * sigmoid(alpha * x)``. Node names keep the module's path:
    ``/layer1/layer1.0/relu/ProfilerQuickGelu`` becomes ``/layer1/layer1.0/relu/Mul``, ``…/Sigmoid`` and ``…/Mul_1``.
    """
    onnx = onnx_graph.import_onnx()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    types = _tensor_types(onnx, result)
    constants: dict[tuple[float, int], str] = {}
    nodes = []
    for node in graph.node:
        if not is_custom(node):
            nodes.append(node)
            continue
        element = types.get(node.input[0], onnx.TensorProto.FLOAT)
        key = (alpha_of(node), element)
        if key not in constants:
            constants[key] = f"quick_gelu_alpha_{len(constants)}"
            value = np.asarray(key[0], np.float16 if element == onnx.TensorProto.FLOAT16 else np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(value, constants[key]))
        path = node.name.rpartition("/")[0] or node.name
        scaled, gate = f"{path}/Mul_output_0", f"{path}/Sigmoid_output_0"
        make = onnx.helper.make_node
        nodes += [
            make("Mul", [node.input[0], constants[key]], [scaled], name=f"{path}/Mul"),
            make("Sigmoid", [scaled], [gate], name=f"{path}/Sigmoid"),
            make("Mul", [node.input[0], gate], [node.output[0]], name=f"{path}/Mul_1"),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [entry for entry in result.opset_import if entry.domain != DOMAIN]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    return result


def _tensor_types(onnx: Any, model: Any) -> dict[str, int]:
    """Each float tensor's element type: FP16 follows from the weights, as custom nodes stop ONNX's own inference."""
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    if not half:
        return {}
    return {name: onnx.TensorProto.FLOAT16 for node in model.graph.node for name in node.output}


def set_scales(node: Any, input_scale: float, output_scale: float) -> None:
    """Make a custom node an INT8 one: it then takes what a QuantizeLinear gives and gives what a DequantizeLinear takes."""
    onnx = onnx_graph.import_onnx()
    node.attribute.append(onnx.helper.make_attribute("input_scale", float(input_scale)))
    node.attribute.append(onnx.helper.make_attribute("output_scale", float(output_scale)))
