"""Trace details: what each file holds, and what nsys said about recording it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import pandas as pd
import streamlit as st

from dashboard.data import LoadedTrace, Selection
from dashboard.show import folded, show_problems
from dashboard.tables import show_table
from profiler.analysis.compare import Comparison
from profiler.report.documents import info_document
from profiler.text import markdown, number, number_of_bytes, plural, times, with_unit
from profiler.trace.database import Database
from profiler.trace.session import Diagnostic

TITLE = "Trace details"
ICON = ":material/description:"
URL = "details"

_FILE = {
    "opened": "opened",
    "structure": "structure",
    "nsys_version": "nsys",
    "schema_version": "export schema",
    "driver_version": "driver",
    "cuda_version": "CUDA",
    "recorded_utc": "recorded (UTC)",
    "graph_trace_mode": "CUDA graph trace mode",
}
_COUNTS = {
    "kernels": "kernels",
    "nvtx_ranges": "NVTX ranges",
    "runtime_calls": "CUDA API calls",
    "memcpys": "memory copies",
    "memsets": "memory sets",
    "graph_launches": "CUDA graph launches",
}


def render(selection: Selection) -> None:
    st.title("Trace details")
    show_problems(selection)
    if selection.compared is not None:
        _all_metrics(selection.compared)
    for name, side in selection.readable.items():
        _side(name, side)


def _all_metrics(comparison: Comparison) -> None:
    st.header("Every figure, and where it comes from")
    frame = pd.DataFrame(
        {
            "figure": [m.label for m in comparison.metrics],
            "before": [with_unit(m.before, m.unit) for m in comparison.metrics],
            "after": [with_unit(m.after, m.unit) for m in comparison.metrics],
            "before ÷ after": [times(m.ratio) if m.unit != "%" and m.ratio else "—" for m in comparison.metrics],
            "how we know": [m.source for m in comparison.metrics],
            "note": [m.reason or "" for m in comparison.metrics],
        }
    )
    wide: dict[str, int | Literal["large"]] = {
        "figure": 210,
        "before": 73,
        "after": 73,
        "before ÷ after": 120,
        "how we know": "large",
    }
    columns = {name: st.column_config.TextColumn(width=width) for name, width in wide.items()}
    show_table(st, frame, hide_index=True, height=35 * (len(frame) + 1) + 3, column_config=columns, key="metrics")


def _side(name: str, side: LoadedTrace) -> None:
    assert side.analysis is not None
    trace = side.analysis.trace
    document = info_document(trace)
    st.header(f"{name}: {markdown(side.source.title)}")
    for warning in document["warnings"]:
        st.warning(markdown(warning))
    facts = side.analysis.facts
    stated = "unknown: not stated in a manifest beside the trace"
    left, right = st.columns(2)
    with left:
        st.subheader("The run")
        _facts(
            {
                label: f"{value} ({facts.origin.get(key, '')})" if value is not None else stated
                for label, key, value in (
                    ("GPU", "gpu", facts.gpu),
                    ("framework", "framework", facts.framework),
                    ("model", "model", facts.model),
                    ("precision", "precision", facts.precision),
                    ("mode", "mode", facts.mode),
                    ("batch", "batch", facts.batch),
                    (
                        "input shape",
                        "input_shape",
                        "×".join(map(str, facts.input_shape)) if facts.input_shape else None,
                    ),
                )
            }
            | {"inferences": f"{side.analysis.inferences.count:,}: {side.analysis.inferences.statement}"}
        )
    with right:
        st.subheader("The file")
        _facts(
            {label: str(document[key] or "unknown") for key, label in _FILE.items()}
            | {label: f"{document[key]:,}" for key, label in _COUNTS.items()}
        )
    for gpu in document["gpus"]:
        bandwidth, memory = gpu["memory_bandwidth_bytes_per_s"], gpu["memory_bytes"]
        st.caption(
            markdown(
                f"GPU {gpu['index']}: {gpu['name'] or 'unknown'}"
                + (f", SM {gpu['sm'] / 10:.1f}" if gpu["sm"] else "")
                + (f", {gpu['sm_count']} SMs" if gpu["sm_count"] else "")
                + (f", {number_of_bytes(memory)} of memory" if memory else "")
                + (f" at {number_of_bytes(bandwidth)}/s" if bandwidth else "")
            )
        )
    metrics = document["gpu_metrics"]
    if metrics["storage"]:
        rate = f" at {number(metrics['frequency_hz'] / 1e3)} kHz" if metrics["frequency_hz"] else ""
        label = f"GPU metrics: {plural(metrics['samples'], 'sample')}{rate}"
        folded(label, f"metrics_{name}", partial(_metrics, name, metrics["names"]))
    else:
        st.caption("GPU metrics: none in this trace.")
    diagnostics = trace.session.diagnostics
    folded(
        f"nsys diagnostics: {plural(len(diagnostics), 'message')}",
        f"diagnostics_{name}",
        partial(_diagnostics, name, diagnostics),
    )
    folded("Tables of the export", f"tables_{name}", partial(_tables, name, trace.database))
    if facts.manifest:
        folded("Manifest", f"manifest_{name}", partial(_manifest, facts.manifest.extra))


def _metrics(side: str, names: Mapping[int, Sequence[str]]) -> None:
    for gpu, of_gpu in names.items():
        show_table(st, pd.DataFrame({f"metrics of GPU {gpu}": of_gpu}), hide_index=True, key=f"metrics_{side}_{gpu}")


def _diagnostics(side: str, found: Sequence[Diagnostic]) -> None:
    table = pd.DataFrame({"severity": [d.severity for d in found], "message": [d.text for d in found]})
    show_table(st, table, hide_index=True, key=f"diagnostics_table_{side}")


def _tables(side: str, database: Database) -> None:
    tables = sorted((t, database.count(t)) for t in database.tables if not t.startswith("ENUM_"))
    show_table(st, pd.DataFrame(tables, columns=["table", "rows"]), hide_index=True, key=f"tables_table_{side}")


def _manifest(document: Mapping[str, object]) -> None:
    st.code(json.dumps(document, indent=2, ensure_ascii=True)[:20000], language="json")


def _facts(facts: dict[str, str]) -> None:
    table = pd.DataFrame({"fact": list(facts), "value": list(facts.values())})
    show_table(
        st,
        table,
        hide_index=True,
        height=35 * (len(table) + 1) + 3,
        column_config={"fact": st.column_config.TextColumn(width=160)},
    )
