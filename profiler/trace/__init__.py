"""Reading Nsight Systems exports: schema discovery, the :class:`Trace` object; the only SQL of the project."""

from profiler.trace.gpu_metrics import GpuMetrics
from profiler.trace.nvtx import NvtxIndex
from profiler.trace.trace import Trace, open_trace

__all__ = ["GpuMetrics", "NvtxIndex", "Trace", "open_trace"]
