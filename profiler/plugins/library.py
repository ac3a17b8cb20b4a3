"""A compiled plugin library: what it is, and its kernels called on device memory.

Runs on CPython 3.9 too, in the process of the TensorRT workload; needs neither torch nor TensorRT.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from profiler.errors import ProfilerError

TYPES = {"fp32": 0, "fp16": 1, "int8": 2}
REGISTERED = "registered"


def load(path: Path) -> Any:
    """Load a shared library, its symbols visible to what is loaded later.

    Raises:
        ProfilerError: it is missing or does not load.
    """
    if not path.is_file():
        raise ProfilerError(
            f"{path}: no such file; expected a plugin library.", "Compile it: python -m profiler plugin build …"
        )
    try:
        return ctypes.CDLL(str(path.resolve()), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ProfilerError(
            f"{path}: does not load ({error}).", "Compile it again, on this machine: python -m profiler plugin build …"
        ) from error


def status(library: Any) -> str | None:
    """What one of our libraries says of its registration with TensorRT; None for a library of another origin."""
    return _text(library, "profiler_plugin_status")


def compiled_for(library: Any) -> str | None:
    """The TensorRT that one of our libraries was compiled for; "" when without, None for a library of another origin."""
    return _text(library, "profiler_plugin_tensorrt")


def _text(library: Any, name: str) -> str | None:
    function = getattr(library, name, None)
    if function is None:
        return None
    function.restype = ctypes.c_char_p
    value = function()
    return value.decode() if isinstance(value, bytes) else None


class Kernels:
    """The kernels of a library, on device memory given by address.

    Raises:
        ProfilerError: the library does not load or is not one of ours.
    """

    def __init__(self, path: Path) -> None:
        self._library = load(path)
        if not hasattr(self._library, "profiler_quick_gelu"):
            raise ProfilerError(
                f"{path}: has no function profiler_quick_gelu, so it is not this project's plugin library.",
                "Compile it: python -m profiler plugin build …",
            )
        self._run = self._library.profiler_quick_gelu
        pointer, number = ctypes.c_void_p, ctypes.c_float
        self._run.argtypes = [ctypes.c_int, pointer, pointer, ctypes.c_longlong, number, number, number, pointer]
        self._run.restype = ctypes.c_int

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
        """Start the kernel; it runs when the stream comes to it.

        Args:
            source, target: device addresses of ``count`` elements each; may be equal.
            scales: of input and output, for INT8: value = scale * integer.

        Raises:
            ProfilerError: CUDA refused it; the message holds its reason.
        """
        code = self._run(TYPES[precision], source, target, count, alpha, *scales, stream)
        if code:
            error = self._library.profiler_plugin_error
            error.argtypes, error.restype = [ctypes.c_int], ctypes.c_char_p
            raise ProfilerError(
                f"the {precision} kernel could not be started on {count} elements: {error(code).decode()} (CUDA error {code}).",
                "INT8 needs two scales above 0, alpha must be above 0; 'no kernel image' means: compile it for this GPU (--arch).",
            )
