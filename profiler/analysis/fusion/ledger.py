"""The fusion ledger: for every unit of the model what it cost before, what computes it after, and what vanished and why.

Every kernel, copy and set of both traces' inferences is in exactly one row, so the rows' sums equal the totals. A layer that
computes several units has its kernels in the row of its main operation (the convolution, the matrix product, else the
first); the other units' rows say that they are fused into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from profiler.analysis.fusion import placement
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.placement import HEAVY_CATEGORIES, KERNEL, LAYER, RANGE, Extra, Holding, Placement, Rows
from profiler.analysis.run.run import Run
from profiler.analysis.tabular import Tabular
from profiler.errors import NotComparableError, TraceError
from profiler.trace.engine_file import EngineLayer
from profiler.trace.manifest import companion

KEPT, FUSED, ABSORBED, NEW, UNEXPLAINED = "kept", "fused", "absorbed", "new", "unexplained"
STATUSES = (KEPT, FUSED, ABSORBED, NEW, UNEXPLAINED)
_MUCH_ADDED_PCT = 10.0
_NORMALISATION = re.compile(r"^(bn|norm|batch_?norm|batchnorm2d)\d*$", re.IGNORECASE)


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
    rows: Rows = field(compare=False)
    layers: tuple[EngineLayer, ...]
    by_order: bool


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


@dataclass(frozen=True)
class Coverage:
    """How much of one side is in rows that are explained."""

    kernels: int
    kernels_explained: int
    time_ns: int
    time_explained_ns: int

    @property
    def kernels_pct(self) -> float | None:
        return 100.0 * self.kernels_explained / self.kernels if self.kernels else None

    @property
    def time_pct(self) -> float | None:
        return 100.0 * self.time_explained_ns / self.time_ns if self.time_ns else None


@dataclass(frozen=True, repr=False)
class Ledger(Tabular):
    """The whole ledger; ``rows`` in order of execution before, then what is only after."""

    before: Run
    after: Run
    before_placement: Placement
    after_placement: Placement
    rows: tuple[Row, ...]
    findings: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        return f"{len(self.rows):,} rows: " + ", ".join(f"{n:,} {status}" for status, n in self.by_status.items() if n)

    def to_frame(self) -> pd.DataFrame:
        """A row a row of the ledger; counts and times are sums over all inferences of a side, missing where it has no such work."""
        sides = ("before", "after")
        return pd.DataFrame(
            [
                {
                    "unit": row.label,
                    "block": row.block,
                    "status": row.status,
                    "into": row.into,
                    **{f"kernels_{s}": cell.kernels if (cell := getattr(row, s)) else None for s in sides},
                    **{f"time_{s}_ns": cell.time_ns if (cell := getattr(row, s)) else None for s in sides},
                    "why": row.why,
                }
                for row in self.rows
            ]
        )

    def coverage(self, side: str) -> Coverage:
        cells = [(getattr(r, side), r.status) for r in self.rows if getattr(r, side) is not None]
        good = [c for c, status in cells if status != UNEXPLAINED]
        return Coverage(
            sum(c.kernels for c, _ in cells),
            sum(c.kernels for c in good),
            sum(c.time_ns + c.copies_time_ns for c, _ in cells),
            sum(c.time_ns + c.copies_time_ns for c in good),
        )

    @cached_property
    def by_status(self) -> dict[str, int]:
        """Rows per status."""
        return {s: sum(r.status == s for r in self.rows) for s in STATUSES}


def engine_file_of(analysis: Run) -> Path | None:
    """The engine description beside a trace: the file that its manifest names as ``layers``."""
    return companion(analysis.trace.path, analysis.facts.manifest, "layers")


def build_ledger(
    before: Run, after: Run, before_engine: Path | None = None, after_engine: Path | None = None
) -> Ledger:
    """Hold the units of two traces against each other.

    Args:
        before_engine, after_engine: engine inspector JSON files; by default those that the manifests name.

    Raises:
        NotComparableError: one side hides its kernels inside graph launches.
        TraceError: one side has no inferences or no kernels.
    """
    for side in (before, after):
        if side.trace.has_hidden_graph_kernels:
            raise NotComparableError(side.trace.graph_level_message)
        if side.trace.no_kernels_reason:
            raise TraceError(side.trace.no_kernels_reason)
        if not side.inferences.count:
            raise TraceError(f"{side.trace.path}: {side.inferences.statement}", "Name the ranges with --nvtx PATTERN.")
    first = placement.place(before.trace, before.inferences, before_engine or engine_file_of(before))
    known = first.paths if first.basis == RANGE else frozenset()
    second = placement.place(after.trace, after.inferences, after_engine or engine_file_of(after), known)
    if second.basis == KERNEL and first.basis != KERNEL:
        table = placement.WorkTable(first.work)
        kinds = {u: placement.main_category(table.categories(h.work)) for u, h in first.holdings.items()}
        second = placement.place_by_kernels(second, first.order, kinds)
    rows = _Join(first, second).rows()
    ledger = Ledger(before, after, first, second, tuple(rows))
    return Ledger(before, after, first, second, tuple(rows), tuple(_findings(ledger)))


class _Join:
    """Matches the units of two placements, and says what became of each."""

    def __init__(self, before: Placement, after: Placement) -> None:
        self.before, self.after = before, after
        self.tables = {id(p): placement.WorkTable(p.work) for p in (before, after)}
        self.twin = self._match_operations()
        self.matched = {self.twin.get(u, u) for u in before.order}

    def _match_operations(self) -> dict[Unit, Unit]:
        """Operations of a block (a residual addition) that the two sides place in different blocks, or name differently.

        The framework's side knows such an operation by the modules around it; the engine's side by its block. The innermost
        block around the neighbours that has an unmatched operation of the same kind is taken, in order of execution.
        """
        here, there = set(self.before.order), set(self.after.order)
        free = [u for u in self.after.order if u.op is not None and u not in here]
        found: dict[Unit, Unit] = {}
        for unit in self.before.order:
            if unit.op is None or unit in there:
                continue
            around = [unit.module, *self.before.neighbours.get(unit, ())]
            blocks = sorted({b for m in around for b in _ancestors(m)}, key=len, reverse=True)
            for block in blocks:
                twin = next((f for f in free if f.module == block and (unit.op in (f.op, "operation"))), None)
                if twin is not None:
                    free.remove(twin)
                    found[unit] = twin
                    break
        return found

    def rows(self) -> list[Row]:
        rows = [self._unit_row(unit) for unit in self.before.order]
        rows += [self._after_only(unit) for unit in self.after.holdings if unit not in self.matched]
        rows += [self._extra_row(extra, "before") for extra in self.before.extras if len(extra.work)]
        rows += [self._extra_row(extra, "after") for extra in self.after.extras if len(extra.work)]
        for side, placed in (("before", self.before), ("after", self.after)):
            if len(placed.loose):
                cell = self._cell(placed, None, placed.loose, [], False)
                why = "launched outside every module" if placed.basis == RANGE else placed.how
                label = f"({side}: kernels that belong to no unit)"
                rows.append(_row(label, None, "", cell, side, UNEXPLAINED, None, why))
        return rows

    def _unit_row(self, unit: Unit) -> Row:
        held = self.before.holdings[unit]
        before = self._cell(self.before, _holder(self.before, unit, held), held.work, held.layers, held.by_order)
        twin = self.twin.get(unit, unit)
        there = self.after.holdings.get(twin)
        if there is None:
            status, into, why = self._vanished(unit, before)
            return _unit_row(unit, before, None, status, into, why)
        holder = _holder(self.after, twin, there)
        after = self._cell(self.after, holder, there.work, there.layers, there.by_order)
        order = f"; {self.after.how}" if there.by_order else ""
        if there.layers or self.after.basis != LAYER:
            return _unit_row(unit, before, after, KEPT, None, f"computed by {self._what(holder)}{order}")
        main = self.after.anchors.get(there.inside if there.inside is not None else -1)
        into = self._label_of(main) if main is not None else None
        return _unit_row(unit, before, after, FUSED, into, f"computed inside {self._what(holder)}{order}")

    @staticmethod
    def _what(holder: str | None) -> str:
        return f"the layer “{holder}”" if holder else "the kernel of its kind and place in the order"

    def _label_of(self, unit: Unit) -> str:
        back = {t: u for u, t in self.twin.items()}
        return back.get(unit, unit).label

    def _vanished(self, unit: Unit, before: Cell) -> tuple[str, str | None, str]:
        """What became of a unit that no layer names: (status, into, why)."""
        if not before.kernels and not before.copies:
            return ABSORBED, None, "launches nothing before, and no layer after names it"
        region = self._region(unit)
        if region is not None:
            layer, first = region
            return (
                FUSED,
                self._label_of(first),
                (
                    f"inside the region “{layer.name}”, which TensorRT compiled as a whole: by order of execution, as the "
                    "region's name gives its ends only"
                ),
            )
        if self._is_normalisation(unit, before):
            product = self._product_before(unit)
            if product is not None:
                return ABSORBED, self._label_of(product), self._absorption(product)
        if before.categories and set(before.categories) == {"layout"}:
            return ABSORBED, None, "a change of memory layout that the engine does not need"
        if self.after.basis == KERNEL and self._kind_is_gone(before):
            return (
                FUSED,
                None,
                (
                    "no kernel of its kind is left after, so another kernel computes it; which one cannot be known without layer "
                    "ranges or an engine description"
                ),
            )
        return UNEXPLAINED, None, "no layer after names it"

    def _kind_is_gone(self, before: Cell) -> bool:
        left = set(self.after.work["category"].unique())
        return bool(before.categories) and not left & set(before.categories)

    def _region(self, unit: Unit) -> tuple[EngineLayer, Unit] | None:
        order = {u: i for i, u in enumerate(self.before.order)}
        for place, first, last in self.after.regions:
            back = {t: u for u, t in self.twin.items()}
            low, high = order.get(back.get(first, first)), order.get(back.get(last, last))
            if low is not None and high is not None and low <= order[unit] <= high:
                return self.after.layers[place], first
        return None

    @staticmethod
    def _is_normalisation(unit: Unit, before: Cell) -> bool:
        return "normalisation" in before.categories or bool(_NORMALISATION.match(unit.module.rpartition(".")[2]))

    def _product_before(self, unit: Unit) -> Unit | None:
        """The convolution or matrix product right before a normalisation, if the engine computes it."""
        place = self.before.order.index(unit)
        for previous in reversed(self.before.order[:place]):
            held = self.before.holdings[previous]
            kinds = self.tables[id(self.before)].categories(held.work)
            if not len(held.work):
                continue  # an identity or a dropout in between changes nothing
            if previous.op is None and any(k in HEAVY_CATEGORIES for k in kinds) and previous in self.after.holdings:
                return previous
            return None
        return None

    def _absorption(self, product: Unit) -> str:
        layers = [self.after.layers[i] for i in self.after.holdings[product].layers]
        counts = [
            v.get("Count") for la in layers for k, v in la.raw.items() if k.endswith("Bias") and isinstance(v, dict)
        ]
        held = next((c for c in counts if isinstance(c, int) and c > 0), None)
        evidence = f"; the layer's bias holds {held:,} values" if held else ""
        return f"its scale and shift are in the weights and bias of {product.label}{evidence}: no operation of its own is left"

    def _after_only(self, unit: Unit) -> Row:
        held = self.after.holdings[unit]
        holder = _holder(self.after, unit, held)
        cell = self._cell(self.after, holder, held.work, held.layers, held.by_order)
        if held.layers and len(held.work):
            why = "the before trace has no work that belongs to it"
            return _unit_row(unit, None, cell, UNEXPLAINED, None, why)
        main = self.after.anchors.get(held.inside if held.inside is not None else -1)
        into = self._label_of(main) if main is not None else None
        return _unit_row(
            unit, None, cell, FUSED if into else ABSORBED, into, "launched nothing before, and nothing of its own after"
        )

    def _extra_row(self, extra: Extra, side: str) -> Row:
        placed: Placement = getattr(self, side)
        cell = self._cell(
            placed, extra.label, extra.work, [extra.layer] if extra.layer is not None else [], extra.by_order
        )
        if side == "before":
            why = f"{extra.why}; not there after"
            return replace(_row(extra.label, None, extra.module, cell, side, ABSORBED, None, why), cause=extra.cause)
        return replace(_row(extra.label, None, extra.module, cell, side, NEW, None, extra.why), cause=extra.cause)

    def _cell(self, placed: Placement, holder: str | None, rows: Rows, layers: list[int], by_order: bool) -> Cell:
        table = self.tables[id(placed)]
        kernels, time = table.count_and_time(rows, kernels=True)
        copies, copies_time = table.count_and_time(rows, kernels=False)
        return Cell(
            holder,
            kernels,
            time,
            copies,
            copies_time,
            table.categories(rows),
            table.kernel_names(rows),
            rows,
            tuple(placed.layers[i] for i in layers),
            by_order,
        )


def _holder(placed: Placement, unit: Unit, held: Holding) -> str | None:
    if placed.basis == RANGE:
        return unit.label
    if held.layers:
        return " | ".join(placed.layers[i].name for i in held.layers)
    return placed.layers[held.inside].name if held.inside is not None else None


def _unit_row(unit: Unit, before: Cell | None, after: Cell | None, status: str, into: str | None, why: str) -> Row:
    block = block_of(unit.module)
    return Row(unit.label, unit, unit.module, block, stage_of(block), before, after, status, into, why)


def _row(
    label: str, unit: Unit | None, module: str, cell: Cell, side: str, status: str, into: str | None, why: str
) -> Row:
    block = block_of(module)
    before, after = (cell, None) if side == "before" else (None, cell)
    return Row(label, unit, module, block, stage_of(block), before, after, status, into, why)


def block_of(module: str) -> str:
    """The block of a module: its path up to the first run of numbers ("layer3.0.conv1" → "layer3.0")."""
    parts = module.split(".")
    first = next((i for i, p in enumerate(parts) if p.isdigit()), None)
    if first is None:
        return parts[0]
    last = first
    while last + 1 < len(parts) and parts[last + 1].isdigit():
        last += 1
    return ".".join(parts[: last + 1])


def stage_of(block: str) -> str:
    """The stage of a block: what is left without its last number ("layer3.0" → "layer3")."""
    head, _, tail = block.rpartition(".")
    return head if head and tail.isdigit() else block


def _ancestors(module: str) -> list[str]:
    """The module and every block around it, the model ("") last."""
    parts = module.split(".") if module else []
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)] + [""]


@dataclass(frozen=True)
class Group:
    """Rows of one block or stage together; sums over all inferences of each side."""

    label: str
    rows: tuple[Row, ...]

    def _sum(self, side: str, attribute: str) -> int:
        return sum(getattr(getattr(r, side), attribute) for r in self.rows if getattr(r, side) is not None)

    @property
    def before_kernels(self) -> int:
        return self._sum("before", "kernels")

    @property
    def after_kernels(self) -> int:
        return self._sum("after", "kernels")

    @property
    def before_time_ns(self) -> int:
        return self._sum("before", "time_ns") + self._sum("before", "copies_time_ns")

    @property
    def after_time_ns(self) -> int:
        return self._sum("after", "time_ns") + self._sum("after", "copies_time_ns")


def grouped(rows: Iterable[Row], by: str) -> list[Group]:
    """Rows by "block" or "stage", in order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(getattr(row, by) or "(outside the model)", []).append(row)
    return [Group(label, tuple(members)) for label, members in groups.items()]


def _findings(ledger: Ledger) -> list[str]:
    """What stands out, in plain sentences made from the rows."""
    found: list[str] = []
    n = ledger.after_placement.inferences
    total = ledger.coverage("after").time_ns
    causes: dict[str, list[int]] = {}
    for row in ledger.rows:
        if row.status == NEW and row.after is not None:
            sums = causes.setdefault(row.cause or placement.OTHER, [0, 0])
            sums[0] += row.after.kernels
            sums[1] += row.after.time_ns + row.after.copies_time_ns
    kernels, time = (sum(c[i] for c in causes.values()) for i in (0, 1))
    if not time or not total:
        return found
    share = 100.0 * time / total
    by_time = sorted(causes.items(), key=lambda item: -item[1][1])
    parts = "; ".join(f"{cause}: {_kernels(k / n)}, {t / n / 1e3:,.1f} µs" for cause, (k, t) in by_time)
    found.append(
        f"Added after: {_kernels(kernels / n)} per inference for no unit of the model, {time / n / 1e3:,.1f} µs, {share:.1f} % of "
        f"the GPU time ({parts})."
    )
    if share >= _MUCH_ADDED_PCT and "int8" in set(ledger.after_placement.work["precision"].unique()):
        found.append(
            "That is a large part of the time after. In an INT8 engine the usual cause is where the Q/DQ nodes are: quantise "
            "every input and weight of convolutions and matrix products, the skip input only of residual additions, and the "
            "inputs of poolings."
        )
    return found


def _kernels(number: float) -> str:
    return f"{number:g} kernel{'' if number == 1 else 's'}"
