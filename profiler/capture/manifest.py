"""The manifest of a run: what ran, how fast without a profiler, on what, and how to record it again."""

from __future__ import annotations

import datetime
import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.capture.identifying import remove_paths
from profiler.capture.nsys import Nsys, Recording
from profiler.capture.spec import RunSpec, fingerprint
from profiler.errors import ProfilerError
from profiler.files import sha256_of
from profiler.trace import Trace
from profiler.trace.manifest import FORMAT, parse_manifest
from profiler.trace.streams import read_regular

SIDE_FILES = ("layers.json", "build.json")
BUILD_LOG = "build.log.xz"
_ENGINE_KEYS = {"layers": "layers.json", "build": "build.json", "build_log": BUILD_LOG}
_MAX_TEXT = 2000
_MAX_DOCUMENT_BYTES = 64 << 20


@dataclass(frozen=True)
class Checked:
    """What the recording really holds.

    Attributes:
        inferences: inference ranges.
        kernels, graph_launches: events on the GPU.
        ms_per_inference: mean length of the ranges, so with nsys and the ranges of the modules at work.
        gpu: name of the GPU; ``recorded_utc``, ``nsys_version``, ``driver_version``: as the trace says.
        metrics: sampled GPU metrics are there.
    """

    inferences: int
    kernels: int
    graph_launches: int
    ms_per_inference: float
    gpu: str | None
    recorded_utc: str | None
    nsys_version: str | None
    driver_version: str | None
    cuda_version: str | None
    metrics: bool


def build_manifest(
    spec: RunSpec,
    recording: Recording,
    nsys: Nsys,
    checked: Checked,
    profiled: dict[str, Any],
    bench: dict[str, Any] | None,
    engine: dict[str, Any] | None,
    sanitised: dict[str, Any],
    warnings: list[str],
) -> dict[str, Any]:
    """Merge the documents of the two processes, the checks and the engine's facts.

    Latency, throughput and telemetry come only from ``bench``, the process without a profiler; what the recording
    shows is under ``profiled``, beside it, so that its cost can be read.
    """
    weights = profiled.get("weights") or {}
    engine = engine or {}
    exported = engine.get("onnx_export") or {}
    if isinstance(exported.get("weights"), dict):
        weights = exported["weights"]
    options = {
        "cuda_graph_trace": recording.cuda_graph_trace,
        "gpu_metrics_frequency": recording.metrics_hz if recording.metrics_device is not None else 0,
    }
    document: dict[str, Any] = {
        "format": FORMAT,
        "trace": "trace.sqlite.xz",
        "title": spec.title,
        "framework": spec.framework_name,
        "framework_version": _text(profiled.get("framework_version")),
        "model": _text(exported.get("model") or (spec.model if engine else profiled.get("model") or spec.model)),
        "weights": _text(weights.get("label") if isinstance(weights, dict) else weights),
        "precision": spec.precision,
        "mode": spec.mode,
        "batch": spec.batch,
        "input_shape": profiled.get("input_shape") or [spec.batch, *spec.input_shape],
        "gpu": _text(checked.gpu or (profiled.get("gpu") or {}).get("name")),
        "recorded": _date(checked.recorded_utc),
        "source": f"recorded with: {spec.command_line(options)}",
        "inferences": checked.inferences,
        "driver_version": checked.driver_version,
        "cuda_version": checked.cuda_version,
        "gpu_facts": profiled.get("gpu"),
        "versions": profiled.get("versions"),
        "nsys": {
            "version": checked.nsys_version or nsys.version_text,
            "capture_range": recording.capture_range,
            "cuda_graph_trace": recording.cuda_graph_trace,
            "gpu_metrics_frequency_hz": options["gpu_metrics_frequency"],
            "metrics_sampled": checked.metrics,
        },
        "profiled": {
            "ms_per_inference": checked.ms_per_inference,
            "inferences": checked.inferences,
            "kernels": checked.kernels,
            "graph_launches": checked.graph_launches,
            "module_ranges": spec.nvtx_modules and spec.framework == "pytorch",
        },
        "bench": bench_part(bench),
        "sanitised": sanitised,
        "parameters": spec.parameters(),
        "warnings": _clean(
            [
                *warnings,
                *(profiled.get("warnings") or []),
                *(exported.get("warnings") or []),
                *(engine.get("warnings") or []),
                *((bench or {}).get("warnings") or []),
            ]
        ),
        "complete": True,
    }
    mean = ((bench or {}).get("latency_ms") or {}).get("mean")
    document["profiled"]["ratio_to_bench_mean"] = checked.ms_per_inference / mean if mean else None
    if engine:
        document["engine"] = engine
        document |= {key: name for key, name in _ENGINE_KEYS.items() if name in engine.get("files", ())}
    if profiled.get("modules"):
        document["modules"] = profiled["modules"]
    parse_manifest(document, f"the manifest of {spec.name}")  # what readers will insist on
    return document


def program_document(title: str, command: str, recording: Recording, trace: Trace) -> dict[str, Any]:
    """The manifest of a command that is not one of our workloads: no model, precision or batch, as nobody has said them."""
    session = trace.session
    document = {
        "format": FORMAT,
        "trace": "trace.sqlite.xz",
        "title": title,
        "gpu": session.gpus[0].name if session.gpus else None,
        "recorded": _date(session.recorded_utc),
        "source": f"recorded with: python -m profiler capture -- {command}",
        "driver_version": session.driver_version,
        "cuda_version": session.cuda_version,
        "nsys": {
            "version": session.nsys_version,
            "capture_range": recording.capture_range,
            "cuda_graph_trace": recording.cuda_graph_trace,
            "gpu_metrics_frequency_hz": recording.metrics_hz if recording.metrics_device is not None else 0,
            "metrics_sampled": trace.gpu_metrics.storage is not None,
        },
        "complete": True,
    }
    parse_manifest(document, "the manifest")  # what readers will insist on
    return document


def bench_part(bench: dict[str, Any] | None) -> dict[str, Any]:
    """Latency, throughput and telemetry, or why there are none."""
    if bench is None:
        return {"latency_ms": None, "throughput": None, "telemetry": None, "reason": "not measured (--no-bench)"}
    return {key: bench.get(key) for key in ("latency_ms", "throughput", "telemetry")}


def bench_document(spec: RunSpec, result: dict[str, Any]) -> dict[str, Any]:
    """What a run without a recording leaves: the manifest's keys, as far as they are known without a trace."""
    weights = result.get("weights")
    copied = ("framework_version", "input_shape", "versions", "warnings")
    return {
        "format": "profiler-bench/1",
        "name": spec.name,
        "title": spec.title,
        "framework": spec.framework_name,
        "model": spec.model,
        "weights": weights.get("label") if isinstance(weights, dict) else weights,
        "precision": spec.precision,
        "mode": spec.mode,
        "batch": spec.batch,
        "gpu": (result.get("gpu") or {}).get("name"),
        **{key: result.get(key) for key in copied},
        "bench": bench_part(result),
        "parameters": spec.parameters(),
        "complete": True,
    }


def engine_document(spec: RunSpec, folder: Path) -> dict[str, Any] | None:
    """Copy what lies beside the plan into the run's folder; returns the facts of the build.

    Raises:
        ProfilerError: a file beside the plan is not what its name says.
    """
    if spec.plan is None:
        return None
    for name in SIDE_FILES:
        beside = spec.plan.with_name(f"{spec.plan.name}.{name}")
        if beside.is_file():
            (folder / name).write_text(json.dumps(_without_paths(_read(beside)), ensure_ascii=False) + "\n", "utf-8")
    log = spec.plan.with_name(f"{spec.plan.name}.{BUILD_LOG}")
    if log.is_file():
        _copy_log(log, folder / BUILD_LOG)
    build = folder / "build.json"
    facts: dict[str, Any] = (
        dict(_read(build))
        if build.is_file()
        else {"reason_missing": f"no {spec.plan.name}.build.json lies beside the plan"}
    )
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


def parameters_hash(*parts: Any) -> str:
    return fingerprint(parts)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"), strict=False)  # TensorRT from 8.6 on: raw control characters
    except (OSError, ValueError) as error:
        raise ProfilerError(f"{path}: not readable JSON ({error}).", "Build the engine again.") from error


def _without_paths(value: Any) -> Any:
    """Layer names look like paths and stay; file-system paths are shortened to their last part."""
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_paths(v) for v in value]
    return remove_paths(value) if isinstance(value, str) else value


def _clean(warnings: list[str]) -> list[str]:
    return list(dict.fromkeys(remove_paths(" ".join(str(w).split()))[:_MAX_TEXT] for w in warnings))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _date(recorded: str | None) -> str:
    """The day of the recording (UTC), from the trace or else today."""
    day = (recorded or "")[:10]
    try:
        return datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        return datetime.datetime.now(datetime.timezone.utc).date().isoformat()
