"""Runs: latency, throughput, memory, power and accuracy of all runs, measured without a profiler."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import data, sources
from dashboard.data import Selection
from dashboard.show import chart, tabs
from dashboard.tables import show_table
from profiler.charts.latency import latency_bars, quality_front, throughput_lines
from profiler.text import markdown, plotly_text

TITLE = "Runs"
ICON = ":material/leaderboard:"
URL = "runs"

_SHOWN = {
    "name": "run",
    "folder": "folder",
    "p50_ms": "p50, ms",
    "model": "model",
    "framework": "framework",
    "precision": "precision",
    "mode": "mode",
    "batch": "batch",
    "p90_ms": "p90, ms",
    "p99_ms": "p99, ms",
    "mean_ms": "mean, ms",
    "images_per_s": "images/s",
    "streams": "streams",
    "kernels_per_inference": "kernels",
    "memory_mib": "memory, MiB",
    "weights_mib": "weights, MiB",
    "activations_mib": "activations, MiB",
    "power_w": "power, W",
    "top1_pct": "top-1, %",
    "top1_agreement_pct": "top-1 agreement, %",
    "sqnr_db": "SQNR, dB",
    "notes": "notes",
}

_QUALITIES = {"top1_pct": "Accuracy and latency", "sqnr_db": "Agreement with PyTorch FP32 (not accuracy)"}


def render(selection: Selection) -> None:
    del selection  # this page is about all runs, not about two
    st.title("Runs")
    st.caption(
        "All runs that state how they were measured. Latency and throughput are measured without a profiler, by CUDA events; memory "
        "and power by NVML. Agreement and SQNR compare outputs with PyTorch FP32 on the same inputs; they are not accuracy."
    )
    folder = data.chosen_folder()
    where = [str(sources.BUNDLED), *([str(folder)] if folder else [])]
    rows = [{**r, "folder": Path(place).name} for place in where for r in data.measured_runs(place)]
    measured = [r for r in rows if r["p50_ms"] is not None]
    if not measured:
        st.info(
            "No run here has measured latencies. Record a study on the Capture page, then enter its folder in the sidebar "
            "under “Open your own traces”.",
            icon=":material/info:",
        )
        return
    table = pd.DataFrame(measured)
    table["label"] = _labels(table)
    models = table["model"].dropna().astype(str).value_counts().index.tolist()  # the one with most runs first
    left, right = st.columns(2)
    model = left.selectbox("Model", models, key="runs_model")
    batches = sorted(int(b) for b in table.loc[table["model"] == model, "batch"].dropna().unique())
    default = batches.index(8) if 8 in batches else 0
    batch = right.selectbox("Batch", batches, index=default, key="runs_batch")
    alone = table["streams"].fillna(1) == 1  # a run on several streams has the latency of its engine's other run
    mine = table[(table["model"] == model) & (table["batch"] == batch) & alone].sort_values("p50_ms", ascending=False)
    gpus = ", ".join(sorted({str(g) for g in table.loc[table["model"] == model, "gpu"].dropna()})) or "GPU unknown"
    parts = {"Latency": partial(_latency, mine, f"{model}, batch {batch}", gpus)}
    throughput = table[(table["model"] == model) & table["images_per_s"].notna()]
    if throughput["batch"].nunique() > 1:
        parts["Throughput"] = partial(_throughput, throughput, str(model), gpus)
    quality = next((q for q in _QUALITIES if mine[q].notna().any()), None)
    if quality:
        parts[_QUALITIES[quality]] = partial(_quality, mine, quality, f"{model}, batch {batch}", gpus)
    tabs(parts, "runs_part")
    st.subheader("All runs")
    columns = [c for c in _SHOWN if table[c].notna().any() and (c != "folder" or len(where) > 1)]
    show_table(st, table[columns].rename(columns=_SHOWN), hide_index=True, key="all_runs", placeholder="")
    for place in where:
        for note in data.study_notes(place):
            st.caption(markdown(note))


def _latency(runs: pd.DataFrame, what: str, gpus: str) -> None:
    figure = latency_bars(runs["label"].tolist(), runs, plotly_text(f"Latency, {what}", 120))
    chart(figure, "latencies", about=[gpus])
    st.caption(
        "One inference at a time on one stream. Bars are medians; the line reaches from the median to the 99th percentile."
    )


def _throughput(runs: pd.DataFrame, model: str, gpus: str) -> None:
    best = runs.loc[runs.groupby(["framework", "precision", "batch"])["images_per_s"].idxmax()]
    series = {
        f"{framework} {str(precision).upper()}": part.sort_values("batch")
        for (framework, precision), part in best.groupby(["framework", "precision"])
    }
    chart(throughput_lines(series, plotly_text(f"Throughput, {model}", 120)), "throughput", about=[gpus])
    st.caption(
        "The fastest run of each precision at each batch, in any mode and with any number of streams. Point at a marker to see which."
    )


def _quality(runs: pd.DataFrame, quality: str, what: str, gpus: str) -> None:
    shown = runs[runs[quality].notna()]
    title = _QUALITIES[quality]
    figure = quality_front(shown["p50_ms"], shown[quality], shown["label"].tolist(), _SHOWN[quality], title)
    chart(figure, "quality", about=[what, gpus])
    st.caption(
        "Dotted line: the Pareto front, whose runs are numbered. No run is both faster and better than one of them. Point at a marker "
        "to see its name."
    )


def _labels(runs: pd.DataFrame) -> pd.Series:
    """What the charts call each run: no longer than it takes to tell the runs of one model and batch apart.

    Two engines can share framework, precision and mode (other scales, plugins or weights), and two folders a name.
    """
    kind = (
        runs["framework"].astype(str) + " " + runs["precision"].astype(str).str.upper() + " " + runs["mode"].astype(str)
    ) + [f", {n:.0f} streams" if n > 1 else "" for n in runs["streams"].fillna(1)]
    name = pd.Series(
        [str(n).removesuffix(f"-b{b}") for n, b in zip(runs["name"], runs["batch"], strict=True)], index=runs.index
    )
    labels = kind
    for longer in (kind + " (" + name + ")", kind + " (" + name + ", " + runs["folder"] + ")"):
        together = runs[["model", "batch"]].assign(label=labels)
        clash = together.loc[together.duplicated(keep=False), ["model", "label"]]
        # In every batch of the model, so that a line of the throughput chart keeps its name.
        unclear = pd.MultiIndex.from_frame(together[["model", "label"]]).isin(pd.MultiIndex.from_frame(clash))
        labels = labels.where(~unclear, longer)
    return labels
