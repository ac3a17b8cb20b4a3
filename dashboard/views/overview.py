"""Overview: what became of the kernels, on one screen; below, the argument from how much faster to whether it still computes the same."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from dashboard import data, strips, tour
from dashboard.data import LoadedTrace, Selection
from dashboard.show import card, cards, chart, folded, how_we_know, link, metric_card, show_notices, show_problems
from dashboard.tables import show_table
from profiler.analysis.compare import Comparison
from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.strip import strip
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.whole import WholeTrace
from profiler.charts.strip import caption
from profiler.charts.waterfall import split_waterfall
from profiler.report.evidence import Evidence
from profiler.report.story import headline, median_latencies, subject
from profiler.report.story_facts import BeforeAfter, StoryFacts
from profiler.report.words import lower_or_higher
from profiler.text import duration, markdown, number, number_of_bytes, plural

TITLE = "Overview"
ICON = ":material/summarize:"
URL = "overview"

_EVIDENCE = {
    "latency": (("runs", "All measured runs"),),
    "origin": (("speedup", "Every part, to the nanosecond"),),
    "kernels": (("fusion", "The fusion ledger"), ("kernels", "Every kernel")),
    "tensor_cores": (("tensor-cores", "The verdict on every name, and the samples"),),
    "memory": (("memory", "Bytes of every module"),),
    "quality": (("runs", "Accuracy and agreement of all runs"),),
}


def render(selection: Selection) -> None:
    comparison = selection.compared
    if comparison is None or not comparison.pair.is_comparable or not _per_inference(selection):
        with st.container(key="headline"):
            st.title(_title_of_single_sides(selection))
        show_problems(selection)
        _side_by_side(selection, comparison)
        tour.draw()
        return
    assert selection.before is not None and selection.after is not None
    evidence = data.evidence(selection.before, selection.after)
    assert evidence is not None
    facts, claims = data.story(evidence)
    with st.container(key="headline"):
        st.title(markdown(headline(facts)), anchor=False)
        st.markdown(markdown(subject(facts)))
    show_problems(selection)
    for refusal in comparison.refusals:
        st.error(f"**Kernel counts are not compared.** {markdown(refusal)}", icon=":material/block:")
    _first_screen(evidence, facts)
    show_notices(comparison)
    tour.draw()
    for claim in claims:
        st.header(claim.question)
        for sentence in claim.sentences:
            st.markdown(markdown(sentence))
        if claim.id == "origin" and isinstance(evidence.split, Decomposition):
            chart(split_waterfall(evidence.split), "waterfall", selection.readable)
        with st.container(horizontal=True, gap="medium", vertical_alignment="center", key=f"links_{claim.id}"):
            for url, label in _EVIDENCE[claim.id]:
                link(url, label, ":material/arrow_forward:")
            how_we_know(claim.how, f"how_{claim.id}")
    with st.container(horizontal=True, gap="medium", key="links_details"):
        link("details", "Every figure of both traces, and where it comes from", ":material/arrow_forward:")
    summary = " ".join([subject(facts), *(c.sentences[0] for c in claims if c.answered)])
    folded("The summary in one paragraph", "summary", partial(st.code, summary, language=None, wrap_lines=True))


def _per_inference(selection: Selection) -> bool:
    """Whether both sides have inferences, so that the argument about one inference can be made; whole graphs are argued about, too."""
    runs = [side.analysis for side in selection.readable.values() if side.analysis is not None]
    return all(run.inferences.count or run.trace.no_kernels_reason for run in runs)


def _title_of_single_sides(selection: Selection) -> str:
    runs = [side.analysis for side in selection.readable.values() if side.analysis is not None]
    if not runs:
        return "Overview"
    if len(runs) == 2:
        return "Two traces side by side"
    per = runs[0].inferences.kernels_per_inference[0] if runs[0].trace.kernel_count else None
    return f"One trace: {plural(per, 'kernel')} per inference." if per is not None else "One trace"


def _first_screen(evidence: Evidence, facts: StoryFacts) -> None:
    with st.container(horizontal=True, gap="medium", key="first_screen"):
        if evidence.strips and not evidence.comparison.refusals:
            with st.container(key="strips_place"):
                strips.draw(evidence.strips)
                how_we_know([caption(evidence.strips)], "how_strips")
        with st.container(key="four_figures", gap="small"):
            _four_figures(evidence, facts)


def _four_figures(evidence: Evidence, facts: StoryFacts) -> None:
    """Latency, kernel time, Tensor Cores and memory, each with its origin."""
    found = median_latencies(facts)
    place = st.container(horizontal=True, gap="small", key="cards_four")
    if found is not None:
        label = "Latency without profiler" if found.without_profiler else "Latency with nsys attached"
        medians = f"{number(found.before_ms)} → {number(found.after_ms, 'ms')}"
        card(place, label, medians, found.verdict, markdown(f"How we know: median per inference, {found.origin}."))
    else:
        card(place, "Latency", "unknown", None, markdown(f"How we know: {facts.traced_reason or 'not recorded'}."))
    metric_card(place, evidence.comparison.metric("kernel_time"), "Kernel time in the trace")
    metric_card(place, evidence.comparison.metric("tensor_cores_yes"), "Tensor Cores, by name")
    _memory_card(place, facts)


def _memory_card(place: st.delta_generator.DeltaGenerator, facts: StoryFacts) -> None:
    dram = facts.dram_bytes
    if dram.known is None and facts.minimum_bytes.known is not None and not sum(facts.minimum_unknown):
        shown, label = facts.minimum_bytes, "Memory traffic, computed"
        how = "inputs, weights and outputs of every module once each. No DRAM samples on both sides."
    else:
        shown, label = dram, "DRAM traffic, sampled"
        how = f"bandwidth counters × peak bandwidth × GPU span. {dram.reason or ''}"
    card(place, label, _bytes(shown), lower_or_higher(shown.before, shown.after), markdown(f"How we know: {how}"))


def _bytes(figure: BeforeAfter) -> str:
    return " → ".join("unknown" if v is None else number_of_bytes(v) for v in (figure.before, figure.after))


def _side_by_side(selection: Selection, comparison: Comparison | None) -> None:
    """Each trace for itself; of two that are a pair the whole traces, before and after."""
    if comparison is not None and comparison.pair.is_comparable:
        row = cards("whole_traces")
        for metric in comparison.metrics:
            if metric.id.startswith("trace.") and metric.before is not None and metric.after is not None:
                metric_card(row, metric)
    for name, side in selection.readable.items():
        st.header(f"{name}: {markdown(side.source.title)}")
        _one_side(name, side)
    if comparison is None:
        st.caption("Choose a second trace to compare.")
    else:
        show_notices(comparison)


def _one_side(name: str, side: LoadedTrace) -> None:
    assert side.analysis is not None
    analysis = side.analysis
    if analysis.trace.no_kernels_reason:
        st.warning(markdown(analysis.trace.no_kernels_reason))
        return
    row = cards(name)
    cores = analysis.tensor_cores.share_pct("yes")
    where = "excerpt" if analysis.trace.excerpt else "trace"
    if analysis.inferences.count:
        st.caption(markdown(f"{analysis.inferences.count:,} inferences: {analysis.inferences.statement}."))
        per, note = analysis.inferences.kernels_per_inference
        card(row, "Kernels per inference", number(per), None, markdown(note or analysis.inferences.statement))
        card(row, f"Kernels in the {where}", number(analysis.trace.kernel_count))
    else:
        whole = analysis.whole
        card(
            row, f"Kernels in the {where}", number(whole.kernels), None, "How we know: all kernels that were recorded."
        )
        card(row, "Kernel time", duration(whole.kernel_time_ns), None, "How we know: the sum of their durations.")
        busy = "How we know: the share of the time from the first GPU work to the end of the last in which the GPU had any."
        card(row, "GPU busy", number(whole.busy_pct, "%"), f"of {duration(whole.span_ns)}", busy)
        copied = f"{number_of_bytes(whole.memcpy_bytes)}, {duration(whole.memcpy_time_ns)}"
        card(row, "Memory copies", number(whole.memcpys), copied, "How we know: all copies that were recorded.")
    card(row, "Time using Tensor Cores (by name)", number(cores, "%"))
    if analysis.inferences.count:
        made = strip(analysis)
        if made is not None:
            strips.draw({name: made}, f"strip_{name}")
        st.markdown(f"Outside the inferences: {markdown(analysis.inferences.outside.sentence)}.")
        for said in analysis.inferences.notes:
            st.markdown(f"- {markdown(said)}")
    else:
        _whole_by_kind(name, analysis.whole)


def _whole_by_kind(name: str, whole: WholeTrace) -> None:
    """Kernels of a whole trace by kind, longest first."""
    rows = sorted(whole.categories.items(), key=lambda item: -item[1][1])
    table = pd.DataFrame(
        {
            "kind of kernel": [CATEGORY_LABELS[category] for category, _ in rows],
            "kernels": [count for _, (count, _) in rows],
            "time, ms": [time / 1e6 for _, (_, time) in rows],
            "kernel time, %": [100.0 * time / max(whole.kernel_time_ns, 1) for _, (_, time) in rows],
        }
    )
    show_table(st, table[table["kernels"] > 0], hide_index=True, key=f"whole_{name}")
