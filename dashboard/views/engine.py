"""Engine: the layers of a TensorRT engine, their formats and tactics, and every candidate that was timed for them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.data import Selection
from dashboard.show import chart, show_error, show_problems
from dashboard.tables import NAME_WIDTH, show_table
from profiler.analysis.run.autotuning import Autotuning
from profiler.charts.tactics import candidate_times
from profiler.text import markdown, number, plotly_text, plural, shorten

TITLE = "Engine"
ICON = ":material/account_tree:"
URL = "engine"


def render(selection: Selection) -> None:
    st.title("Engine")
    show_problems(selection)
    shown = 0
    for name, side in selection.readable.items():
        shown += _side(name, side)
    if selection.readable and not shown:
        st.info(
            "Neither side is a TensorRT engine that describes its layers. Build with detailed profiling verbosity, "
            "or lay the engine inspector's JSON beside the trace and name it in the manifest as “layers”.",
            icon=":material/info:",
        )


def _side(name: str, side: data.LoadedTrace) -> bool:
    layers = data.engine_layers(side)
    if layers is None:
        return False
    st.header(f"{name}: {markdown(side.source.title)}")
    if not isinstance(layers, pd.DataFrame):
        show_error(layers)
        return True
    timed = layers["time, µs"].sum()
    st.caption(
        f"{plural(len(layers), 'layer')} in order of execution, {number(float(timed))} µs of GPU work per inference. Formats "
        "and tactics are TensorRT's own words; bytes are the computed minimum."
    )
    first = ["layer", "time, µs"]  # in view on a phone
    show_table(
        st,
        layers[[*first, *layers.columns.difference(first, sort=False)]],
        hide_index=True,
        key=f"layers_{name}",
        height=min(520, 35 * (len(layers) + 1) + 3),
        placeholder="",
        column_config={"layer": st.column_config.TextColumn(width=NAME_WIDTH)},
    )
    _autotuning(name, side)
    return True


def _autotuning(name: str, side: data.LoadedTrace) -> None:
    tuned = data.tactics(side)
    if tuned is None:
        st.caption("No build log lies beside this trace, so the candidates that were timed are not known.")
        return
    st.subheader("Auto-tuning")
    if not isinstance(tuned, Autotuning):
        show_error(tuned)
        return
    st.caption(tuning_sentence(tuned))
    layers = tuned.layers
    if not len(layers):
        return
    label = st.selectbox(
        "Layer", layers.sort_values("saved_ms", ascending=False)["layer"].tolist(), key=f"tuned_{name}"
    )
    row = layers[layers["layer"] == label].iloc[0]
    found = tuned.table.candidates(str(label)).dropna(subset=["time_ms"])
    left, right = st.columns(2)
    title = plotly_text(f"{len(found):,} candidates timed for {shorten(str(label), 60)}", 100)
    figure = candidate_times(found["time_ms"].tolist(), float(row["chosen_ms"]), title)
    chart(figure, f"candidates_{name}", {name: side}, left)
    table = found.assign(**{"time, µs": found["time_ms"] * 1e3})
    columns = ["time, µs", "chosen", "kernel", "formats", "runner", "tactic"]
    show_table(
        right,
        table[columns],
        hide_index=True,
        height=320,
        key=f"candidate_table_{name}",
        placeholder="",
        column_config={"time, µs": st.column_config.NumberColumn(format="%,.2f")},
    )


def tuning_sentence(tuned: Autotuning) -> str:
    """What auto-tuning of an engine did, in words."""
    return f"From the engine's build log, by TensorRT's own timing: {tuned.in_words()}"
