"""Overview: what changed, in figures that say where they come from."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import charts
from dashboard.data import Side
from dashboard.frame import Pair, show_problems
from dashboard.tables import show_table
from dashboard.text import UNITS, markdown, metric_value, number, times
from profiler.analysis.compare import Comparison, Metric

TITLE = "Overview"
ICON = ":material/summarize:"
URL = "overview"

_HEADLINES = (
    ("kernels_per_inference", "kernel_time", "latency"),
    ("launches_per_inference", "tensor_cores_yes", "tensor_active"),
)


def render(pair: Pair) -> None:
    st.title("What did TensorRT do to the model?")
    show_problems(pair)
    comparison = pair.comparison
    if comparison is None:
        for name, side in pair.readable.items():
            st.subheader(f"{name}: {markdown(side.source.title)}")
            _one_side(side)
        return
    st.markdown(summary(comparison))
    for refusal in comparison.refusals:
        st.error(f"**Kernel counts are not compared.** {markdown(refusal)}", icon=":material/block:")
    _headlines(comparison)
    _noted_latency(pair)
    warnings = [w for w in comparison.warnings if w not in comparison.refusals]
    if warnings:
        with st.expander(
            f"{len(warnings)} things to know before you quote these figures", expanded=True, icon=":material/warning:"
        ):
            for warning in warnings:
                st.markdown(f"- {markdown(warning)}")
    if not comparison.refusals:
        _category_bars(comparison)
    _all_metrics(comparison)


def summary(comparison: Comparison) -> str:
    """One or two plain sentences, generated from the figures alone (Markdown)."""
    before, after = comparison.before.facts, comparison.after.facts
    where = f" on {markdown(before.gpu)}" if before.gpu and before.gpu == after.gpu else ""
    batch = f", batch {before.batch}" if before.batch and before.batch == after.batch else ""
    model = f"{markdown(before.model)}: " if before.model and before.model == after.model else ""
    sentences = [f"{model}**{markdown(before.title)}** against **{markdown(after.title)}**{where}{batch}."]
    kernels, time = comparison.metric("kernels_per_inference"), comparison.metric("kernel_time")
    if kernels.ratio and time.ratio:
        sentences.append(
            f"One inference went from **{number(kernels.before)} kernels to {number(kernels.after)}**, and from "
            f"**{number(time.before, 'ms')} of kernel time to {number(time.after, 'ms')}** ({times(time.ratio)} less)."
            if time.ratio >= 1
            else f"One inference went from **{number(kernels.before)} kernels to {number(kernels.after)}**; kernel time "
            f"went from {number(time.before, 'ms')} to **{number(time.after, 'ms')}**, which is more."
        )
    cores = comparison.metric("tensor_cores_yes")
    if cores.before is not None and cores.after is not None:
        sentences.append(
            f"Kernels whose names say that they use Tensor Cores took {number(cores.before)} % of the kernel time "
            f"before, {number(cores.after)} % after."
        )
    return " ".join(sentences)


def _headlines(comparison: Comparison) -> None:
    for row in _HEADLINES:
        for column, metric_id in zip(st.columns(len(row)), row):
            _headline(column, comparison.metric(metric_id))


def _headline(column: DeltaGenerator, metric: Metric) -> None:
    column.metric(
        metric.label,
        _before_after(metric),
        _delta(metric),
        delta_color="off",
        delta_arrow="off",
        help=_how_we_know(metric),
        border=True,
    )


def _before_after(metric: Metric) -> str:
    """“3.93 → 0.402 ms”: the unit once, as it is the same."""
    unit = UNITS.get(metric.unit, metric.unit)
    return f"{number(metric.before)} → {number(metric.after, unit)}"


def _delta(metric: Metric) -> str | None:
    if metric.before is None or metric.after is None:
        return "unknown"
    if metric.unit == "%":
        return f"{metric.after - metric.before:+.1f} points"
    if metric.ratio is None:
        return None
    word = {"kernels": ("fewer", "more"), "calls": ("fewer", "more"), "ms": ("less", "more")}.get(
        metric.unit, ("lower", "higher")
    )
    return f"{times(metric.ratio)} {word[0]}" if metric.ratio >= 1 else f"{times(1 / metric.ratio)} {word[1]}"


def _how_we_know(metric: Metric) -> str:
    lines = [f"How we know: {metric.source}."]
    for label, spread in (("before", metric.before_range), ("after", metric.after_range)):
        if spread is not None:
            low, high = (metric_value(v, metric.unit) for v in spread)
            lines.append(f"Range over the inferences {label}: {low} to {high}.")
    if metric.reason:
        lines.append(f"Note: {metric.reason}")
    return markdown(" ".join(lines))


def _noted_latency(pair: Pair) -> None:
    """The latencies that a manifest holds, measured without nsys: the traced ones carry its overhead."""
    text = (
        "Latency above was measured while nsys was recording, which slows every launch: it is not the latency of the "
        "model in production. Kernel times are taken on the GPU itself."
    )
    noted = {name: _without_profiler(side) for name, side in pair.readable.items()}
    before, after = noted.get("before"), noted.get("after")
    if before is not None and after is not None:
        (b, how_b), (a, how_a) = before, after
        how = how_b if how_b == how_a else f"before: {how_b}; after: {how_a}"
        text += f" Without nsys: **{number(b, 'ms')} → {number(a, 'ms')} ({times(b / a)})**, from the manifests ({markdown(how)})."
    st.caption(text)


def _without_profiler(side: Side) -> tuple[float, str] | None:
    """A side's latency (ms) without a profiler and how it was measured, from its manifest; None where it has none."""
    manifest = side.analysis.facts.manifest if side.analysis else None
    if manifest is None:
        return None
    measured = (manifest.extra.get("bench") or {}).get("latency_ms")
    if isinstance(measured, dict) and isinstance(measured.get("p50"), (int, float)):
        return float(measured["p50"]), f"median of {measured.get('n', '?')} inferences by CUDA events"
    stated = manifest.extra.get("latency_without_profiler")
    if isinstance(stated, dict) and isinstance(stated.get("value_ms"), (int, float)) and stated["value_ms"] > 0:
        return float(stated["value_ms"]), str(stated.get("how", ""))
    return None


def _category_bars(comparison: Comparison) -> None:
    tables = {
        f"before: {comparison.before.facts.title}": comparison.before.categories,
        f"after: {comparison.after.facts.title}": comparison.after.categories,
    }
    st.plotly_chart(charts.by_category(tables), key="by_category", config=charts.CONFIG)
    st.caption(
        "Kinds are inferred from kernel names (see Kernels for the rule behind each). Means over the inferences."
    )


def _all_metrics(comparison: Comparison) -> None:
    st.subheader("Every figure, and where it comes from")
    frame = pd.DataFrame(
        {
            "figure": [m.label for m in comparison.metrics],
            "before": [metric_value(m.before, m.unit) for m in comparison.metrics],
            "after": [metric_value(m.after, m.unit) for m in comparison.metrics],
            "before ÷ after": [times(m.ratio) if m.unit != "%" and m.ratio else "—" for m in comparison.metrics],
            "how we know": [m.source for m in comparison.metrics],
            "note": [m.reason or "" for m in comparison.metrics],
        }
    )
    wide = {"figure": "medium", "before": "small", "after": "small", "before ÷ after": "small", "how we know": "large"}
    columns = {name: st.column_config.TextColumn(width=width) for name, width in wide.items()}
    show_table(st, frame, hide_index=True, height=35 * (len(frame) + 1) + 3, column_config=columns)


def _one_side(side: Side) -> None:
    assert side.analysis is not None
    analysis = side.analysis
    if analysis.trace.no_kernels_reason:
        st.warning(markdown(analysis.trace.no_kernels_reason))
        return
    per, note = analysis.inferences.kernels_per_inference
    cores = analysis.tensor_cores.share_pct("yes")
    columns = st.columns(3)
    columns[0].metric(
        "Kernels per inference", number(per), border=True, help=markdown(note or analysis.inferences.statement)
    )
    columns[1].metric("Kernels in the trace", number(analysis.trace.kernel_count), border=True)
    columns[2].metric("Time using Tensor Cores (by name)", number(cores, "%"), border=True)
    if analysis.inferences.count:
        table = {side.source.title: analysis.categories}
        st.plotly_chart(charts.by_category(table), key=f"one_{side.source.key}", config=charts.CONFIG)
    st.caption("Choose a second trace to compare.")
