"""Charts of the fusion ledger: the kernels of a block before above, those that compute it now below, ribbons in between."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profiler.analysis.fusion.blocks import KERNEL, Block, Box, Work
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.charts.chart import Chart
from profiler.charts.layout import HATCH, LAYOUT
from profiler.charts.palette import CATEGORY_COLOURS, CHOSEN, NEUTRAL, STATUS_COLOURS
from profiler.charts.timeline import COPY_LABEL
from profiler.text import duration, plotly_text, plural

CAPTION = (
    "Each tick is a kernel of the inference of median latency, as wide as its duration, on one scale for both rows; idle time between "
    "kernels is left out. Hatched ticks use Tensor Cores, by name. Ribbons lead from a unit to the kernel that computes it now."
)
_GAP = 0.006  # between boxes; the widths of all are 1 together
_LABEL_STEP = 0.026
_UPPER, _LOWER, _HEIGHT = 1.0, -0.3, 0.3
_LABEL_WIDTH = 26


@dataclass(frozen=True)
class Place:
    """Where a box is across the picture, from 0 to 1, and its ticks; ``label_x`` is where its label starts."""

    low: float
    high: float
    ticks: tuple[tuple[float, float], ...]
    label_x: float


def places(block: Block) -> dict[str, list[Place]]:
    """Side → where its boxes are: both sides begin at 0 and have the same scale."""
    sides = {"before": block.before, "after": block.after}
    gaps = _GAP * max((len(boxes) - 1 for boxes in sides.values()), default=0)
    return {name: _side(boxes, (1.0 - gaps) / longest_ns(block)) for name, boxes in sides.items()}


def longest_ns(block: Block) -> int:
    """Time of the side that takes longer, in ns; 1 at least."""
    return max(1, *(sum(box.time_ns for box in boxes) for boxes in (block.before, block.after)))


def _side(boxes: Sequence[Box], scale: float) -> list[Place]:
    found, low, label = [], 0.0, -1.0
    for box in boxes:
        ends = low + np.cumsum([0, *(w.duration_ns for w in box.work)]) * scale
        high = float(ends[-1])
        label = max((low + high) / 2, label + _LABEL_STEP)
        found.append(Place(low, high, tuple(itertools.pairwise(ends.tolist())), label))
        low = high + _GAP
    return found


def heading(block: Block, side: str) -> str:
    """“before: 20 kernels, 118 µs”, of the block's own units in the inference that is drawn."""
    return f"{side}: {counted(block.own(side))}"


def counted(work: Sequence[Work]) -> str:
    """“3 kernels and 2 copies and sets, 118 µs”."""
    copies = sum(w.kind != KERNEL for w in work)
    beside = f" and {plural(copies, 'copy or set', 'copies and sets')}" if copies else ""
    return f"{plural(len(work) - copies, 'kernel')}{beside}, {duration(sum(w.duration_ns for w in work))}"


def figure(block: Block, chosen: tuple[str, str, int] | None = None) -> Chart | None:
    """The picture of a block; None when nothing of it runs on one of the sides.

    Points of bars carry (side, kind of work, row in the trace's frame) as ``customdata``.

    Args:
        chosen: the same of the tick to outline.
    """
    if not block.before or not block.after:
        return None
    where = places(block)
    made = Chart()
    _ribbons(made, block, where)
    for category, label in [*CATEGORY_LABELS.items(), (None, COPY_LABEL)]:
        _ticks(made, block, where, category, label, chosen)
    for side, base, up in (("before", _UPPER + _HEIGHT + 0.02, True), ("after", _LOWER - 0.02, False)):
        for box, place in zip(getattr(block, side), where[side]):
            made.annotate(
                x=place.label_x,
                xanchor="left",
                xshift=-4,
                y=base,
                yanchor="bottom" if up else "top",
                textangle=-45 if up else 45,
                text=plotly_text(box.label, _LABEL_WIDTH),
                showarrow=False,
                font={"size": 11},
            )
    for side, y in (("before", 2.02), ("after", -1.02)):
        made.annotate(
            x=0,
            xanchor="left",
            y=y,
            text=f"<b>{plotly_text(heading(block, side), 120)}</b>",
            showarrow=False,
            font={"size": 14},
        )
    _ruler(made, longest_ns(block))
    made.update_layout(
        **{**LAYOUT, "margin": {**LAYOUT["margin"], "b": 60}},
        title=plotly_text(f"What became of the block {block.label}", 100),
        height=500,
        hovermode="closest",
        barmode="overlay",
        clickmode="event+select",
        dragmode=False,
    )
    made.update_xaxes(visible=False, range=[0, 1.1], fixedrange=True)  # labels of the last boxes reach to the right
    made.update_yaxes(visible=False, range=[-1.1, 2.1], fixedrange=True)
    return made


def ribbons(block: Block, where: Mapping[str, Sequence[Place]]) -> dict[str, list[list[tuple[float, float]]]]:
    """Status → the ribbons of its units: from 0 to 1 across, and from 1 at the units down to 0 at what computes them."""
    members: dict[int, list[int]] = {}
    for k, box in enumerate(block.before):
        if box.into is not None:
            members.setdefault(box.into, []).append(k)
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for target, sources in members.items():
        edge, width = where["after"][target].low, where["after"][target].high - where["after"][target].low
        total = max(sum(block.before[k].time_ns for k in sources), 1)
        for k in sources:
            box, place = block.before[k], where["before"][k]
            end = edge + width * box.time_ns / total
            found.setdefault(box.row.status, []).append(_ribbon(place.low, place.high, edge, end))
            edge = end
    return found


def _ribbons(made: Chart, block: Block, where: Mapping[str, Sequence[Place]]) -> None:
    for status, polygons in ribbons(block, where).items():
        made.add_polygons(polygons, fillcolor=_alpha(STATUS_COLOURS[status], 0.45), name=f"unit {status}")


def _ticks(
    made: Chart,
    block: Block,
    where: Mapping[str, Sequence[Place]],
    category: str | None,
    label: str,
    chosen: tuple[str, str, int] | None,
) -> None:
    """The kernels of one kind; without one the copies and sets, which are half as high."""
    found = [
        (side, box, work, ends)
        for side, boxes in (("before", block.before), ("after", block.after))
        for box, place in zip(boxes, where[side])
        for work, ends in zip(box.work, place.ticks)
        if (work.category if work.kind == KERNEL else None) == category
    ]
    if not found:
        return
    height = _HEIGHT if category else _HEIGHT / 2
    lines = [3.0 if (side, w.kind, w.row) == chosen else 0.5 for side, _, w, _ in found]
    made.add(
        "bar",
        x=[(a + b) / 2 for *_, (a, b) in found],
        width=[b - a for *_, (a, b) in found],
        base=[_UPPER if side == "before" else _LOWER + _HEIGHT - height for side, *_ in found],
        y=[height] * len(found),
        name=label,
        marker={
            "color": CATEGORY_COLOURS[category] if category else NEUTRAL,
            "line": {"width": lines, "color": [CHOSEN if width > 1 else "rgba(0,0,0,0.5)" for width in lines]},
            "opacity": [0.45 if box.is_foreign else 1.0 for _, box, _, _ in found],
            "pattern": {"shape": ["/" if w.tensor_cores == "yes" else "" for _, _, w, _ in found], **HATCH},
        },
        selected={"marker": {"opacity": 1.0}},
        unselected={"marker": {"opacity": 1.0}},
        hovertext=[_hover(box, work) for _, box, work, _ in found],
        hovertemplate="%{hovertext}<extra></extra>",
        customdata=[[side, w.kind, w.row] for side, _, w, _ in found],
    )


def _hover(box: Box, work: Work) -> str:
    part = f" ({box.row.block})" if box.is_foreign and box.row.block else ""
    return (
        f"<b>{plotly_text(box.label + part, 120)}</b><br>{plotly_text(work.name, 110)}<br>{duration(work.duration_ns)}"
    )


def _ruler(made: Chart, longest: int) -> None:
    """A bar that shows the scale: 1, 2 or 5 times a power of ten, a tenth to a quarter of the width."""
    power = 10.0 ** np.floor(np.log10(longest / 4))
    length = power * max(f for f in (1, 2, 5) if f * power <= longest / 4 or f == 1)
    made.add_shape(
        type="line", x0=0.85, x1=0.85 + length / longest, y0=-1.0, y1=-1.0, line={"width": 2, "color": NEUTRAL}
    )
    made.annotate(x=0.85, xanchor="left", y=-0.93, text=duration(length), showarrow=False, font={"size": 11})


def _ribbon(a: float, b: float, c: float, d: float) -> list[tuple[float, float]]:
    """A band from [a, b] at the height 1 down to [c, d] at 0, with smooth sides."""
    t = np.linspace(0.0, 1.0, 16)
    ease = 3 * t**2 - 2 * t**3
    left, right = a + (c - a) * ease, b + (d - b) * ease
    sides = [*zip(left.tolist(), (1 - t).tolist()), *zip(right.tolist()[::-1], t.tolist())]
    return [*sides, sides[0]]


def _alpha(colour: str, alpha: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha})"
