"""Timeline: one inference of each side, aligned at zero, NVTX ranges above the streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import charts
from dashboard.data import Side
from dashboard.frame import Pair, show_problems
from dashboard.tables import show_table
from dashboard.text import duration, markdown
from profiler.analysis.compare import Analysis
from profiler.analysis.kernels import classified_names

TITLE = "Timeline"
ICON = ":material/view_timeline:"
URL = "timeline"

_MAX_BARS = 3000
_MAX_LEVELS = 4
_WHOLE_TRACE_WINDOW_NS = 5_000_000


@dataclass(frozen=True)
class _Window:
    """What is drawn of one side: from ``origin_ns`` on, ``length_ns`` long."""

    origin_ns: int
    length_ns: int
    label: str


def render(pair: Pair) -> None:
    st.title("Timeline")
    st.caption(
        "Both start at zero: the moment at which the host enters the inference. NVTX ranges are host time, kernels "
        "are GPU time, so kernels lie to the right of the range that launched them. Hatched kernels use Tensor "
        "Cores, judged by name. Drag to pan, scroll or use the buttons to zoom."
    )
    show_problems(pair)
    sides = pair.readable
    if not sides:
        return
    windows = {}
    for column, (name, side) in zip(st.columns(len(sides)), sides.items()):
        with column:
            windows[name] = _choose(name, side)
    longest = max(w.length_ns for w in windows.values()) / 1e3
    low, high = st.slider(
        "Part shown, µs", 0.0, float(np.ceil(longest)), (0.0, float(np.ceil(longest))), key="timeline_part"
    )
    bars, lanes, titles = {}, {}, {}
    for name, side in sides.items():
        assert side.analysis is not None
        bars[name], lanes[name], note = _bars(side.analysis, windows[name], low, high)
        titles[name] = f"{name}: {side.source.title}, {windows[name].label}"
        st.caption(f"{name}: {note}")
    st.plotly_chart(charts.timeline(bars, lanes, titles), key="timeline", config={**charts.CONFIG, "scrollZoom": True})
    with st.expander("Launch calls, and the longest gaps in which the GPU idles inside an inference"):
        for column, (name, side) in zip(st.columns(len(sides)), sides.items()):
            with column:
                assert side.analysis is not None
                _launches_and_gaps(name, side.analysis)


def _launches_and_gaps(name: str, analysis: Analysis) -> None:
    """What it costs to get the work onto the GPU, in numbers."""
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


def _choose(name: str, side: Side) -> _Window:
    assert side.analysis is not None
    analysis = side.analysis
    table = analysis.inferences.table
    if not len(table):
        st.caption(f"{name}: {markdown(analysis.inferences.statement)} The start of the trace is shown.")
        span = analysis.trace.span_ns or (0, 1)
        return _Window(span[0], min(span[1] - span[0], _WHOLE_TRACE_WINDOW_NS), "start of the trace")
    middle = int(table["latency_ns"].argsort().iloc[len(table) // 2])
    index = st.selectbox(
        f"Inference, {name}",
        range(len(table)),
        index=middle,
        format_func=lambda i: (
            f"{table['text'].iloc[i]}: {duration(int(table['latency_ns'].iloc[i]))}"
            + (" (median)" if i == middle else "")
        ),
        key=f"inference_{name}",
    )
    row = table.iloc[index]
    return _Window(int(row["start_ns"]), int(row["latency_ns"]), str(row["text"]))


def _bars(analysis: Analysis, window: _Window, low_us: float, high_us: float) -> tuple[pd.DataFrame, list[str], str]:
    low, high = window.origin_ns + int(low_us * 1e3), window.origin_ns + int(high_us * 1e3)
    high = min(high, window.origin_ns + window.length_ns)
    trace = analysis.trace
    kernels = trace.kernels[(trace.kernels["end_ns"] > low) & (trace.kernels["start_ns"] < high)]
    classes = classified_names(trace).set_index("name")
    shown = kernels.nlargest(_MAX_BARS, "duration_ns").sort_index() if len(kernels) > _MAX_BARS else kernels
    names = shown["name"].astype(str)
    paths = {int(r): " › ".join(trace.nvtx_path(int(r))[-2:]) for r in shown["nvtx"].unique()}
    work = [
        pd.DataFrame(
            {
                "lane": "stream " + shown["stream_id"].astype(str),
                "start_ns": shown["start_ns"],
                "duration_ns": shown["duration_ns"],
                "colour_key": classes["category"].reindex(names).to_numpy() if len(classes) else [],
                "tensor_cores": classes["tensor_cores"].reindex(names).to_numpy() if len(classes) else [],
                "label": names,
                "detail": [
                    f"launched in {paths[int(r)]}" if paths[int(r)] else "launch not inside an NVTX range"
                    for r in shown["nvtx"]
                ],
            }
        )
    ]
    for frame, label in (
        (trace.memcpys, "memory copy"),
        (trace.memsets, "memory set"),
        (trace.graph_traces, "CUDA graph, recorded whole"),
    ):
        part = frame[(frame["end_ns"] > low) & (frame["start_ns"] < high)].head(_MAX_BARS)
        work.append(
            _plain(
                part,
                "stream " + part["stream_id"].astype(str),
                label,
                "layout" if label != "CUDA graph, recorded whole" else "other",
            )
        )
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    inside = ranges[(ranges["end_ns"] > low) & (ranges["start_ns"] < high)]
    levels = index.level[inside.index]
    nvtx = inside[levels < _MAX_LEVELS]
    drawn = nvtx.nlargest(_MAX_BARS, "end_ns") if len(nvtx) > _MAX_BARS else nvtx
    texts = drawn["text"].astype(str)
    work.append(
        pd.DataFrame(
            {
                "lane": [f"NVTX {level}" for level in index.level[drawn.index]],
                "start_ns": drawn["start_ns"].clip(lower=low),
                "duration_ns": drawn["end_ns"].clip(upper=high) - drawn["start_ns"].clip(lower=low),
                "colour_key": "nvtx",
                "tensor_cores": "",
                "label": texts,
                "detail": [
                    "NVTX range on the host" + (f", domain {d}" if d else "") for d in drawn["domain"].astype(str)
                ],
            }
        )
    )
    bars = pd.concat([w for w in work if len(w)] or work[:1], ignore_index=True)
    bars["start_us"] = (bars["start_ns"] - window.origin_ns) / 1e3
    bars["duration_us"] = bars["duration_ns"] / 1e3
    streams = sorted({lane for lane in bars["lane"] if lane.startswith("stream")}, key=lambda s: (len(s), s))
    lanes = sorted({lane for lane in bars["lane"] if lane.startswith("NVTX")}) + streams
    note = f"{len(shown):,} of {len(kernels):,} kernels and {len(drawn):,} of {len(inside):,} NVTX ranges in this part are drawn"
    if len(shown) < len(kernels):
        note += " (the longest ones; narrow the part to see all)"
    return bars, lanes, note + "."


def _plain(part: pd.DataFrame, lane: pd.Series, label: str, key: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lane": lane,
            "start_ns": part["start_ns"],
            "duration_ns": part["duration_ns"],
            "colour_key": key,
            "tensor_cores": "",
            "label": label,
            "detail": [f"{b:,} bytes" for b in part["bytes"]] if "bytes" in part else "",
        }
    )
