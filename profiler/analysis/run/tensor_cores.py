"""Two kinds of Tensor Core evidence, kept apart.

*Names*: the time of kernels whose name says that they use Tensor Cores, that they do not, or that decides nothing.
*Samples*: the mean of nsys's ``Tensor Active %`` counter over the same windows. A kernel that is judged *yes* keeps
the Tensor pipes busy for a part of its time only, so the two figures answer different questions and are never merged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.run import intervals
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.kernels import classifications
from profiler.analysis.tabular import Tabular
from profiler.text import with_unit
from profiler.trace import Trace
from profiler.trace.gpu_metrics import MetricSeries
from profiler.trace.session import Gpu

VERDICTS = ("yes", "no", "unknown")
_ELIGIBLE_CATEGORIES = ("convolution", "gemm", "attention")
_FIRST_SM_WITH_TENSOR_CORES = 70
_TURING_WITHOUT = re.compile(
    r"\bGTX 16|\bTU11[67]|\b(Quadro )?T(400|500|550|600|1000|1200)\b|\bMX ?(450|550|570)\b", re.IGNORECASE
)
_WITH_FP64 = (80, 90, 100, 103)


@dataclass(frozen=True)
class SampledMetric:
    """A counter averaged over windows of time.

    Attributes:
        value_pct: mean of the samples, in percent; None with a ``reason`` when there is none.
        samples: how many samples lie in the windows.
        frequency_hz: of the sampling, from the samples' own distances.
        counter: nsys's name of the metric.
    """

    counter: str | None
    value_pct: float | None
    samples: int
    frequency_hz: float | None
    reason: str | None


@dataclass(frozen=True, repr=False)
class TensorCoreReport(Tabular):
    """Tensor Core evidence of one trace.

    Attributes:
        window: which kernels the figures are about, in words.
        by_verdict: a row each for yes, no, unknown: ``tensor_cores``, ``count``, ``time_ns``, ``share_pct`` of kernel time.
        sampled: the mean Tensor Active over the GPU spans of the same window.
        eligible: kernels of the kinds that Tensor Cores are for and that do not use them, longest first: ``name``,
            ``category``, ``precision``, ``rule``, ``count``, ``time_ns``, ``share_pct``, ``why``.
        unknown: kernels whose name decides nothing, longest first, the same columns without ``why``.
    """

    window: str
    kernel_time_ns: int
    by_verdict: pd.DataFrame
    sampled: SampledMetric
    eligible: pd.DataFrame
    unknown: pd.DataFrame

    @property
    def summary(self) -> str:
        return ", ".join(f"{v} {with_unit(self.share_pct(v), '%')}" for v in VERDICTS) + " of kernel time, by name"

    def to_frame(self) -> pd.DataFrame:
        """A row each for yes, no and unknown: :attr:`by_verdict`."""
        return self.by_verdict

    def share_pct(self, verdict: str) -> float | None:
        """Share of kernel time with this verdict, None without kernels."""
        if not self.kernel_time_ns:
            return None
        shares = dict(zip(self.by_verdict["tensor_cores"], self.by_verdict["share_pct"]))
        return float(shares[verdict])


def tensor_core_report(trace: Trace, inferences: Inferences) -> TensorCoreReport:
    """Judge the kernels inside the inferences; without inferences, all kernels of the trace."""
    window = f"kernels launched in {inferences.statement}" if inferences.count else "all kernels of the trace"
    classes = classifications(trace).frame()
    counts, times = inferences.kernels_by_name
    total = int(times.sum())
    table = classes.assign(count=counts, time_ns=times, share_pct=100.0 * times / total if total else np.nan)
    table = table[table["count"] > 0].sort_values(["time_ns", "name"], ascending=[False, True], ignore_index=True)
    by_verdict = table.groupby("tensor_cores")[["count", "time_ns", "share_pct"]].sum().reindex(VERDICTS, fill_value=0)
    shown = ["name", "category", "precision", "rule", "count", "time_ns", "share_pct"]
    eligible = table[(table["tensor_cores"] == "no") & table["category"].isin(_ELIGIBLE_CATEGORIES)]
    types = [tensor_core_types(gpu) for gpu in _gpus_used(trace)]
    known = types[0] if types and all(t == types[0] for t in types) else None
    if known is not None:
        eligible = eligible[(eligible["precision"] != "fp64") | ("FP64" in known)] if known else eligible[:0]
    eligible = eligible[shown].assign(why=[_why(p, known) for p in eligible["precision"]])
    unknown = table[table["tensor_cores"] == "unknown"][shown]
    return TensorCoreReport(
        window,
        total,
        by_verdict.reset_index(),
        sample(trace, trace.gpu_metrics.tensor_active(gpu_index(trace)), *windows(trace, inferences)),
        eligible.reset_index(drop=True),
        unknown.reset_index(drop=True),
    )


def _gpus_used(trace: Trace) -> list[Gpu]:
    """The GPU that did the work, where that is known, else all of the machine."""
    gpus = list(trace.session.gpus)
    return [gpu for gpu in gpus if gpu.index == trace.device_used] or gpus


def tensor_core_types(gpu: Gpu) -> tuple[str, ...] | None:
    """The types that a GPU's Tensor Cores multiply, of those that models use; () without Tensor Cores; None when that is not known.

    Source: CUDA C++ Programming Guide, "Compute Capabilities"; GeForce GTX 16, T400 to T1200 and MX450 to MX570 are Turing without
    Tensor Cores (TU116, TU117).
    """
    if gpu.sm is None:
        return None
    if gpu.sm < _FIRST_SM_WITH_TENSOR_CORES or _TURING_WITHOUT.search(f"{gpu.name or ''} {gpu.chip or ''}"):
        return ()
    if gpu.sm < 80:
        return ("FP16",) if gpu.sm == 70 else ("FP16", "INT8")
    fp64 = ("FP64",) if gpu.sm in _WITH_FP64 else ()
    return ("TF32", "FP16", "BF16", "INT8", *(("FP8",) if gpu.sm >= 89 else ()), *fp64)


def _why(precision: str | None, types: tuple[str, ...] | None) -> str:
    """Why a kernel of this precision could use Tensor Cores, on a GPU whose Tensor Cores have these types (None: not known)."""
    if precision == "fp64":
        return "FP64 arithmetic outside the FP64 Tensor Cores that data-centre GPUs have since Ampere"
    if precision == "fp32":
        usable = [t for t in types or () if t != "FP64"]
        which = f"{', '.join(usable[:-1])} or {usable[-1]}" if len(usable) > 1 else "".join(usable) or "FP16"
        return f"FP32 arithmetic runs on the FP32 units; {which} would use Tensor Cores"
    return "its kind of work can run on Tensor Cores; this implementation does not"


def windows(trace: Trace, inferences: Inferences) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the GPU spans of the inferences; without inferences, of all kernels together."""
    if inferences.count:
        spans = inferences.table[["gpu_start_ns", "gpu_end_ns"]].dropna().astype(np.int64)
        return intervals.union(spans["gpu_start_ns"].to_numpy(), spans["gpu_end_ns"].to_numpy())
    work = trace.events.kernels if len(trace.events.kernels) else trace.events.graph_traces
    if not len(work):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.asarray([work["start_ns"].min()]), np.asarray([work["end_ns"].max()])


def sample(trace: Trace, series: MetricSeries | None, starts: np.ndarray, ends: np.ndarray) -> SampledMetric:
    """Mean of the samples whose timestamp lies in one of the windows (sorted, disjoint)."""
    if trace.gpu_metrics.storage is None:
        return SampledMetric(
            None, None, 0, None, "The trace holds no GPU metrics; record with --gpu-metrics-devices=all."
        )
    if series is None:
        return SampledMetric(
            None,
            None,
            0,
            None,
            "The trace holds GPU metrics, but not this counter; choose another --gpu-metrics-set.",
        )
    if not len(starts):
        return SampledMetric(series.name, None, 0, series.frequency_hz, "There is no GPU work to sample over.")
    place = np.searchsorted(starts, series.timestamps_ns, side="right") - 1
    inside = (place >= 0) & (series.timestamps_ns <= ends[np.maximum(place, 0)])
    n = int(inside.sum())
    if not n:
        return SampledMetric(
            series.name,
            None,
            0,
            series.frequency_hz,
            "No sample falls into the window; record at a higher --gpu-metrics-frequency.",
        )
    return SampledMetric(series.name, float(series.values[inside].mean()), n, series.frequency_hz, None)


def median_inference_samples(trace: Trace, inferences: Inferences) -> tuple[np.ndarray, np.ndarray] | None:
    """Tensor Active over the inference of median GPU span: times in µs since it was entered, and values in percent.

    None without the counter, or without an inference that has GPU work.
    """
    metric = trace.gpu_metrics.tensor_active(gpu_index(trace))
    spans = inferences.table.dropna(subset=["gpu_span_ns"])
    if metric is None or not len(spans):
        return None
    row = spans.sort_values("gpu_span_ns").iloc[len(spans) // 2]
    inside = (metric.timestamps_ns >= row["start_ns"]) & (metric.timestamps_ns <= row["gpu_end_ns"])
    return (metric.timestamps_ns[inside] - int(row["start_ns"])) / 1e3, metric.values[inside]


def gpu_index(trace: Trace) -> int:
    """The GPU that did the work: the device of most kernels where metrics exist for it, else the first with metrics."""
    names = trace.gpu_metrics.names
    device = trace.device_used if trace.kernel_count else None
    return device if device in names else min(names, default=0)
