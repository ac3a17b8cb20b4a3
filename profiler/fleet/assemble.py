"""From what the workers found to the result: groups, merged tables, outliers and their explanation."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import pyarrow as pa

from profiler.fleet.code import code_digest
from profiler.fleet.discover import Found
from profiler.fleet.identity import group_label, group_values
from profiler.fleet.measure import Broken, TraceFigures
from profiler.fleet.merge import because, by_group, excess, group_row, merge_kernels, slow_inferences
from profiler.fleet.outliers import MIN_INFERENCES_FOR_P99, OutlierRule, find_outliers
from profiler.fleet.results import FILES, FORMAT, FleetResult
from profiler.fleet.tables import table

CLOCKS = (
    "Durations only: clocks of different nodes or recordings cannot be compared, so start times "
    "of different traces are not compared."
)
SCORE = "0.6745 · (x − median) / MAD; Iglewicz and Hoaglin 1993. Where the MAD is 0: (x − median) / (1.253314 · mean absolute deviation)"
_PACKAGES = ("tensorrt-evidence", "pandas", "numpy", "pyarrow", "dask", "distributed")


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        group_by: keys of ``--group-by``; None: by program (:func:`profiler.fleet.identity.group_values`).
    """

    nvtx: str | None = None
    identity: str | None = None
    group_by: tuple[str, ...] | None = None
    rule: OutlierRule = field(default_factory=OutlierRule)


def assemble(
    folder: str, found: Found, outcomes: Sequence[TraceFigures | Broken], settings: Settings, how: Mapping[str, Any]
) -> FleetResult:
    """Put the traces of a folder together.

    Args:
        folder: its name, for the provenance; not its path, so that a result can be passed on.
        outcomes: one a trace, in any order.
        how: how they were read (:attr:`profiler.fleet.cluster.Cluster.how`).
    """
    measured = sorted((o for o in outcomes if isinstance(o, TraceFigures)), key=_by_place)
    errors = sorted((o for o in outcomes if isinstance(o, Broken)), key=lambda b: b.name)
    labels = _labels(measured, settings.group_by)
    tables = {
        "traces": table("traces", [{**m.row, "group": labels[m.name]} for m in measured]),
        **{name: _together(name, measured, labels) for name in ("kernels", "categories", "inferences")},
    }
    groups, merged, outliers, causes = _compare(tables, settings.rule)
    tables |= {
        "groups": table("groups", groups),
        "merged": table("merged", merged),
        "outliers": table("outliers", outliers),
        "excess": table("excess", causes),
        "errors": table(
            "errors", [{"trace": e.name, "kind": e.kind, "message": e.message, "hint": e.hint} for e in errors]
        ),
    }
    document = {
        "format": FORMAT,
        "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "folder": folder,
        "traces": len(measured),
        "broken": len(errors),
        "skipped": [{"file": name, "reason": reason} for name, reason in found.skipped.items()],
        "settings": {
            "nvtx": settings.nvtx,
            "identity": settings.identity,
            "group_by": list(settings.group_by) if settings.group_by else None,
            "threshold": settings.rule.threshold,
            "min_effect_pct": settings.rule.min_effect_pct,
            "min_traces": settings.rule.min_traces,
            "min_inferences_for_p99": MIN_INFERENCES_FOR_P99,
        },
        "score": SCORE,
        "clocks": CLOCKS,
        "how": dict(how),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in _PACKAGES}},
        "code_sha256": code_digest(),
        "files": {name: {"file": FILES[name], "rows": rows.num_rows} for name, rows in tables.items()},
        **{name: tables[name].to_pylist() for name in ("groups", "outliers", "errors")},
    }
    return FleetResult(document, tables)


def _by_place(measured: TraceFigures) -> tuple[str, str, int, str]:
    row = measured.row
    return str(row["run"]), str(row["node"] or ""), -1 if row["rank"] is None else int(row["rank"]), measured.name


def _labels(measured: Sequence[TraceFigures], keys: tuple[str, ...] | None) -> dict[str, str]:
    """The group of each trace, in words; unlike groups never share them."""
    taken: dict[str, tuple[Any, ...]] = {}
    found = {}
    for m in measured:
        values = group_values(m.row, keys)
        identity = tuple(values.items())
        plain = label = group_label(values)
        n = 1
        while taken.setdefault(label, identity) != identity:
            n += 1
            label = f"{plain} ({n})"
        found[m.name] = label
    return found


def _together(name: str, measured: Sequence[TraceFigures], labels: Mapping[str, str]) -> pa.Table:
    parts = [table(name, getattr(m, name).assign(group=labels[m.name])) for m in measured]
    return pa.concat_tables([table(name, []), *parts])


_Rows = list[dict[str, Any]]


def _compare(tables: Mapping[str, pa.Table], rule: OutlierRule) -> tuple[_Rows, _Rows, _Rows, _Rows]:
    groups: _Rows = []
    merged: _Rows = []
    outliers: _Rows = []
    causes: _Rows = []
    frames = [tables[name].to_pandas() for name in ("traces", "kernels", "inferences")]
    if not len(frames[0]):
        return groups, merged, outliers, causes
    for traces, kernels, inferences in by_group(*frames):
        found = find_outliers(traces, rule) if len(traces) >= rule.min_traces else []
        explained = {t: excess(t, traces, kernels) for t in dict.fromkeys(o["trace"] for o in found if o["straggler"])}
        for outlier in found:
            outlier["slow_inferences"] = (
                slow_inferences(outlier["trace"], traces, inferences, rule)
                if outlier["metric"] == "latency_p50_ns"
                else None
            )
            outlier["because"] = (
                because(explained[outlier["trace"]], outlier["metric"]) if outlier["straggler"] else None
            )
        groups.append(group_row(traces, found, rule))
        merged += merge_kernels(traces, kernels)
        outliers += found
        causes += [row for rows in explained.values() for row in rows]
    return groups, merged, outliers, causes


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
