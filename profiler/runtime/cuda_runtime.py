"""The few CUDA runtime calls that the TensorRT workload needs, over cuda-python 12 or 13, with errors that name the call."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from profiler.errors import MissingToolError, ProfilerError

INSTALL_HINT = "pip install cuda-python, of the major version that the driver supports (nvidia-smi shows it)"
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")


def import_runtime() -> Any:
    """cuda-python's runtime module: ``cuda.bindings.runtime`` (12.6 and later), else ``cuda.cudart``.

    Raises:
        MissingToolError: cuda-python is not installed.
    """
    reasons = []
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise MissingToolError(f"cuda-python cannot be imported ({'; '.join(reasons)}).", INSTALL_HINT)


class Cuda:
    """CUDA device 0 (of those that CUDA_VISIBLE_DEVICES shows) with one stream.

    Raises:
        MissingToolError: no cuda-python, no driver or no GPU.
    """

    def __init__(self) -> None:
        cudart = import_runtime()
        self._cudart = cudart
        hint = (
            "Run it on a machine with an NVIDIA GPU and its driver (nvidia-smi shows them); check CUDA_VISIBLE_DEVICES."
        )
        try:
            status, count = cudart.cudaGetDeviceCount()
        except RuntimeError as error:  # cuda-python could not load libcuda.so.1
            raise MissingToolError(f"this process sees no NVIDIA driver ({error}).", hint) from error
        if int(status) or not count:
            raise MissingToolError(f"this process sees no NVIDIA GPU (CUDA: {self._text(status)}).", hint)
        self.call("cudaSetDevice", 0)
        self.stream = self.call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a runtime function; return its result without the status.

        Raises:
            ProfilerError: the status is not cudaSuccess; the message names the call.
        """
        status, *results = getattr(self._cudart, name)(*arguments)
        if int(status):
            text = self._text(status)
            hint = "Use a smaller batch, or end other processes on the GPU." if "memory" in text.lower() else None
            raise ProfilerError(f"CUDA's {name} failed: {text}.", hint)
        return results[0] if len(results) == 1 else tuple(results)

    def _text(self, status: Any) -> str:
        _, text = self._cudart.cudaGetErrorString(status)
        return text.decode() if isinstance(text, bytes) else str(text)

    def device(self) -> dict[str, Any]:
        """The result document's ``gpu``, less the driver's version."""
        properties = self.call("cudaGetDeviceProperties", 0)
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        version = int(self.call("cudaRuntimeGetVersion"))
        return {
            "name": name.rstrip("\x00"),
            "sm": properties.major * 10 + properties.minor,
            "cuda": f"{version // 1000}.{version % 1000 // 10}",
            "memory_bytes": int(properties.totalGlobalMem),
        }

    def pci_bus_id(self) -> str:
        """The device's PCI bus id, by which NVML finds the same device."""
        text = self.call("cudaDeviceGetPCIBusId", 32, 0)
        return (text.decode() if isinstance(text, bytes) else str(text)).split("\x00")[0]

    def allocate(self, size_bytes: int) -> int:
        """Device memory, which is freed when the process ends; its address."""
        return int(self.call("cudaMalloc", max(size_bytes, 1)))

    def to_device(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous array to device memory, and wait."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)
        self.synchronize()

    def to_host(self, array: np.ndarray[Any, Any], address: int) -> None:
        """Fill a contiguous array from device memory, and wait."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)
        self.synchronize()

    def synchronize(self) -> None:
        self.call("cudaStreamSynchronize", self.stream)

    def begin_capture(self) -> None:
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)

    def end_capture(self) -> Any:
        """The executable graph of what was put on the stream since :meth:`begin_capture`."""
        graph = self.call("cudaStreamEndCapture", self.stream)
        executable = self.call("cudaGraphInstantiate", graph, 0)
        self.call("cudaGraphDestroy", graph)
        return executable

    def launch(self, graph: Any) -> None:
        self.call("cudaGraphLaunch", graph, self.stream)

    def event(self) -> CudaEvent:
        return CudaEvent(self)

    def wait(self, event: CudaEvent) -> None:
        """Let the stream go on only when ``event`` (of any stream) has happened; the CPU does not wait."""
        self.call("cudaStreamWaitEvent", self.stream, event.handle, 0)

    def profiler_start(self) -> None:
        self.call("cudaProfilerStart")

    def profiler_stop(self) -> None:
        self.call("cudaProfilerStop")


class CudaEvent:
    """An event on the stream of a :class:`Cuda`; lives as long as the process. ``handle``: CUDA's own."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = cuda.call("cudaEventCreate")

    def record(self) -> None:
        self._cuda.call("cudaEventRecord", self.handle, self._cuda.stream)

    def synchronize(self) -> None:
        self._cuda.call("cudaEventSynchronize", self.handle)

    def elapsed_ms(self, end: Any) -> float:
        return float(self._cuda.call("cudaEventElapsedTime", self.handle, end.handle))
