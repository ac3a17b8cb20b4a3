"""The rows of a fusion ledger: what a unit costs on each side, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from profiler.analysis.fusion.alignment import block_of, stage_of
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.work_table import Rows
from profiler.trace.engine_file import EngineLayer

KEPT, FUSED, ABSORBED, NEW, UNEXPLAINED = "kept", "fused", "absorbed", "new", "unexplained"
STATUSES = (KEPT, FUSED, ABSORBED, NEW, UNEXPLAINED)
_MOST_EQUAL = 8


@dataclass(frozen=True)
class Cell:
    """One side of a row. Numbers are sums over all inferences of that side.

    Attributes:
        holder: the layer or range that computes the unit.
        kernels, time_ns: kernels, and the sum of their durations.
        copies, copies_time_ns: memory copies and sets that run for it.
        rows: rows of the side's work table.
        layers: the layers whose work this is.
        by_order: placed by order of execution.
    """

    holder: str | None
    kernels: int
    time_ns: int
    copies: int
    copies_time_ns: int
    categories: tuple[str, ...]
    kernel_names: tuple[str, ...]
    rows: Rows = field(compare=False, repr=False)
    layers: tuple[EngineLayer, ...] = field(repr=False)
    by_order: bool

    @property
    def gpu_time_ns(self) -> int:
        """Kernels, copies and sets together: the one figure for how long a row takes."""
        return self.time_ns + self.copies_time_ns


@dataclass(frozen=True)
class Row:
    """A unit of the model, or work that serves none.

    Attributes:
        label: the unit, or the name of the work.
        block, stage: the parts of the model that it is in ("layer3.0", "layer3"); "" outside the model.
        status: one of :data:`STATUSES`.
        into: label of the row whose layer computes this unit, for fused and absorbed ones.
        why: how we know, in words.
        cause: of work that serves no unit: "layout or type change", "quantisation", "bias padding" or "other".
        change: between two engines, what is different: precision, tactic, split, merged; None where nothing is.
        calls: how many equal units stand in this row.
    """

    label: str
    unit: Unit | None
    module: str
    block: str
    stage: str
    before: Cell | None
    after: Cell | None
    status: str
    into: str | None
    why: str
    cause: str | None = None
    change: str | None = None
    calls: int = 1


def plain_row(label: str, module: str, cell: Cell, side: str, status: str, why: str) -> Row:
    block = block_of(module)
    before, after = (cell, None) if side == "before" else (None, cell)
    return Row(label, None, module, block, stage_of(block), before, after, status, None, why)


def unit_row(unit: Unit, before: Cell | None, after: Cell | None, status: str, into: str | None, why: str) -> Row:
    block = block_of(unit.module)
    return Row(unit.label, unit, unit.module, block, stage_of(block), before, after, status, into, why)


def collapse_equal(rows: Iterable[Row]) -> list[Row]:
    """Rows of many calls of one unit that fared alike as one row: the steps of a loop."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(_alike(row) if row.unit is not None else ("row", place), []).append(row)
    found: list[Row] = []
    renamed: dict[str, str] = {}
    for members in groups.values():
        if len(members) <= _MOST_EQUAL:
            found += members
            continue
        first = members[0]
        assert first.unit is not None
        label = f"{replace(first.unit, call=0).label} ({len(members):,} calls)"
        renamed.update((m.label, label) for m in members)
        cells = [
            _sum([c for c in (getattr(m, side) for m in members) if c is not None]) for side in ("before", "after")
        ]
        found.append(replace(first, label=label, before=cells[0], after=cells[1], calls=len(members)))
    return [replace(r, into=renamed.get(r.into or "", r.into)) for r in found]


def _alike(row: Row) -> tuple[object, ...]:
    unit = row.unit
    assert unit is not None
    shown = [
        (c.kernel_names, c.kernels > 0, c.holder if c.layers else None) if c is not None else None
        for c in (row.before, row.after)
    ]
    into = re.sub(r" \([\d,]+(?:st|nd|rd|th)(?: call)?\)$", "", row.into) if row.into else None
    return (unit.module, unit.op, row.status, into, row.cause, row.change, *shown)


def _sum(cells: list[Cell]) -> Cell | None:
    if not cells:
        return None
    return replace(
        cells[0],
        kernels=sum(c.kernels for c in cells),
        time_ns=sum(c.time_ns for c in cells),
        copies=sum(c.copies for c in cells),
        copies_time_ns=sum(c.copies_time_ns for c in cells),
        rows=np.sort(np.concatenate([c.rows for c in cells])),
        layers=cells[0].layers,
        by_order=any(c.by_order for c in cells),
    )
