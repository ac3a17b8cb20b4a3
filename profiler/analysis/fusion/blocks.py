"""A block of the model before and after: the kernels of its units one by one, what takes each unit over, and a sentence that says so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profiler.analysis.fusion.ledger import Group, Ledger, grouped
from profiler.analysis.fusion.placement import Placement
from profiler.analysis.fusion.rows import ABSORBED, FUSED, KEPT, NEW, UNEXPLAINED, Cell, Row
from profiler.analysis.run.run import Run
from profiler.text import listed, number, plural

KERNEL = "kernel"
MAX_BOXES = 40
_MAX_WORK = 400  # of one box
_MAX_NAMED = 4
_CALL = re.compile(r" \([\d,]+(?:st|nd|rd|th)(?: call)?\)$")


@dataclass(frozen=True)
class Work:
    """One kernel, copy or set of the inference that is shown.

    Attributes:
        kind: "kernel", "memcpy" or "memset"; ``row`` is its row in the trace's frame of that kind.
        start_ns: since the start of the trace's clock.
        tensor_cores: the verdict of its name; "" of a copy or set.
    """

    kind: str
    row: int
    name: str
    category: str
    tensor_cores: str
    start_ns: int
    duration_ns: int


@dataclass(frozen=True)
class Box:
    """The work of one ledger row on one side.

    Attributes:
        label: the row's label without the block's name.
        into: place of the box on the other side that takes it over; None: nothing does, or this is the other side.
        is_foreign: the row is in another block, and computes units of this one.
        left_out: kernels, copies and sets of the row that ``work`` does not hold.
    """

    row: Row
    label: str
    work: tuple[Work, ...]
    into: int | None = None
    is_foreign: bool = False
    left_out: int = 0

    @property
    def time_ns(self) -> int:
        return sum(w.duration_ns for w in self.work)


@dataclass(frozen=True)
class Module:
    """The units before that one row computes after."""

    before: tuple[Box, ...]
    after: Box | None

    @property
    def label(self) -> str:
        """“conv1, with bn1 and relu”."""
        names = [box.label for box in self.before]
        if self.after is None or self.after.label in names:
            head = self.after.label if self.after else names[0]
            rest = [name for name in names if name != head]
            return f"{head}, with {_some(rest)}" if rest else head
        return f"{self.after.label}, for {_some(names)}" if names else self.after.label


@dataclass(frozen=True)
class Block:
    """A block of the model in one inference of each side.

    Attributes:
        sentence: what became of its kernels, per inference, from the ledger's rows alone.
        left_out: boxes that are not in ``before`` and ``after``.
    """

    label: str
    sentence: str
    before: tuple[Box, ...]
    after: tuple[Box, ...]
    left_out: int

    @property
    def modules(self) -> list[Module]:
        """The boxes by what computes them after, in order of execution after; what nothing takes over stands alone at the end."""
        found = [Module(tuple(box for box in self.before if box.into == k), heir) for k, heir in enumerate(self.after)]
        return [*found, *(Module((box,), None) for box in self.before if box.into is None)]

    def own(self, side: str) -> list[Work]:
        """The work of the block's own rows on one side."""
        boxes: tuple[Box, ...] = getattr(self, side)
        return [w for box in boxes if not box.is_foreign for w in box.work]


def blocks(ledger: Ledger) -> list[Group]:
    """The blocks that hold units of the model and have work on a side."""
    found = grouped(ledger.rows, "block")
    return [
        g
        for g in found
        if any(r.unit for r in g.rows) and any(_has_work(c) for r in g.rows for c in (r.before, r.after))
    ]


def most_collapsed(found: Sequence[Group]) -> Group:
    """The block in which most kernels vanish; of equal ones the one with fewest rows."""
    return max(found, key=lambda g: (g.before_kernels - g.after_kernels, -len(g.rows)))


def block(ledger: Ledger, group: Group, inferences: Mapping[str, int | None] | None = None) -> Block:
    """The boxes of a block, in order of execution on each side.

    Args:
        inferences: side → the inference to show, instead of the one of median latency.
    """
    work = {side: _Inference(ledger, side, (inferences or {}).get(side)) for side in ("before", "after")}
    by_label = {row.label: row for row in ledger.rows}
    above = _in_order([r for r in group.rows if _has_work(r.before)], work["before"], "before")
    heirs = {id(row): by_label.get(row.into) if row.into else row for row, _ in above}
    taken = [r for r in [*heirs.values(), *group.rows] if r is not None and _has_work(r.after)]
    below = _in_order({id(r): r for r in taken}.values(), work["after"], "after")
    shown = below[:MAX_BOXES]
    place = {id(row): k for k, (row, _) in enumerate(shown)}
    mine = {id(r) for r in group.rows}

    def box(row: Row, held: tuple[Work, ...], side: str) -> Box:
        cell: Cell = getattr(row, side)
        own = id(row) in mine
        label = within(row, group.label) if own else row.label
        heir = heirs.get(id(row)) if side == "before" else None
        each = (cell.kernels + cell.copies) / work[side].inferences
        return Box(row, label, held, place.get(id(heir)), not own, max(0, round(each) - len(held)))

    return Block(
        group.label,
        sentence(ledger, group),
        tuple(box(row, held, "before") for row, held in above[:MAX_BOXES]),
        tuple(box(row, held, "after") for row, held in shown),
        max(0, len(above) - MAX_BOXES) + max(0, len(below) - MAX_BOXES),
    )


def _has_work(cell: Cell | None) -> bool:
    return cell is not None and bool(cell.kernels or cell.copies)


def within(row: Row, label: str) -> str:
    """A row's label without the name of its block: “relu (2nd call)”, “add”."""
    return row.label.removeprefix(f"{label}.").removeprefix(f"{label}: ").removeprefix("(model): ")


class _Inference:
    """The work of one inference of one side, by row of the ledger."""

    def __init__(self, ledger: Ledger, side: str, shown: int | None) -> None:
        placed: Placement = getattr(ledger, f"{side}_placement")
        run: Run = getattr(ledger, side)
        self.shown = run.inferences.median_inference() if shown is None else shown
        self.inferences, self.work = placed.inferences, placed.work
        self._of = placed.work["inference"].to_numpy()

    def of(self, cell: Cell) -> tuple[Work, ...]:
        rows = np.asarray(cell.rows, dtype=np.int64)
        frame = self.work.iloc[rows[self._of[rows] == self.shown][:_MAX_WORK]].sort_values("start_ns", kind="stable")
        columns = ("kind", "source_row", "name", "category", "tensor_cores", "start_ns", "duration_ns")
        return tuple(
            Work(
                str(kind), int(row), str(name), str(category), str(cores) if kind == KERNEL else "", int(start), int(ns)
            )
            for kind, row, name, category, cores, start, ns in zip(*(frame[c] for c in columns))
        )


def _in_order(rows: Iterable[Row], work: _Inference, side: str) -> list[tuple[Row, tuple[Work, ...]]]:
    found = [(row, work.of(getattr(row, side))) for row in rows]
    return sorted((f for f in found if f[1]), key=lambda f: f[1][0].start_ns)


def sentence(ledger: Ledger, group: Group) -> str:
    """What became of a block's kernels: “20 kernels became 4: 4 batch norms (12 kernels) are folded into weights; …”.

    Counts are per inference. A part that no row of the ledger supports is left out, and what nothing accounts for is unexplained.
    """
    n = ledger.before_placement.inferences, ledger.after_placement.inferences
    before, after = group.before_kernels / n[0], group.after_kernels / n[1]
    became = (
        f"{plural(before, 'kernel')} became {number(after) if after else 'none'}" if before else "no kernels before"
    )
    if before == after:
        became = f"{plural(before, 'kernel')} before and after" if before else "no kernels on either side"
    elif not before:
        became += f", {number(after)} after"
    parts = [p for p in (make(group, n) for make in (_folded, _relaid, _fused, _kept, _new, _unexplained)) if p]
    copies = [_count(group.rows, side, "copies") / n[i] for i, side in enumerate(("before", "after"))]
    if any(copies):
        parts.append(f"memory copies and sets: {number(copies[0])} before, {number(copies[1])} after")
    cells = [c for r in group.rows for c in (r.before, r.after) if c is not None]
    ordered = sum(c.by_order for c in cells)
    doubt = f" {plural(ordered, 'unit')} got kernels by order of execution, not by a range." if ordered else ""
    return f"{became[0].upper()}{became[1:]}{': ' if parts else ''}{'; '.join(parts)}.{doubt}"


def _count(rows: Iterable[Row], side: str, attribute: str = "kernels") -> int:
    return sum(getattr(getattr(r, side), attribute) for r in rows if getattr(r, side) is not None)


def _folded(group: Group, n: tuple[int, int]) -> str | None:
    rows = [r for r in group.rows if r.status == ABSORBED and r.into]
    if not rows:
        return None
    units, kernels = sum(r.calls for r in rows), _count(rows, "before") / n[0]
    held = f" ({plural(kernels, 'kernel')})" if kernels else ""
    return f"{plural(units, 'batch norm')}{held} {'is' if units == 1 else 'are'} folded into the weights of {_heirs(rows, group.label)}"


def _relaid(group: Group, n: tuple[int, int]) -> str | None:
    kernels = _count([r for r in group.rows if r.status == ABSORBED and not r.into], "before") / n[0]
    return f"{plural(kernels, 'kernel')} that changed the memory layout went away" if kernels else None


def _fused(group: Group, n: tuple[int, int]) -> str | None:
    rows = [r for r in group.rows if r.status == FUSED]
    if not rows:
        return None
    kernels = _count(rows, "before") / n[0]
    held = f" ({plural(kernels, 'kernel')})" if kernels else ""
    is_one = sum(r.calls for r in rows) == 1
    verb = "is" if is_one else "are"
    return f"{_named(rows, group.label)}{held} {verb} computed inside the kernels of {_heirs(rows, group.label)}"


def _kept(group: Group, n: tuple[int, int]) -> str | None:
    rows = [r for r in group.rows if r.status == KEPT]
    if not rows:
        return None
    counts = f"{number(_count(rows, 'before') / n[0])} before, {number(_count(rows, 'after') / n[1])} after"
    is_one = sum(r.calls for r in rows) == 1
    return f"{_named(rows, group.label)} {'keeps its' if is_one else 'keep their'} own kernels ({counts})"


def _new(group: Group, n: tuple[int, int]) -> str | None:
    rows = [r for r in group.rows if r.status == NEW]
    kernels = _count(rows, "after") / n[1]
    causes = listed(dict.fromkeys(r.cause for r in rows if r.cause and r.cause != "other"))
    why = f" ({causes})" if causes else ""
    return f"{plural(kernels, 'kernel')} {'is' if kernels == 1 else 'are'} added after{why}" if kernels else None


def _unexplained(group: Group, n: tuple[int, int]) -> str | None:
    rows = [r for r in group.rows if r.status == UNEXPLAINED]
    counts = [_count(rows, side) / n[i] for i, side in enumerate(("before", "after"))]
    return f"unexplained: {number(counts[0])} before, {number(counts[1])} after" if any(counts) else None


def _named(rows: Sequence[Row], label: str) -> str:
    """“3 calls of relu and add”: names as the model gives them, without which call it is."""
    calls: Counter[str] = Counter()
    for row in rows:
        name = re.sub(r" \([\d,]+ calls\)$", "", _CALL.sub("", within(row, label)))
        calls[name] += row.calls
    return _some([name if count == 1 else f"{count:,} calls of {name}" for name, count in calls.items()])


def _heirs(rows: Sequence[Row], label: str) -> str:
    """The units whose kernels compute these rows."""
    names = dict.fromkeys(_CALL.sub("", r.into.removeprefix(f"{label}.")) for r in rows if r.into)
    return _some(list(names)) if names else "other units"


def _some(said: list[str]) -> str:
    return listed(
        said if len(said) <= _MAX_NAMED else [*said[: _MAX_NAMED - 1], f"{len(said) - _MAX_NAMED + 1} others"]
    )
