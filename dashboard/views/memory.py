"""Memory: the bytes that must be moved, computed; and the DRAM bytes that were sampled."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.data import Selection
from dashboard.show import card, cards, chart, ledger_view
from dashboard.tables import show_table
from profiler.analysis.fusion.traffic import by_stage
from profiler.analysis.run.dram import SampledBytes
from profiler.charts.traffic import traffic_by_stage
from profiler.text import markdown, number_of_bytes, plural

TITLE = "Memory"
ICON = ":material/memory:"
URL = "memory"


def render(selection: Selection) -> None:
    st.title("Memory traffic")
    st.caption(
        "Computed minimum: the inputs, weights and outputs of each module, once each, from tensor shapes and types. Sampled: the "
        "traffic that the DRAM counters measured. The sampled figure is lower where data stays in the L2 cache, and higher where a "
        "kernel moves more than the minimum. They are two different figures and are never merged."
    )
    view = ledger_view(selection)
    if view is None:
        return
    traffic = view.traffic
    row = cards("memory")
    saved = traffic.before_bytes - traffic.after_bytes
    unknown = traffic.before_unknown + traffic.after_unknown
    card(
        row,
        "Computed minimum per inference",
        f"{_known(traffic.before_bytes)} → {_known(traffic.after_bytes)}",
        f"{plural(unknown, 'row')} without shapes"
        if unknown
        else f"{number_of_bytes(abs(saved))} {'lower' if saved >= 0 else 'higher'}",
        "Sum over the ledger's rows.",
    )
    for name, sampled in (("before", traffic.before_sampled), ("after", traffic.after_sampled)):
        _sampled(row, name, sampled)
    if unknown:
        reasons = {b.how for r in traffic.rows for b in (r.before, r.after) if b.minimum is None}
        st.warning(f"{plural(unknown, 'row')} without a computed minimum: {markdown('; '.join(sorted(reasons)))}.")
    chart(traffic_by_stage(by_stage(traffic)), "traffic_stages", selection.readable)
    gone = sum(r.before.minimum or 0 for r in traffic.rows if r.row.status in ("fused", "absorbed"))
    st.markdown(
        f"Before, modules that are now fused or folded away moved at least **{number_of_bytes(gone)}**. After, their inputs and outputs "
        "stay inside another layer. The rest of the difference comes from smaller types and other layouts."
    )
    table = pd.DataFrame(
        {
            "module": [r.row.label for r in traffic.rows],
            "status": [r.row.status for r in traffic.rows],
            "before, kB": [r.before.minimum / 1e3 if r.before.minimum is not None else None for r in traffic.rows],
            "after, kB": [r.after.minimum / 1e3 if r.after.minimum is not None else None for r in traffic.rows],
            "from, before": [r.before.how for r in traffic.rows],
            "from, after": [r.after.how for r in traffic.rows],
        }
    )
    show_table(st, table, hide_index=True, key="traffic_rows", height=420)


def _known(value: int) -> str:
    return number_of_bytes(value) if value else "unknown"


def _sampled(row: st.delta_generator.DeltaGenerator, name: str, sampled: SampledBytes) -> None:
    if sampled.read_bytes is None or sampled.written_bytes is None:
        card(row, f"DRAM, {name} (sampled)", "unknown", None, markdown(sampled.reason or ""))
        return
    rate = f" at {sampled.frequency_hz / 1e3:.0f} kHz" if sampled.frequency_hz else ""
    card(
        row,
        f"DRAM, {name} (sampled)",
        number_of_bytes(sampled.read_bytes + sampled.written_bytes),
        f"{number_of_bytes(sampled.read_bytes)} read, {number_of_bytes(sampled.written_bytes)} written",
        f"Mean of {plural(sampled.samples, 'sample')}{rate} (whole percents of the peak) × peak bandwidth × mean GPU span of an inference.",
    )
