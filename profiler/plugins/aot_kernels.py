"""The ahead-of-time kernels launched by the CUDA driver, with the arguments that TensorRT is told to launch them with.

For measuring them without TensorRT: ``python -m profiler plugin measure python``.
"""

from __future__ import annotations

import ctypes
from typing import Any

from profiler.errors import MissingToolError, ProfilerError
from profiler.plugins import python_route

DRIVER = "libcuda.so.1"


class Numbers:
    """What of ``tensorrt.plugin`` the launch parameters are made of, with numbers for expressions: the shape is known here."""

    ShapeExpr = SymInt32 = int
    max = staticmethod(max)

    class KernelLaunchParams:
        grid_x = grid_y = grid_z = block_x = block_y = block_z = 1
        shared_mem = 0

    @staticmethod
    def cdiv(first: int, second: int) -> int:
        return -(-first // second)

    @staticmethod
    def SymIntExprs(length: int) -> list[int]:
        return [0] * length


class AotKernels:
    """Launches like :class:`profiler.plugins.library.Kernels`. The calling thread needs a CUDA context.

    Args:
        sm: the GPU's compute capability, 90 for 9.0.
        tactic: vectors a thread of the INT8 kernel; one of :data:`python_route.INT8_ROUNDS`.

    Raises:
        MissingToolError: no driver, or no nvcc.
        ProfilerError: the kernels do not compile, or the driver does not take them.
    """

    def __init__(self, sm: int, tactic: int) -> None:
        self.compiled = python_route.compile_kernel(sm)
        self._tactic = tactic
        try:
            self._driver = ctypes.CDLL(DRIVER)
        except OSError as error:
            raise MissingToolError(
                f"the NVIDIA driver's library cannot be loaded ({error}).", "Run it on a machine with a GPU."
            ) from error
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(self.compiled.ptx))
        self._functions = {}
        for type_name, kernel in python_route.KERNELS.items():
            function = ctypes.c_void_p()
            self._call("cuModuleGetFunction", ctypes.byref(function), module, kernel.encode())
            self._functions[type_name] = function

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(status, ctypes.byref(text))
            raise ProfilerError(
                f"CUDA's {name} failed: {(text.value or b'unknown error').decode()} ({status}).",
                "'unsupported PTX version' means: the driver is older than the CUDA toolkit whose nvcc compiled the kernels.",
            )

    def launch(
        self,
        precision: str,
        source: int,
        target: int,
        count: int,
        alpha: float,
        scales: tuple[float, float] = (0.0, 0.0),
        stream: int = 0,
    ) -> None:
        """Start the kernel; it runs when the stream comes to it. ``count`` elements at each address, which may be equal.

        Raises:
            ProfilerError: CUDA refused it.
        """
        type_name = precision.upper()
        floats = (alpha, *scales) if type_name == "INT8" else (alpha,)
        launch, extra = python_route.launch_parameters(Numbers, (count,), type_name, "LINEAR", self._tactic, floats)
        values = [ctypes.c_void_p(source), *map(ctypes.c_int, extra), ctypes.c_void_p(target)]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        grid = (launch.grid_x, launch.grid_y, launch.grid_z)
        block = (launch.block_x, launch.block_y, launch.block_z)
        function, handle = self._functions[type_name], ctypes.c_void_p(stream)
        self._call("cuLaunchKernel", function, *grid, *block, launch.shared_mem, handle, pointers, None)
