"""Fusion: the ledger from the modules of the model to the kernels that compute them now."""

from __future__ import annotations

import json
import zlib
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import address, data
from dashboard.data import Selection
from dashboard.show import card, cards, chart, ledger_view, tabs
from dashboard.tables import safe, show_table
from profiler.analysis.fusion.blocks import KERNEL, Block, Box, block, blocks, most_collapsed
from profiler.analysis.fusion.ledger import grouped
from profiler.analysis.fusion.rows import Row
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.charts import collapse
from profiler.charts.timeline import MODULES_CAPTION, module_timelines
from profiler.text import duration, markdown, number, number_of_bytes, plural, visible

TITLE = "Fusion"
ICON = ":material/call_merge:"
URL = "fusion"

_STATUS_HELP = {
    "kept": "has kernels of its own after",
    "fused": "computed inside another unit's layer",
    "absorbed": "folded into another layer's weights (a batch norm) or removed (an identity)",
    "new": "work that belongs to no module (layout conversions, quantisation)",
    "unexplained": "nothing accounts for it",
}

_MOST_UNEXPLAINED = 3
_MAX_MODULES, _MAX_KERNELS = 12, 20
_PICTURE = "collapse"
_BY = ("module", "block", "stage")


def render(selection: Selection) -> None:
    st.title("Fusion")
    view = ledger_view(selection)
    if view is None:
        return
    _block(selection, view)
    st.subheader("How much is explained")
    _head(view)
    _table(view)


def _head(view: data.LedgerView) -> None:
    ledger = view.ledger
    row = cards("fusion")
    for side in ("before", "after"):
        coverage = ledger.coverage(side)
        card(
            row,
            f"Attributed, {side}",
            number(coverage.time_pct, "% of GPU time"),
            f"{coverage.kernels_explained:,} of {plural(coverage.kernels, 'kernel')}",
            f"Share of GPU time in rows that are not “unexplained”. Work is placed {markdown(view.document['how'][side])}.",
        )
    pairs: tuple[tuple[str, str], ...] = (("kept", "fused"), ("absorbed", "new"))
    for statuses in pairs:
        card(
            row,
            " / ".join(statuses),
            " / ".join(f"{ledger.by_status[s]:,}" for s in statuses),
            f"{ledger.by_status['unexplained']} unexplained" if statuses[0] == "absorbed" else "units of the model",
            "; ".join(f"{s}: {_STATUS_HELP[s]}" for s in statuses),
        )
    sources = view.document["source"]
    said = [f"before from {sources['before']}, after from {sources['after']}; matched {ledger.match.statement}"]
    for side in ("before", "after"):
        left = view.document["unexplained"][side]
        listed = [f"{u['module']} {duration(u['time_ns'])}" for u in left[:_MOST_UNEXPLAINED]]
        listed += [f"{len(left) - _MOST_UNEXPLAINED} more"] if len(left) > _MOST_UNEXPLAINED else []
        said += [f"unexplained {side}: {', '.join(listed)}"] if left else []
    st.caption(markdown(f"Evidence: {'; '.join(said)}."))
    for sentence in ledger.advice:
        st.caption(markdown(f"To raise it: {sentence}"))
    for finding in ledger.findings:
        st.info(markdown(finding), icon=":material/lightbulb:")
    contradictions = view.document["tensor_core_disagreements"]
    if contradictions:
        with st.expander(
            f"{len(contradictions)} contradictions in the Tensor Core evidence", icon=":material/warning:"
        ):
            show_table(st, pd.DataFrame(contradictions), hide_index=True, key="contradictions")


def _block(selection: Selection, view: data.LedgerView) -> None:
    groups = {g.label: g for g in blocks(view.ledger)}
    if not groups:
        return
    opening = most_collapsed(list(groups.values())).label
    address.keep("fusion_block", opening, groups, always=True)
    label = st.selectbox(
        "Block",
        list(groups),
        key="fusion_block",
        width=420,
        help="Opens on the block in which most kernels vanish.",
    )
    shown = block(view.ledger, groups[str(label)])
    first, _, rest = shown.sentence.partition(": ")
    st.header(markdown(f"{shown.label}: {first[0].lower()}{first[1:]}".removesuffix(".")))
    st.markdown(markdown(f"{rest[:1].upper()}{rest[1:]}"))
    address.keep("fusion_kernel", "")  # also while the other part is open
    parts = {"Which kernels became which": partial(_picture, selection, shown)}
    if shown.modules:
        parts["The same modules in time"] = partial(_in_time, selection, shown)
    tabs(parts, "fusion_part")


def _picture(selection: Selection, shown: Block) -> None:
    picture, beside = st.container(key="picture_and_kernels").columns([7, 3])
    with beside:
        chosen = _chosen_box(shown)
    with picture:
        figure = collapse.figure(shown, _chosen())
        if figure is None:
            st.caption("Nothing of this block runs on one of the sides.")
        else:
            chart(
                figure,
                _PICTURE,
                selection.readable,
                on_select=_take_tick,
                selection_mode="points",
            )
            left_out = f" {plural(shown.left_out, 'unit is', 'units are')} not drawn." if shown.left_out else ""
            st.caption(f"{collapse.CAPTION} Choose a tick to see its kernel.{left_out}")
    if chosen is not None:
        with beside:
            _kernels(selection, *chosen)


def _in_time(selection: Selection, shown: Block) -> None:
    figure = module_timelines(shown.modules[:_MAX_MODULES])
    assert figure is not None  # there are modules
    chart(figure, "modules_in_time", selection.readable)
    more = f" The first {_MAX_MODULES} of {len(shown.modules)}." if len(shown.modules) > _MAX_MODULES else ""
    st.caption(f"{MODULES_CAPTION}{more}")


def _chosen() -> tuple[str, str, int] | None:
    """The chosen kernel as (side, kind of work, row in the trace's frame), from the address."""
    side, _, rest = address.keep("fusion_kernel", "").partition(".")
    kind, _, row = rest.partition(".")
    return (side, kind, int(row)) if row.isascii() and row.isdigit() else None


def _take_tick() -> None:
    points = st.session_state[_PICTURE]["selection"]["points"]
    given = points[0].get("customdata") if points else None
    address.put_in_fragment("fusion_kernel", ".".join(map(str, given)) if given else "")


def _chosen_box(shown: Block) -> tuple[str, Box] | None:
    """The box that is chosen in the picture or, by keyboard, in a list."""
    boxes = [(side, box) for side in ("before", "after") for box in getattr(shown, side)]
    chosen = _chosen()
    holds = [any((side, w.kind, w.row) == chosen for w in box.work) for side, box in boxes]

    def take() -> None:
        place = st.session_state["fusion_unit"]
        if place is None:
            address.put_in_fragment("fusion_kernel", "")
        else:
            side, box = boxes[place]
            address.put_in_fragment("fusion_kernel", f"{side}.{box.work[0].kind}.{box.work[0].row}")

    place = holds.index(True) if any(holds) else None
    st.session_state["fusion_unit"] = place
    st.selectbox(
        "Kernels of a unit",
        range(len(boxes)),
        index=None,
        format_func=lambda k: f"{boxes[k][0]}: {visible(boxes[k][1].label)}",
        key="fusion_unit",
        on_change=take,
        placeholder="Choose a tick, or a unit here",
    )
    return boxes[place] if place is not None else None


def _kernels(selection: Selection, side: str, box: Box) -> None:
    """What runs for a unit, one by one, in the inference that the picture shows."""
    chosen = _chosen()
    st.caption(
        markdown(
            f"{box.row.label} is {box.row.status}{f' into {box.row.into}' if box.row.into else ''}: {box.row.why}. "
            f"{side.capitalize()}: {collapse.counted(box.work)}."
        )
    )
    for place, work in enumerate(box.work[:_MAX_KERNELS], 1):
        mark = ":material/arrow_right: **chosen** " if (side, work.kind, work.row) == chosen else ""
        what = (
            CATEGORY_LABELS[work.category]
            if work.kind == KERNEL
            else "memory copy"
            if work.kind == "memcpy"
            else "memory set"
        )
        cores = f", Tensor Cores by name: {work.tensor_cores}" if work.kind == KERNEL else ""
        st.markdown(f"{mark}{place}. {duration(work.duration_ns)}, {what}{cores}")
        st.code(visible(work.name), language=None, wrap_lines=True)
    more = max(0, len(box.work) - _MAX_KERNELS) + box.left_out
    if more:
        st.caption(f"{more:,} more are not listed.")


def _table(view: data.LedgerView) -> None:
    st.subheader("The ledger")
    with st.container(horizontal=True):
        address.keep("fusion_by", _BY[0], _BY)
        by = st.segmented_control("A row per", _BY, key="fusion_by", required=True)
        address.keep("fusion_status", [], _STATUS_HELP)
        statuses = st.multiselect("Status", list(_STATUS_HELP), key="fusion_status", placeholder="all", width=260)
        address.keep("fusion_search", "")
        search = st.text_input(
            "Search",
            key="fusion_search",
            placeholder="part of a module, layer or kernel name",
            type="search",
            width=320,
        )
    if by != "module":
        _groups(view, str(by))
        return
    entries = [
        (row, entry)
        for row, entry in zip(view.ledger.rows, view.document["rows"])
        if (not statuses or row.status in statuses) and search.lower() in _haystack(row)
    ]
    table = pd.DataFrame([_flat(row, entry) for row, entry in entries])
    st.caption(
        f"{len(entries):,} of {plural(len(view.ledger.rows), 'row')}. Counts, times and bytes are per inference. Choose a "
        "row to open it."
    )
    if not len(table):
        return
    opened = address.keep("fusion_row", "")
    at = [k for k, (row, _) in enumerate(entries) if row.label == opened]
    event = show_table(
        st,
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": at[:1]}},
        key=f"ledger_{zlib.crc32(repr((statuses, search)).encode())}",  # what is chosen is a place among these rows
        placeholder="",
        height=min(560, 35 * (len(table) + 1) + 3),
        column_config={
            "module": st.column_config.TextColumn(width=150),
            "into": st.column_config.TextColumn(width=120),
            "before, µs": st.column_config.NumberColumn(format="%,.2f"),
            "after, µs": st.column_config.NumberColumn(format="%,.2f"),
            "kernels before": st.column_config.NumberColumn(format="%.4g"),
            "kernels after": st.column_config.NumberColumn(format="%.4g"),
            "min. kB before": st.column_config.NumberColumn(
                format="%,.0f", help="Computed minimum: inputs, weights and outputs once each"
            ),
            "min. kB after": st.column_config.NumberColumn(format="%,.0f", help="Computed minimum"),
        },
    )
    st.download_button(
        "Download as CSV",
        safe(table).to_csv(index=False),
        "fusion-ledger.csv",
        "text/csv",
        key="ledger_csv",
        icon=":material/download:",
    )
    chosen = [k for k in event["selection"]["rows"] if k < len(entries)] if event else []
    if chosen or at:  # a row that the filters hide stays chosen
        address.put("fusion_row", entries[chosen[0]][0].label if chosen else "")
    if chosen:
        _details(*entries[chosen[0]])


def _haystack(row: Row) -> str:
    cells = [c for c in (row.before, row.after) if c is not None]
    return " ".join([row.label, *(c.holder or "" for c in cells), *(n for c in cells for n in c.kernel_names)]).lower()


def _flat(row: Row, entry: dict[str, Any]) -> dict[str, Any]:
    before, after = entry["before"] or {}, entry["after"] or {}
    return {
        "module": row.label,
        "status": row.status,
        "into": row.into,
        "kernels before": before.get("kernels"),
        "before, µs": before["gpu_time_ns"] / 1e3 if before else None,
        "kernels after": after.get("kernels"),
        "after, µs": after["gpu_time_ns"] / 1e3 if after else None,
        "precision": after.get("precision"),
        "Tensor Cores": after.get("tensor_cores"),
        "min. kB before": _kilo(before.get("min_bytes")),
        "min. kB after": _kilo(after.get("min_bytes")),
        "layer after": after.get("layer"),
        "how we know": row.why,
    }


def _kilo(value: int | None) -> float | None:
    return None if value is None else value / 1e3


def _groups(view: data.LedgerView, by: str) -> None:
    n = view.ledger.before_placement.inferences, view.ledger.after_placement.inferences
    groups = grouped(view.ledger.rows, by)
    table = pd.DataFrame(
        {
            by: [g.label for g in groups],
            "kernels before": [g.before_kernels / n[0] for g in groups],
            "before, µs": [g.before_time_ns / n[0] / 1e3 for g in groups],
            "kernels after": [g.after_kernels / n[1] for g in groups],
            "after, µs": [g.after_time_ns / n[1] / 1e3 for g in groups],
            **{s: [sum(r.status == s for r in g.rows) for g in groups] for s in _STATUS_HELP},
        }
    )
    show_table(st, table, hide_index=True, height=min(900, 35 * (len(table) + 1) + 3), key=f"groups_{by}")


def _details(row: Row, entry: dict[str, Any]) -> None:
    with st.container(border=True):
        st.markdown(
            f"**{markdown(row.label)}** is **{row.status}**"
            + (f" into **{markdown(row.into)}**" if row.into else "")
            + f": {markdown(row.why)}."
        )
        for side, cell in (("before", row.before), ("after", row.after)):
            shown = entry[side]
            if cell is None or shown is None:
                continue
            st.markdown(f"**{side}**: {markdown(cell.holder or 'no layer')}")
            facts = [
                f"{plural(shown['kernels'], 'kernel')}, {duration(shown['gpu_time_ns'])} per inference",
                f"computed minimum {number_of_bytes(shown['min_bytes'])}" if shown["min_bytes"] else None,
                f"Tensor Cores by name: {shown['tensor_cores']} (rule {shown['rule']})"
                if shown["tensor_cores"]
                else None,
                f"sampled Tensor Active {number(shown['tensor_active_pct'], '%')} of "
                f"{plural(shown['tensor_active_samples'], 'sample')}"
                if shown["tensor_active_pct"] is not None
                else f"too few samples inside its kernels ({shown['tensor_active_samples']})"
                if shown["kernels"]
                else None,
                f"tactic {shown['tactic']}" if shown["tactic"] else None,
                f"formats {shown['formats']}" if shown["formats"] else None,
                "placed by order of execution" if shown["by_order"] else None,
            ]
            st.caption("  \n".join(markdown(f) for f in facts if f))
            if cell.kernel_names:
                st.code("\n".join(cell.kernel_names[:20]), language=None, wrap_lines=True)
            for layer in cell.layers[:3]:
                if layer.raw:
                    with st.expander(f"Layer as TensorRT describes it ({side})"):
                        st.code(json.dumps(layer.raw, indent=2)[:20_000], language="json")
