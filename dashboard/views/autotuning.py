"""Auto-tuning: which tactics TensorRT timed for each layer of an engine, and what choosing the fastest saved."""

from __future__ import annotations

import streamlit as st

from dashboard import data
from dashboard.data import Selection
from dashboard.show import chart, show_error, show_problems
from dashboard.tables import show_table
from profiler.analysis.run.autotuning import Autotuning
from profiler.charts.tactics import candidate_times, tuned_layers
from profiler.errors import ProfilerError
from profiler.text import markdown, plotly_text, plural, shorten

TITLE = "Auto-tuning"
ICON = ":material/tune:"
URL = "auto-tuning"


def render(selection: Selection) -> None:
    st.title("Auto-tuning")
    show_problems(selection)
    shown = 0
    for name, side in selection.readable.items():
        tuned = data.tactics(side)
        if tuned is not None:
            shown += 1
            st.header(f"{name}: {markdown(side.source.title)}")
            _side(name, side, tuned)
    if selection.readable and not shown:
        st.info(
            "There is no build log beside either trace, so the tactics that were timed are not known. Build the engine with a verbose "
            "log (python -m profiler build keeps it) and name it “build_log” in the manifest.",
            icon=":material/info:",
        )


def _side(name: str, side: data.LoadedTrace, tuned: Autotuning | ProfilerError) -> None:
    if not isinstance(tuned, Autotuning):
        show_error(tuned)
        return
    st.caption(f"From the engine's build log, as TensorRT timed it: {tuned.in_words()}")
    layers = tuned.layers
    if not len(layers):
        return
    chart(tuned_layers(tuned), f"tuning_{name}", {name: side})
    label = st.selectbox(
        "Layer", layers.sort_values("saved_ms", ascending=False)["layer"].tolist(), key=f"tuned_{name}"
    )
    row = layers[layers["layer"] == label].iloc[0]
    found = tuned.table.candidates(str(label)).dropna(subset=["time_ms"])
    left, right = st.columns(2)
    title = plotly_text(f"{plural(len(found), 'candidate')} timed for {shorten(str(label), 60)}", 100)
    chart(
        candidate_times(found["time_ms"].tolist(), float(row["chosen_ms"]), title),
        f"candidates_{name}",
        {name: side},
        left,
    )
    table = found.assign(**{"time, µs": found["time_ms"] * 1e3})
    show_table(
        right,
        table[["time, µs", "chosen", "kernel", "formats", "runner", "tactic"]],
        hide_index=True,
        height=320,
        key=f"candidate_table_{name}",
        placeholder="",
        column_config={"time, µs": st.column_config.NumberColumn(format="%,.2f")},
    )
