"""Kernels: sortable, searchable tables of both sides, down to single executions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.data import LoadedTrace, Selection
from dashboard.show import chart, show_problems
from dashboard.tables import KERNEL, show_table
from profiler.analysis.names.classify import CATEGORY_LABELS, explain
from profiler.analysis.run.run import Run
from profiler.charts.kernels import duration_histogram
from profiler.text import duration, markdown, plural

TITLE = "Kernels"
ICON = ":material/table_rows:"
URL = "kernels"

_MAX_EXECUTIONS = 2000
_COLUMNS = {
    "per_inference": st.column_config.NumberColumn("per inference", format="%.4g"),
    "share_of_kernel_time_pct": st.column_config.ProgressColumn(
        "kernel time, %", format="%.1f", min_value=0, max_value=100
    ),
    "category": st.column_config.TextColumn("kind", help="Inferred from the name"),
    "tensor_cores": st.column_config.TextColumn("Tensor Cores", help="Inferred from the name: yes, no, or unknown"),
    "count": st.column_config.NumberColumn("executions", format="%,d"),
    "total_us": st.column_config.NumberColumn("total, µs", format="%,.1f"),
    "mean_us": st.column_config.NumberColumn("mean, µs", format="%,.2f"),
    "median_us": st.column_config.NumberColumn("median, µs", format="%,.2f"),
    "min_us": st.column_config.NumberColumn("min, µs", format="%,.2f"),
    "max_us": st.column_config.NumberColumn("max, µs", format="%,.2f"),
    "stddev_us": st.column_config.NumberColumn(
        "std. dev., µs", format="%,.2f", help="Of a sample (n − 1), as in nsys stats"
    ),
}


def render(selection: Selection) -> None:
    st.title("Kernels")
    st.caption(
        "All kernels of each trace. The two sides share few kernel names or none, so compare kinds rather than names. "
        "Select a row to see its executions. “per inference” counts only kernels launched inside inferences."
    )
    show_problems(selection)
    sides = selection.readable
    if not sides:
        return
    search = st.text_input(
        "Search kernel names", key="kernel_search", placeholder="part of a name, for example: relu", type="search"
    )
    kinds = st.multiselect(
        "Kinds",
        list(CATEGORY_LABELS),
        format_func=CATEGORY_LABELS.__getitem__,
        key="kernel_kinds",
        placeholder="all kinds",
    )
    for name, side in sides.items():
        st.subheader(f"{name}: {markdown(side.source.title)}")
        _side(name, side, search, kinds)


def _side(name: str, side: LoadedTrace, search: str, kinds: list[str]) -> None:
    assert side.analysis is not None
    analysis = side.analysis
    if analysis.trace.no_kernels_reason:
        st.warning(markdown(analysis.trace.no_kernels_reason))
        return
    table = _table(analysis)
    shown = table[table["name"].str.contains(search or "", case=False, regex=False)]
    if kinds:
        shown = shown[shown["category_id"].isin(kinds)]
    per, note = analysis.inferences.kernels_per_inference
    st.caption(
        f"{len(shown):,} of {plural(len(table), 'name')}; {int(shown['count'].sum()):,} of "
        f"{plural(analysis.kernels.count, 'execution')}; {plural(per, 'kernel') if per is not None else 'unknown kernels'} per inference"
        + (f". {markdown(note)}" if note else f", {markdown(analysis.inferences.statement)}.")
        + (
            f" Outside the inferences: {markdown(analysis.inferences.outside.sentence)}."
            if analysis.inferences.count
            else ""
        )
    )
    event = show_table(
        st,
        shown.rename(columns={"name": KERNEL})[[KERNEL, *_COLUMNS]],
        column_config=_COLUMNS,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"kernels_{name}",
        height=min(460, 35 * (len(shown) + 1) + 3),
    )
    rows = event["selection"]["rows"] if event else []
    if rows and rows[0] < len(shown):
        _executions(name, side, shown.iloc[rows[0]])


def _table(analysis: Run) -> pd.DataFrame:
    table = analysis.kernels.by_name.copy()
    for column in ("total", "mean", "median", "min", "max", "stddev"):
        table[f"{column}_us"] = table[f"{column}_ns"] / 1e3
    table["category_id"] = table["category"]
    table["category"] = table["category"].map(CATEGORY_LABELS)
    return table


def _executions(name: str, side: LoadedTrace, row: pd.Series) -> None:
    assert side.analysis is not None
    analysis = side.analysis
    trace = analysis.trace
    rows = np.flatnonzero((trace.kernels["name"] == row["name"]).to_numpy())
    durations = trace.kernels["duration_ns"].to_numpy()[rows]
    with st.container(border=True):
        st.code(str(row["name"]), language=None, wrap_lines=True)
        verdict, kind = explain(row["rule"]), explain(row["category_rule"])
        st.markdown(
            f"Tensor Cores: **{row['tensor_cores']}** by rule `{row['rule']}`: {markdown(verdict.reason)}  \n"
            f"Kind: **{row['category']}** by rule `{row['category_rule']}`: {markdown(kind.reason)}  \n"
            f"Precision: {row['precision'] or 'not stated in the name'}"
        )
        shown = trace.kernels.iloc[rows[:_MAX_EXECUTIONS]]
        origin = int(trace.kernels["start_ns"].iloc[0])
        inference = analysis.inferences.of_kernel[shown.index.to_numpy()]
        details = trace.kernel_details(shown.index.to_numpy())
        paths = {int(r): " › ".join(trace.nvtx_path(int(r))) for r in shown["nvtx"].unique()}
        left, right = st.columns([3, 2])
        show_table(
            left,
            pd.DataFrame(
                {
                    "start, µs": (shown["start_ns"] - origin) / 1e3,
                    "duration, µs": shown["duration_ns"] / 1e3,
                    "inference": [int(i) if i >= 0 else None for i in inference],
                    "stream": shown["stream_id"],
                    "NVTX": [paths[int(r)] for r in shown["nvtx"]],
                    "grid": [f"{x}×{y}×{z}" for x, y, z in zip(*(details[f"grid_{a}"] for a in "xyz"))],
                    "block": [f"{x}×{y}×{z}" for x, y, z in zip(*(details[f"block_{a}"] for a in "xyz"))],
                    "registers": details["registers"],
                }
            ),
            hide_index=True,
            height=300,
            key=f"executions_{name}",
        )
        figure = duration_histogram({name: durations}, "Durations of the executions")
        chart(figure, f"durations_{name}", {name: side}, right)
        st.caption(
            f"{len(shown):,} of {plural(len(rows), 'execution')} shown; median {duration(float(np.median(durations)))}. "
            "Start times count from the first kernel of the trace."
        )
