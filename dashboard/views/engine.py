"""Engine: the layers of a TensorRT engine, their formats and tactics."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.data import Selection
from dashboard.show import link, show_error, show_problems
from dashboard.tables import NAME_WIDTH, show_table
from profiler.text import markdown, number, plural

TITLE = "Engine"
ICON = ":material/account_tree:"
URL = "engine"


def render(selection: Selection) -> None:
    st.title("Engine")
    show_problems(selection)
    shown = 0
    for name, side in selection.readable.items():
        shown += _side(name, side)
    if shown:
        link("auto-tuning", "The tactics that were timed for each layer", ":material/arrow_forward:")
    elif selection.readable:
        st.info(
            "Neither trace is of a TensorRT engine with layer information. Build the engine with detailed profiling verbosity, "
            "or put the engine inspector's JSON beside the trace and name it “layers” in the manifest.",
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
        "and tactics are given in TensorRT's own terms; bytes are the computed minimum."
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
    return True
