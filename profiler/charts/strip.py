"""The network as strips, one a side: a tick per kernel, as wide as it takes long, coloured by kind, with bands from block to block."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.analysis.fusion.strip import Strip
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.charts.chart import Chart
from profiler.charts.layout import LAYOUT
from profiler.charts.palette import AFTER, CATEGORY_COLOURS
from profiler.text import duration, number, plotly_text, plural, visible

_HEIGHT = 0.36  # of a strip, where the two stand at 1 and 0
_EDGE = {"width": 0.5, "color": "rgba(0,0,0,0.45)"}
_BAND, _LIT = "rgba(127,139,153,{:.2f})", f"rgba({int(AFTER[1:3], 16)},{int(AFTER[3:5], 16)},{int(AFTER[5:], 16)},0.55)"
_MAX_NAME = 400


@dataclass(frozen=True)
class Extent:
    """From where to where the kernels of a block reach on a strip, in ns of kernel time."""

    low_ns: int
    high_ns: int


def heading(name: str, strip: Strip) -> str:
    """“before: 282 kernels, 1.01 ms of kernel time”."""
    return f"{name}: {plural(len(strip.kernels), 'kernel')}, {duration(strip.time_ns)} of kernel time"


def caption(strips: Mapping[str, Strip]) -> str:
    """What a tick and a band are, and how the blocks are known."""
    said = (
        "Each tick is a kernel of the inference of median latency, as wide as its duration, in order of execution; gaps between "
        "kernels are left out."
    )
    if len(strips) == 2 and all(strip.blocks for strip in strips.values()):
        said += " Bands connect the kernels of a block of the model before and after."
    return f"{said} Blocks {'; '.join(f'{name}: {strip.basis}' for name, strip in strips.items())}."


def extents(strip: Strip) -> dict[str, Extent]:
    """Where each block is: its longest run of kernels that no other block interrupts."""
    found: dict[str, Extent] = {}
    ends = np.cumsum(strip.kernels["duration_ns"].to_numpy())
    starts = ends - strip.kernels["duration_ns"].to_numpy()
    known = [(block, k) for k, block in enumerate(strip.kernels["block"]) if block]
    for block, run in itertools.groupby(known, key=lambda item: item[0]):
        places = [k for _, k in run]
        extent = Extent(int(starts[places[0]]), int(ends[places[-1]]))
        best = found.get(block)
        if best is None or extent.high_ns - extent.low_ns > best.high_ns - best.low_ns:
            found[block] = extent
    return {block: found[block] for block in strip.blocks}


def strip_figure(strips: Mapping[str, Strip], lit: str | None = None) -> Chart:
    """One strip a side on one axis of kernel time.

    Args:
        strips: "before" and "after", or one of them.
        lit: a block to point out; the kernels of the others are drawn fainter.
    """
    figure = Chart()
    places = {name: float(len(strips) - 1 - k) for k, name in enumerate(strips)}
    longest = max(strip.time_ns for strip in strips.values()) / 1e3
    if len(strips) == 2:
        before, after = strips.values()
        _bands(figure, before, after, lit)
    for category, label in CATEGORY_LABELS.items():
        if any((strip.kernels["category"] == category).any() for strip in strips.values()):
            _ticks(figure, strips, places, category, label, lit)
    for name, strip in strips.items():
        figure.annotate(
            x=0, xanchor="left", y=places[name] + (0.32 if places[name] or len(strips) == 1 else -0.32), showarrow=False,
            text=f"<b>{plotly_text(heading(name, strip), 120)}</b>", font={"size": 14},
        )  # fmt: skip
    figure.update_layout(
        **LAYOUT,
        barmode="overlay",
        hovermode="closest",
        title="The kernels of one inference",
        height=230 + 110 * len(strips),
    )
    figure.update_xaxes(title="kernel time, µs", range=[0, longest], showgrid=False)
    figure.update_yaxes(visible=False, range=[-0.5, len(strips) - 0.5], fixedrange=True)
    return figure


def _ticks(
    figure: Chart,
    strips: Mapping[str, Strip],
    places: Mapping[str, float],
    category: str,
    label: str,
    lit: str | None,
) -> None:
    x: list[float] = []
    base: list[float] = []
    y: list[float] = []
    opacity: list[float] = []
    texts: list[str] = []
    for name, strip in strips.items():
        kernels = strip.kernels
        starts = kernels["duration_ns"].cumsum() - kernels["duration_ns"]
        mine = kernels[kernels["category"] == category]
        x += (mine["duration_ns"] / 1e3).tolist()
        base += (starts[mine.index] / 1e3).tolist()
        y += [places[name]] * len(mine)
        opacity += [1.0 if lit is None or block == lit else 0.3 for block in mine["block"]]
        texts += [
            f"{plotly_text(unit or 'no module known', 80)}<br>{plotly_text(kernel, 90)}<br>{duration(ns)}"
            for unit, kernel, ns in zip(mine["unit"], mine["name"], mine["duration_ns"])
        ]
    figure.add(
        "bar",
        x=x,
        base=base,
        y=y,
        width=_HEIGHT,
        orientation="h",
        name=label,
        marker={"color": CATEGORY_COLOURS[category], "line": _EDGE, "opacity": opacity},
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _bands(figure: Chart, before: Strip, after: Strip, lit: str | None) -> None:
    upper, lower = extents(before), extents(after)
    edges = 1 - _HEIGHT / 2, _HEIGHT / 2
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for order, block in enumerate(b for b in upper if b in lower):
        (a, b), (c, d) = ((e.low_ns / 1e3, e.high_ns / 1e3) for e in (upper[block], lower[block]))
        band = [(a, edges[0]), (b, edges[0]), (d, edges[1]), (c, edges[1]), (a, edges[0])]
        found.setdefault(_LIT if block == lit else _BAND.format(0.28 if order % 2 else 0.16), []).append(band)
        if block == lit:
            figure.annotate(
                x=(a + b + c + d) / 4, y=0.5, showarrow=False, text=plotly_text(block, 24), font={"size": 11}
            )
    for colour, bands in found.items():
        figure.add_polygons(bands, fillcolor=colour, showlegend=False)


def for_browser(strips: Mapping[str, Strip]) -> dict[str, Any]:
    """The strips as the page's component draws them: per side the kernels, and per block what each side has of it."""
    blocks = list(dict.fromkeys(block for strip in strips.values() for block in strip.blocks))
    place = {block: k for k, block in enumerate(blocks)}
    names = list(dict.fromkeys(str(n) for strip in strips.values() for n in strip.kernels["name"]))
    name_of = {name: k for k, name in enumerate(names)}
    described = []
    for side, strip in strips.items():
        kernels = strip.kernels
        described.append(
            {
                "side": side,
                "heading": heading(side, strip),
                "duration": kernels["duration_ns"].tolist(),
                "time": [duration(ns) for ns in kernels["duration_ns"]],
                "block": [place.get(block, -1) for block in kernels["block"]],
                "colour": kernels["category"].tolist(),
                "name": [name_of[str(n)] for n in kernels["name"]],
                "unit": [visible(unit) for unit in kernels["unit"]],
                "extents": {str(place[b]): [e.low_ns, e.high_ns] for b, e in extents(strip).items()},
            }
        )
    seen = {c for strip in strips.values() for c in strip.kernels["category"]}
    return {
        "sides": described,
        "blocks": [
            {"label": visible(block), "text": text} for block, text in zip(blocks, _block_texts(blocks, strips))
        ],
        "names": [visible(name[:_MAX_NAME]) for name in names],
        "colours": {c: CATEGORY_COLOURS[c] for c in seen},
        "legend": [[label, CATEGORY_COLOURS[c]] for c, label in CATEGORY_LABELS.items() if c in seen],
        "label": description(strips),
    }


def _block_texts(blocks: Sequence[str], strips: Mapping[str, Strip]) -> list[str]:
    """“layer1.0: 20 kernels, 80.2 µs → 4 kernels, 30.2 µs” of each block."""
    said: dict[str, list[str]] = {block: [] for block in blocks}
    for strip in strips.values():
        times: dict[str, list[int]] = {}
        for block, ns in zip(strip.kernels["block"], strip.kernels["duration_ns"]):
            times.setdefault(block, []).append(int(ns))
        for block in blocks:
            mine = times.get(block)
            said[block].append(f"{plural(len(mine), 'kernel')}, {duration(sum(mine))}" if mine else "none")
    return [visible(f"{block}: {' → '.join(sides)}") for block, sides in said.items()]


def description(strips: Mapping[str, Strip]) -> str:
    """The strips in words, for those who do not see them: kernels and time of each side, and by kind."""
    said = []
    for name, strip in strips.items():
        table = (
            strip.kernels.groupby("category")["duration_ns"].agg(["size", "sum"]).sort_values("sum", ascending=False)
        )
        kinds = "; ".join(
            f"{CATEGORY_LABELS[str(c)]} {number(int(n))}, {duration(int(ns))}"
            for c, n, ns in zip(table.index, table["size"], table["sum"])
        )
        said.append(f"{heading(name, strip)} ({kinds})")
    return ". ".join(said) + "."
