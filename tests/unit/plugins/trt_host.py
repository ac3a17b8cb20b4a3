"""Registers the Python plugin with the TensorRT bindings of this interpreter and plays the part of TensorRT: a process of its own.

    PYTHON trt_host.py [HOST_LIBRARY] < cases.json > results.json

With HOST_LIBRARY (trt_host.cpp, loaded by the bindings as libnvinfer) the calls come from C++, as TensorRT's do. Without, the registry is
null: the plugin is registered lazily, and the methods that the bindings' C++ part would call are called from here.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import operator
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt

from profiler.engine.logger import make_logger
from profiler.plugins import loading, names, python_route

OPERATIONS = {
    "SUM": operator.add, "SUB": operator.sub, "PROD": operator.mul, "MAX": max, "MIN": min,
    "FLOOR_DIV": operator.floordiv, "CEIL_DIV": lambda a, b: -(-a // b),
}  # fmt: skip
LAUNCH = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_mem")


class Log:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def log(self, _severity: str, message: str) -> None:
        self.messages.append(message)


class Expression(trt.IDimensionExpr):  # type: ignore[misc]
    """A function of the batch. The bindings let none be constructed, and only pass it on."""

    def evaluate(self, batch: int) -> int:
        return self.of(batch)


def expression(of: Any) -> Expression:
    made = Expression.__new__(Expression)
    made.of = of
    return made


class Builder:
    def constant(self, value: int) -> Expression:
        return expression(lambda _: value)

    def operation(self, kind: Any, first: Expression, second: Expression) -> Expression:
        function = OPERATIONS[kind.name]
        return expression(lambda batch: function(first.evaluate(batch), second.evaluate(batch)))


class Setter(dict[int, Any]):
    nbSymExprs = 0


def recording(module: Any) -> None:
    """Let SymExprImpl keep its expression: the C++ object behind it takes only TensorRT's own."""

    class Scalar:
        def __init__(self, value: Any) -> None:
            assert isinstance(value, module.SymInt32), type(value)
            self.expression, self.type = value._expr, int(trt.PluginArgDataType.INT32)

    module.SymExprImpl = Scalar


def descriptor(type_: Any, layout: Any, dims: list[int]) -> Any:
    made, plain = trt.DynamicPluginTensorDesc(), trt.PluginTensorDesc()
    plain.type, plain.format, plain.dims, plain.scale = type_, layout, trt.Dims([-1, *dims[1:]]), 1.0
    made.desc, made.min, made.opt, made.max = plain, trt.Dims(dims), trt.Dims(dims), trt.Dims(dims)
    return made


def layer_from_python(case: dict[str, Any]) -> dict[str, Any]:
    from tensorrt.plugin import _lib, _tensor  # noqa: PLC0415

    recording(_tensor)
    definition = _lib.QDP_REGISTRY[python_route.PLUGIN_ID]
    types = {name: (False, np.dtype(np.float32)) for name in definition.input_attrs}
    creator = _lib._TemplatePluginCreator(names.OP_TYPE, names.PYTHON_NAMESPACE, types)
    fields = [
        trt.PluginField(field.name, np.array([case["attributes"][field.name]], np.float32), trt.PluginFieldType.FLOAT32)
        for field in creator.field_names
        if field.name in case["attributes"]
    ]
    step = "createPlugin"
    try:
        plugin = creator.create_plugin(
            names.OP_TYPE,
            names.PYTHON_NAMESPACE,
            trt.PluginFieldCollection(fields),
            trt.TensorRTPhase.BUILD,
            trt.QuickPluginCreationRequest.UNKNOWN,
        )
        step, plugin = "clone", plugin.clone()  # as a network does
        assert isinstance(plugin, trt.IPluginV3QuickAOTBuild)
        step, dims, type_ = "getOutputDataTypes", case["dims"], trt.DataType(case["type"])
        output_type = plugin.get_output_data_types([type_], [len(dims)])[0]
        step, builder = "getOutputShapes", Builder()
        shape = [expression(lambda batch: batch) if at == 0 else builder.constant(size) for at, size in enumerate(dims)]
        plugin.get_output_shapes([shape], [], builder)
        output = [size._expr.evaluate(dims[0]) for size in plugin.output_descs[0].shape_expr]
        step = "getSupportedFormatCombinations"
        tensors = [descriptor(type_, trt.TensorFormat.LINEAR, dims) for _ in range(2)]
        offered = plugin.get_supported_format_combinations(tensors, 1)
        found = []
        for first, second in zip(offered[::2], offered[1::2], strict=True):
            tensors = [descriptor(each.type, each.format, dims) for each in (first, second)]
            step = "configurePlugin"
            plugin.configure_plugin(tensors[:1], tensors[1:])
            for tactic in plugin.get_valid_tactics() or [0]:
                step, setter, launch = "getLaunchParams", Setter(), type("Launch", (), {})()
                plugin.set_tactic(tactic)
                plugin.get_launch_params([shape], tensors, 1, launch, setter, builder)
                step = "getKernel"
                name, ptx = plugin.get_kernel([tensors[0].desc], [tensors[1].desc])
                extra = [setter[at] for at in range(setter.nbSymExprs)]
                found.append(
                    {
                        "types": [int(first.type), int(second.type)],
                        "formats": [int(first.format), int(second.format)],
                        "tactic": tactic,
                        "name": name,
                        "argument_types": [each.type for each in extra],
                        "launches": [
                            {
                                "batch": batch,
                                "launch": [getattr(launch, part).expression.evaluate(batch) for part in LAUNCH],
                                "extra": [each.expression.evaluate(batch) for each in extra],
                            }
                            for batch in case["batches"]
                        ],
                    }
                )
    except Exception:  # as the bindings' C++ part does; the reason is in the log
        return {"failed": step}
    return {"output_type": int(output_type), "output_dims": output, "kernels": found, "same_kernel": ptx == case["ptx"]}


def layer_from_cpp(host: Any, case: dict[str, Any]) -> dict[str, Any]:
    attributes, dims, batches = case["attributes"], case["dims"], case["batches"]
    host.host_layer.restype = ctypes.c_char_p
    text = host.host_layer(
        names.OP_TYPE.encode(),
        names.PYTHON_NAMESPACE.encode(),
        len(attributes),
        (ctypes.c_char_p * len(attributes))(*(name.encode() for name in attributes)),
        (ctypes.c_float * len(attributes))(*attributes.values()),
        case["type"],
        len(dims),
        (ctypes.c_int64 * len(dims))(*dims),
        len(batches),
        (ctypes.c_int64 * len(batches))(*batches),
    )
    found: dict[str, Any] = json.loads(text)
    if "failed" not in found:
        size = ctypes.c_int32()
        host.host_kernel.restype = ctypes.c_void_p
        address = host.host_kernel(ctypes.byref(size))
        found["same_kernel"] = ctypes.string_at(address, size.value) == case["ptx"]
    return found


def main() -> None:
    host = ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else None
    given = json.load(sys.stdin)
    if host is None:
        log = Log()
        messages, ptx = log.messages, given["ptx"].encode()
        loading.register(trt, log, python_route.Kernel(ptx, 90, "given"), lazily=True)
    else:  # as the engine builder does it
        logger = make_logger(trt)
        messages, ptx = logger.errors, python_route.compile_kernel(90).ptx
        made = loading.load_plugins(trt, [Path(names.PYTHON_ROUTE)], logger, build_for=90)
        assert made is not None and made["ptx_sha256"] == hashlib.sha256(ptx).hexdigest()
    results = []
    for case in ({**each, "ptx": ptx} for each in given["cases"]):
        messages.clear()
        found = layer_from_python(case) if host is None else layer_from_cpp(host, case)
        results.append({**found, "log": list(messages)})
    enums = {
        "types": {name: int(value) for name, value in trt.DataType.__members__.items()},
        "formats": {name: int(value) for name, value in trt.TensorFormat.__members__.items()},
        "int32": int(trt.PluginArgDataType.INT32),
    }
    json.dump({"version": trt.__version__, "enums": enums, "results": results}, sys.stdout)


if __name__ == "__main__":
    main()
