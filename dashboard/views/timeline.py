"""Timeline: one inference of each side, aligned at zero, NVTX ranges above the streams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.bar_details import bar_details
from dashboard.data import LoadedTrace, Selection
from dashboard.show import chart, folded, show_problems
from dashboard.tables import show_table
from profiler.analysis.fusion.blocks import block
from profiler.analysis.fusion.counterparts import OTHER, Counterparts
from profiler.analysis.fusion.ledger import Group
from profiler.analysis.fusion.rows import Row
from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import KERNEL, Bars, Part
from profiler.charts.timeline import (
    MODULES_CAPTION,
    bar_colours,
    bar_inks,
    for_canvas,
    legend_entries,
    module_timelines,
)
from profiler.errors import ProfilerError
from profiler.report.chrome_trace import TimelineWindow, chrome_trace, compressed
from profiler.text import duration, markdown, plural

TITLE = "Timeline"
ICON = ":material/view_timeline:"
URL = "timeline"

_FIRST_VIEW_NS = 5_000_000  # of a whole trace
_WIDTH = 1100  # of the picture, until the browser says its own
_MAX_LISTED = 500
_CANVAS = "timeline_canvas"
_STATIC = Path(__file__).resolve().parent.parent / "static"


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    html, css, js = (_STATIC.joinpath(f"timeline.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("timeline", html=html, css=css, js=js)


def render(selection: Selection) -> None:
    st.title("Timeline")
    st.caption(
        "Both sides start at zero: when the host enters the inference, or at the first kernel of a whole trace. NVTX ranges are host time "
        "and kernels are GPU time, so a kernel lies to the right of the range that launched it. Drag to pan, zoom with Ctrl and the wheel "
        "or with W and S, and press Shift while dragging to zoom to a selection. Click a bar for its details and for the same module on "
        "the other side."
    )
    show_problems(selection)
    sides = selection.readable
    if not sides:
        return
    parts = {}
    for column, (name, side) in zip(st.columns(len(sides)), sides.items()):
        with column:
            parts[name] = _choose(name, side)
    _picture(selection, parts)
    folded(
        "Launch calls, and the longest gaps between GPU work inside an inference",
        "launches",
        partial(_launches_and_gaps, sides),
    )


def _choose(name: str, side: LoadedTrace) -> Part:
    assert side.analysis is not None
    analysis, timeline = side.analysis, data.timeline(side)
    table = analysis.inferences.table
    if not len(table):
        st.caption(f"{name}: the whole trace, from its first kernel. Drag to move along it.")
        return timeline.from_first_kernel()
    whole = st.toggle(
        f"Whole trace, {name}", key=f"whole_trace_{name}", help="Starts at the first kernel. Drag to move along it."
    )
    if whole:
        return timeline.from_first_kernel()
    middle = analysis.inferences.median_inference()

    def label(i: int) -> str:
        of_all = f"{table['text'].iloc[i]}: {duration(int(table['latency_ns'].iloc[i]))}"
        return f"{of_all} (median)" if i == middle else of_all

    if len(table) <= _MAX_LISTED:
        index = st.selectbox(
            f"Inference, {name}", range(len(table)), index=middle, format_func=label, key=f"inference_{name}"
        )
        return timeline.inference(index)
    # a list of all would take the browser seconds
    index = st.number_input(
        f"Inference, {name}: 1 to {len(table):,}", 1, len(table), middle + 1, key=f"inference_{name}"
    )
    st.caption(markdown(label(index - 1)))
    return timeline.inference(index - 1)


@st.fragment
def _picture(selection: Selection, parts: Mapping[str, Part]) -> None:
    sides = selection.readable
    part_key = repr([(name, sides[name].identity, part) for name, part in parts.items()])
    part_id = str(hash(part_key))
    length = max(part.length_ns for part in parts.values())
    at_first = max(
        part.length_ns if part.inference is not None else min(part.length_ns, _FIRST_VIEW_NS) for part in parts.values()
    )
    state = st.session_state.get(_CANVAS) or {}
    low, high, width = _view(state.get("view"), part_id, length, at_first)
    picked = _picked(state.get("picked"), part_id, sides)
    # Places of their own, always there: a fragment whose elements become blocks, or the other way round, while the answer to an earlier
    # key is on its way confuses the browser's side of Streamlit.
    waiting = st.container()
    with waiting:
        links = (
            _links(selection) if picked else None
        )  # the ledger of long traces takes a while, and is not needed before
    marked = _marked(links if isinstance(links, Counterparts) else None, picked, parts)
    drawn: dict[str, Bars | None] = {}
    described = []
    for name, part in parts.items():
        timeline = data.timeline(sides[name])
        # three times what is shown, so that panning and zooming out have something to draw until the answer comes
        margin = high - low
        window = max(low - margin, 0), min(high + margin, max(part.length_ns, 1))
        pixels = max(round(width * (window[1] - window[0]) / max(high - low, 1)), 1)
        window_bars = timeline.window(part, *window, pixels)
        drawn[name] = timeline.window(part, low, min(high, part.length_ns), width) if low < part.length_ns else None
        title = f"{name}: {sides[name].source.title}, {part.label}, {duration(part.length_ns)}"
        described.append(for_canvas(name, title, timeline, part, window_bars, length, marked.get(name, ())))
    _component()(
        key=_CANVAS,
        data={
            "part": part_id,
            "length": length,
            "view": [low, high],
            "sides": described,
            "colours": bar_colours(),
            "inks": bar_inks(),
            "legend": legend_entries(described),
            "picked": picked,
            "label": "Timeline of "
            + " and ".join(parts)
            + ". W and S zoom, A and D pan, comma and full stop step through bars, "
            "Escape clears the selection. The table of kernels below holds the same data.",
        },
        default={"view": None, "picked": None},
        on_view_change=lambda: None,
        on_picked_change=lambda: None,
    )
    for name, bars in drawn.items():
        st.caption(f"{name}: {bars.statement if bars else 'ends before the part in view.'}")
    chosen = st.container()
    if picked is not None:
        with chosen:
            _details(picked, sides, parts, links)
    folded("Kernels in view", "kernels_in_view", partial(_kernels_in_view, sides, parts, low, high))
    _export(selection, parts, low, high)


def _links(selection: Selection) -> Counterparts | ProfilerError | None:
    """What leads from one side to the other; an error that says why nothing does, None without two sides."""
    if selection.before is None or selection.after is None or len(selection.readable) < 2:
        return None
    return data.counterparts(selection.before, selection.after)


def _view(sent: Any, part_id: str, length: int, at_first: int) -> tuple[int, int, int]:
    """What the browser shows, checked: (from, to, width in pixels); of a part that was not shown before its beginning."""
    try:
        if sent["part"] == part_id:
            low, high = int(sent["low"]), int(sent["high"])
            width = min(max(int(sent["width"]), 100), 8000)
            if 0 <= low < high <= length:
                return low, high, width
    except (TypeError, KeyError, ValueError, OverflowError):
        pass
    return 0, at_first, _WIDTH


def _picked(sent: Any, part_id: str, sides: Mapping[str, LoadedTrace]) -> dict[str, Any] | None:
    """The chosen bar, checked against what is shown."""
    try:
        if sent["part"] != part_id or sent["side"] not in sides:
            return None
        picked: dict[str, Any] = {"side": str(sent["side"]), "kind": str(sent["kind"]), "row": int(sent["row"])}
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    analysis = sides[picked["side"]].analysis
    assert analysis is not None
    known = {
        "kernel": analysis.trace.kernels,
        "memcpy": analysis.trace.memcpys,
        "memset": analysis.trace.memsets,
        "graph": analysis.trace.graph_traces,
        "nvtx": analysis.trace.nvtx_ranges,
    }
    frame = known.get(picked["kind"])
    return picked if frame is not None and 0 <= picked["row"] < len(frame) else None


def _marked(
    links: Counterparts | None, picked: Mapping[str, Any] | None, parts: Mapping[str, Part]
) -> dict[str, list[tuple[str, int]]]:
    """Work of the same unit as the chosen bar, on both sides, in the inferences that are shown."""
    if links is None or picked is None:
        return {}
    row = links.row_of(picked["side"], picked["kind"], picked["row"])
    if row is None:
        return {}
    side, other = picked["side"], OTHER[picked["side"]]
    return {
        side: links.work_of(side, [row], parts[side].inference),
        other: links.work_of(other, links.partners(side, row), parts[other].inference),
    }


def _details(
    picked: Mapping[str, Any], sides: Mapping[str, LoadedTrace], parts: Mapping[str, Part], links: Any
) -> None:
    name = picked["side"]
    analysis = sides[name].analysis
    assert analysis is not None
    title, found = bar_details(analysis, parts[name], picked["kind"], picked["row"])
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown(f"**Chosen, {name}**")
        st.code(title[:4000], language=None, wrap_lines=True)
        st.markdown("  \n".join(f"{what}: {markdown(value)}" for what, value in found.items()))
    with right, st.container(border=True):
        row = _other_side(picked, sides, parts, links)
    if row is not None:
        _module_in_time(row, name, sides, parts, links)


def _module_in_time(
    row: Row, side: str, sides: Mapping[str, LoadedTrace], parts: Mapping[str, Part], links: Counterparts
) -> None:
    """The kernels of the module before and after, under each other, on an axis of their own."""
    head = next(iter(links.partners(side, row)), row) if side == "before" else row
    rows = {r.label: r for r in (row, head, *links.partners("after", head))}
    shown = block(
        links.ledger, Group(head.block, tuple(rows.values())), {n: part.inference for n, part in parts.items()}
    )
    figure = module_timelines(shown.modules)
    if figure is not None:
        chart(figure, "module_in_time", sides)
        st.caption(MODULES_CAPTION)


def _other_side(
    picked: Mapping[str, Any], sides: Mapping[str, LoadedTrace], parts: Mapping[str, Part], links: Any
) -> Row | None:
    """What does the chosen bar's work on the other side; the row of the ledger that holds the bar."""
    name = picked["side"]
    other = OTHER[name]
    st.markdown(f"**The same module, {other}**")
    if not isinstance(links, Counterparts):
        reason = links.message if links is not None else "There is no other side."
        st.caption(f"Unknown. {markdown(reason)}")
        return None
    row = links.row_of(name, picked["kind"], picked["row"])
    if row is None:
        st.caption("NVTX ranges and work outside the inferences are in no row of the fusion ledger. Choose a kernel.")
        return None
    into = f" into **{markdown(row.into)}**" if row.into else ""
    st.markdown(f"Module **{markdown(row.label)}** is **{row.status}**{into}: {markdown(row.why)}.")
    partners = links.partners(name, row)
    work = links.work_of(other, partners, parts[other].inference)
    if not work:
        st.caption(f"Nothing runs for it {other}.")
        return row
    analysis = sides[other].analysis
    assert analysis is not None
    kernels = analysis.trace.kernels.iloc[[r for kind, r in work if kind == KERNEL]]
    table = pd.DataFrame(
        {
            "start, µs": (kernels["start_ns"] - parts[other].origin_ns) / 1e3,
            "duration, µs": kernels["duration_ns"] / 1e3,
            "module": [row_of.label if (row_of := links.row_of(other, KERNEL, int(r))) else "" for r in kernels.index],
            "kernel": kernels["name"].astype(str),
        }
    )
    count = plural(len(table), "kernel")
    st.caption(f"{count}, {duration(int(kernels['duration_ns'].sum()))}; outlined in the picture.")
    show_table(
        st, table.head(_MAX_LISTED), hide_index=True, key="counterparts", height=min(300, 35 * (len(table) + 1) + 3)
    )
    return row


def _kernels_in_view(sides: Mapping[str, LoadedTrace], parts: Mapping[str, Part], low: int, high: int) -> None:
    """The same as a table: for reading, for the keyboard, and for copying."""
    for name, part in parts.items():
        timeline = data.timeline(sides[name])
        rows = timeline.rows(KERNEL, part.origin_ns + low, part.origin_ns + min(high, part.length_ns))
        kernels = timeline.analysis.trace.kernels.iloc[rows[:_MAX_LISTED]]
        st.caption(f"{name}: {len(kernels):,} of {plural(len(rows), 'kernel')}, in order of their start.")
        table = pd.DataFrame(
            {
                "start, µs": (kernels["start_ns"] - part.origin_ns) / 1e3,
                "duration, µs": kernels["duration_ns"] / 1e3,
                "stream": kernels["stream_id"],
                "kernel": kernels["name"].astype(str),
            }
        )
        show_table(st, table, hide_index=True, key=f"in_view_{name}", height=min(320, 35 * (len(table) + 1) + 3))


def _export(selection: Selection, parts: Mapping[str, Part], low: int, high: int) -> None:
    shown = {
        name: TimelineWindow(data.timeline(selection.readable[name]), part, low, min(high, part.length_ns))
        for name, part in parts.items()
        if low < part.length_ns
    }

    def document() -> bytes:
        links = _links(selection)
        return compressed(chrome_trace(shown, links if isinstance(links, Counterparts) else None))

    st.download_button(
        "Save this part for Perfetto",
        document,
        "timeline.json.gz",
        "application/gzip",
        key="perfetto",
        icon=":material/download:",
        help="Trace Event Format: before and after are two processes. Open it at ui.perfetto.dev (which runs in your browser) or in "
        "chrome://tracing. The command line does the same: python -m profiler timeline BEFORE AFTER -o timeline.json.gz",
        on_click="ignore",
    )


def _launches_and_gaps(sides: Mapping[str, LoadedTrace]) -> None:
    """What it costs to get the work onto the GPU, in numbers."""
    for column, (name, side) in zip(st.columns(len(sides)), sides.items()):
        assert side.analysis is not None
        with column:
            _launches_and_gaps_of(name, side.analysis)


def _launches_and_gaps_of(name: str, analysis: Run) -> None:
    report = analysis.launches
    wait = report.launch_to_start_ns
    said = (
        f"launch to start {duration(wait['median'])} (median), {duration(wait['p90'])} (90th percentile)"
        if wait
        else ""
    )
    st.markdown(f"**{name}**: {markdown(report.window)}" + (f"; {said}" if said else ""))
    calls = report.calls.assign(
        **{"total, µs": report.calls["total_ns"] / 1e3, "median, µs": report.calls["median_ns"] / 1e3}
    )
    show_table(
        st, calls[["name", "count", "per_inference", "total, µs", "median, µs"]], hide_index=True, key=f"calls_{name}"
    )
    gaps = report.gaps.assign(**{"gap, µs": report.gaps["duration_ns"] / 1e3})
    show_table(st, gaps[["inference", "gap, µs", "after", "before"]], hide_index=True, key=f"gaps_{name}", height=260)
