"""The tables of a result: their columns and types, the same whether they have rows or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_STATISTICS = {
    "count": _INT, "per_inference": _FLOAT, "total_ns": _INT, "mean_ns": _FLOAT, "median_ns": _FLOAT, "min_ns": _INT, "max_ns": _INT,
    "stddev_ns": _FLOAT, "share_of_kernel_time_pct": _FLOAT, "share_of_wall_time_pct": _FLOAT,
}  # fmt: skip
_CLASSES = {"category": _TEXT, "category_rule": _TEXT, "precision": _TEXT, "tensor_cores": _TEXT, "rule": _TEXT}
_WHO = {"group": _TEXT, "trace": _TEXT}

SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema(list(columns.items()))
    for name, columns in {
        "traces": {
            **_WHO, "run": _TEXT, "node": _TEXT, "rank": _INT, "identity": _TEXT, "title": _TEXT, "framework": _TEXT,
            "framework_version": _TEXT, "model": _TEXT, "onnx": _TEXT, "precision": _TEXT, "mode": _TEXT, "batch": _INT,
            "input_shape": _TEXT, "gpu": _TEXT, "sm": _INT, "devices": _INT, "processes": _INT, "nsys_version": _TEXT,
            "recorded_utc": _TEXT, "has_manifest": _BOOL, "basis": _TEXT, "inferences": _INT, "inferences_found_as": _TEXT,
            "latency_p50_ns": _FLOAT, "latency_p90_ns": _FLOAT, "latency_p99_ns": _FLOAT, "latency_mean_ns": _FLOAT,
            "latency_min_ns": _FLOAT, "latency_max_ns": _FLOAT, "latency_stddev_ns": _FLOAT, "gpu_span_mean_ns": _FLOAT,
            "gpu_busy_mean_ns": _FLOAT, "gpu_idle_mean_ns": _FLOAT, "gpu_busy_pct": _FLOAT, "longest_gap_ns": _INT,
            "kernels": _INT, "kernels_per_inference": _FLOAT, "kernels_note": _TEXT, "kernel_time_ns": _INT, "wall_ns": _INT,
            "kernel_time_mean_ns": _FLOAT, "compute_time_mean_ns": _FLOAT, "communication_time_mean_ns": _FLOAT,
            "graph_time_mean_ns": _FLOAT, "launches_per_inference": _FLOAT, "launch_time_mean_ns": _FLOAT,
            "launch_to_start_median_ns": _FLOAT, "memcpys_per_inference": _FLOAT, "memcpy_bytes_per_inference": _FLOAT,
            "memcpy_time_mean_ns": _FLOAT, "memsets_per_inference": _FLOAT, "memset_time_mean_ns": _FLOAT,
            "tensor_cores_yes_pct": _FLOAT, "tensor_cores_no_pct": _FLOAT, "tensor_cores_unknown_pct": _FLOAT,
            "tensor_active_pct": _FLOAT, "tensor_active_samples": _INT, "tensor_active_reason": _TEXT,
            "no_kernels_reason": _TEXT, "warnings": pa.list_(_TEXT), "bytes": _INT, "sha256": _TEXT, "read_s": _FLOAT,
        },
        "kernels": {**_WHO, "name": _TEXT, "short_name": _TEXT, **_CLASSES, **_STATISTICS, "time_ns": _FLOAT},
        "categories": {**_WHO, "category": _TEXT, **_STATISTICS},
        "inferences": {
            **_WHO, "inference": _INT, "text": _TEXT, "start_ns": _INT, "end_ns": _INT, "latency_ns": _INT, "gpu_span_ns": _INT,
            "gpu_busy_ns": _INT, "gpu_idle_ns": _INT, "kernels": _INT, "kernel_time_ns": _INT, "launches": _INT,
            "launch_time_ns": _INT, "memcpys": _INT, "memcpy_bytes": _INT, "memcpy_time_ns": _INT, "memsets": _INT,
            "memset_time_ns": _INT,
        },
        "groups": {
            "group": _TEXT, "basis": _TEXT, "traces": _INT, "judged": _BOOL, "reason": _TEXT, "stragglers": _INT, "outliers": _INT,
            "inferences": _INT, "kernels": _INT, "kernel_time_ns": _INT,
            **{f"{metric}_{statistic}": _FLOAT for metric in ("latency_p50_ns", "compute_time_mean_ns")
               for statistic in ("min", "median", "max", "cv_pct")},
        },
        "merged": {
            "group": _TEXT, "level": _TEXT, "name": _TEXT, "short_name": _TEXT, "category": _TEXT, "tensor_cores": _TEXT, "rule": _TEXT,
            "traces": _INT, "traces_with": _INT, "count": _INT, "total_ns": _INT, "mean_ns": _FLOAT, "stddev_ns": _FLOAT,
            "min_ns": _INT, "max_ns": _INT, "share_of_kernel_time_pct": _FLOAT, "time_min_ns": _FLOAT, "time_median_ns": _FLOAT,
            "time_max_ns": _FLOAT, "time_cv_pct": _FLOAT, "slowest_trace": _TEXT,
        },
        "outliers": {
            **_WHO, "metric": _TEXT, "label": _TEXT, "unit": _TEXT, "value": _FLOAT, "median": _FLOAT, "spread": _FLOAT, "scale": _TEXT,
            "score": _FLOAT, "difference": _FLOAT, "difference_pct": _FLOAT, "direction": _TEXT, "straggler": _BOOL, "traces": _INT,
            "slow_inferences": _INT, "inferences": _INT, "because": _TEXT,
        },
        "excess": {
            **_WHO, "level": _TEXT, "name": _TEXT, "category": _TEXT, "value_ns": _FLOAT, "median_ns": _FLOAT, "excess_ns": _FLOAT,
            "share_pct": _FLOAT, "per_inference": _FLOAT, "median_per_inference": _FLOAT,
        },
        "errors": {"trace": _TEXT, "kind": _TEXT, "message": _TEXT, "hint": _TEXT},
    }.items()
}  # fmt: skip
"""By table name, which is also the name of its file. docs/fleet.md says what each column means."""


def table(name: str, rows: Sequence[dict[str, Any]] | pd.DataFrame) -> pa.Table:
    """Rows as a table of that name: columns that are missing are null, further ones are left out."""
    schema = SCHEMAS[name]
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=schema.names)
    return pa.Table.from_pandas(
        frame.reindex(columns=schema.names), schema=schema, preserve_index=False
    ).replace_schema_metadata()
