"""Running an engine of TensorRT-RTX, which compiles its kernels for the GPU at hand when a context is made (JIT)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profiler.errors import ProfilerError
from profiler.files import atomic_file, beside


class Jit:
    """The runtime configuration of an engine, with a cache of compiled kernels beside the plan.

    Kernels for the shape at hand are compiled at once and not in the background, where a second set would replace the first in the middle
    of a measurement. TensorRT-RTX's own CUDA graphs stay off (CudaGraphStrategy.DISABLED): mode graph captures the graph itself, as it
    does with TensorRT, so that the two are measured alike.

    Raises:
        ProfilerError: it refused the cache that it had made itself.
    """

    def __init__(self, trt: Any, engine: Any, plan: Path) -> None:
        self._engine, self._path = engine, beside(plan, "runtime.cache")
        self._runtime_config = engine.create_runtime_config()
        self._runtime_config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        self._runtime_config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED
        self._runtime_cache = self._runtime_config.create_runtime_cache()
        content = self._path.read_bytes() if self._path.is_file() else b""
        self._reused = bool(content) and bool(self._runtime_cache.deserialize(content))
        if not self._runtime_config.set_runtime_cache(self._runtime_cache):
            raise ProfilerError(f"{self._path}: TensorRT-RTX refuses its runtime cache.", "Remove the file.")

    def context(self) -> Any:
        """A new execution context; compiles what the cache does not hold."""
        return self._engine.create_execution_context(self._runtime_config)

    def save(self) -> None:
        """Keep what was compiled, for the next process that runs this plan."""
        if not self._reused:
            with atomic_file(self._path) as partial:
                partial.write_bytes(memoryview(self._runtime_cache.serialize()))

    def record(self) -> dict[str, Any]:
        """For the result document."""
        return {
            "runtime_cache": "reused" if self._reused else "fresh",
            "kernel_specialization": "eager",
            "cuda_graph_strategy": "disabled",
        }
