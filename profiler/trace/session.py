"""What a trace says about itself: GPUs, versions, capture options, nsys's own diagnostics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from profiler.trace.database import Database

_CHIPS = (("GA100", 80), ("GB20", 120))  # whose multiprocessor has another number than their compute capability
_GPU_TABLES = ("TARGET_INFO_GPU", "TARGET_INFO_CUDA_GPU")  # the second until early 2021


@dataclass(frozen=True)
class Gpu:
    """One GPU of the traced machine. None: the export does not say."""

    index: int
    name: str | None
    chip: str | None
    sm: int | None
    """Compute capability as nvcc writes it: 75, 80, 90."""
    sm_count: int | None
    memory_bytes: int | None
    memory_bandwidth_bytes_per_s: int | None
    clock_hz: int | None


@dataclass(frozen=True)
class Diagnostic:
    """One message of nsys about the recording. Severity: information, warning, error or unknown."""

    severity: str
    text: str


@dataclass(frozen=True)
class Session:
    """Facts about the recording; every field may be None or empty, as old exports hold little."""

    nsys_version: str | None
    schema_version: str | None
    driver_version: str | None
    cuda_version: str | None
    gpus: tuple[Gpu, ...]
    graph_trace_mode: str | None
    """``node`` or ``graph``: the value of --cuda-graph-trace."""
    recorded_utc: str | None
    options: dict[str, str]
    """Capture options of nsys by name, without anything that names the machine or the program."""
    diagnostics: tuple[Diagnostic, ...]
    holds_environment: bool
    """The trace carries the environment or the command line of the traced program."""


_SEVERITIES = {0: "unknown", 1: "information", 2: "warning", 3: "error"}


def read_session(database: Database) -> Session:
    """Collect the facts from whichever tables are there."""
    export = _pairs(database, "EXPORT_META_DATA") | _pairs(database, "META_DATA_EXPORT")  # the first until 2021
    capture = _pairs(database, "META_DATA_CAPTURE")
    system = _system(database)
    cuda = system.get("CudaDriverVersion")
    mode = next((v for k, v in capture.items() if k.endswith("CUDA_GRAPH_TRACE_OPTIONS:MODE")), None)
    return Session(
        nsys_version=_ending(export, "PRODUCT_VERSION") or system.get("NsysVersion"),
        schema_version=_ending(export, "SCHEMA_VERSION"),
        driver_version=_driver_version(system.get("NvDriverVersion")),
        cuda_version=_cuda_version(cuda),
        gpus=_gpus(database),
        graph_trace_mode=mode.lower() if mode else None,
        recorded_utc=_recorded(database),
        options={k.split(":", 1)[-1]: v for k, v in capture.items() if _is_option(k)},
        diagnostics=_diagnostics(database),
        holds_environment=any("ENVIRONMENT" in k.upper() or k.upper().endswith("COMMAND_LINE") for k in capture)
        or "DeviceEnvironment" in system,
    )


def _ending(pairs: dict[str, str], name: str) -> str | None:
    """The value of ``EXPORT_NAME``, or of whatever an older nsys called it."""
    return pairs.get(f"EXPORT_{name}") or next((v for k, v in pairs.items() if k.upper().endswith(name)), None)


def _driver_version(text: str | None) -> str | None:
    """A version as NVIDIA writes it, 580.65.06. Some versions of nsys wrote 520.61.05 as 5206105; other numbers are left out."""
    if text is not None and re.fullmatch(r"[0-9]{7,8}", text):
        text = f"{text[:3]}.{text[3:-2]}.{text[-2:]}"
    return text if text is not None and re.fullmatch(r"[0-9]{2,4}(\.[0-9]{1,4}){1,3}", text) else None


def _cuda_version(text: str | None) -> str | None:
    """CUDA writes 12.4 as 12040."""
    if text is None or re.fullmatch(r"[0-9]{4,6}", text) is None:
        return None
    return f"{int(text) // 1000}.{int(text) % 1000 // 10}"


def _pairs(database: Database, table: str) -> dict[str, str]:
    if not database.has(table, "name", "value"):
        return {}
    rows = database.rows(f"SELECT name, value FROM {table}")  # noqa: S608 - one of three literals
    return {str(name): str(value) for name, value in rows if value is not None}


def _is_option(name: str) -> bool:
    key = name.split(":", 1)[-1]
    return key.startswith(("COLLECT_", "CUDA_", "RUN_DURATION", "START_TRIGGER", "STOP_TRIGGER", "SAMPLING_FREQUENCY"))


def _system(database: Database) -> dict[str, str]:
    if not database.has("TARGET_INFO_SYSTEM_ENV", "name", "value"):
        return {}
    wanted = ("NvDriverVersion", "CudaDriverVersion", "NsysVersion", "DeviceEnvironment")
    return {
        str(name): str(value)
        for name, value in database.rows(
            "SELECT name, value FROM TARGET_INFO_SYSTEM_ENV WHERE name IN (?, ?, ?, ?)", wanted
        )
    }


def _gpus(database: Database) -> tuple[Gpu, ...]:
    table = next((t for t in _GPU_TABLES if t in database.tables), None)
    if table is None:
        return ()
    columns = sorted(database.tables[table])
    picked = ", ".join('"' + c.replace('"', '""') + '"' for c in columns)
    gpus = []
    for position, row in enumerate(database.rows(f"SELECT {picked} FROM {table}")):  # noqa: S608 - quoted identifiers
        fact = dict(zip(columns, row))
        gpus.append(
            Gpu(
                index=_first_or(position, fact, "cuDevice", "id", "deviceId", "gpuId"),
                name=_text(fact.get("name")),
                chip=_text(fact.get("chipName")),
                sm=_sm(fact),
                sm_count=_first_int(fact, "smCount", "numMultiprocessors"),
                memory_bytes=_first_int(fact, "totalMemory", "globalMemorySize"),
                memory_bandwidth_bytes_per_s=_first_int(fact, "memoryBandwidth", "globalMemoryBandwidth"),
                clock_hz=_first_int(fact, "clockRate", "coreClockRate"),
            )
        )
    return tuple(gpus)


def _sm(fact: dict[str, Any]) -> int | None:
    for major, minor in (
        ("computeMajor", "computeMinor"),
        ("computeCapabilityMajor", "computeCapabilityMinor"),
        ("smMajor", "smMinor"),  # of the multiprocessor: 8.2 for an A100, whose compute capability is 8.0
    ):
        first, second = fact.get(major), fact.get(minor)
        if isinstance(first, int) and isinstance(second, int) and first > 0:
            chip = str(fact.get("chipName"))
            known = next((sm for name, sm in _CHIPS if chip.startswith(name)), None) if major == "smMajor" else None
            return known or first * 10 + second
    return None


def _first_int(fact: dict[str, Any], *names: str) -> int | None:
    return next((fact[n] for n in names if isinstance(fact.get(n), int)), None)


def _first_or(default: int, fact: dict[str, Any], *names: str) -> int:
    found = _first_int(fact, *names)
    return default if found is None else found


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _recorded(database: Database) -> str | None:
    if not database.has("TARGET_INFO_SESSION_START_TIME", "utcTime"):
        return None
    rows = database.rows("SELECT utcTime FROM TARGET_INFO_SESSION_START_TIME LIMIT 1")
    return _text(rows[0][0]) if rows else None


def _diagnostics(database: Database) -> tuple[Diagnostic, ...]:
    if not database.has("DIAGNOSTIC_EVENT", "text"):
        return ()
    severity = "severity" if database.has("DIAGNOSTIC_EVENT", "severity") else "NULL"
    order = "timestamp" if database.has("DIAGNOSTIC_EVENT", "timestamp") else "rowid"
    rows = database.rows(f"SELECT {severity}, text FROM DIAGNOSTIC_EVENT ORDER BY {order}")  # noqa: S608 - literals only
    labels = dict(_SEVERITIES)
    if database.has("ENUM_DIAGNOSTIC_SEVERITY_LEVEL", "id", "label"):
        labels |= {k: str(v).lower() for k, v in database.rows("SELECT id, label FROM ENUM_DIAGNOSTIC_SEVERITY_LEVEL")}
    return tuple(Diagnostic(labels.get(level, "unknown"), str(text)) for level, text in rows)
