"""Tensor Cores: what names say, and what the sampled counter says; never one number."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.data import LoadedTrace, Selection
from dashboard.show import card, cards, chart, show_problems
from dashboard.tables import show_table
from profiler.analysis.names.classify import CATEGORY_LABELS, explain
from profiler.analysis.run.tensor_cores import median_inference_samples
from profiler.charts.tensor_cores import metric_over_time, verdict_bars
from profiler.text import duration, markdown, number, plural

TITLE = "Tensor Cores"
ICON = ":material/grid_on:"
URL = "tensor-cores"


def render(selection: Selection) -> None:
    st.title("Tensor Cores")
    st.caption(
        "Two kinds of evidence that answer two questions. By name: the share of kernel time spent in kernels that use Tensor "
        "Cores. Sampled: how busy the Tensor pipes were on average over the GPU time of the inferences. A kernel that uses "
        "Tensor Cores keeps them busy only part of the time, so the sampled figure is lower. It is slightly above zero even "
        "without Tensor Cores, because HFMA2.MMA, which compilers use to move constants, runs on the same pipe."
    )
    show_problems(selection)
    sides = {
        name: side
        for name, side in selection.readable.items()
        if side.analysis and not side.analysis.trace.no_kernels_reason
    }
    for name, side in selection.readable.items():
        if name not in sides and side.analysis:
            st.warning(f"{name}: {markdown(side.analysis.trace.no_kernels_reason or '')}")
    if not sides:
        return
    shares = {name: _shares(side) for name, side in sides.items()}
    chart(verdict_bars(shares, "Tensor Cores, by name"), "verdicts", sides)
    row = cards("tensor_cores")
    for name, side in sides.items():
        _sampled(row, name, side)
    _over_time(sides)
    for name, side in sides.items():
        _tables(name, side)


def _shares(side: LoadedTrace) -> dict[str, float]:
    assert side.analysis is not None
    table = side.analysis.tensor_cores.by_verdict
    return {str(v): float(p) for v, p in zip(table["tensor_cores"], table["share_pct"])}


def _sampled(row: DeltaGenerator, name: str, side: LoadedTrace) -> None:
    assert side.analysis is not None
    sampled = side.analysis.tensor_cores.sampled
    rate = f" at {number(sampled.frequency_hz / 1e3)} kHz" if sampled.frequency_hz else ""
    source = (
        f"{sampled.counter}: mean of {plural(sampled.samples, 'sample')}{rate}"
        if sampled.value_pct is not None
        else str(sampled.reason)
    )
    card(
        row,
        f"Tensor Active, {name} (sampled)",
        number(sampled.value_pct, "%"),
        None,
        markdown(f"How we know: {source}"),
    )


def _over_time(sides: dict[str, LoadedTrace]) -> None:
    series = {}
    for name, side in sides.items():
        assert side.analysis is not None
        found = median_inference_samples(side.analysis.trace, side.analysis.inferences)
        if found is not None:
            series[name] = found
    if series:
        title = "Tensor Active (sampled) over one inference"
        chart(metric_over_time(series, title, "% of peak"), "tensor_active_over_time", sides)
        st.caption(
            "The inference of median GPU span. Each step is one sample, averaged since the previous one. nsys stores whole "
            "percents. Kernels shorter than a step cannot be distinguished."
        )


def _tables(name: str, side: LoadedTrace) -> None:
    assert side.analysis is not None
    report = side.analysis.tensor_cores
    st.subheader(f"{name}: {markdown(side.source.title)}")
    st.caption(f"{markdown(report.window)}; {duration(report.kernel_time_ns)} of kernel time.")
    if len(report.eligible):
        st.markdown(
            "**Kernels that could use Tensor Cores but do not**, longest first "
            f"({number(float(report.eligible['share_pct'].sum()))} % of kernel time):"
        )
        _names(report.eligible, f"eligible_{name}")
    else:
        st.markdown(
            "Every convolution, GEMM and attention kernel uses Tensor Cores, or its name leaves it undetermined."
        )
    if len(report.unknown):
        st.markdown(
            f"**Undetermined from the name** ({number(float(report.unknown['share_pct'].sum()))} % of kernel time):"
        )
        _names(report.unknown, f"unknown_{name}")


def _names(table: pd.DataFrame, key: str) -> None:
    shown = pd.DataFrame(
        {
            "kernel": table["name"],
            "kernel time, %": table["share_pct"],
            "time, µs": table["time_ns"] / 1e3,
            "kernels": table["count"],
            "kind": table["category"].map(CATEGORY_LABELS),
            "precision": table["precision"],
            "rule": table["rule"],
            "why": table["why"] if "why" in table else [explain(r).reason for r in table["rule"]],
        }
    )
    height = min(320, 35 * (len(shown) + 1) + 3)
    show_table(st, shown, hide_index=True, key=key, height=height)
