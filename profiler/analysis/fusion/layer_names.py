"""What a TensorRT layer is made of: its name, taken apart into ONNX nodes and PyTorch module paths.

TensorRT joins the names of what it fused: `` + `` for a chain, `` || `` for siblings, ``PWN(...)`` for pointwise
operations, ``{ForeignNode[first...last]}`` for a region that Myelin compiled, ``Reformatting CopyNode for …`` for a change
of memory layout. PyTorch's exporter names ONNX nodes by module: ``/layer3/layer3.0/conv3/Conv`` is the operation ``Conv``
of module ``layer3.0.conv3``; a module that is called again gets ``_1``, ``_2`` behind its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from profiler.analysis.fusion.operators import LAYOUT, NOTHING, Kinds, fused_operators, is_heavy, kind_of, kinds_of
from profiler.trace.engine_file import onnx_layers

_REFORMAT = re.compile(
    r"^Reformatting CopyNode for (?:(?:Input|Output) Tensor \d+ to |Network Input |Network Output )?(.*)$", re.S
)
_PROFILE = re.compile(r"\[profile \d{1,9}\]$")
_FOREIGN = re.compile(r"^\{ForeignNode\[(.*)\]\}$", re.S)
_HELPER = re.compile(
    r"^(?:copied_)?(?:(?:un)?squeeze|(?:un)?squeeze_node|reshape|transpose|shuffle)_(?:before|after)_(.*)$", re.S
)
_SEPARATED = re.compile(r"[\x1e\x1f]+")
_UNNAMED = re.compile(r"^\(Unnamed Layer\* \d+\) \[(\w+)\]")
_QUANTIZE = re.compile(
    r"(?:^|[/_])(?:(?:De)?quantizeLinear|Quantize|Dequantize)(?:_\d+|_Input|_Output|$)|^D?Q_|^node_of_.*_d?q$|_(?:quantize|dequantize)_scale_node$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(.*)_(\d{1,9})$", re.S)
_OLD_STYLE = re.compile(r"^([A-Z][A-Za-z]+)_\d+$")
_MYELIN_SUFFIX = re.compile(r"_myl\d{1,9}_\d{1,9}$")
_TORCH_TENSORRT = re.compile(r"^\[([A-Z_ ]{1,64})\]-\[([^\]]{1,200})\](?:-\[([^\]]{0,500})\])?")
_TORCHSCRIPT = re.compile(r"= aten::(\w{1,64})\(")
_DYNAMO = re.compile(r"^(?:node_|n_)?([A-Za-z][A-Za-z0-9_]*?)(?:_\d+)?$")
_ATEN = frozenset(
    {"convolution", "conv1d", "conv2d", "conv3d", "linear", "addmm", "matmul", "mm", "bmm", "relu", "relu_", "gelu", "silu", "sigmoid",
     "tanh", "add", "add_", "mul", "cat", "softmax", "mean", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "batch_norm",
     "layer_norm", "scaled_dot_product_attention"}
)  # fmt: skip
_PATH = re.compile(r"^[A-Za-z_]\w*(?:\.\w+)+$")
_MAX_NAME = 1 << 16

OPERATION, QUANTIZE, CONSTANT, HELPER = "operation", "quantize", "constant", "helper"


@dataclass(frozen=True)
class OnnxNode:
    """One ONNX node inside a layer.

    Attributes:
        name: as TensorRT gives it.
        kind: "operation", "quantize" (Q, DQ and their constants), "constant", or "helper" (a reshape or transpose that
            TensorRT put around a node).
        op: operator type ("Conv", "Relu"), None when the name does not tell.
        module: path of the PyTorch module as ``named_modules()`` gives it; "" for the model itself; None when the name
            does not tell.
        call: 0 for the first call of the module in an inference, 1 for the second, …
    """

    name: str
    kind: str
    op: str | None
    module: str | None
    call: int = 0

    @property
    def kinds(self) -> Kinds:
        return kinds_of(self.op)


@dataclass(frozen=True)
class LayerName:
    """A layer's name, taken apart.

    Attributes:
        nodes: what the layer computes, in the order of the name.
        reformat_for: the layer for which this one only changes the memory layout; None otherwise.
        region: (first, last) node of a region compiled as a whole, whose inner nodes the name does not list.
        generated: the operators that a name made by Myelin lists ("__myl_FcAddRelu_myl0_26": Fc, Add, Relu).
    """

    nodes: tuple[OnnxNode, ...]
    reformat_for: str | None = None
    region: tuple[str, str] | None = None
    generated: tuple[str, ...] = ()

    @property
    def computes_product(self) -> bool:
        """Whether the layer can be one that computes a convolution or product: a generated name that lists none is not."""
        return not self.generated or any(is_heavy(kinds_of(op)) for op in self.generated)

    @property
    def only_moves(self) -> bool:
        """Whether a generated name lists nothing but changes of layout and type."""
        return bool(self.generated) and all(kind_of(op) in (LAYOUT, NOTHING, "concat") for op in self.generated)

    @property
    def operations(self) -> tuple[OnnxNode, ...]:
        return tuple(n for n in self.nodes if n.kind == OPERATION)


def parse_layer_name(name: str, metadata: str | None = None) -> LayerName:
    """Take a layer's name apart; ``metadata`` (TensorRT 10 and later) lists its ONNX nodes and is preferred.

    Never fails: what cannot be understood becomes a node without module.
    """
    name = _PROFILE.sub("", name[:_MAX_NAME].strip()).rstrip()
    reformat = _REFORMAT.match(name)
    if reformat:
        return LayerName((), reformat_for=reformat.group(1))
    generated = fused_operators(name)
    text = (metadata or "")[:_MAX_NAME]
    listed = [part.strip() for part in onnx_layers(text) or _SEPARATED.split(text) if part.strip()]
    if listed:
        return LayerName(tuple(dict.fromkeys(map(_node, listed))), generated=generated)
    if generated:  # ordered as it computes; numbered, as one operator can occur twice
        return LayerName(
            tuple(OnnxNode(f"{name}#{i}", OPERATION, op, None) for i, op in enumerate(generated)), generated=generated
        )
    name = _MYELIN_SUFFIX.sub("", name)
    foreign = _FOREIGN.match(name)
    if foreign:
        first, _, last = foreign.group(1).partition("...")
        ends = (first, last or first)
        return LayerName(tuple(dict.fromkeys(_node(e) for e in ends)), region=ends)
    nodes: list[OnnxNode] = []
    regions: list[tuple[str, str]] = []
    for part in _parts(name):
        inner = _FOREIGN.match(part)
        if inner:
            found = parse_layer_name(part)
            nodes += found.nodes
            regions += [found.region] if found.region else []
        elif part:
            nodes.append(_node(part))
    if any(
        n.kind == OPERATION and not n.name.startswith("(Unnamed") for n in nodes
    ):  # a bias added behind what has a name
        nodes = [replace(n, kind=HELPER) if n.name.startswith("(Unnamed") else n for n in nodes]
    return LayerName(tuple(dict.fromkeys(nodes)), region=regions[0] if regions else None)


def _parts(name: str) -> list[str]:
    """Split at `` + ``, `` || `` and inside ``PWN(a, b)``, leaving brackets of other kinds whole."""
    parts: list[str] = []
    todo = [name]
    while todo:
        text = todo.pop().strip()
        pieces = _split(text, (" + ", " || "))
        if len(pieces) > 1:
            todo += reversed(pieces)
        elif text.startswith("PWN(") and text.endswith(")"):
            todo += reversed(_split(text[4:-1], (", ", " + ", " || ")))
        else:
            parts.append(text)
    return parts


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    pieces, depth, begin, at = [], 0, 0, 0
    while at < len(text):
        character = text[at]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and character in " ,":
            separator = next((s for s in separators if text.startswith(s, at)), None)
            if separator:
                pieces.append(text[begin:at])
                at = begin = at + len(separator)
                continue
        at += 1
    if depth:  # brackets that belong to names: they say nothing about the structure
        flat = text
        for separator in separators[1:]:
            flat = flat.replace(separator, separators[0])
        return flat.split(separators[0])
    return [*pieces, text[begin:]]


def _node(name: str) -> OnnxNode:
    inside = name
    while helper := _HELPER.match(inside):
        inside = helper.group(1)
    if inside != name:
        inner = _node(inside)
        return OnnxNode(name, HELPER, None, inner.module, inner.call)
    torch_tensorrt = _TORCH_TENSORRT.match(name)
    if torch_tensorrt:
        return _torch_tensorrt_node(name, *torch_tensorrt.groups())
    if _QUANTIZE.search(name):
        return OnnxNode(name, QUANTIZE, None, module_of_scope(name.split("/")[1:-1]) if name.startswith("/") else None)
    unnamed = _UNNAMED.match(name)
    if unnamed:
        kind = kind_of(unnamed.group(1))
        return OnnxNode(name, HELPER if kind in (None, LAYOUT, NOTHING) else OPERATION, unnamed.group(1), None)
    bare = _MYELIN_SUFFIX.sub("", name)
    if "/" in bare:
        *scope, op = bare.removeprefix("/").split("/")
        op = _without_number(op)
        if bare.startswith("/") or kind_of(op):  # TensorFlow's names have no slash in front
            return OnnxNode(name, OPERATION, op, module_of_scope(scope))
    torchscript = _TORCHSCRIPT.search(bare[:2000])
    if torchscript:
        return OnnxNode(name, OPERATION, torchscript.group(1).strip("_"), None)
    old = _OLD_STYLE.match(bare)
    if old:
        return OnnxNode(name, OPERATION, old.group(1), None)
    if _PATH.match(bare) and not bare.endswith((".weight", ".bias")):
        return OnnxNode(name, OPERATION, None, bare)
    dynamo = _DYNAMO.match(bare)
    if (
        dynamo
        and kind_of(dynamo.group(1))
        and (bare.startswith(("node_", "n_")) or bare != name or dynamo.group(1) in _ATEN)
    ):
        return OnnxNode(name, OPERATION, dynamo.group(1).strip("_"), None)
    return OnnxNode(name, CONSTANT, None, None)


def _torch_tensorrt_node(name: str, kind: str, target: str, scope: str | None) -> OnnxNode:
    """``[CONVOLUTION]-[aten_ops.convolution.default]-[layer1.0.conv1/convolution_1]``: layer type, operator, module/node."""
    op = target if kind_of(target) else kind
    path, slash, _ = (scope or "").rpartition("/")
    module = module_of_scope(p for p in path.split("/") if p) if slash else None
    kind_found = kind_of(op)
    if kind_found in (LAYOUT, NOTHING):
        return OnnxNode(name, HELPER, None, module)
    short = re.sub(r"\.default$|\.Tensor$", "", op.removeprefix("aten_ops.").removeprefix("acc_ops.")).strip("_")
    return OnnxNode(name, QUANTIZE if kind_found == "quantisation" else OPERATION, short, module)


def _without_number(op: str) -> str:
    match = _NUMBERED.match(op)
    return match.group(1) if match else op


def module_of_scope(scope: Iterable[str]) -> str:
    """The module path of an ONNX scope: ("layer1", "layer1.0", "conv1") → "layer1.0.conv1".

    A child of a Sequential or ModuleList repeats its parent's name, so a part that extends the one before replaces it.
    """
    path: list[str] = []
    for part in scope:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def resolve_calls(nodes: Iterable[OnnxNode], known: frozenset[str]) -> dict[OnnxNode, OnnxNode]:
    """Tell ``relu_1``, the second call of ``relu``, from a module that is called ``relu_1``.

    Args:
        known: module paths that exist. When empty, a numbered path counts as a repeated call if the path without the
            number occurs among the nodes.
    """
    nodes = list(nodes)
    paths = {n.module for n in nodes if n.module is not None}
    exists = known or paths
    return {node: _resolved(node, exists, bool(known)) for node in nodes}


def _resolved(node: OnnxNode, exists: Iterable[str], certain: bool) -> OnnxNode:
    module = node.module
    if not module or (certain and module in exists):
        return node
    parts, call = module.split("."), 0
    for place in range(len(parts)):
        match = _NUMBERED.match(parts[place])
        if match:
            candidate = ".".join([*parts[:place], match.group(1), *parts[place + 1 :]])
            prefix = ".".join([*parts[:place], match.group(1)])
            if candidate in exists or any(e.startswith(f"{prefix}.") for e in exists):
                parts[place], call = match.group(1), int(match.group(2))
    return replace(node, module=".".join(parts), call=call)
