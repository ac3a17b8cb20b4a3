"""PyTorch to ONNX: batch normalisation folded, names that keep the module paths, an operator set that TensorRT 8.5 knows."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Sequence
from typing import Any

from profiler.engine import onnx_graph
from profiler.errors import ProfilerError

INPUT_NAME = "input"
OUTPUT_NAME = "logits"


def fold_batch_norms(torch: Any, module: Any, example: Any) -> int:
    """Fold each BatchNorm2d into the Conv2d whose output it alone reads; the module is changed in place. Returns how many.

    In float32, before any conversion to FP16: folded afterwards, every weight would be rounded more than once. Which convolution a
    normalisation follows is watched in one run, as module structure alone does not tell. Modules that run more than once are left.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_weights  # noqa: PLC0415 - only where it runs

    runs: dict[Any, int] = {}
    made_by: dict[int, Any] = {}
    followed: dict[Any, Any] = {}
    uses: dict[int, int] = {}
    alive: list[Any] = []  # tensors are kept, so that no two have the same id

    def before(leaf: Any, inputs: Any) -> None:
        alive.extend(inputs)
        for value in inputs:
            uses[id(value)] = uses.get(id(value), 0) + 1
        if isinstance(leaf, torch.nn.BatchNorm2d) and inputs and id(inputs[0]) in made_by:
            followed[leaf] = (made_by[id(inputs[0])], id(inputs[0]))

    def after(leaf: Any, _inputs: Any, output: Any) -> None:
        runs[leaf] = runs.get(leaf, 0) + 1
        if isinstance(leaf, torch.nn.Conv2d):
            made_by[id(output)] = leaf
            alive.append(output)

    handles = []
    for child in module.modules():
        if not list(child.children()):
            handles += [child.register_forward_pre_hook(before), child.register_forward_hook(after)]
    with torch.no_grad():
        reference = module(example)
    for handle in handles:
        handle.remove()
    parents = {child: (parent, name) for parent in module.modules() for name, child in parent.named_children()}
    originals = []
    for norm, (conv, tensor) in followed.items():
        if runs[conv] != 1 or runs[norm] != 1 or uses[tensor] != 1 or norm.running_mean is None:
            continue
        originals.append((norm, conv, conv.weight, conv.bias))
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent, name = parents[norm]
        setattr(parent, name, torch.nn.Identity())
    if originals and not _same(torch, reference, module, example):
        # something else read a convolution's output, by a function that no hook sees: put everything back
        for norm, conv, weight, bias in originals:
            conv.weight, conv.bias = weight, bias
            parent, name = parents[norm]
            setattr(parent, name, norm)
        return 0
    return len(originals)


def _same(torch: Any, reference: Any, module: Any, example: Any) -> bool:
    with torch.no_grad():
        folded = module(example)
    if not isinstance(reference, torch.Tensor):
        return False  # several outputs: leave it to the exporter
    scale = float(reference.abs().max()) or 1.0
    return bool((reference - folded).abs().max() <= 1e-3 * scale)


def export(
    torch: Any, module: Any, example: Any, opset: int, open_batch: bool, custom_domains: Sequence[str] = ()
) -> Any:
    """Trace the module into an ONNX model (the TorchScript exporter: it names nodes by module path).

    Args:
        custom_domains: domains of operators that ONNX does not have, which the model's modules export themselves as.

    Raises:
        ProfilerError: the exporter cannot export it, or is not there.
    """
    onnx = onnx_graph.import_onnx()
    options: dict[str, Any] = {
        "opset_version": opset,
        "do_constant_folding": True,
        "input_names": [INPUT_NAME],
        "output_names": [OUTPUT_NAME],
    }
    if open_batch:
        options["dynamic_axes"] = {INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}}
    # from 2.5 on there are two exporters, and from 2.9 on the other one is the default
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    if custom_domains:
        options["custom_opsets"] = dict.fromkeys(custom_domains, 1)
    buffer = io.BytesIO()
    # PyTorch's attention has a fast path for inference, one operator that ONNX does not have (aten::_native_multi_head_attention)
    mha = getattr(torch.backends, "mha", None)
    fast = mha.get_fastpath_enabled() if mha is not None else False
    try:
        if mha is not None:
            mha.set_fastpath_enabled(False)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # deprecation of this exporter, and notes of its tracer
            torch.onnx.export(module, (example,), buffer, **options)
    except Exception as error:
        raise ProfilerError(
            f"PyTorch {torch.__version__} cannot export this model to ONNX: {' '.join(str(error).split())[:400]}.",
            "Try another --opset. This export uses PyTorch's TorchScript exporter (dynamo=False), which newer versions may have dropped.",
        ) from error
    finally:
        if mha is not None:
            mha.set_fastpath_enabled(fast)
    return onnx.load_model_from_string(buffer.getvalue())


def cast_io_to_fp32(model: Any) -> None:
    """Let an FP16 model take and give FP32: a Cast after the input and before each output."""
    onnx = onnx_graph.import_onnx()
    graph = model.graph
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for value in graph.input:
        if value.type.tensor_type.elem_type != half:
            continue
        value.type.tensor_type.elem_type = full
        inner = f"{value.name}_fp16"
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == value.name:
                    node.input[index] = inner
        cast = onnx.helper.make_node("Cast", [value.name], [inner], name=f"{value.name}_Cast", to=half)
        graph.node.insert(0, cast)
    for value in graph.output:
        if value.type.tensor_type.elem_type != half:
            continue
        value.type.tensor_type.elem_type = full
        inner = f"{value.name}_fp16"
        for node in graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == value.name:
                        names[index] = inner
        graph.node.append(onnx.helper.make_node("Cast", [inner], [value.name], name=f"{value.name}_Cast", to=full))
