"""What of an nsys export is kept in a copy that is shared: tables, columns and texts. Anything that is not listed is left out.

Numbers are kept in the columns that are listed. Texts are kept where nsys chose their words, in the forms that are listed; only the
names of kernels and of NVTX ranges, and the layer descriptions that TensorRT adds to its ranges, are free text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from profiler.trace import schema
from profiler.trace.schema import API_CALLS, GRAPHS, KERNELS, MEMCPY, MEMSET, NVTX

_EVENTS = (
    "CUDA_GRAPH_EVENTS", "CUDA_GRAPH_NODE_EVENTS", "CUDNN_EVENTS", "CUBLAS_EVENTS", "PROFILER_OVERHEAD", "CUPTI_ACTIVITY_KIND_OVERHEAD",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", "CUPTI_ACTIVITY_KIND_CUDA_EVENT", "CUPTI_ACTIVITY_KIND_MEMORY",
)  # fmt: skip
TABLES = frozenset(
    (
        *schema.READ, *_EVENTS, "TARGET_INFO_CUDA_DEVICE", "TARGET_INFO_CUDA_CONTEXT_INFO", "TARGET_INFO_CUDA_STREAM",
        "TARGET_INFO_CUDA_NULL_STREAM",
    )
)  # fmt: skip
KEPT_EMPTY = {
    "ProcessStreams": ("globalPid", "filenameId", "contentId"),
    "ThreadNames": ("globalTid", "nameId", "priority"),
    "PROCESSES": ("globalPid", "pid", "name"),
    "ANALYSIS_FILE": ("id", "filename", "contentId", "globalPid"),
}
"""Tables of which nothing is kept but that they were there, with their columns."""
NUMBERS = frozenset((
    # what all events have
    "start", "end", "startTime", "stopTime", "duration", "timestamp", "rawTimestamp", "timestampType", "globalTid", "endGlobalTid",
    "globalPid", "globalVid", "pid", "processId", "correlationId", "returnValue", "eventClass", "eventType", "eventId", "eventSyncId",
    # GPU work
    "deviceId", "contextId", "greenContextId", "streamId", "graphId", "graphExecId", "graphNodeId", "originalGraphId",
    "originalGraphNodeId", "gridId", "gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ", "clusterX", "clusterY", "clusterZ",
    "registersPerThread", "staticSharedMemory", "dynamicSharedMemory", "localMemoryPerThread", "localMemoryTotal",
    "sharedMemoryExecuted", "sharedMemoryLimitConfig", "sharedMemoryCarveoutRequested", "sharedMemoryConfig", "cacheConfig",
    "launchType", "priority", "bytes", "value", "copyKind", "copyCount", "srcKind", "dstKind", "srcDeviceId", "srcContextId",
    "dstDeviceId", "dstContextId", "memKind", "memoryOperationType", "syncType", "deprecatedSyncType", "overheadKind",
    # ranges and samples
    "rangeId", "category", "color", "domainId", "int32Value", "int64Value", "uint32Value", "uint64Value", "floatValue", "doubleValue",
    "typeId", "sourceId", "metricId", "severity", "source",
    # devices
    "id", "cuDevice", "cudaId", "gpuId", "pwGpuId", "hwId", "vmId", "nullStreamId", "parentContextId", "isGreenContext", "flag",
    "isDiscrete", "asyncEngines", "clockRate", "coreClockRate", "computeMajor", "computeMinor", "computeCapabilityMajor",
    "computeCapabilityMinor", "smMajor", "smMinor", "smCount", "numMultiprocessors", "constantMemory", "l2CacheSize", "totalMemory",
    "globalMemorySize", "memoryBandwidth", "globalMemoryBandwidth", "maxBlockDimX", "maxBlockDimY", "maxBlockDimZ", "maxBlocksPerSm",
    "maxGridDimX", "maxGridDimY", "maxGridDimZ", "maxIPC", "maxRegistersPerBlock", "maxRegistersPerSm", "maxShmemPerBlock",
    "maxShmemPerBlockOptin", "maxShmemPerSm", "maxThreadsPerBlock", "maxWarpsPerSm", "threadsPerWarp", "utcEpochNs",
))  # fmt: skip
"""Columns of which numbers are kept, whatever the table."""
KERNEL_NAMES, RANGE_NAMES, CALL_NAMES, PAYLOADS = "kernel names", "range names", "call names", "layer descriptions"
STRING_COLUMNS = {
    "demangledName": KERNEL_NAMES, "shortName": KERNEL_NAMES, "mangledName": KERNEL_NAMES, "textId": RANGE_NAMES,
    "jsonTextId": PAYLOADS, "nameId": CALL_NAMES,
}  # fmt: skip
"""Columns that hold ids of StringIds, and what the texts are."""
GPU_PLACEHOLDERS = {"uuid": "00000000-0000-0000-0000-000000000000", "busLocation": "0000:00:00.0"}
FINGERPRINT = {
    KERNELS: (
        "start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid", "graphNodeId", "gridX", "gridY", "gridZ",
        "blockX", "blockY", "blockZ", "registersPerThread", "staticSharedMemory", "dynamicSharedMemory", "demangledName", "shortName",
    ),
    API_CALLS: ("start", "end", "globalTid", "correlationId", "nameId"),
    MEMCPY: ("start", "end", "bytes", "copyKind"),
    MEMSET: ("start", "end", "bytes"),
    GRAPHS: ("start", "end", "graphId"),
    NVTX: ("start", "end", "eventType", "globalTid", "domainId"),
    "GPU_METRICS": ("timestamp", "typeId", "metricId", "value"),
}  # fmt: skip
"""What is compared, row by row, between the source and the copy."""

REMOVED_TEXT = "(removed)"
_NUMBER_OR_SWITCH = re.compile(r"-?\d{1,15}|true|false")
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){0,4}(?:-[0-9a-f]{1,16}(?:v\d)?)?")
_DRIVER = re.compile(r"\d{2,4}(?:\.\d{1,4}){1,3}")
_UTC = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: ?(?:Z|UTC|\+0000(?: UTC)?))?")
_CALL = re.compile(r"(?:cu|cuda|cudnn|cublas|cufft|cusparse|cusolver|nvrtc|nvml|nccl)[A-Z]\w{1,80}", re.ASCII)
_GPU_NAME = re.compile(
    r"(?:NVIDIA|Tesla|Quadro|GeForce|TITAN|GRID|RTX|Jetson|Orin|Xavier|Thor|A\d|L\d|T\d|V\d|P\d|H\d|B\d)"
    r"[A-Za-z0-9]{0,12}(?:[ \-+/][A-Za-z0-9]{1,12}){0,7}",
    re.ASCII,
)
_CHIP = re.compile(r"[A-Z]{2}\d[0-9A-Z]{1,3}(?:-[A-Z])?")
_DOMAIN = re.compile(
    r"TensorRT|myelin-?\w{0,12}|profiler|PyTorch|torch|TSL|NCCL|cuBLAS(?:Lt)?|cuDNN|cuFFT|cuSOLVER|cuSPARSE|cuTENSOR|CCCL|CUB|thrust|DALI|"
    r"libcudf|libkvikio|NVSHMEM|UCX|nvjpeg|nvFuser|MPI|OpenMP|vLLM|triton",
    re.IGNORECASE,
)
_METRIC_WORDS = frozenset((
    # of the metric sets from Turing to Blackwell
    "active", "activity", "alu", "async", "asynchronous", "average", "avg", "bandwidth", "barrier", "busy", "bytes", "cache", "clock",
    "codec", "compute", "copy", "count", "cs", "ctc", "cta", "cycle", "cycles", "decode", "decoder", "draw", "dram", "dispatch",
    "encode", "encoder", "engine", "fbp", "fe", "fma", "fp", "fp16", "fp32", "fp64", "frequency", "full", "geometry", "gpc", "gpu",
    "gr", "graphics", "half", "hit", "hz", "in", "inactive", "instruction", "instructions", "internal", "int", "issue", "jpg", "l1",
    "l2", "lanes", "launches", "lts", "max", "memory", "mhz", "min", "miss", "mma", "not", "nvdec", "nvenc", "nvjpg", "nvlink", "nvlrx",
    "nvltx", "ofa", "of", "other", "overhead", "pcie", "peak", "peer", "per", "pipe", "pixel", "power", "protocol", "ps", "queue",
    "raster", "rate", "ratio", "read", "reads", "received", "register", "request", "requests", "response", "rx", "sampled", "samples",
    "sampling", "shader", "sector", "sectors", "sm", "sms", "stall", "started", "sustained", "sync", "sys", "tensor", "tess", "texture",
    "threads", "throughput", "total", "transmitted", "triage", "tx", "unallocated", "unit", "units", "user", "utilization", "vaf",
    "vertex", "video", "vtg", "warps", "warp", "wave", "write", "writes", "vs", "ztc", "zrop", "crop", "bar1", "engines", "flight",
    "idle", "hmma", "imma", "dmma",
))  # fmt: skip
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_METRIC = re.compile(r"[\w \[\]%/().:,&+\-]{1,120}", re.ASCII)
_LIBRARIES = (
    r"(?:CUDA|CUPTI|NVTX|cuDNN|cuBLAS|NCCL|OpenGL|Vulkan|OpenACC|OpenMP|MPI|OS runtime libraries|GPU Metrics|Common)"
)
_DIAGNOSTICS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LIBRARIES} injection (?:library )?initialized successfully\.",
        rf"Number of {_LIBRARIES} events (?:collected|produced):\s*[\d,]+(?:, CUPTI buffers: \d+)?\.",
        rf"No {_LIBRARIES} events collected\. Does the process use {_LIBRARIES}\?",
        rf"Not all {_LIBRARIES} events might have been collected\.",
        rf"{_LIBRARIES} profiling might have not been started correctly\.",
    )
)
_TOPICS = ("protected memory", "dropped", "insufficient privilege", "not supported", "buffer")
_CAPTURE_KEYS = re.compile(
    r"(?:PROCESS_\d{1,4}:)?(?:"
    r"COLLECT_(?:BLOCK_PHASE|BLOCK|CPU|CUDA|DX\d+|GL_WORKLOAD|GPU_CTX_SW|NVMEDIA|NVTX|OPENSHMEM|THREAD_STATE|VIDEO_API|VULKAN|WARP_PHASE|WARP|"
    r"MPI|OSRT|CUDNN|CUBLAS|OPENACC)_TRACE|COLLECT_(?:GPU_MEMORY_USAGE|UVM_CPU_PAGE_FAULTS|UVM_GPU_PAGE_FAULTS|SLI_EVENTS|VSYNC|WDDM_EVENTS)|"
    r"CUDA_(?:FLUSH_ON_CUDA_PROFILER_STOP|FLUSH_PERIOD|FLUSH_PERIODICALLY|SKIP_SOME_API_CALLS|GRAPH_TRACE_OPTIONS:MODE|MEMORY_USAGE)|"
    r"CAPTURE_EVENT_TYPE|START_(?:DELAY_MS|FRAME_VALUE|TRIGGER)|STOP_TRIGGER|RUN_DURATION_(?:FRAMES|MS)|RATE_HZ|SAMPLING_FREQUENCY|"
    r"GPU_METRICS_OPTIONS:(?:GPU_\d{1,3}:(?:ID|METRIC_SET_INDEX)|SAMPLING_FREQUENCY)|HOW_TO_ATTACH|LAUNCH_AS_ROOT|INCLUDE_CHILDREN|"
    r"USE_(?:DWARF|FRAME_POINTERS|LBRS|LINUX_PERF|UNWIND_TABLES)|TRACE_(?:AFTER_FORK_BEFORE_EXEC|ALL_TASKS)|SAMPLE_ALL_TASKS)"
)
_CAPTURE_WORDS = frozenset((
    "Node", "Graph", "node", "graph", "Immediate", "Delayed", "LaunchAnother", "AttachToRunning", "CudaProfilerApi", "NvtxRange",
    "Hotkey", "Cuda", "CuBLAS", "CuDNN", "NvtxEvents", "GpuMetrics", "OpenGL", "Vulkan", "Mpi", "OsRuntime",
))  # fmt: skip
_EXPORT_WORDS = {
    "EXPORT_PRODUCT_NAME": ("NVIDIA Nsight Systems",),
    "EXPORT_PLATFORM": ("linux-desktop", "windows-desktop", "linux-sbsa", "linux-l4t", "qnx"),
    "EXPORT_ARCH": ("x64", "x86_64", "aarch64", "arm64"),
}
_EXPORT_VERSIONS = re.compile(r"EXPORT_(?:PRODUCT_(?:VERSION|DATE)|SCHEMA_VERSION(?:_MAJOR|_MINOR|_MICRO)?)")
_EXPORT_SWITCHES = re.compile(r"EXPORT_(?:PARAM_(?:LAZY|OVERWRITE|APPEND|TIME_NORMALIZE|TIME_SHIFT)|CONFIG_TIME_SHIFT)")
_SYSTEM = {
    "CpuCores": re.compile(r"\d{1,5}"), "CpuArchitecture": re.compile(r"x86_64|aarch64|arm64|ppc64le"), "NvDriverVersion": _DRIVER,
    "CudaDriverVersion": re.compile(r"\d{4,6}"), "NsysVersion": _VERSION,
}  # fmt: skip
_LABELS = frozenset((
    "Unknown", "Host-to-Device", "Device-to-Host", "Host-to-Array", "Array-to-Host", "Array-to-Array", "Array-to-Device",
    "Device-to-Array", "Device-to-Device", "Host-to-Host", "Peer-to-Peer", "Information", "Warning", "Error", "Verbose",
))  # fmt: skip
_PAYLOAD_PART = re.compile(r"^(?:Conv|Pooling)?(?:Nb)?(?:PointWiseExpression)?")  # of a layer that was made of several
_PAYLOAD_KEYS = frozenset((
    "Name", "LayerType", "Inputs", "Outputs", "Dimensions", "Format/Datatype", "Format", "Datatype", "Location", "Type", "Count",
    "Metadata", "TacticName", "TacticValue", "Origin", "ParameterType", "ParameterSubType", "Weights", "Bias", "Kernel", "Groups",
    "OutMaps", "Stride", "PrePadding", "PostPadding", "Dilation", "PaddingMode", "Activation", "HasBias", "HasReLU", "HasSparseWeights",
    "StreamId", "Precision", "Operation", "Constants", "HasDynamicFilter", "HasDynamicBias", "HasResidual", "ConvXAsActInputIdx",
    "BiasAsActInputIdx", "ResAsActInputIdx", "PoolingType", "WindowSize", "BlendFactor", "AverageCountExcludesPadding", "InputArgs",
    "OutputVars", "Params", "Literals", "Operations", "Strides", "StrideOrder",
))  # fmt: skip


def fact(table: str, name: str, value: str) -> bool:
    """Whether a name and a value of a table of facts are kept."""
    if table == "META_DATA_CAPTURE":
        known = _NUMBER_OR_SWITCH.fullmatch(value) or value in _CAPTURE_WORDS
        return bool(_CAPTURE_KEYS.fullmatch(name) and known)
    if table in EXPORT_FACTS:
        if name == "EXPORT_TIME_UTC":
            return _UTC.fullmatch(value) is not None
        if _EXPORT_VERSIONS.fullmatch(name):
            return _VERSION.fullmatch(value) is not None
        if _EXPORT_SWITCHES.fullmatch(name):
            return _NUMBER_OR_SWITCH.fullmatch(value) is not None
        return value in _EXPORT_WORDS.get(name, ())
    return name in _SYSTEM and _SYSTEM[name].fullmatch(value) is not None


EXPORT_FACTS = ("META_DATA_EXPORT", "EXPORT_META_DATA")
"""What nsys says about the export: the second name is that of 2020 and 2021."""
FACTS = ("META_DATA_CAPTURE", *EXPORT_FACTS, "TARGET_INFO_SYSTEM_ENV")
"""Tables of names and values; only what :func:`fact` knows is kept."""


def call_name(text: str) -> str:
    """The name of a function of CUDA or of its libraries; nothing else is one."""
    return text if _CALL.fullmatch(text) else REMOVED_TEXT


def gpu_name(text: str) -> str:
    return text if _GPU_NAME.fullmatch(text) else REMOVED_TEXT


def chip_name(text: str) -> str:
    return text if _CHIP.fullmatch(text) else REMOVED_TEXT


def metric_name(text: str) -> str:
    """The name of a GPU metric, if it is made of the words of NVIDIA's metric sets."""
    known = _METRIC.fullmatch(text) and all(word.lower() in _METRIC_WORDS for word in _WORD.findall(text))
    return text if known else REMOVED_TEXT


def utc_time(text: str) -> str | None:
    return text if _UTC.fullmatch(text) else None


def label(text: str) -> str | None:
    return text if text in _LABELS else None


def diagnostic(text: str) -> str:
    """A message of nsys that is known word for word; of others only what they are about."""
    plain = text.strip()
    if any(pattern.fullmatch(plain) for pattern in _DIAGNOSTICS):
        return plain
    topic = next((topic for topic in _TOPICS if topic in plain.lower()), None)
    return f"{REMOVED_TEXT}: about “{topic}”" if topic else REMOVED_TEXT


def domain_name(text: str) -> str | None:
    """The name of an NVTX domain of a known library; None for any other."""
    return text if _DOMAIN.fullmatch(text) else None


def metrics_json(text: str) -> str | None:
    """A sample of GPU metrics as older exports store it; known names and numbers only. None for any other event."""
    sample = _parsed(text)
    if not isinstance(sample, dict) or not any("Active" in key for key in sample):
        return None
    return json.dumps({k: v for k, v in sample.items() if _is_number(v) and metric_name(k) == k})


def payload(text: str) -> Any | None:
    """The description of a layer that TensorRT adds to its range, with the keys that are known; None for any other payload."""
    document = _parsed(text)
    return _known(document) if isinstance(document, dict) and isinstance(document.get("Name"), str) else None


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _known(item)
            for k, item in value.items()
            if k in _PAYLOAD_KEYS or _PAYLOAD_PART.sub("", k) in _PAYLOAD_KEYS
        }
    return [_known(item) for item in value] if isinstance(value, list) else value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, strict=False)  # TensorRT from 8.6 on writes raw control characters
    except (ValueError, RecursionError):
        return None


def _is_number(value: object) -> bool:
    try:
        return abs(float(value)) < float("inf")  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


TEXTS: dict[str, dict[str, Callable[[str], str | None]]] = {
    "TARGET_INFO_GPU": {"name": gpu_name, "chipName": chip_name},
    "TARGET_INFO_CUDA_GPU": {"name": gpu_name, "chipName": chip_name},
    "TARGET_INFO_GPU_METRICS": {"metricName": metric_name},
    "TARGET_INFO_SESSION_START_TIME": {"utcTime": utc_time},
    "DIAGNOSTIC_EVENT": {"text": diagnostic},
    "GENERIC_EVENTS": {"data": metrics_json},
    "ENUM_CUDA_MEMCPY_OPER": {"label": label},
    "ENUM_DIAGNOSTIC_SEVERITY_LEVEL": {"label": label},
}
"""Columns of text, and what is kept of each."""
FREE = (diagnostic, metrics_json)
"""Of these the results are made of texts that may hold more than known names."""
