"""Small, exact changes to an ONNX graph, and checks that an export is what TensorRT 8.5 can take.

Nothing here computes: names of nodes stay as PyTorch's exporter gave them, as they carry the module paths
(``/layer3/layer3.0/conv3/Conv`` is the module ``layer3.0.conv3``).
"""

from __future__ import annotations

from typing import Any

from profiler.errors import MissingToolError, ProfilerError

MAX_OPSET = 17
"""The newest that TensorRT 8.5's parser knows."""


def import_onnx() -> Any:
    """The onnx module.

    Raises:
        MissingToolError: it is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 - only where it runs
        import onnx.numpy_helper  # noqa: PLC0415
    except ImportError as error:
        raise MissingToolError(
            f"onnx cannot be imported ({error}).", "pip install onnx (see requirements-gpu.txt)"
        ) from error
    return onnx


def fold_identities(model: Any) -> int:
    """Remove Identity nodes: what reads their output reads their input instead. Returns how many were removed.

    PyTorch's exporter stores equal constants once and hands out the rest through Identity nodes. TensorRT 8.5 keeps those as layers of
    their own, and a convolution whose bias is not a plain constant is padded anew in every inference.
    """
    graph = model.graph
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        # an Identity whose output is the graph's has to keep that name
        if node.op_type == "Identity" and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    removed = len(graph.node) - len(kept)
    for node in kept:
        for index, name in enumerate(node.input):
            origin = name
            while origin in source:
                origin = source[origin]
            node.input[index] = origin
    del graph.node[:]
    graph.node.extend(kept)
    return removed


def remove_unused_initialisers(model: Any) -> int:
    """Remove constants that nothing reads. Returns how many were removed."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    removed = len(graph.initializer) - len(kept)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return removed


def check_folded(model: Any, label: str) -> list[str]:
    """Refuse an export whose constants were not folded; returns warnings about what TensorRT will have to run as it is.

    Raises:
        ProfilerError: a convolution's weights or bias are computed by nodes, or batch normalisation directly after one is left.
    """
    graph = model.graph
    made_by, read_by = producers(model), readers(model)
    constants = {tensor.name for tensor in graph.initializer}
    alone = 0
    for node in graph.node:
        if node.op_type == "Conv" and not all(name in constants for name in node.input[1:] if name):
            raise ProfilerError(
                f"{label}: the weights of {node.name} are computed in the graph, and constants were expected.",
                "Export the model with its parameters as they are, without reparametrisation (torch.nn.utils.parametrize).",
            )
        if node.op_type == "BatchNormalization":
            before = made_by.get(node.input[0])
            if before is not None and before.op_type == "Conv" and len(read_by[node.input[0]]) == 1:
                raise ProfilerError(
                    f"{label}: {node.name} is left after {before.name}, and should have been folded into it.",
                    "Export the model in evaluation mode.",
                )
            alone += 1
    return [f"{alone} BatchNormalization nodes follow no convolution directly and are left"] if alone else []


def opset(model: Any) -> int:
    """The version of the default operator set."""
    return int(next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))


def initialisers(model: Any) -> dict[str, Any]:
    """The constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producers(model: Any) -> dict[str, Any]:
    """The node that makes each tensor."""
    return {name: node for node in model.graph.node for name in node.output if name}


def readers(model: Any) -> dict[str, list[tuple[Any, int]]]:
    """For each tensor, the nodes that read it and at which input."""
    found: dict[str, list[tuple[Any, int]]] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name:
                found.setdefault(name, []).append((node, index))
    return found


def attribute(node: Any, name: str, default: int) -> int:
    """An integer attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return int(entry.i)
    return default
