"""The tables of an nsys export that this project reads."""

from __future__ import annotations

STRINGS = "StringIds"
KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
API_CALLS = "CUPTI_ACTIVITY_KIND_RUNTIME"  # runtime and driver API
MEMCPY = "CUPTI_ACTIVITY_KIND_MEMCPY"
MEMSET = "CUPTI_ACTIVITY_KIND_MEMSET"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"  # launches of CUDA graphs, recorded as one event each
NVTX = "NVTX_EVENTS"
GPU_METRICS = "GPU_METRICS"
GENERIC_EVENTS = "GENERIC_EVENTS"
GPU_WORK = (KERNELS, MEMCPY, MEMSET, GRAPHS)
READ = (
    STRINGS, *GPU_WORK, API_CALLS, NVTX, GPU_METRICS, GENERIC_EVENTS, "TARGET_INFO_GPU_METRICS",
    "TARGET_INFO_GPU", "TARGET_INFO_CUDA_GPU", "TARGET_INFO_SYSTEM_ENV", "TARGET_INFO_SESSION_START_TIME",
    "META_DATA_CAPTURE", "META_DATA_EXPORT", "EXPORT_META_DATA", "DIAGNOSTIC_EVENT", "ANALYSIS_DETAILS", "ENUM_CUDA_MEMCPY_OPER",
    "ENUM_DIAGNOSTIC_SEVERITY_LEVEL", "ENUM_NSYS_EVENT_TYPE",
)  # fmt: skip
_PREFIXES = (
    "CUPTI_",
    "NVTX_",
    "TARGET_INFO_",
    "META_DATA_",
    "ENUM_",
    "GPU_",
    "GENERIC_EVENT",
    "DIAGNOSTIC_",
    "ANALYSIS_",
)
_NAMES = frozenset(name.upper() for name in READ)


def is_nsys_table(name: str) -> bool:
    """Whether nsys writes tables of such a name. SQLite does not tell upper from lower case in them."""
    return name.upper() in _NAMES or name.upper().startswith(_PREFIXES)
