"""The plugin through TensorRT's Python route: ``tensorrt.plugin`` with an ahead-of-time kernel (TensorRT 10.9 and later).

No library and no TensorRT headers: functions describe the plugin to the builder, which takes the kernel's PTX and symbolic launch
parameters into the plan. The kernels are those of ``src/quick_gelu_aot.cu``, compiled by nvcc for the GPU at hand, one PTX for all nodes.
Beside tensors TensorRT passes a kernel integers only, so ``alpha`` and the scales travel as the bits of 32-bit floats; all three are
above 0, so the integers are as well.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from profiler.errors import MissingToolError, ProfilerError
from profiler.plugins import compile as compiling
from profiler.plugins import names

PLUGIN_ID = f"{names.PYTHON_NAMESPACE}::{names.OP_TYPE}"
SINCE = (10, 9)
THREADS = 256
INT8_ROUNDS = (1, 4)
"""Vectors a thread of the INT8 kernel, as TensorRT's tactics: the builder times both. Each block makes a table of 256 entries first."""

TYPES = {"FLOAT": "FP32", "HALF": "FP16", "INT8": "INT8"}
"""TensorRT's names of the types that there is a kernel for, and the names that an AutoTuneCombination wants."""
BYTES = {"FP32": 4, "FP16": 2, "INT8": 1}
KERNELS = {name: f"quick_gelu_plugin_aot_{name.lower()}" for name in BYTES}

FORMATS = {
    "FP32": ("LINEAR", "HWC"),
    "FP16": ("LINEAR", "CHW2", "HWC8", "HWC16", "DHWC8"),
    "INT8": ("LINEAR", "CHW4", "CHW32", "CDHW32"),
}
"""The C++ plugin's choice (``supported()`` in src/plugin.cpp): the layouts in which convolutions take and give the type."""
LAYOUTS = {
    "LINEAR": (1, 1),
    "HWC": (1, 3),
    "CHW2": (2, 3),
    "CHW4": (4, 3),
    "HWC8": (8, 3),
    "HWC16": (16, 3),
    "CHW32": (32, 3),
    "DHWC8": (8, 4),
    "CDHW32": (32, 4),
}
"""Channels a vector, to which their number is padded in memory, and which dimension they are, from the end. LINEAR has no channels."""


@dataclass(frozen=True)
class Kernel:
    """The compiled kernels.

    Attributes:
        ptx: text, for this compute capability and later ones.
        sm: compute capability, 90 for 9.0.
        compiler: what the PTX says of the compiler that made it.
    """

    ptx: bytes
    sm: int
    compiler: str

    def record(self) -> dict[str, Any]:
        """For the plan's build record."""
        return {
            "plugin": PLUGIN_ID,
            "kernel": "ahead of time, in the plan",
            "sm": self.sm,
            "compiler": self.compiler,
            "ptx_sha256": hashlib.sha256(self.ptx).hexdigest(),
        }


def check_version(version: str) -> None:
    """Refuse a TensorRT that has no ahead-of-time plugins.

    Raises:
        ProfilerError: it is older than 10.9.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < SINCE:
        raise ProfilerError(
            f"--plugin {names.PYTHON_ROUTE}: the Python route needs TensorRT {SINCE[0]}.{SINCE[1]} or later, and this is {version}.",
            "Compile the C++ plugin for it, python -m profiler plugin build …, and give that with --plugin FILE.so.",
        )


def compile_kernel(sm: int) -> Kernel:
    """Compile the kernels for a GPU.

    Raises:
        MissingToolError: there is no nvcc.
        ProfilerError: it failed, or does not know this GPU; the message holds what it said.
    """
    try:
        nvcc = compiling.find_nvcc()
    except MissingToolError as error:
        raise MissingToolError(
            f"--plugin {names.PYTHON_ROUTE}: its kernel is compiled when the engine is built, and {error.message}",
            "Install the CUDA toolkit, or set CUDA_HOME to it.",
        ) from error
    ptx = compiling.compile_ptx(nvcc, sm)
    compiler = re.search(rb"Cuda compilation tools, ([^\r\n]+)", ptx)
    return Kernel(ptx, sm, compiler[1].decode("ascii", "replace").strip() if compiler else "unknown")


def float_bits(value: float) -> int:
    """The bits of a 32-bit float, as the 32-bit integer that a kernel can be passed."""
    bits: int = struct.unpack("<i", struct.pack("<f", value))[0]
    return bits


def check_node(type_name: str, alpha: float, input_scale: float, output_scale: float) -> None:
    """Refuse what no kernel computes.

    Args:
        type_name: TensorRT's name of the input's type, such as HALF.

    Raises:
        ProfilerError: a type that there is no kernel for, alpha or scales out of range, or a type that the scales contradict.
    """

    def usable(value: float) -> bool:
        return math.isfinite(value) and value > 0.0

    quantised = input_scale != 0.0 or output_scale != 0.0
    if not usable(alpha):
        raise ProfilerError(f"alpha is {alpha:g}, and a number above 0 was expected.")
    if quantised and not (usable(input_scale) and usable(output_scale)):
        raise ProfilerError(
            f"input_scale is {input_scale:g} and output_scale {output_scale:g}; both were expected above 0, or both 0."
        )
    if type_name not in TYPES or (type_name == "INT8") != quantised:
        expected = "INT8 (it has scales)" if quantised else "FP32 or FP16 (it has no scales)"
        raise ProfilerError(f"its input is {TYPES.get(type_name, type_name)}, and {expected} was expected.")


def formats(type_name: str, rank: int) -> list[str]:
    """The layouts that are offered for a type (FP32, FP16 or INT8): those whose channels a tensor of this rank has."""
    return [name for name in FORMATS[type_name] if LAYOUTS[name][1] <= rank or name == "LINEAR"]


def elements(trtp: Any, shape: Sequence[Any], layout: str) -> Any:
    """Elements in memory as a symbolic expression, the padding of the channels to full vectors included.

    Args:
        shape: the dimensions, as symbolic expressions.
    """
    vector, from_end = LAYOUTS[layout]
    count = trtp.ShapeExpr(1)
    for index, size in enumerate(shape):
        padded = vector > 1 and index == len(shape) - from_end
        count = count * (trtp.cdiv(size, vector) * vector if padded else size)
    return count


def launch_parameters(
    trtp: Any, shape: Sequence[Any], type_name: str, layout: str, tactic: int, floats: Sequence[float]
) -> tuple[Any, Any]:
    """The launch and the extra arguments of a kernel, both symbolic: TensorRT evaluates them for the shape at hand.

    Args:
        tactic: vectors a thread, for INT8; others take one.
        floats: alpha, and for INT8 the scales of input and output.

    Returns:
        ``KernelLaunchParams``, and ``SymIntExprs``: whole 16-byte vectors, elements behind them, and the floats' bits.
    """
    count = elements(trtp, shape, layout)
    lanes = 16 // BYTES[type_name]
    vectors = count // lanes
    tail = count - vectors * lanes
    rounds = max(tactic, 1) if type_name == "INT8" else 1
    launch = trtp.KernelLaunchParams()
    launch.grid_x = trtp.max(trtp.cdiv(vectors, THREADS * rounds), 1)
    launch.block_x = THREADS
    extra = trtp.SymIntExprs(2 + len(floats))
    for index, value in enumerate((vectors, tail, *map(float_bits, floats))):
        extra[index] = trtp.SymInt32(value)
    return launch, extra
