"""Many traces as one: totals and spread per kernel, group by group, and what a straggler's excess time consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.fleet.measure import COMMUNICATION
from profiler.fleet.outliers import OutlierRule
from profiler.text import number, plural, signed

_SPREAD = ("latency_p50_ns", "compute_time_mean_ns")
_PARTS = (
    ("host", "host time before and after the GPU work"),
    ("idle", "GPU idle between its work"),
    ("kernels", "kernels"),
    ("graphs", "CUDA graphs recorded whole"),
    ("copies", "memory copies"),
    ("sets", "memory sets"),
    ("overlap", "work that ran at the same time (counted twice above)"),
)
_NAMED_PARTS = 2
_SHOWN_NAME = 100
_AT_ONCE = 4_000_000  # values of names × traces, 32 MB
_LEAST_NS = 0.5  # less than the resolution of a trace is nothing


def cv_pct(values: pd.Series) -> float | None:
    """Coefficient of variation: sample standard deviation (n − 1) ÷ mean, in percent; None for fewer than two values or mean 0."""
    mean = float(values.mean()) if len(values) > 1 else 0.0
    return 100.0 * float(values.std(ddof=1)) / mean if mean else None


def merge_kernels(traces: pd.DataFrame, kernels: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table ``merged`` for one group: a row per kernel name, and a row per category.

    Count, total, mean, minimum, maximum and standard deviation (of a sample) are those of all executions together, exact from the
    per-trace figures. A median of all executions cannot be had from them and is not given. ``time_*`` is the spread over the
    traces of the time per inference; a trace without that kernel counts as 0.

    Args:
        traces, kernels: rows of these tables, all of one group. Traces that hide their kernels take no part.
    """
    seen = traces.loc[traces["kernels"].notna(), "trace"].tolist()
    if not seen:
        return []
    kernels = kernels[kernels["trace"].isin(seen)]
    total = int(kernels["total_ns"].sum())
    rows: list[dict[Any, Any]] = []
    for level, key, described in (
        ("kernel", "name", ("name", "category", "short_name", "tensor_cores", "rule")),
        ("category", "category", ("category",)),
    ):
        grouped = kernels.groupby(key, sort=False)
        sums = grouped.agg(
            traces_with=("trace", "nunique"), count=("count", "sum"), total_ns=("total_ns", "sum"), min_ns=("min_ns", "min"),
            max_ns=("max_ns", "max"),
        )  # fmt: skip
        codes = np.asarray(grouped.ngroup(), dtype=np.int64)
        table = kernels.drop_duplicates(key)[list(described)].assign(
            level=level,
            name=sums.index,
            traces=len(seen),
            **{column: sums[column].to_numpy() for column in sums.columns},
            mean_ns=(sums["total_ns"] / sums["count"]).to_numpy(),
            stddev_ns=_pooled(kernels, codes),
            share_of_kernel_time_pct=(100.0 * sums["total_ns"] / total).to_numpy() if total else None,
            **_spread(kernels, codes, len(sums), seen),
        )
        rows += table.assign(group=traces["group"].iloc[0]).astype(object).to_dict("records")
    return sorted(rows, key=lambda row: (row["level"] != "kernel", -row["total_ns"], row["name"]))


def _pooled(kernels: pd.DataFrame, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Standard deviation of all executions of each name, from the count, mean and deviation of each trace.

    The sum of squares within the traces plus that between their means (the identity behind the analysis of variance).
    """
    n, means, deviations = (kernels[c].to_numpy(dtype=np.float64) for c in ("count", "mean_ns", "stddev_ns"))
    executions = np.bincount(codes, n)
    mean = np.bincount(codes, n * means) / executions
    squares = np.bincount(codes, (n - 1) * deviations**2 + n * (means - mean[codes]) ** 2)
    return np.where(executions < 2, 0.0, np.sqrt(squares / np.maximum(executions - 1, 1)))


def _spread(
    kernels: pd.DataFrame, codes: npt.NDArray[np.int64], names: int, seen: Sequence[str]
) -> dict[str, list[Any] | npt.NDArray[np.float64]]:
    """The columns ``time_*`` and ``slowest_trace`` of each name, over all traces, of which a trace without that name has 0 ns."""
    of_trace = pd.Index(seen).get_indexer(pd.Index(kernels["trace"]))
    ns = kernels["time_ns"].to_numpy(dtype=np.float64)
    parts = []
    at_once = max(_AT_ONCE // len(seen), 1)
    for first in range(0, names, at_once):  # names × traces, a part at a time
        mine = (codes >= first) & (codes < first + at_once)
        times = np.zeros((min(at_once, names - first), len(seen)))
        np.add.at(times, (codes[mine] - first, of_trace[mine]), ns[mine])
        deviation = times.std(axis=1, ddof=1) if len(seen) > 1 else np.zeros(len(times))
        parts.append((times.min(1), np.median(times, axis=1), times.max(1), times.mean(1), deviation, times.argmax(1)))
    least, median, most, mean, deviation, slowest = (np.concatenate(columns) for columns in zip(*parts))
    several = len(seen) > 1
    return {
        "time_min_ns": least,
        "time_median_ns": median,
        "time_max_ns": most,
        "time_cv_pct": [100.0 * d / m if several and m else None for d, m in zip(deviation.tolist(), mean.tolist())],
        "slowest_trace": [seen[at] if several else None for at in slowest],
    }


def group_row(traces: pd.DataFrame, outliers: Sequence[dict[str, Any]], rule: OutlierRule) -> dict[str, Any]:
    """The row of the table ``groups`` for one group."""
    row: dict[str, Any] = {
        "group": traces["group"].iloc[0],
        "basis": traces["basis"].iloc[0],
        "traces": len(traces),
        "judged": len(traces) >= rule.min_traces,
        "reason": None if len(traces) >= rule.min_traces else _too_few(len(traces), rule.min_traces),
        "stragglers": len({o["trace"] for o in outliers if o["straggler"]}),
        "outliers": len({o["trace"] for o in outliers}),
        **{c: _sum(traces[c]) for c in ("inferences", "kernels", "kernel_time_ns")},
    }
    for column in _SPREAD:
        values = traces[column].dropna().astype(float)
        row |= {
            f"{column}_min": float(values.min()) if len(values) else None,
            f"{column}_median": float(values.median()) if len(values) else None,
            f"{column}_max": float(values.max()) if len(values) else None,
            f"{column}_cv_pct": cv_pct(values),
        }
    return row


def _too_few(n: int, needed: int) -> str:
    return f"{plural(n, 'trace is', 'traces are')} too few to call one an outlier; {needed} are needed."


def _sum(values: pd.Series) -> int | None:
    known = values.dropna()
    return int(known.sum()) if len(known) == len(values) else None  # a total that leaves traces out would be too small


def slow_inferences(trace: str, traces: pd.DataFrame, inferences: pd.DataFrame, rule: OutlierRule) -> int | None:
    """How many inferences of a trace are slower than the group's median latency by the smallest effect; None without any."""
    middle = traces["latency_p50_ns"].dropna()
    mine = inferences.loc[inferences["trace"] == trace, "latency_ns"]
    if not len(middle) or not len(mine):
        return None
    return int((mine > float(middle.median()) * (1 + rule.min_effect_pct / 100.0)).sum())


def excess(trace: str, traces: pd.DataFrame, kernels: pd.DataFrame) -> list[dict[str, Any]]:
    """Where a trace's time exceeds that of its group: rows of the table ``excess``.

    Everything is time per inference (per trace where there are no inferences): the trace's own mean, less the median of the
    *other* traces' means. ``level`` is "latency" and "compute" (kernel time without communication) for the two totals, "part" for
    what the latency consists of, "category" and "kernel" for what the kernel time consists of. ``share_pct`` is of the excess of
    the latency for parts, of that of the compute time for categories and kernels, and missing where that is not positive. Medians do
    not add up exactly, so the parts have a remainder, which is a row too.

    Args:
        trace: the one to explain.
        traces, kernels: rows of these tables, all of its group.
    """
    me, others = traces[traces["trace"] == trace], traces[traces["trace"] != trace]
    rows = _part_excess(me, others)
    compute = _row(
        "compute", "kernel time without communication", me["compute_time_mean_ns"], others["compute_time_mean_ns"]
    )
    if compute is not None:
        rows.append(compute)
        rows += _kernel_excess(me.iloc[0], traces, kernels, _positive(compute["excess_ns"]))
    return [{"group": me["group"].iloc[0], "trace": trace, **row} for row in rows]


def _row(level: str, name: str, mine: pd.Series, usual: pd.Series) -> dict[str, Any] | None:
    """The trace's value against the median of the others; None where either is not known."""
    if mine.isna().all() or usual.isna().all():
        return None
    value, median = float(mine.iloc[0]), float(usual.median())
    return {"level": level, "name": name, "value_ns": value, "median_ns": median, "excess_ns": value - median}


def _positive(value: float) -> float | None:
    return value if value > 0 else None


def _share(part_ns: float, whole_ns: float | None) -> float | None:
    return None if whole_ns is None else 100.0 * part_ns / whole_ns


def _part_excess(me: pd.DataFrame, others: pd.DataFrame) -> list[dict[str, Any]]:
    """The latency and its parts."""
    latency = _row("latency", "latency", me["latency_mean_ns"], others["latency_mean_ns"])
    if latency is None:
        return []
    mine, usual = _parts(me), _parts(others)
    found = [row for key, label in _PARTS if (row := _row("part", label, mine[key], usual[key])) is not None]
    parts = [row for row in found if max(abs(row["value_ns"]), abs(row["median_ns"])) >= _LEAST_NS]
    if len(found) == len(_PARTS):  # kernels that are hidden leave a gap, which is no remainder
        rest = latency["excess_ns"] - sum(row["excess_ns"] for row in parts)
        parts.append({"level": "part", "name": "remainder, as medians do not add up exactly", "excess_ns": rest})
    whole = _positive(latency["excess_ns"])
    return [latency, *({**row, "share_pct": _share(row["excess_ns"], whole)} for row in parts)]


def _parts(traces: pd.DataFrame) -> pd.DataFrame:
    """The parts of the mean latency, in ns; they add up to it exactly, trace by trace."""
    t = traces.astype({c: float for c in traces.columns if c.endswith("_mean_ns")})
    work = {
        "kernels": t["kernel_time_mean_ns"],
        "graphs": t["graph_time_mean_ns"],
        "copies": t["memcpy_time_mean_ns"],
        "sets": t["memset_time_mean_ns"],
    }
    return pd.DataFrame(
        {
            "host": t["latency_mean_ns"] - t["gpu_span_mean_ns"],
            "idle": t["gpu_idle_mean_ns"],
            **work,
            "overlap": t["gpu_busy_mean_ns"] - sum(work.values()),
        }
    )


def _kernel_excess(
    me: pd.Series, traces: pd.DataFrame, kernels: pd.DataFrame, whole_ns: float | None
) -> list[dict[str, Any]]:
    """Categories and kernel names, each by its excess; a trace that lacks a kernel has 0 of it."""
    seen = traces.loc[traces["kernels"].notna(), "trace"].tolist()
    kernels = kernels[kernels["trace"].isin(seen)].fillna({"per_inference": 0.0})
    category = dict(zip(kernels["name"], kernels["category"]))
    rows = []
    for level, key in (("category", "category"), ("kernel", "name")):
        pivot = kernels.pivot_table(index="trace", columns=key, values=["time_ns", "per_inference"], aggfunc="sum")
        pivot = pivot.reindex(seen).fillna(0.0).astype(float)
        mine, usual = pivot.loc[me["trace"]], pivot.drop(index=me["trace"]).median()
        columns = [side[figure].tolist() for figure in ("time_ns", "per_inference") for side in (mine, usual)]
        for name, value, median, launched, usually in zip(pivot["time_ns"].columns, *columns):
            kind = str(name) if level == "category" else category[name]
            row = {
                "level": level,
                "name": str(name),
                "category": kind,
                "value_ns": value,
                "median_ns": median,
                "excess_ns": value - median,
                "share_pct": None if kind == COMMUNICATION else _share(value - median, whole_ns),
            }
            if me["basis"] == "inference":
                row |= {
                    "per_inference": launched,
                    "median_per_inference": usually,
                }
            rows.append(row)
    return sorted(rows, key=lambda r: (r["level"] != "category", -r["excess_ns"], r["name"]))


def because(rows: Sequence[dict[str, Any]], metric: str) -> str | None:
    """The main causes of a straggler's excess in one sentence, from the rows of :func:`excess`.

    Args:
        metric: the figure in which it is one: for its latency the parts of the latency are named first.
    """
    said: list[str] = []
    if metric.startswith("latency"):
        parts = [
            r for r in rows if r["level"] == "part" and r["excess_ns"] >= _LEAST_NS and r.get("value_ns") is not None
        ]
        said += [_cause(r, "of the excess") for r in sorted(parts, key=lambda r: -r["excess_ns"])[:_NAMED_PARTS]]
    compute = next((r for r in rows if r["level"] == "compute"), None)
    if compute is not None and compute["excess_ns"] >= _LEAST_NS:
        for level, word in (("category", "category"), ("kernel", "kernel")):
            causes = [r for r in rows if r["level"] == level and r["category"] != COMMUNICATION]
            top = max(causes, key=lambda r: float(r["excess_ns"]), default=None)
            if top is not None and top["excess_ns"] >= _LEAST_NS:
                said.append(f"{word} {_cause(top, 'of the kernels’ excess')}{_times(top)}")
    waits = next((r for r in rows if r["level"] == "category" and r["name"] == COMMUNICATION), None)
    if waits is not None and waits["excess_ns"] <= -_LEAST_NS:
        said.append(f"communication {signed(waits['excess_ns'] / 1e3, 'µs')}, as the other ranks wait for it")
    return "; ".join(said) or None


def _cause(row: dict[str, Any], of: str) -> str:
    name = row["name"] if len(row["name"]) <= _SHOWN_NAME else f"{row['name'][: _SHOWN_NAME - 1]}…"
    share = f" ({number(row['share_pct'])} % {of})" if row.get("share_pct") is not None else ""
    return f"{name} {signed(row['excess_ns'] / 1e3, 'µs')}{share}"


def _times(row: dict[str, Any]) -> str:
    mine, usual = row.get("per_inference"), row.get("median_per_inference")
    if mine is None or usual is None or mine == usual:
        return ""
    return f", launched {mine:g} times per inference where the others launch it {usual:g} times"


def by_group(*tables: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, ...]]:
    """The rows of each group in every table; the first table has all groups, the largest group comes first."""
    sizes = tables[0]["group"].value_counts()
    for group in sorted(sizes.index, key=lambda g: (-sizes[g], g)):
        yield tuple(t[t["group"] == group] for t in tables)
