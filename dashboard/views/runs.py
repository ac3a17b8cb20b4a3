"""Runs: latency, throughput, memory, power and accuracy of all runs, measured without a profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import charts, data
from dashboard.frame import Pair
from dashboard.text import markdown

TITLE = "Runs"
ICON = ":material/leaderboard:"
URL = "runs"

_SHOWN = {
    "name": "run",
    "framework": "framework",
    "precision": "precision",
    "mode": "mode",
    "batch": "batch",
    "p50_ms": "p50, ms",
    "p90_ms": "p90, ms",
    "p99_ms": "p99, ms",
    "mean_ms": "mean, ms",
    "images_per_s": "images/s",
    "kernels_per_inference": "kernels",
    "memory_mib": "memory, MiB",
    "power_w": "power, W",
    "top1_pct": "top-1, %",
    "top1_agreement_pct": "top-1 agreement, %",
    "sqnr_db": "SQNR, dB",
    "notes": "notes",
}


def render(pair: Pair) -> None:
    del pair  # this page is about all runs, not about two
    st.title("Runs")
    st.caption(
        "Every run that says how it was measured. Latency and throughput are those without a profiler, by CUDA "
        "events; memory and power are NVML's. Agreement and SQNR are against PyTorch FP32 on the same inputs: they "
        "are not accuracy."
    )
    folder = data.chosen_folder()
    where = [str(data.BUNDLED), *([folder] if folder and Path(folder).is_dir() else [])]
    rows = [r for place in where for r in data.measured_runs(place)]
    measured = [r for r in rows if r["p50_ms"] is not None]
    if not measured:
        st.info(
            "No run here has measured latencies. Record a study (page Capture), and name its folder in the sidebar "
            "under “Open your own traces”.",
            icon=":material/info:",
        )
        return
    table = pd.DataFrame(measured)
    models = table["model"].dropna().astype(str).value_counts().index.tolist()  # the one with most runs first
    left, right = st.columns(2)
    model = left.selectbox("Model", models, key="runs_model")
    batches = sorted(int(b) for b in table.loc[table["model"] == model, "batch"].dropna().unique())
    default = batches.index(8) if 8 in batches else 0
    batch = right.selectbox("Batch", batches, index=default, key="runs_batch")
    mine = table[(table["model"] == model) & (table["batch"] == batch)].sort_values("p50_ms", ascending=False)
    labels = [_label(r) for r in mine.to_dict("records")]
    st.plotly_chart(
        charts.latencies(labels, mine, f"Latency, {model}, batch {batch}"), key="latencies", config=charts.CONFIG
    )
    st.caption("Bars are medians; the line reaches from the median to the 99th percentile.")
    throughput = table[(table["model"] == model) & table["images_per_s"].notna()]
    if throughput["batch"].nunique() > 1:
        series = {
            label: part.sort_values("batch")
            for label, part in throughput.assign(label=[_label(r) for r in throughput.to_dict("records")]).groupby(
                "label"
            )
        }
        st.plotly_chart(
            charts.throughput(series, "Throughput against batch size"), key="throughput", config=charts.CONFIG
        )
    quality = next((q for q in ("top1_pct", "sqnr_db") if mine[q].notna().any()), None)
    if quality:
        title = (
            "Accuracy beside speed"
            if quality == "top1_pct"
            else "Agreement with PyTorch FP32 beside speed (not accuracy)"
        )
        shown = mine[mine[quality].notna()]
        figure = charts.quality(
            shown["p50_ms"], shown[quality], [_label(r) for r in shown.to_dict("records")], _SHOWN[quality], title
        )
        st.plotly_chart(figure, key="quality", config=charts.CONFIG)
    st.subheader("All runs")
    columns = [c for c in _SHOWN if c in ("name", "batch") or table[c].notna().any()]
    st.dataframe(table[columns].rename(columns=_SHOWN), hide_index=True, key="all_runs", placeholder="")
    for place in where:
        for note in data.study_notes(place):
            st.caption(markdown(note))


def _label(row: dict[str, Any]) -> str:
    return f"{row['framework']} {str(row['precision']).upper()} {row['mode']}"
