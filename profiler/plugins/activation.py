"""QuickGELU in PyTorch, and the replacement of a model's ReLUs by it.

The module is written in the operators that a user would write, so that eager PyTorch runs three kernels for it. With ``as_node`` it is
exported to ONNX as one node of a custom domain (:mod:`profiler.engine.custom_node`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from profiler.errors import ProfilerError, UsageError
from profiler.plugins.names import ALPHA, DOMAIN, OP_TYPE, PLUGIN_NAMESPACE, PLUGIN_VERSION

NAMES = ("quickgelu",)


def replace_relus(torch: Any, model: Any, name: str, as_node: bool = False) -> int:
    """Put the activation in the place of every ``nn.ReLU``; the model is changed in place. Returns how many modules were replaced.

    A module that a block uses several times stays one module, so names in traces and in the ONNX model stay those of the ReLUs.

    Args:
        as_node: let the ONNX exporter see each activation as one custom node, instead of three operators.

    Raises:
        UsageError: no such activation.
        ProfilerError: the model has no ReLU module.
    """
    if name not in NAMES:
        raise UsageError(f"--activation {name}: expected {' or '.join(NAMES)}.")
    replaced: dict[Any, Any] = {}
    for module in model.modules():
        for child_name, child in module.named_children():
            if type(child) is torch.nn.ReLU:
                replaced.setdefault(child, quick_gelu_class(torch)(as_node=as_node))
                setattr(module, child_name, replaced[child])
    if not replaced:
        raise ProfilerError(
            f"--activation {name}: the model has no ReLU module to replace.",
            "ReLUs called as functions (torch.relu, F.relu) cannot be replaced; take a model that has torch.nn.ReLU modules.",
        )
    return len(replaced)


@cache
def quick_gelu_class(torch: Any) -> Any:
    """The module class ``QuickGELU``, made on first use: torch is imported only where it runs."""

    class Node(torch.autograd.Function):  # type: ignore[misc]
        """The activation as the exporter is to see it: one node."""

        @staticmethod
        def forward(_context: Any, x: Any, alpha: float) -> Any:
            return x * torch.sigmoid(alpha * x)

        @staticmethod
        def symbolic(graph: Any, x: Any, alpha: float) -> Any:
            key = {"plugin_version_s": PLUGIN_VERSION, "plugin_namespace_s": PLUGIN_NAMESPACE}
            node = graph.op(f"{DOMAIN}::{OP_TYPE}", x, alpha_f=alpha, **key)
            node.setType(x.type())
            return node

    class QuickGELU(torch.nn.Module):  # type: ignore[misc]
        """``x * sigmoid(alpha * x)``, of any shape and floating-point type; the output has the input's."""

        def __init__(self, alpha: float = ALPHA, as_node: bool = False) -> None:
            super().__init__()
            self.alpha = alpha
            self.as_node = as_node

        def extra_repr(self) -> str:
            return f"alpha={self.alpha}"

        def forward(self, x: Any) -> Any:
            if self.as_node:
                return Node.apply(x, self.alpha)
            return x * torch.sigmoid(self.alpha * x)

    return QuickGELU
