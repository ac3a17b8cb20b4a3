"""Many traces as one: totals and spread per kernel, group by group, and what a straggler's excess time consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from profiler.fleet.measure import COMMUNICATION
from profiler.fleet.outliers import Rule

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
_NAMED_CAUSES = 2
_SHOWN_NAME = 100


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
    rows = []
    for level, key in (("kernel", "name"), ("category", "category")):
        # time per inference: traces × names, 0 where a trace lacks it
        times = kernels.pivot_table(index="trace", columns=key, values="time_ns", aggfunc="sum", fill_value=0.0)
        times = times.reindex(seen, fill_value=0.0)
        for name, part in kernels.groupby(key, sort=False):
            time = times[name]
            first = part.iloc[0]
            rows.append(
                {
                    "group": traces["group"].iloc[0],
                    "level": level,
                    "name": name,
                    "category": first["category"],
                    **({k: first[k] for k in ("short_name", "tensor_cores", "rule")} if level == "kernel" else {}),
                    "traces": len(seen),
                    "traces_with": int(part["trace"].nunique()),
                    "count": int(part["count"].sum()),
                    "total_ns": int(part["total_ns"].sum()),
                    "mean_ns": float(part["total_ns"].sum() / part["count"].sum()),
                    "stddev_ns": _pooled(part),
                    "min_ns": int(part["min_ns"].min()),
                    "max_ns": int(part["max_ns"].max()),
                    "share_of_kernel_time_pct": 100.0 * float(part["total_ns"].sum()) / total if total else None,
                    "time_min_ns": float(time.min()),
                    "time_median_ns": float(time.median()),
                    "time_max_ns": float(time.max()),
                    "time_cv_pct": cv_pct(time),
                    "slowest_trace": str(time.idxmax()) if len(time) > 1 else None,
                }
            )
    return sorted(rows, key=lambda row: (row["level"] != "kernel", -row["total_ns"], row["name"]))


def _pooled(part: pd.DataFrame) -> float:
    """Standard deviation of all executions, from the count, mean and deviation of each trace.

    The sum of squares within the traces plus that between their means (the identity behind the analysis of variance).
    """
    n = part["count"].to_numpy(dtype=np.float64)
    if n.sum() < 2:
        return 0.0
    means = part["mean_ns"].to_numpy(dtype=np.float64)
    mean = (n * means).sum() / n.sum()
    squares = ((n - 1) * part["stddev_ns"].to_numpy(dtype=np.float64) ** 2).sum() + (n * (means - mean) ** 2).sum()
    return float(np.sqrt(squares / (n.sum() - 1)))


def group_row(traces: pd.DataFrame, outliers: Sequence[dict[str, Any]], rule: Rule) -> dict[str, Any]:
    """The row of the table ``groups`` for one group."""
    row: dict[str, Any] = {
        "group": traces["group"].iloc[0],
        "basis": traces["basis"].iloc[0],
        "traces": len(traces),
        "judged": len(traces) >= rule.min_traces,
        "reason": None
        if len(traces) >= rule.min_traces
        else f"{len(traces)} {'trace is' if len(traces) == 1 else 'traces are'} too few to call one an outlier; {rule.min_traces} are needed.",
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


def _sum(values: pd.Series) -> int | None:
    known = values.dropna()
    return int(known.sum()) if len(known) == len(values) else None  # a total that leaves traces out would be too small


def slow_inferences(trace: str, traces: pd.DataFrame, inferences: pd.DataFrame, rule: Rule) -> int | None:
    """How many inferences of a trace are slower than the group's median latency by the smallest effect; None without any."""
    middle = traces["latency_p50_ns"].dropna()
    mine = inferences.loc[inferences["trace"] == trace, "latency_ns"]
    if not len(middle) or not len(mine):
        return None
    return int((mine > float(middle.median()) * (1 + rule.min_effect_pct / 100.0)).sum())


def excess(trace: str, traces: pd.DataFrame, kernels: pd.DataFrame) -> list[dict[str, Any]]:
    """Where a trace's time exceeds that of its group: rows of the table ``excess``, per part of the latency, category and kernel name.

    Everything is time per inference (per trace where there are no inferences): the trace's own mean, less the median of the
    *other* traces' means. Medians do not add up exactly, so there is a remainder, which is a row too. Shares are of the excess
    of the latency; without inferences, of the kernel time.

    Args:
        trace: the one to explain.
        traces, kernels: rows of these tables, all of its group.
    """
    me, others = traces[traces["trace"] == trace].iloc[0], traces[traces["trace"] != trace]
    rows: list[dict[str, Any]] = []

    def add(level: str, name: str, category: str | None, value: float, usual: pd.Series, **more: Any) -> None:
        median = float(usual.median())
        rows.append(
            {
                "group": me["group"], "trace": trace, "level": level, "name": name, "category": category, "value_ns": value,
                "median_ns": median, "excess_ns": value - median, **more,
            }  # fmt: skip
        )

    whole = "latency_mean_ns" if pd.notna(me["latency_mean_ns"]) else "kernel_time_mean_ns"
    if pd.isna(me[whole]) or not others[whole].notna().any():
        return []
    add("whole", "latency" if whole == "latency_mean_ns" else "kernel time", None, float(me[whole]), others[whole].dropna())
    total = rows[0]["excess_ns"]
    mine, usual = _parts(me.to_frame().T), _parts(others)
    for key, label in _PARTS:
        if pd.notna(mine[key].iloc[0]) and usual[key].notna().any() and (mine[key].iloc[0] or usual[key].any()):
            add("part", label, None, float(mine[key].iloc[0]), usual[key].dropna())
    if whole == "latency_mean_ns" and len(rows) > 1:
        rest = total - sum(r["excess_ns"] for r in rows[1:])
        rows.append(
            {"group": me["group"], "trace": trace, "level": "part", "name": "remainder: medians do not add up exactly", "excess_ns": rest}
        )
    rows += _kernel_excess(me, traces, kernels)
    for row in rows:
        row["share_pct"] = 100.0 * row["excess_ns"] / total if total else None
    return rows


def _parts(traces: pd.DataFrame) -> pd.DataFrame:
    """The parts of the mean latency, in ns; they add up to it exactly, trace by trace."""
    t = traces.astype({c: float for c in traces.columns if c.endswith("_mean_ns")})
    kernels = t["kernel_time_mean_ns"]
    copies, sets, graphs = t["memcpy_time_mean_ns"], t["memset_time_mean_ns"], t["graph_time_mean_ns"]
    return pd.DataFrame(
        {
            "host": t["latency_mean_ns"] - t["gpu_span_mean_ns"],
            "idle": t["gpu_idle_mean_ns"],
            "kernels": kernels,
            "graphs": graphs,
            "copies": copies,
            "sets": sets,
            "overlap": t["gpu_busy_mean_ns"] - (kernels + copies + sets + graphs),
        }
    )


def _kernel_excess(me: pd.Series, traces: pd.DataFrame, kernels: pd.DataFrame) -> list[dict[str, Any]]:
    seen = traces.loc[traces["kernels"].notna(), "trace"].tolist()
    if me["trace"] not in seen or len(seen) < 2:
        return []
    kernels = kernels[kernels["trace"].isin(seen)]
    category = dict(zip(kernels["name"], kernels["category"]))
    rows = []
    for level, key in (("category", "category"), ("kernel", "name")):
        times, counts = (
            kernels.pivot_table(index="trace", columns=key, values=v, aggfunc="sum", fill_value=0.0, dropna=False)
            .reindex(seen, fill_value=0.0)
            .astype(float)
            for v in ("time_ns", "per_inference")
        )
        others_times, others_counts = times.drop(index=me["trace"]).median(), counts.drop(index=me["trace"]).median()
        for name in times.columns:
            value, median = float(times.loc[me["trace"], name]), float(others_times[name])
            rows.append(
                {
                    "group": me["group"], "trace": me["trace"], "level": level, "name": str(name),
                    "category": str(name) if level == "category" else category.get(name), "value_ns": value, "median_ns": median,
                    "excess_ns": value - median,
                    **({"per_inference": float(counts.loc[me["trace"], name]), "median_per_inference": float(others_counts[name])}
                       if me["basis"] == "inference" else {}),
                }  # fmt: skip
            )
    return sorted(rows, key=lambda r: (r["level"] != "category", -r["excess_ns"], r["name"]))


def because(rows: Sequence[dict[str, Any]]) -> str | None:
    """The main causes of an excess in one sentence, from the rows of :func:`excess`."""
    whole = next((r for r in rows if r["level"] == "whole"), None)
    if whole is None or whole["excess_ns"] <= 0:
        return None
    parts = sorted((r for r in rows if r["level"] == "part" and r["excess_ns"] > 0), key=lambda r: -r["excess_ns"])
    said = [f"{r['name']} {_amount(r)}" for r in parts[:_NAMED_CAUSES]]
    for level in ("category", "kernel"):
        causes = [r for r in rows if r["level"] == level and r["excess_ns"] > 0 and r["category"] != COMMUNICATION]
        if causes:
            top = max(causes, key=lambda r: r["excess_ns"])
            said.append(f"most in {'category' if level == 'category' else 'kernel'} {_cut(top['name'])} {_amount(top)}{_count(top)}")
    return f"{whole['name']} {_amount(whole, share=False)} above the others' median: {'; '.join(said)}" if said else None


def _amount(row: dict[str, Any], share: bool = True) -> str:
    of = f", {row['share_pct']:.0f} % of the excess" if share and row.get("share_pct") is not None else ""
    sign = "+" if row["excess_ns"] >= 0 else "−"
    return f"({sign}{abs(row['excess_ns']) / 1e3:,.1f} µs{of})" if share else f"{sign}{abs(row['excess_ns']) / 1e3:,.1f} µs"


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_NAME else f"{name[: _SHOWN_NAME - 1]}…"


def _count(row: dict[str, Any]) -> str:
    mine, usual = row.get("per_inference"), row.get("median_per_inference")
    if mine is None or usual is None or mine == usual:
        return ""
    return f", launched {mine:g} times per inference where the others launch it {usual:g} times"


def by_group(*tables: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, ...]]:
    """The rows of each group in every table; the first table has all groups, the largest group comes first."""
    sizes = tables[0]["group"].value_counts()
    for group in sorted(sizes.index, key=lambda g: (-sizes[g], g)):
        yield tuple(t[t["group"] == group] for t in tables)
