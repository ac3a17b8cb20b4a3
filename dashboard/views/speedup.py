"""Speedup: where the difference of the latencies comes from, exactly, for the pair and for a chain of measured runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard import address, data
from dashboard.data import Selection
from dashboard.show import chart, folded, is_comparable, show_error, show_problems
from dashboard.sources import LADDER, Source
from dashboard.tables import show_table
from profiler.analysis.fusion.decompose import ChainStep, Decomposition
from profiler.analysis.run.measured import latency_without_profiler
from profiler.charts.waterfall import split_waterfall, waterfall
from profiler.report.story import different_work, median_latencies, speed
from profiler.report.story_facts import StoryFacts, run_identity
from profiler.text import duration, markdown, number

TITLE = "Speedup"
ICON = ":material/waterfall_chart:"
URL = "speedup"
_PAIR = "pair"


def render(selection: Selection) -> None:
    st.title("Speedup")
    st.caption(
        "The median inference of each side. Its latency is host time plus GPU idle time plus GPU work, so the parts of the difference "
        "sum to the difference exactly. nsys was recording, which makes launches slower: the idle and host parts are larger than in "
        "production."
    )
    show_problems(selection)
    if selection.before is None or selection.after is None or not is_comparable(selection):
        return
    pair = [selection.before, selection.after]
    steps = data.steps(pair)
    if not isinstance(steps, list):
        show_error(steps)
        return
    _step(_PAIR, steps[0], steps[1], *pair)
    _chain(selection)


def _chain(selection: Selection) -> None:
    """Measured runs in an order, so that what each step changes is told apart."""
    st.header("Step by step")
    st.caption(
        "Two traces that differ in several things do not show what each one brought. Choose runs that change one thing at a time, "
        "for example PyTorch FP32, TensorRT FP32, TensorRT FP16, TensorRT INT8."
    )
    sources = data.all_sources()
    address.keep("steps", _ladder(selection, sources), sources)
    chosen = st.multiselect(
        "Runs, in order",
        list(sources),
        format_func=lambda key: sources[key].title,
        key="steps",
        placeholder="Choose at least two runs",
        help="Runs are compared in the order in which you choose them.",
    )
    if len(chosen) < 2:
        return
    sides = [data.load(sources[key]) for key in chosen]
    for side in sides:
        if side.error is not None:
            show_error(side.error)
            return
    steps = data.steps(sides)
    if not isinstance(steps, list):
        show_error(steps)
        return
    saved = [(a.latency_ns - b.latency_ns) / 1e3 for a, b in itertools.pairwise(steps)]
    first, last = steps[0].latency_ns / 1e3, steps[-1].latency_ns / 1e3
    title = f"Steps: {duration(steps[0].latency_ns)} → {duration(steps[-1].latency_ns)}, nsys attached"
    chart(
        waterfall([s.title for s in steps[1:]], saved, first, last, title, start=steps[0].title),
        "chain",
        about=[_gpus(sides)],
    )
    for place, step in enumerate(steps[1:], 1):
        _step(str(place), steps[place - 1], step, sides[place - 1], sides[place])


def _ladder(selection: Selection, sources: Mapping[str, Source]) -> list[str]:
    """The bundled runs that change one thing each, where bundled runs of that model are compared; else none."""
    sides = [s.source for s in (selection.before, selection.after) if s is not None]
    rungs = [sources[key] for key in LADDER if key in sources]
    if len(rungs) < len(LADDER) or any(s.origin != "bundled" or s.manifest is None for s in sides):
        return []
    model = {s.manifest.model_label for s in (*sides, *rungs) if s.manifest is not None}
    return list(LADDER) if len(model) == 1 else []


def _gpus(sides: Sequence[data.LoadedTrace]) -> str:
    return " → ".join(dict.fromkeys(s.analysis.facts.gpu or "GPU unknown" for s in sides if s.analysis is not None))


def _step(place: str, before: ChainStep, after: ChainStep, first: data.LoadedTrace, second: data.LoadedTrace) -> None:
    verdict, said = _how_much(before, after, first, second)
    st.subheader(f"{markdown(before.title)} → {markdown(after.title)}{markdown(verdict)}")
    for sentence in said:
        st.markdown(markdown(sentence))
    if after.split is None:
        st.warning(markdown(after.reason or ""))
        return
    _split(place, after.split, first, second)


def _how_much(
    before: ChainStep, after: ChainStep, first: data.LoadedTrace, second: data.LoadedTrace
) -> tuple[str, list[str]]:
    """How much faster: for the heading, without a profiler where that is known, and in sentences that say how each was measured."""
    assert first.analysis is not None and second.analysis is not None
    runs = first.analysis, second.analysis
    b, a = map(run_identity, runs)
    facts = StoryFacts(b, a, (latency_without_profiler(runs[0].facts), latency_without_profiler(runs[1].facts)))
    clean, verdict, said = median_latencies(facts), "", []
    if clean is not None:
        verdict = f": {clean.verdict}{'' if different_work(facts) else ' without a profiler'}"
        medians = f"{number(clean.before_ms, 'ms')} → {number(clean.after_ms, 'ms')}"
        said.append(f"{clean.origin[0].upper()}{clean.origin[1:]}: {medians}, {clean.verdict}.")
    if after.latency_ns:
        traced = different_work(facts) or speed(before.latency_ns, after.latency_ns)
        medians = f"{duration(before.latency_ns)} → {duration(after.latency_ns)}"
        said.append(
            f"In the traces, with nsys attached, which slows launches: {medians}, {traced}. The parts sum to this."
        )
        verdict = verdict or f": {traced} with nsys attached"
    return verdict, said


def _split(place: str, split: Decomposition, before: data.LoadedTrace, after: data.LoadedTrace) -> None:
    """Where the difference comes from: open for the pair, closed for each step of a chain."""

    def draw() -> None:
        chart(split_waterfall(split), f"waterfall_{place}", {"before": before, "after": after})

    def parts() -> None:
        show_table(
            st, _parts(split), hide_index=True, key=f"parts_table_{place}", height=35 * (len(split.parts) + 2) + 3
        )

    def both() -> None:
        draw()
        parts()

    if place == _PAIR:
        draw()
        folded("The parts, to the nanosecond", f"parts_{place}", parts)
    else:
        folded("Where the difference comes from", f"parts_{place}", both)


def _parts(split: Decomposition) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "part": [p.label for p in split.parts] + ["latency"],
            "before, ns": [p.before_ns for p in split.parts] + [split.before_latency_ns],
            "after, ns": [p.after_ns for p in split.parts] + [split.after_latency_ns],
            "saved, ns": [p.saved_ns for p in split.parts] + [split.before_latency_ns - split.after_latency_ns],
            "what it is": [p.why for p in split.parts] + ["sum of the parts"],
        }
    )
