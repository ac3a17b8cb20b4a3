"""Charts of the fusion ledger: a block's units above, the layers that compute them below, ribbons in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from profiler.analysis.fusion.ledger import Group, Ledger, grouped
from profiler.analysis.fusion.rows import Cell, Row
from profiler.charts.layout import LAYOUT
from profiler.charts.palette import CATEGORY_COLOURS, NEUTRAL, STATUS_COLOURS, text_on
from profiler.text import duration, plotly_text, plural

CAPTION = (
    "Boxes above are units of the model in order of execution, below the layers that compute them now; ribbons say how."
)
_MAX_BOXES = 40


@dataclass(frozen=True)
class Box:
    """A unit or a layer in :func:`collapsing_boxes`. ``into``: place of the box below that takes it over, None: nothing."""

    label: str
    note: str
    category: str
    into: int | None = None
    status: str = "kept"


def blocks(ledger: Ledger) -> list[Group]:
    """The blocks that hold units of the model."""
    return [g for g in grouped(ledger.rows, "block") if any(r.unit for r in g.rows)]


def most_collapsed(found: Sequence[Group]) -> Group:
    """The block in which most kernels vanish; of equal ones the one with fewest rows."""
    return max(found, key=lambda g: (g.before_kernels - g.after_kernels, -len(g.rows)))


def figure(ledger: Ledger, group: Group) -> go.Figure | None:
    """The picture of a block; None when nothing of it runs on one of the sides."""
    above, below = _boxes(ledger, group)
    if not above or not below:
        return None
    n = ledger.before_placement.inferences, ledger.after_placement.inferences
    titles = (
        f"before: {plural(group.before_kernels / n[0], 'kernel')}, {duration(group.before_time_ns / n[0])} per inference",
        f"after: {plural(group.after_kernels / n[1], 'kernel')}, {duration(group.after_time_ns / n[1])} per inference",
    )
    title = plotly_text(f"What became of the block {group.label}", 100)
    return collapsing_boxes(above, below, titles).update_layout(title=title)


def _boxes(ledger: Ledger, group: Group) -> tuple[list[Box], list[Box]]:
    """Units above; below the rows of the whole ledger that take them over, and what is new in the block."""
    rows = [r for r in group.rows if r.before is not None and (r.before.kernels or r.before.copies)][:_MAX_BOXES]
    by_label = {r.label: r for r in ledger.rows}
    targets: list[Row] = []
    for row in rows:
        target = by_label.get(row.into) if row.into else row
        if target is not None and target.after is not None and target.after.kernels and target not in targets:
            targets.append(target)
    targets += [r for r in group.rows if r.status == "new" and r not in targets]
    n = ledger.before_placement.inferences, ledger.after_placement.inferences
    above = []
    for row in rows:
        target = by_label.get(row.into) if row.into else row
        place = targets.index(target) if target in targets else None
        above.append(Box(_short(row), _note(row.before, n[0]), _category(row.before), place, row.status))
    below = [Box(_short(r), _note(r.after, n[1]), _category(r.after), None, r.status) for r in targets]
    return above, below


def _short(row: Row) -> str:
    label = row.label.replace(" (call ", " ×").removesuffix(")") if " (call " in row.label else row.label
    return label.removeprefix(f"{row.block}.").removeprefix(f"{row.block}: ") if row.block else label


def _note(cell: Cell | None, inferences: int) -> str:
    return duration((cell.time_ns + cell.copies_time_ns) / inferences) if cell else ""


def _category(cell: Cell | None) -> str:
    return cell.categories[0] if cell and cell.categories else "other"


def collapsing_boxes(above: Sequence[Box], below: Sequence[Box], titles: tuple[str, str]) -> go.Figure:
    """A row of units collapsing into a row of layers: boxes above and below, and a ribbon from each unit to its layer.

    Boxes are of equal width: they count kernels; times are written in them.
    """
    figure = go.Figure()
    upper, lower = _places(len(above)), _places(len(below))
    members: dict[int, list[int]] = {}
    for place, box in enumerate(above):
        if box.into is not None:
            members.setdefault(box.into, []).append(place)
    for target, sources in members.items():
        low, high = lower[target]
        width = (high - low) / len(sources)
        for order, place in enumerate(sources):
            a, b = upper[place]
            c = low + order * width
            x, y = _ribbon(a, b, c, c + width)
            status = above[place].status
            figure.add_scatter(
                x=x,
                y=y,
                fill="toself",
                mode="lines",
                line={"width": 0},
                fillcolor=_alpha(STATUS_COLOURS[status], 0.5),
                hoverinfo="skip",
                name=status,
                legendgroup=status,
                showlegend=all(above[p].status != status for t, s in members.items() for p in s if p < place),
            )
    for boxes, spans, base in ((above, upper, 1.0), (below, lower, -0.3)):
        colours = [CATEGORY_COLOURS.get(box.category, NEUTRAL) for box in boxes]
        figure.add_bar(
            x=[(a + b) / 2 for a, b in spans],
            width=[0.88 * (b - a) for a, b in spans],
            base=base,
            y=[0.3] * len(boxes),
            marker={"color": colours, "line": {"width": 0}},
            text=[f"{plotly_text(box.label, 24)}<br>{plotly_text(box.note, 24)}" for box in boxes],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"color": [text_on(c) for c in colours], "size": 11},
            hovertext=[f"<b>{plotly_text(box.label, 120)}</b><br>{plotly_text(box.note, 160)}" for box in boxes],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    for text, height in ((titles[0], 1.42), (titles[1], -0.42)):
        figure.add_annotation(
            x=0, xanchor="left", y=height, text=f"<b>{plotly_text(text, 120)}</b>", showarrow=False, font={"size": 14}
        )
    figure.update_layout(
        **{**LAYOUT, "margin": {**LAYOUT["margin"], "b": 32}},
        height=380,
        hovermode="closest",
        barmode="overlay",
        uniformtext={"minsize": 9, "mode": "hide"},  # on a phone the pointer names the boxes
    )
    figure.update_xaxes(visible=False, range=[0, 1], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.5, 1.5], fixedrange=True)
    return figure


def _places(n: int) -> list[tuple[float, float]]:
    return [(i / n, (i + 1) / n) for i in range(n)]


def _ribbon(a: float, b: float, c: float, d: float) -> tuple[list[float], list[float]]:
    """A band from [a, b] at the height of the upper boxes down to [c, d] at the lower ones, with smooth sides."""
    t = np.linspace(0.0, 1.0, 16)
    ease = 3 * t**2 - 2 * t**3
    left, right = a + (c - a) * ease, b + (d - b) * ease
    y = 1.0 - t
    return [*left, *right[::-1], left[0]], [*y, *y[::-1], y[0]]


def _alpha(colour: str, alpha: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha})"


def status_bar(counts: Mapping[str, int]) -> go.Figure:
    """Rows of the fusion ledger by what became of them, in one bar."""
    figure = go.Figure()
    for status, colour in STATUS_COLOURS.items():
        if counts.get(status):
            figure.add_bar(
                x=[counts[status]],
                y=["rows"],
                orientation="h",
                name=status,
                marker_color=colour,
                text=[f"{counts[status]:,}"],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                insidetextfont={"color": text_on(colour), "size": 13},
                hovertemplate=f"{status}: %{{x:,}}<extra></extra>",
            )
    figure.update_layout(**LAYOUT, barmode="stack", title="What became of the model's units", height=200)
    figure.update_xaxes(title="rows of the fusion ledger")
    figure.update_yaxes(visible=False)
    return figure
