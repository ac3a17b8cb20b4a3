"""What ``tensorrt.plugin`` is told about the custom layer: its output, the types and layouts it takes, and its kernel.

Importing this needs TensorRT 10.9 or later. The annotations are values, which ``tensorrt.plugin`` checks when a function is decorated:
no ``from __future__ import annotations`` here.

Attributes are arrays of one 32-bit float, as the ONNX attributes are: for a plain ``float`` the bindings up to 10.16 convert an array by a
way that NumPy 2.4 no longer has.
"""

# mypy: disable-error-code="untyped-decorator"

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorrt.plugin as trtp

from profiler.errors import ProfilerError
from profiler.plugins import names, python_route

Float = np.ndarray[Any, np.dtype[np.float32]]


def only(values: Float) -> float:
    """The value of an attribute.

    Raises:
        ProfilerError: it holds several, or none.
    """
    if values.size != 1:
        raise ProfilerError(f"an attribute holds {values.size} values, and one 32-bit float was expected.")
    return float(values.reshape(-1)[0])


def define(logger: Any, kernel: Any, lazily: bool) -> None:
    """See :func:`profiler.plugins.loading.register`."""

    def reported(function: Callable[..., Any]) -> Callable[..., Any]:
        """Log what goes wrong: TensorRT calls these from C++, where the reason would be lost."""

        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*arguments: Any, **attributes: Any) -> Any:
            try:
                try:
                    signature.bind(*arguments, **attributes)
                except TypeError as error:
                    raise ProfilerError(
                        f"the node's attributes are not this plugin's ({error}); export the model with --activation-as python-plugin."
                    ) from error
                return function(*arguments, **attributes)
            except Exception as error:
                logger.log("ERROR", f"{names.OP_TYPE}: {getattr(error, 'message', error)}")
                raise

        return wrapper

    # Each function takes all attributes, in one order: aot_impl is passed all of them, whatever its signature asks for.
    @trtp.register(python_route.PLUGIN_ID, lazy_register=lazily)
    @reported
    def describe(x: trtp.TensorDesc, alpha: Float, input_scale: Float, output_scale: Float) -> trtp.TensorDesc:
        python_route.check_node(x.dtype.name, *map(only, (alpha, input_scale, output_scale)))
        return x.like()

    @trtp.autotune(python_route.PLUGIN_ID)
    @reported
    def offer(
        x: trtp.TensorDesc, alpha: Float, input_scale: Float, output_scale: Float, outputs: tuple[trtp.TensorDesc]
    ) -> list[trtp.AutoTuneCombination]:
        type_name = python_route.TYPES[x.dtype.name]
        layouts = "|".join(python_route.formats(type_name, x.ndim))
        tactics = python_route.INT8_ROUNDS if type_name == "INT8" else None
        return [trtp.AutoTuneCombination(f"{type_name}, {type_name}", f"{layouts}, {layouts}", tactics)]

    @trtp.aot_impl(python_route.PLUGIN_ID)
    @reported
    def implement(
        x: trtp.TensorDesc,
        alpha: Float,
        input_scale: Float,
        output_scale: Float,
        outputs: tuple[trtp.TensorDesc],
        tactic: int,
    ) -> tuple[str, bytes, trtp.KernelLaunchParams, trtp.SymExprs]:
        if kernel is None:
            raise ProfilerError("TensorRT asks for the kernel, which is compiled only where engines are built.")
        type_name = python_route.TYPES[x.dtype.name]
        floats = list(map(only, (alpha, input_scale, output_scale) if type_name == "INT8" else (alpha,)))
        launch, extra = python_route.launch_parameters(
            trtp, list(x.shape_expr), type_name, x.format.name, tactic, floats
        )
        return python_route.KERNELS[type_name], kernel.ptx, launch, extra
