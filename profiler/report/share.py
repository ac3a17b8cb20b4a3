"""A copy of a trace that can be shown to others: sanitised, and held against its source figure by figure before it is kept."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profiler.analysis.fusion.layers import engine_side
from profiler.analysis.run.kernels import classified_names
from profiler.analysis.run.run import Run
from profiler.analysis.run.work import gpu_work
from profiler.capture.sanitise import KeptSpan, SanitiseReport, sanitise
from profiler.capture.sanitise_rules import call_name, chip_name, gpu_name
from profiler.errors import ProfilerError, TraceError, UsageError
from profiler.files import atomic_file, check_target, compress_xz, private_folder, writing
from profiler.trace import Trace, files, open_trace

SUFFIXES = (".sqlite", ".sqlite.xz")
_VERDICTS = ("category", "category_rule", "precision", "tensor_cores", "rule")
_OF_RANGES = ("pattern", "ranges", "library ranges")
_TIMES = ("start_ns", "end_ns", "device_id", "context_id", "stream_id", "pid", "correlation_id")


def share(
    source: Path,
    target: Path,
    inferences: int | None = None,
    drop_unused: bool = False,
    nvtx: str | None = None,
    replace: bool = False,
) -> tuple[SanitiseReport, int]:
    """Write a sanitised copy of a trace.

    Args:
        source: any trace that :func:`profiler.trace.open_trace` reads.
        target: ``.sqlite``, or ``.sqlite.xz`` to compress it.
        inferences: keep only the first N inferences and the GPU work that they launched.
        drop_unused: keep only the tables that this project reads.
        nvtx: which NVTX ranges are inferences, as for the other figures.
        replace: the target may exist; it is replaced when the copy is finished.

    Returns:
        What was removed, and how many figures were compared.

    Raises:
        TraceError: the source cannot be read, or a figure of the copy differs from the source's: then no copy is kept.
        UsageError: the target's ending, a target that exists or is the source, or inferences that are not there.
        OutputError: the target cannot be written.
    """
    if not target.name.endswith(SUFFIXES):
        raise UsageError(f"{target}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    check_target(target, replace, [source])
    file = files.prepare(source)
    with Trace(file) as trace:
        analysis = Run(trace, nvtx)
        window = _window(analysis, inferences) if inferences is not None else None
        in_copy = nvtx if window is None else _pattern(analysis, window.inferences)
        wanted = figures(analysis, window.inferences if window else None)
        compared = len(wanted)

        def check(copy: Path) -> None:
            with open_trace(copy) as shared:
                found = figures(Run(shared, in_copy), window.inferences if window else None)
            different = [name for name in wanted if not _equal(wanted[name], found.get(name))]
            if different or shared.session.holds_environment:
                raise TraceError(
                    f"{source}: the sanitised copy would give other figures: {', '.join(different) or 'an environment'}.",
                    "No copy was kept. Perhaps a kernel or range name holds a path or a host name that a figure depends on.",
                )

        with private_folder("share") as folder:
            report = sanitise(file.database, folder / "copy.sqlite", drop_unused, window, check)
            trace.database.check_is_at_path()
            _write(folder / "copy.sqlite", target, replace)
    return report, compared


def _write(copy: Path, target: Path, replace: bool) -> None:
    """Copy or compress the finished copy to its place, whole or not at all."""
    if target.name.endswith(".xz"):
        compress_xz(copy, target, replace)
    else:
        with atomic_file(target, replace) as partial, writing(target):
            shutil.copyfile(copy, partial)


def _window(analysis: Run, n: int) -> KeptSpan:
    ranges = analysis.inferences.ranges
    if not len(ranges) or analysis.inferences.origin not in _OF_RANGES:
        raise UsageError(
            f"{analysis.trace.path}: its inferences are no NVTX ranges, so a part of them cannot be kept "
            f"({analysis.inferences.statement}).",
            "Sanitise it whole, or name the ranges with --nvtx.",
        )
    kept = ranges.head(n)
    return KeptSpan(int(kept["start_ns"].min()), int(kept["end_ns"].max()), len(kept))


def _pattern(analysis: Run, n: int) -> str:
    """The ranges that are kept, by their texts: what few ranges would be taken for inferences by themselves may be others."""
    texts = dict.fromkeys(analysis.inferences.ranges["text"].astype(str).head(n))
    return f"^(?:{'|'.join(re.escape(text) for text in texts)})$"


def figures(analysis: Run, inferences: int | None = None) -> dict[str, Any]:
    """Every figure of a trace that must survive sanitising: all events with their times and what is inferred from their names.

    Args:
        inferences: only of the first N inferences; None: of the whole trace.
    """
    trace, found = analysis.trace, analysis.inferences
    n = found.count if inferences is None else min(inferences, found.count)
    table = found.table.drop(columns="text").head(n)
    result: dict[str, Any] = {"inferences": table.astype(object).where(table.notna(), None).to_numpy().tolist()}
    classes = classified_names(trace)
    for name, of in (
        ("kernels", found.of_kernel), ("memcpys", found.of_memcpy), ("memsets", found.of_memset), ("graph_traces", found.of_graph_trace),
    ):  # fmt: skip
        frame = getattr(trace, name)
        mine = np.ones(len(frame), dtype=bool) if inferences is None else (of >= 0) & (of < n)
        for column in (*_TIMES, "bytes", "graph_node_id"):
            if column in frame:
                result[f"{column} of {name}"] = frame[column].to_numpy()[mine]
        result[f"inference of {name}"] = of[mine]
        if name == "kernels" and len(frame):
            result["launch configuration of kernels"] = trace.kernel_details(np.flatnonzero(mine)).to_numpy()
        if name == "kernels" and len(classes):
            codes = frame["name"].cat.codes.to_numpy()[mine]
            for verdict in _VERDICTS:
                result[f"{verdict} of kernels"] = classes[verdict].to_numpy(dtype=object)[codes].tolist()
            result["distinct names of kernels"] = pd.unique(codes).size
    session = trace.session
    result["versions"] = (session.nsys_version, session.schema_version, session.driver_version, session.cuda_version)
    result["GPUs"] = [
        dataclasses.replace(g, name=gpu_name(g.name or ""), chip=chip_name(g.chip or "")) for g in session.gpus
    ]
    result |= _samples(trace, table, inferences is None)
    if found.count:
        result["layers"] = _layers(analysis)
    if inferences is None:
        calls = trace.api_calls
        result["API calls"] = calls[["start_ns", "duration_ns", "tid", "pid", "correlation_id"]].to_numpy()
        result["names of API calls"] = calls["name"].map(call_name).astype(str).tolist()
        result["NVTX ranges"] = trace.nvtx_ranges[["start_ns", "end_ns", "closed", "tid", "pid"]].to_numpy(
            dtype=np.int64
        )
        result["Tensor Core shares"] = analysis.tensor_cores.by_verdict.to_numpy(dtype=object).tolist()
        result["busy share"] = analysis.launches.busy_pct
        result["launch to start"] = analysis.launches.launch_to_start_ns
        summary = analysis.kernels
        numbers = summary.by_name.select_dtypes("number").drop(columns="per_inference", errors="ignore")
        result["kernel statistics"] = np.sort(numbers.to_numpy(dtype=np.float64), axis=0)
        result["kernels per inference"] = summary.per_inference
    return result


def _samples(trace: Trace, table: pd.DataFrame, whole: bool) -> dict[str, Any]:
    metrics = trace.gpu_metrics
    found: dict[str, Any] = {}
    for gpu in sorted(metrics.names):
        for what, series in (
            ("Tensor Active", metrics.tensor_active(gpu)), ("DRAM reads", metrics.dram_read(gpu)), ("DRAM writes", metrics.dram_write(gpu)),
        ):  # fmt: skip
            if series is not None:
                times, values = series.timestamps_ns, series.values
                spans = table.dropna(subset=["gpu_start_ns", "gpu_end_ns"])
                if not whole and len(spans):
                    inside = (times >= int(spans["gpu_start_ns"].min())) & (times <= int(spans["gpu_end_ns"].max()))
                    times, values = times[inside], values[inside]
                found[f"{what} of GPU {gpu}"] = np.stack([times.astype(np.float64), values])
    return found


def _layers(analysis: Run) -> list[Any] | str:
    trace, inferences = analysis.trace, analysis.inferences
    try:
        side = engine_side(trace, inferences, gpu_work(trace, inferences))
    except ProfilerError as error:
        return type(error).__name__
    return [(la.kind, la.precision, la.min_bytes, la.tactic_value) for la in side.layers] if side else []


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=np.asarray(one).dtype.kind == "f")
    return repr(one) == repr(other)  # NaN equals NaN, and 1 is not 1.0
