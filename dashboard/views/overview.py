"""Overview: the two runs as an argument, from how much faster to whether it still computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.data import LoadedTrace, Selection
from dashboard.show import card, cards, chart, how_we_know, link, show_problems
from dashboard.tables import show_table
from profiler.analysis.compare import Comparison, Metric
from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.traffic import by_stage
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.analysis.run.measured import Quality
from profiler.analysis.run.whole import WholeTrace
from profiler.charts.collapse import status_bar
from profiler.charts.kernels import category_bars
from profiler.charts.latency import MedianLatency, two_latencies
from profiler.charts.tensor_cores import verdict_bars
from profiler.charts.traffic import traffic_by_stage
from profiler.charts.waterfall import split_waterfall
from profiler.report.evidence import Evidence
from profiler.report.story import sampling, speed_of, subject
from profiler.report.story_facts import StoryFacts
from profiler.report.words import before_after, change
from profiler.text import duration, markdown, number, number_of_bytes, plural, times, with_unit

TITLE = "Overview"
ICON = ":material/summarize:"
URL = "overview"

_EVIDENCE = {
    "latency": (("runs", "All measured runs"), ("details", "What each trace holds")),
    "origin": (("speedup", "Every part, to the nanosecond"),),
    "kernels": (("fusion", "The fusion ledger"), ("kernels", "Every kernel"), ("timeline", "When each ran")),
    "tensor_cores": (("tensor-cores", "Verdict of every name, and the samples"),),
    "memory": (("memory", "Bytes of every unit"),),
    "quality": (("runs", "Accuracy and agreement of all runs"),),
}


def render(selection: Selection) -> None:
    st.title(_question(selection))
    show_problems(selection)
    comparison = selection.compared
    if comparison is None or not comparison.pair.is_comparable or not _per_inference(selection):
        _side_by_side(selection, comparison)
        return
    assert selection.before is not None and selection.after is not None
    evidence = data.evidence(selection.before, selection.after)
    assert evidence is not None
    facts, claims = data.story(evidence)
    _headline(facts)
    st.markdown(markdown(subject(facts)))
    for refusal in comparison.refusals:
        st.error(f"**Kernel counts are not compared.** {markdown(refusal)}", icon=":material/block:")
    _warnings(comparison)
    for claim in claims:
        st.header(claim.question)
        for sentence in claim.sentences:
            st.markdown(markdown(sentence))
        _FIGURES[claim.id](selection, evidence, facts)
        with st.container(horizontal=True, gap="medium", vertical_alignment="center", key=f"links_{claim.id}"):
            for url, label in _EVIDENCE[claim.id]:
                link(url, label, ":material/arrow_forward:")
            how_we_know(claim.how, f"how_{claim.id}")
    with st.expander("All of it in one paragraph", icon=":material/notes:"):
        summary = [subject(facts), *(c.sentences[0] for c in claims if c.answered)]
        st.code(" ".join(summary), language=None, wrap_lines=True)
    _all_metrics(comparison)


def _per_inference(selection: Selection) -> bool:
    """Whether both sides have inferences, so that the argument about one inference can be made; whole graphs are argued about, too."""
    runs = [side.analysis for side in selection.readable.values() if side.analysis is not None]
    return all(run.inferences.count or run.trace.no_kernels_reason for run in runs)


def _side_by_side(selection: Selection, comparison: Comparison | None) -> None:
    """Each trace for itself; of two that are a pair the whole traces, before and after."""
    if comparison is not None and comparison.pair.is_comparable:
        row = cards("whole_traces")
        for metric in comparison.metrics:
            if metric.id.startswith("trace.") and metric.before is not None and metric.after is not None:
                card(row, metric.label, " → ".join(before_after(metric)), change(metric), _how_we_know(metric))
    for name, side in selection.readable.items():
        st.header(f"{name}: {markdown(side.source.title)}")
        _one_side(name, side)
    if comparison is None:
        st.caption("Choose a second trace to compare.")
    else:
        _warnings(comparison)
        _all_metrics(comparison)


def _question(selection: Selection) -> str:
    """The title: what the two runs are decides what is asked of them."""
    facts = {name: side.analysis.facts for name, side in selection.readable.items() if side.analysis is not None}
    if len(facts) < 2:
        return "What is in this trace?" if facts else "Overview"
    if selection.compared is not None and not selection.compared.pair.is_comparable:
        return "Two runs side by side"
    before, after = facts["before"], facts["after"]
    if after.framework == "TensorRT" and before.framework != "TensorRT":
        return "What did TensorRT do to the model?"
    if after.framework == "PyTorch" and after.mode == "compile" and before.mode != "compile":
        return "What did torch.compile do to the model?"
    return "What changed from before to after?"


def _headline(facts: StoryFacts) -> None:
    found = speed_of(facts)
    if found is None:
        return
    verdict, origin = found
    st.subheader(f"{markdown(verdict)}: {markdown(origin)}" if verdict else markdown(origin), anchor=False)


def _warnings(comparison: Comparison) -> None:
    known = {*comparison.refusals, comparison.pair.refusal}
    warnings = [w for w in comparison.warnings if w not in known]
    if not warnings:
        return
    heading = "One thing" if len(warnings) == 1 else f"{len(warnings)} things"
    with st.expander(f"{heading} to know before you quote these figures", icon=":material/warning:"):
        for warning in warnings:
            st.markdown(f"- {markdown(warning)}")


def _latency(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    batch = facts.before.batch if facts.before.batch == facts.after.batch else None
    of = f"Latency, batch {batch}" if batch else "Latency of one inference"
    b, a = facts.clean
    t, u = facts.traced
    if b is not None and a is not None:
        sides = {n: MedianLatency(m.p50_ms, m.low_ms, m.high_ms, m.n) for n, m in (("before", b), ("after", a))}
        how = "without a profiler" if b.measured and a.measured else "partly stated, not measured"
        chart(two_latencies(sides, f"{of}, {how}"), "latencies", selection.readable)
    elif t is not None and u is not None:
        sides = {n: MedianLatency(m.median_ms, m.low_ms, m.high_ms, m.n) for n, m in (("before", t), ("after", u))}
        chart(two_latencies(sides, f"{of}, nsys attached"), "latencies", selection.readable)
    row = cards("latency")
    for metric_id in ("latency", "gpu_span"):
        metric = evidence.comparison.metric(metric_id)
        label = "Latency, nsys attached" if metric_id == "latency" else metric.label
        card(row, label, " → ".join(before_after(metric)), change(metric), _how_we_know(metric))


def _origin(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    del facts
    if isinstance(evidence.split, Decomposition):
        chart(split_waterfall(evidence.split), "waterfall", selection.readable)


def _kernels(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    comparison = evidence.comparison
    row = cards("kernels")
    for metric_id in ("kernels_per_inference", "launches_per_inference", "kernel_time"):
        metric = comparison.metric(metric_id)
        card(row, metric.label, " → ".join(before_after(metric)), change(metric), _how_we_know(metric))
    if not isinstance(facts.statuses, str):
        chart(status_bar(facts.statuses), "statuses", selection.readable)
    if not comparison.refusals:
        tables = {"before": comparison.before.categories, "after": comparison.after.categories}
        chart(category_bars(tables), "by_category", selection.readable)


def _tensor_cores(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    del facts
    shares = {
        name: {
            str(v): float(p)
            for v, p in zip(side.tensor_cores.by_verdict["tensor_cores"], side.tensor_cores.by_verdict["share_pct"])
        }
        for name, side in evidence.sides.items()
        if side.trace.kernel_count
    }
    if shares and not evidence.comparison.refusals:
        chart(verdict_bars(shares, "Tensor Cores, by name"), "verdicts", selection.readable)
    row = cards("tensor_cores")
    for metric_id in ("tensor_cores_yes", "tensor_active"):
        metric = evidence.comparison.metric(metric_id)
        rates = [s for side in evidence.sides.values() if (s := sampling(side.tensor_cores.sampled))]
        more = f" {'; '.join(rates)}." if metric_id == "tensor_active" and rates else ""
        card(row, metric.label, " → ".join(before_after(metric)), change(metric), _how_we_know(metric) + markdown(more))


def _memory(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    row = cards("memory")
    for label, pair_of, note in (
        ("Computed minimum", facts.minimum_bytes, "inputs, weights and outputs of every unit once each"),
        ("DRAM traffic (sampled)", facts.dram_bytes, "bandwidth counters × peak × GPU span"),
    ):
        shown = " → ".join("unknown" if v is None else number_of_bytes(v) for v in (pair_of.before, pair_of.after))
        reason = f" Note: {pair_of.reason}" if pair_of.reason and pair_of.known is None else ""
        ratio = pair_of.before / pair_of.after if pair_of.known and pair_of.before and pair_of.after else None
        unknown = sum(facts.minimum_unknown) if label.startswith("Computed") else 0
        delta = f"{plural(unknown, 'row')} without shapes" if unknown else _more_or_less(ratio)
        card(row, label, shown, delta, markdown(f"How we know: {note}, per inference.{reason}"))
    if evidence.traffic is not None and facts.minimum_bytes.known is not None:
        chart(traffic_by_stage(by_stage(evidence.traffic)), "traffic", selection.readable)


def _quality(selection: Selection, evidence: Evidence, facts: StoryFacts) -> None:
    del selection, evidence
    row = cards("quality")
    for name, found in zip(("before", "after"), facts.quality, strict=True):
        if found is not None:
            _quality_card(row, name, found)


def _quality_card(row: st.delta_generator.DeltaGenerator, name: str, found: Quality) -> None:
    label = "Top-1 accuracy" if found.kind == "accuracy" else "Top-1 agreement with PyTorch FP32"
    value = "says nothing" if found.doubt else number(found.top1_pct, "%")
    noise = f"SQNR {number(found.sqnr_db)} dB" if found.sqnr_db is not None and not found.doubt else None
    images = plural(found.images, "input") if found.images else "inputs not counted"
    note = found.doubt or found.note or ""
    card(row, f"{label}, {name}", value, noise, markdown(f"How we know: {images}, from the manifest. {note}"))


_FIGURES: dict[str, Callable[[Selection, Evidence, StoryFacts], None]] = {
    "latency": _latency,
    "origin": _origin,
    "kernels": _kernels,
    "tensor_cores": _tensor_cores,
    "memory": _memory,
    "quality": _quality,
}


def _more_or_less(ratio: float | None) -> str | None:
    if ratio is None:
        return None
    return f"{times(ratio)} less" if ratio >= 1 else f"{times(1 / ratio)} more"


def _how_we_know(metric: Metric) -> str:
    lines = [f"How we know: {metric.source}."]
    for label, spread in (("before", metric.before_range), ("after", metric.after_range)):
        if spread is not None:
            low, high = (with_unit(v, metric.unit) for v in spread)
            lines.append(f"Range over the inferences {label}: {low} to {high}.")
    if metric.reason:
        lines.append(f"Note: {metric.reason}")
    return markdown(" ".join(lines))


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
    show_table(st, frame, hide_index=True, height=35 * (len(frame) + 1) + 3, column_config=columns)


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
        chart(category_bars({name: analysis.categories}), f"one_{name}", {name: side})
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
