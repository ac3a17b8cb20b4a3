"""Which tables, columns and facts of an nsys export are harmless. Anything that is not listed is left out."""

from __future__ import annotations

import re

from profiler.trace import schema

READ_BY_PROFILER = schema.READ

ALSO_HARMLESS = (
    "CUDA_GRAPH_EVENTS", "CUDA_GRAPH_NODE_EVENTS", "CUDNN_EVENTS", "CUBLAS_EVENTS", "PROFILER_OVERHEAD", "GENERIC_EVENT_SOURCES",
    "GENERIC_EVENT_TYPES", "GENERIC_EVENT_TYPE_FIELDS", "TARGET_INFO_CUDA_DEVICE", "TARGET_INFO_CUDA_CONTEXT_INFO",
    "TARGET_INFO_CUDA_STREAM", "TARGET_INFO_CUDA_NULL_STREAM",
)  # fmt: skip
HARMLESS_PREFIXES = ("CUPTI_ACTIVITY_KIND_", "ENUM_")
KEPT_EMPTY = ("ProcessStreams", "ThreadNames", "PROCESSES", "ANALYSIS_FILE")
TEXT_COLUMNS = {
    "NVTX_EVENTS": {"text", "jsonText"},
    "DIAGNOSTIC_EVENT": {"text"},
    "TARGET_INFO_GPU": {"name", "chipName"},
    "TARGET_INFO_CUDA_GPU": {"name", "chipName"},
    "TARGET_INFO_GPU_METRICS": {"typeName", "metricName"},
    "TARGET_INFO_SESSION_START_TIME": {"utcTime"},
    "TARGET_INFO_SYSTEM_ENV": {"name", "value"},
    "META_DATA_CAPTURE": {"name", "value"},
    "META_DATA_EXPORT": {"name", "value"},
}
SYSTEM_FACTS = (
    "CpuCores",
    "CpuArchitecture",
    "CpuDescription",
    "NvDriverVersion",
    "OsDescription",
    "CudaDriverVersion",
    "NsysVersion",
)
CAPTURE_FACT = re.compile(
    r"^(?:PROCESS_\d+:)?(?:COLLECT_|CUDA_|CAPTURE_EVENT_TYPE|START_|STOP_|RUN_DURATION|RATE_HZ|SAMPLING_|GPU_METRICS_OPTIONS:|NVTX_OPTIONS:TRACE"
    r"|NVTX_OPTIONS:NVTX_DOMAIN_FILTER_MODE|HOW_TO_ATTACH|LAUNCH_AS_ROOT|USE_|TRACE_|SAMPLE_|INCLUDE_CHILDREN|SYMBOL_RESOLUTION_OPTIONS:RESOLVE)"
)
EXPORT_FACT = re.compile(
    r"^EXPORT_(?:PRODUCT_|SCHEMA_|PLATFORM$|ARCH$|TIME_UTC$|PARAM_(?:LAZY|OVERWRITE|APPEND|TIME_)|CONFIG_)"
)
PLAIN_FACT = re.compile(r"^[\w.:+\- ]{0,48}$")
STRING_COLUMNS = {
    "nameId", "textId", "jsonTextId", "demangledName", "shortName", "mangledName", "registeredStringId", "fieldNameId",
    "metricNameId", "typeNameId",
}  # fmt: skip
STRING_REFERENCE = re.compile(r"^\s*\"?(\w+)\"?\s[^\n]*REFERENCES\s+StringIds\(id\)", re.MULTILINE)
INFERENCE_TEXT = re.compile(r"^(?:inference|iter(?:ation)?)[ _]?\d+$", re.IGNORECASE)
GPU_WORK = (
    "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
)  # fmt: skip
METRIC_MARGIN_NS = 1_000_000
GPU_PLACEHOLDERS = {"uuid": "00000000-0000-0000-0000-000000000000", "busLocation": "0000:00:00.0"}
FINGERPRINT = {
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        "start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid", "graphNodeId", "gridX", "gridY", "gridZ",
        "blockX", "blockY", "blockZ", "registersPerThread", "staticSharedMemory", "dynamicSharedMemory",
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": ("start", "end", "globalTid", "correlationId"),
    "CUPTI_ACTIVITY_KIND_MEMCPY": ("start", "end", "bytes", "copyKind"),
    "CUPTI_ACTIVITY_KIND_MEMSET": ("start", "end", "bytes"),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": ("start", "end", "graphId"),
    "NVTX_EVENTS": ("start", "end", "eventType", "globalTid", "domainId"),
    "GPU_METRICS": ("timestamp", "typeId", "metricId", "value"),
}  # fmt: skip
"""What is compared, row by row, between the source and the copy."""
