"""One trace of many, reduced to the rows that are compared. Runs in a worker process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profiler.analysis.run.kernels import classified_names
from profiler.analysis.run.run import Run
from profiler.errors import ProfilerError
from profiler.files import sha256_of
from profiler.fleet.identity import Identity, refine
from profiler.trace import Trace, open_trace
from profiler.trace.launch_environment import recorded_node, recorded_rank

COMMUNICATION = "communication"
_VERDICTS = ("yes", "no", "unknown")


@dataclass(frozen=True)
class Task:
    """A trace to read.

    Attributes:
        folder: the folder of all traces; ``name`` is relative to it.
        nvtx: which ranges are inferences; None: they are found.
    """

    folder: str
    name: str
    identity: Identity
    nvtx: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.name


@dataclass(frozen=True)
class TraceFigures:
    """What is kept of a trace: a row of the table of traces, and rows per kernel name, category and inference."""

    name: str
    row: dict[str, Any]
    kernels: pd.DataFrame
    categories: pd.DataFrame
    inferences: pd.DataFrame


@dataclass(frozen=True)
class Broken:
    """A trace that could not be read.

    Attributes:
        kind: the class of the error.
        message, hint: as the verbs for one trace say it, the path relative to the folder.
    """

    name: str
    kind: str
    message: str
    hint: str | None = None


def measure(task: Task) -> TraceFigures | Broken:
    """Read a trace; what is wrong with it comes back as :class:`Broken`, so that it stops no other."""
    began = time.perf_counter()
    try:
        with open_trace(task.path) as trace:
            measured = _measured(task, trace)
        stat = task.path.stat()
        measured.row.update(
            bytes=stat.st_size, sha256=sha256_of(task.path), read_s=round(time.perf_counter() - began, 3)
        )
        return measured
    except ProfilerError as error:
        return Broken(
            task.name, type(error).__name__, _relative(task, error.message), _relative(task, error.hint or "") or None
        )
    except OSError as error:
        return Broken(task.name, type(error).__name__, f"{task.name}: cannot be read ({error.strerror or error}).")
    except MemoryError:
        return out_of_memory(task.name)
    except Exception as error:  # a mistake of ours in one trace must not lose the others; it is reported as what it is
        return Broken(
            task.name,
            type(error).__name__,
            f"{task.name}: this should not have happened: {type(error).__name__}: {str(error)[:500]}",
            f"Please report it, with the output of: PROFILER_TRACEBACK=1 python -m profiler kernels {task.name}",
        )


def out_of_memory(name: str) -> Broken:
    return Broken(
        name,
        "MemoryError",
        f"{name}: the worker process that read it ended: most likely it needed more memory than a worker may use.",
        "Give fewer --workers, or a larger --memory-limit; or read it alone: python -m profiler kernels TRACE",
    )


def _measured(task: Task, trace: Trace) -> TraceFigures:
    analysis = Run(trace, task.nvtx)
    facts, inferences = analysis.facts, analysis.inferences
    manifest = facts.manifest.extra if facts.manifest else {}
    identity = refine(task.identity, manifest, recorded_rank(trace.database), recorded_node(trace.database))
    kernels = _kernels(task, analysis)
    work = trace.kernels if len(trace.kernels) else trace.graph_traces
    session = trace.session
    row = {
        "trace": task.name,
        "run": identity.run,
        "node": identity.node,
        "rank": identity.rank,
        "identity": ", ".join(f"{k}: {v}" for k, v in sorted(identity.origin.items())) or None,
        "fields": dict(identity.fields),
        "has_manifest": facts.manifest is not None,
        "title": facts.title,
        "framework": facts.framework,
        "framework_version": facts.manifest.framework_version if facts.manifest else None,
        "model": facts.model,
        "onnx": (facts.manifest.onnx_sha256 or "")[:12] or None
        if facts.manifest
        else None,  # the start tells them apart
        "precision": facts.precision,
        "mode": facts.mode,
        "batch": facts.batch,
        "input_shape": "×".join(map(str, facts.input_shape)) if facts.input_shape else None,
        "gpu": facts.gpu,
        "sm": facts.sm,
        "devices": int(work["device_id"].nunique()),
        "processes": int(work["pid"].nunique()),
        "nsys_version": session.nsys_version,
        "recorded_utc": session.recorded_utc,
        "basis": "inference" if inferences.count else "trace",
        "inferences": inferences.count or None,
        "inferences_found_as": inferences.statement,
        **_kernel_figures(analysis, kernels),
        **_inference_figures(analysis),
        "no_kernels_reason": trace.no_kernels_reason
        or (trace.graph_level_message if trace.has_hidden_graph_kernels else None),
    }
    row["warnings"] = _warnings(analysis, row)
    return TraceFigures(
        task.name, row, kernels, _named(task, analysis.kernels.by_category), _inferences(task, analysis)
    )


def _kernels(task: Task, analysis: Run) -> pd.DataFrame:
    """The kernel summary, with ``time_ns``: the time of each name per inference (per trace where there is none)."""
    kernels, inferences = analysis.trace.kernels, analysis.inferences
    table = analysis.kernels.by_name
    names = classified_names(analysis.trace)["name"].to_numpy()
    codes, durations = kernels["name"].cat.codes.to_numpy().astype(np.int64), kernels["duration_ns"].to_numpy()
    if inferences.count:
        inside = inferences.of_kernel >= 0
        codes, durations = codes[inside], durations[inside]
    sums = np.zeros(len(names), dtype=np.int64)
    np.add.at(sums, codes, durations)
    per = dict(zip(names, sums / max(inferences.count, 1)))
    return _named(task, table).assign(time_ns=[per.get(n, 0.0) for n in table["name"]])


def _named(task: Task, table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(trace=task.name)


def _kernel_figures(analysis: Run, kernels: pd.DataFrame) -> dict[str, Any]:
    """What needs single kernels: None where the trace hides them, or some of them."""
    names = (
        "kernels", "kernel_time_ns", "wall_ns", "kernels_per_inference", "kernels_note", "kernel_time_mean_ns", "compute_time_mean_ns",
        "communication_time_mean_ns", "tensor_cores_yes_pct", "tensor_cores_no_pct", "tensor_cores_unknown_pct",
    )  # fmt: skip
    if _hides_kernels(analysis):
        return dict.fromkeys(names)
    summary, report = analysis.kernels, analysis.tensor_cores
    per, note = analysis.inferences.kernels_per_inference
    collective = kernels["category"] == COMMUNICATION
    shares = [report.share_pct(v) for v in _VERDICTS]
    values = (
        summary.count, summary.total_ns, summary.wall_ns, per, note if analysis.inferences.count else None,
        float(kernels["time_ns"].sum()), float(kernels.loc[~collective, "time_ns"].sum()),
        float(kernels.loc[collective, "time_ns"].sum()), *shares,
    )  # fmt: skip
    return dict(zip(names, values))


def _inference_figures(analysis: Run) -> dict[str, Any]:
    """Latency and its parts; all None without inferences. Means are exact sums ÷ inferences, so that the parts add up."""
    n, launches, sampled = analysis.inferences.count, analysis.launches, analysis.tensor_cores.sampled
    table = analysis.inferences.table
    waits = launches.launch_to_start_ns
    found: dict[str, Any] = {
        "launch_to_start_median_ns": waits["median"] if waits else None,
        "gpu_busy_pct": launches.busy_pct,
        "longest_gap_ns": int(launches.gaps["duration_ns"].max()) if len(launches.gaps) else None,
        "tensor_active_pct": sampled.value_pct,
        "tensor_active_samples": sampled.samples,
        "tensor_active_reason": sampled.reason,
    }
    latency = table["latency_ns"].astype(float)
    for name, value in (
        ("mean", latency.mean()), ("p50", latency.median()), ("p90", latency.quantile(0.9)), ("p99", latency.quantile(0.99)),
        ("min", latency.min()), ("max", latency.max()), ("stddev", latency.std(ddof=1)),
    ):  # fmt: skip
        found[f"latency_{name}_ns"] = float(value) if n and np.isfinite(value) else None
    for column in ("gpu_span_ns", "gpu_busy_ns", "gpu_idle_ns", "launch_time_ns", "memcpy_time_ns", "memset_time_ns"):
        found[f"{column.removesuffix('_ns')}_mean_ns"] = float(table[column].sum()) / n if n else None
    for column in ("launches", "memcpys", "memsets", "memcpy_bytes"):
        found[f"{column}_per_inference"] = float(table[column].sum()) / n if n else None
    if _hides_kernels(analysis):  # a graph that was recorded whole counts as busy from its start to its end
        found |= dict.fromkeys(("gpu_busy_pct", "gpu_busy_mean_ns", "gpu_idle_mean_ns", "longest_gap_ns"))
    graphs = analysis.trace.graph_traces["duration_ns"].to_numpy()[analysis.inferences.of_graph_trace >= 0]
    found["graph_time_mean_ns"] = float(graphs.sum()) / n if n else None
    return found


def _hides_kernels(analysis: Run) -> bool:
    return analysis.trace.no_kernels_reason is not None or analysis.trace.has_hidden_graph_kernels


def _inferences(task: Task, analysis: Run) -> pd.DataFrame:
    table = analysis.inferences.table
    return table.assign(trace=task.name, inference=np.arange(len(table)))


def _warnings(analysis: Run, row: dict[str, Any]) -> list[str]:
    found = [w.message for w in analysis.trace.warnings if w.id not in ("no-kernels", "graph-level", "environment")]
    if row["kernels_note"]:
        found.append(str(row["kernels_note"]))
    if max(row["devices"], row["processes"]) > 1:
        found.append(
            f"holds the work of {row['devices']} GPUs and {row['processes']} processes; its figures are over all of them together."
        )
    return found


def _relative(task: Task, text: str) -> str:
    """A message without the place of the folder: results are passed on."""
    return text.replace(str(task.path), task.name)
