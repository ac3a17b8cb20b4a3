"""Speedup: where the difference of the latencies came from, exactly; and what auto-tuning chose."""

from __future__ import annotations

import itertools

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.data import Selection
from dashboard.show import chart, is_comparable, show_error, show_problems
from dashboard.tables import show_table
from dashboard.views.engine import tuning_sentence
from profiler.analysis.fusion.decompose import ChainStep, Decomposition
from profiler.analysis.run.autotuning import Autotuning
from profiler.charts.tactics import tuned_layers
from profiler.charts.waterfall import split_waterfall, waterfall
from profiler.text import duration, markdown, times

TITLE = "Speedup"
ICON = ":material/waterfall_chart:"
URL = "speedup"


def render(selection: Selection) -> None:
    st.title("Speedup")
    st.caption(
        "The median inference of each side. Its latency is host time plus GPU idle time plus GPU work, so the parts "
        "of the difference sum to the difference exactly. nsys was recording, which makes launches slower: the idle "
        "parts are larger than in production."
    )
    show_problems(selection)
    if selection.before is None or selection.after is None or not is_comparable(selection):
        return
    sources = data.all_sources()
    ends = {selection.before.source.key, selection.after.source.key}
    via = st.multiselect(
        "Measured steps in between",
        [k for k in sources if k not in ends],
        format_func=lambda k: sources[k].title,
        key="via",
        placeholder="none: one step from before to after",
        help="Runs in the order in which you choose them, for example PyTorch FP16, then TensorRT FP16.",
    )
    sides = [selection.before, *[data.load(sources[k]) for k in via], selection.after]
    for side in sides:
        if side.error is not None:
            show_error(side.error)
            return
    steps = data.steps(sides)
    if not isinstance(steps, list):
        show_error(steps)
        return
    if len(steps) > 2:
        _chain(steps, selection.readable)
    for place, step in enumerate(steps[1:], 1):
        _step(place, steps[place - 1], step, sides[place - 1], sides[place])
    for name, side in selection.readable.items():
        _autotuning(name, side)


def _chain(steps: list[ChainStep], sides: dict[str, data.LoadedTrace]) -> None:
    saved = [(a.latency_ns - b.latency_ns) / 1e3 for a, b in itertools.pairwise(steps)]
    first, last = steps[0].latency_ns / 1e3, steps[-1].latency_ns / 1e3
    title = f"Measured steps: {duration(steps[0].latency_ns)} → {duration(steps[-1].latency_ns)}"
    chart(waterfall([s.title for s in steps[1:]], saved, first, last, title), "chain", sides)


def _step(place: int, before: ChainStep, after: ChainStep, first: data.LoadedTrace, second: data.LoadedTrace) -> None:
    ratio = before.latency_ns / after.latency_ns if after.latency_ns else None
    st.subheader(f"{markdown(before.title)} → {markdown(after.title)}: {times(ratio)}")
    if after.split is None:
        st.warning(markdown(after.reason or ""))
        return
    _split(place, after.split, first, second)


def _split(place: int, split: Decomposition, before: data.LoadedTrace, after: data.LoadedTrace) -> None:
    figure = split_waterfall(split)
    chart(figure, f"waterfall_{place}", {"before": before, "after": after})
    table = pd.DataFrame(
        {
            "part": [p.label for p in split.parts] + ["latency"],
            "before, ns": [p.before_ns for p in split.parts] + [split.before_latency_ns],
            "after, ns": [p.after_ns for p in split.parts] + [split.after_latency_ns],
            "saved, ns": [p.saved_ns for p in split.parts] + [split.before_latency_ns - split.after_latency_ns],
            "what it is": [p.why for p in split.parts] + ["sum of the parts"],
        }
    )
    with st.expander("The parts, to the nanosecond"):
        show_table(st, table, hide_index=True, key=f"parts_{place}", height=35 * (len(table) + 1) + 3)


def _autotuning(name: str, side: data.LoadedTrace) -> None:
    tuned = data.tactics(side)
    if isinstance(tuned, Autotuning) and len(tuned.layers):
        st.subheader(f"Auto-tuning of {markdown(side.source.title)} ({name})")
        st.caption(f"{tuning_sentence(tuned)} The page Engine lists every candidate.")
        figure = tuned_layers(tuned)
        chart(figure, f"tuning_{name}", {name: side})
