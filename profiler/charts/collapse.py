"""The picture of one block of the model: its units above, the layers that compute them below, ribbons in between."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from profiler.analysis.fusion.ledger import Cell, Group, Ledger, Row, grouped
from profiler.charts import charts
from profiler.charts.charts import Box
from profiler.text import duration, number, plotly_text

CAPTION = (
    "Boxes above are units of the model in order of execution, below the layers that compute them now; ribbons say how."
)
_MAX_BOXES = 40


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
        f"before: {number(group.before_kernels / n[0])} kernels, {duration(group.before_time_ns / n[0])} per inference",
        f"after: {number(group.after_kernels / n[1])} kernels, {duration(group.after_time_ns / n[1])} per inference",
    )
    title = plotly_text(f"What became of the block {group.label}", 100)
    return charts.collapse(above, below, titles).update_layout(title=title)


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
