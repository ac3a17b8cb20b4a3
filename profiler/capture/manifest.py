"""The manifest of a run: what ran, how fast without a profiler, on what, and how to record it again."""

from __future__ import annotations

import datetime
import json
import lzma
from pathlib import Path
from typing import Any

from profiler.capture.identifying import map_texts, remove_paths
from profiler.capture.nsys import Nsys, Recording
from profiler.capture.spec import RunSpec
from profiler.errors import ProfilerError
from profiler.files import beside, sha256_of
from profiler.trace import Trace
from profiler.trace.manifest import FORMAT, parse_manifest
from profiler.trace.streams import read_regular

TRACE_NAME = "trace.sqlite.xz"
SIDE_FILES = ("layers.json", "build.json")
BUILD_LOG = "build.log.xz"
_ENGINE_KEYS = {"layers": "layers.json", "build": "build.json", "build_log": BUILD_LOG}
_BUILD_KEYS = (
    "tensorrt_version", "build_seconds", "plan_bytes", "device_memory_bytes", "memory_bytes", "onnx_sha256", "onnx_export",
    "timing_cache", "flags",
)  # fmt: skip
_MAX_TEXT = 2000
_MAX_DOCUMENT_BYTES = 64 << 20


def trace_facts(trace: Trace, recording: Recording, nsys: Nsys) -> dict[str, Any]:
    """What every manifest says of the recording itself."""
    session = trace.session
    return {
        "gpu": session.gpus[0].name if session.gpus else None,
        "recorded": _date(session.recorded_utc),
        "driver_version": session.driver_version,
        "cuda_version": session.cuda_version,
        "nsys": {
            "version": session.nsys_version or nsys.version_text,
            "capture_range": recording.capture_range,
            "cuda_graph_trace": recording.cuda_graph_trace,
            "gpu_metrics_frequency_hz": recording.metrics_hz if recording.metrics_device is not None else 0,
            "metrics_sampled": trace.gpu_metrics.storage is not None,
        },
    }


def build_manifest(
    spec: RunSpec,
    facts: dict[str, Any],
    profiled: dict[str, Any],
    result: dict[str, Any],
    bench: dict[str, Any] | None,
    engine: dict[str, Any] | None,
    warnings: list[str],
) -> dict[str, Any]:
    """Merge the documents of the two processes, what the trace says and the engine's facts.

    Latency, throughput and telemetry come only from ``bench``, the process without a profiler; what the recording
    shows is under ``profiled``, beside it, so that its cost can be read.

    Args:
        facts: :func:`trace_facts`.
        profiled: what the recording holds: ``inferences``, ``kernels``, ``graph_launches``, ``ms_per_inference``.
        result: the document of the recorded process.
    """
    engine, bench_result = engine or {}, bench or {}
    exported = engine.get("onnx_export") or {}
    gpu, nsys = result.get("gpu") or {}, facts["nsys"]
    options = {
        "cuda_graph_trace": nsys["cuda_graph_trace"],
        "gpu_metrics_frequency": nsys["gpu_metrics_frequency_hz"],
    }
    mean = (bench_result.get("latency_ms") or {}).get("mean")
    sources = (result, exported, engine, bench_result)
    document: dict[str, Any] = {
        "format": FORMAT,
        "trace": TRACE_NAME,
        **_what_ran(spec, result, exported),
        **facts,
        "gpu": facts["gpu"] or gpu.get("name"),
        "gpu_facts": gpu or None,
        "source": f"recorded with: {spec.command_line(options)}",
        "inferences": profiled["inferences"],
        "profiled": {
            **profiled,
            "module_ranges": spec.nvtx_modules and spec.framework == "pytorch",
            "ratio_to_bench_mean": profiled["ms_per_inference"] / mean if mean else None,
        },
        "bench": bench_part(bench),
        "warnings": _clean([*warnings, *(w for source in sources for w in source.get("warnings") or [])]),
    }
    if engine:
        document["engine"] = engine
        document |= {key: name for key, name in _ENGINE_KEYS.items() if name in engine.get("files", ())}
    if result.get("modules"):
        document["modules"] = result["modules"]
    parse_manifest(document, f"the manifest of {spec.name}")  # what readers will insist on
    return document


def _what_ran(spec: RunSpec, result: dict[str, Any], exported: dict[str, Any]) -> dict[str, Any]:
    """What a manifest and a bench document share."""
    weights = exported.get("weights") or result.get("weights")
    return {
        "title": spec.title,
        "framework": spec.framework_name,
        "framework_version": result.get("framework_version"),
        "model": exported.get("model") or spec.model,
        "weights": weights.get("label") if isinstance(weights, dict) else weights,
        "precision": spec.precision,
        "mode": spec.mode,
        "batch": spec.batch,
        "input_shape": result.get("input_shape") or [spec.batch, *spec.input_shape],
        "versions": result.get("versions"),
        "parameters": spec.parameters(),
        "complete": True,
    }


def program_document(title: str, command: str, facts: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The manifest of a command that is not one of our workloads: no model, precision or batch, as nobody has said them."""
    document = {
        "format": FORMAT,
        "trace": TRACE_NAME,
        "title": title,
        **facts,
        "source": f"recorded with: python -m profiler capture -- {command}",
        "complete": True,
        "warnings": warnings,
    }
    parse_manifest(document, "the manifest")  # what readers will insist on
    return document


def bench_part(bench: dict[str, Any] | None) -> dict[str, Any]:
    """Latency, throughput and telemetry, or why there are none."""
    if bench is None:
        return {"latency_ms": None, "throughput": None, "telemetry": None, "reason": "not measured (--no-bench)"}
    return {key: bench.get(key) for key in ("latency_ms", "throughput", "telemetry", "memory")}


def bench_document(spec: RunSpec, result: dict[str, Any]) -> dict[str, Any]:
    """What a run without a recording leaves: the manifest's keys, as far as they are known without a trace."""
    build = read_document(beside(spec.plan, "build.json")) if spec.plan else None
    return {
        "format": "profiler-bench/1",
        "name": spec.name,
        **_what_ran(spec, result, (build or {}).get("onnx_export") or {}),
        "gpu": (result.get("gpu") or {}).get("name"),
        "bench": bench_part(result),
        "warnings": result.get("warnings"),
        **({"engine": {key: build.get(key) for key in _BUILD_KEYS}} if build else {}),
    }


def engine_document(spec: RunSpec, folder: Path) -> dict[str, Any] | None:
    """Copy what lies beside the plan into the run's folder; returns the facts of the build.

    Raises:
        ProfilerError: a file beside the plan is not what its name says.
    """
    if spec.plan is None:
        return None
    for name in SIDE_FILES:
        source = beside(spec.plan, name)
        if source.is_file():
            (folder / name).write_text(
                json.dumps(map_texts(_read(source), remove_paths), ensure_ascii=False) + "\n", "utf-8"
            )
    log = beside(spec.plan, BUILD_LOG)
    if log.is_file():
        _copy_log(log, folder / BUILD_LOG)
    build = folder / "build.json"
    missing = {"reason_missing": f"{spec.plan.name}.build.json is missing beside the plan"}
    facts: dict[str, Any] = dict(_read(build)) if build.is_file() else missing
    facts["files"] = [name for name in (*SIDE_FILES, BUILD_LOG) if (folder / name).is_file()]
    facts.setdefault("plan_bytes", spec.plan.stat().st_size)
    facts["plan_sha256"] = sha256_of(spec.plan)
    return facts


def _copy_log(source: Path, target: Path) -> None:
    """The verbose build log: what the auto-tuner timed; without file-system paths."""
    try:
        with (
            lzma.open(source, "rt", encoding="utf-8", errors="replace") as log,
            lzma.open(target, "wt", encoding="utf-8") as clean,
        ):
            clean.writelines(remove_paths(line) for line in log)
    except (lzma.LZMAError, EOFError) as error:
        raise ProfilerError(f"{source}: damaged ({error}).", "Build the engine again.") from error


def is_complete(folder: Path, parameters_sha256: str) -> bool:
    """Whether ``folder`` holds this very run, whole."""
    document = read_document(folder / "manifest.json")
    if document is None or not document.get("complete") or document.get("parameters_sha256") != parameters_sha256:
        return False
    return document.get("trace") is None or (folder / str(document["trace"])).is_file()


def read_document(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when it is not there or damaged."""
    try:
        document = json.loads(read_regular(path, "a run's document", _MAX_DOCUMENT_BYTES).decode("utf-8"))
    except (ProfilerError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def recorded_parameters(path: Path) -> str | None:
    """The ``parameters_sha256`` of a document; None where there is none."""
    return (read_document(path) or {}).get("parameters_sha256")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"), strict=False)  # TensorRT from 8.6 on: raw control characters
    except (OSError, ValueError) as error:
        raise ProfilerError(f"{path}: not readable JSON ({error}).", "Build the engine again.") from error


def _clean(warnings: list[str]) -> list[str]:
    return list(dict.fromkeys(remove_paths(" ".join(str(w).split()))[:_MAX_TEXT] for w in warnings))


def _date(recorded: str | None) -> str:
    """The day of the recording (UTC), from the trace or else today."""
    day = (recorded or "")[:10]
    try:
        return datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        return datetime.datetime.now(datetime.timezone.utc).date().isoformat()
