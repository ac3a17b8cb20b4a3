"""What became of each unit: the rows of a ledger from two sides whose units have one name.

A row says *fused*, *absorbed* or *kept* only with evidence that it names: the layer or kernel that computes the unit, or the anchors
around it and what runs between them. What nothing accounts for is *unexplained*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from profiler.analysis.fusion import placement
from profiler.analysis.fusion.alignment import BY_ORDER
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.operators import (
    CONCAT,
    HEAVY_CATEGORIES,
    LAYOUT,
    NORMALISATION,
    NOTHING,
    Kinds,
    are_alike,
    fused_operators,
    is_batch_norm,
    is_heavy,
)
from profiler.analysis.fusion.placement import KERNEL, LAYER, RANGE, Extra, Holding, Placement
from profiler.analysis.fusion.rows import ABSORBED, FUSED, KEPT, NEW, UNEXPLAINED, Cell, Row, plain_row, unit_row
from profiler.analysis.fusion.work_table import Rows, WorkTable
from profiler.lazy import cached_property
from profiler.trace.engine_file import EngineLayer

_NAMED_AS_NORM = re.compile(r"^(bn|norm|batch_?norm|batchnorm2d)\d*$", re.IGNORECASE)
_ONE_OF_SEVERAL = re.compile(r"_myl\d+_\d+$")


class Sides:
    """Two sides whose units have one name, and cells made from them."""

    def __init__(self, before: Placement, after: Placement, how: dict[Unit, str]) -> None:
        self.before, self.after, self.how = before, after, how
        self.meet = bool(how)
        self.tables = {id(p): WorkTable(p.work) for p in (before, after)}

    def unit_cell(self, placed: Placement, unit: Unit) -> Cell:
        held = placed.holdings[unit]
        return self.cell(
            placed, _holder(self.tables[id(placed)], placed, unit, held), held.work, held.layers, held.by_order
        )

    def cell(self, placed: Placement, holder: str | None, rows: Rows, layers: list[int], by_order: bool) -> Cell:
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

    def beside_the_model(self) -> list[Row]:
        """Rows for work that serves no unit, and for work that belongs nowhere."""
        there = {e.label: e for e in self.after.extras if len(e.work) and e.cause is not None}
        here = {e.label for e in self.before.extras if len(e.work)}
        rows = [self._extra_row(e, "before", there.get(e.label)) for e in self.before.extras if len(e.work)]
        rows += [
            self._extra_row(e, "after")
            for e in self.after.extras
            if len(e.work) and (e.label not in here or e.cause is None)
        ]
        for side, placed in (("before", self.before), ("after", self.after)):
            if len(placed.loose):
                cell = self.cell(placed, None, placed.loose, [], False)
                why = (
                    "launched outside every module" if placed.basis == RANGE else "launched outside every layer's range"
                )
                if placed.basis == KERNEL:
                    why = "kernels of inferences that run other kernels than most do"
                rows.append(plain_row(f"({side}: kernels that belong to no unit)", "", cell, side, UNEXPLAINED, why))
        return rows

    def _extra_row(self, extra: Extra, side: str, twin: Extra | None = None) -> Row:
        placed: Placement = getattr(self, side)
        layers = [extra.layer] if extra.layer is not None else []
        cell = self.cell(placed, extra.label, extra.work, layers, extra.by_order)
        if extra.cause is None:
            return plain_row(extra.label, extra.module, cell, side, UNEXPLAINED, extra.why)
        status, why = (NEW, extra.why) if side == "after" else (ABSORBED, f"{extra.why}; not there after")
        if twin is not None:
            status, why = KEPT, f"{extra.why}, on both sides"
        elif side == "before" and not self.meet:
            status, why = UNEXPLAINED, f"{extra.why}; nothing of the two sides could be matched"
        elif extra.cause == placement.COPIES:
            status, why = UNEXPLAINED, f"{extra.why}; on the other side the inferences have none"
        row = replace(plain_row(extra.label, extra.module, cell, side, status, why), cause=extra.cause)
        if twin is None:
            return row
        layers = [twin.layer] if twin.layer is not None else []
        return replace(row, after=self.cell(self.after, twin.label, twin.work, layers, twin.by_order))


def _holder(table: WorkTable, placed: Placement, unit: Unit, held: Holding) -> str | None:
    if placed.basis == RANGE:
        return unit.label
    main = held if held.inside is None or held.layers else placed.holdings.get(held.inside, held)
    if placed.basis == KERNEL:
        return next((n for n in table.kernel_names(main.work)), None)
    return " | ".join(placed.layers[i].name for i in main.layers) if main.layers else None


@dataclass(frozen=True)
class _Segment:
    """Units of the after side behind a product, up to the place ``end`` of the next product.

    ``kinds`` are those of all of them, ``new`` those of the ones that the before side does not have.
    """

    end: int
    kinds: frozenset[Kinds]
    new: frozenset[Kinds]


class UnitRows:
    """Rows unit by unit: a framework's side before, whatever computes it after."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.before, self.after = sides.before, sides.after
        self.tables = sides.tables
        self._here = {u: k for k, u in enumerate(self.before.order)}
        self._there = {u: k for k, u in enumerate(self.after.order)}
        self._segments: dict[Unit, _Segment] = {}
        self._generated: dict[tuple[Unit, Kinds], tuple[Unit, str] | None] = {}

    def rows(self) -> list[Row]:
        rows = [self._unit_row(unit) for unit in self.before.order]
        rows += [self._after_only(unit) for unit in self.after.order if unit not in self.before.holdings]
        return [row for row in rows if row.status != UNEXPLAINED or not self._only_listed(row)]

    def _only_listed(self, row: Row) -> bool:
        """Whether a unit is known only from the list in a generated kernel's name, and has no work of its own."""
        held = [(p, p.holdings.get(row.unit)) for p in (self.before, self.after) if row.unit is not None]
        return all(h is None or (p.basis == KERNEL and h.inside is not None and not len(h.work)) for p, h in held)

    def _unit_row(self, unit: Unit) -> Row:
        before = self.sides.unit_cell(self.before, unit)
        there = self.after.holdings.get(unit)
        if there is None:
            status, into, why = self._vanished(unit, before)
            return unit_row(unit, before, None, status, into, why)
        after = self.sides.unit_cell(self.after, unit)
        order = self._evidence(unit, there)
        dla = self._dla(unit)
        if dla is not None:
            return unit_row(unit, before, after, UNEXPLAINED, None, dla)
        if (
            there.inside is None or after.kernels
        ):  # a unit with kernels of its own is not gone, though a part of it may be
            part = f"; a part of it inside {there.inside.label}" if there.inside is not None else ""
            return unit_row(unit, before, after, KEPT, None, f"computed by {self._what(after.holder)}{part}{order}")
        return unit_row(
            unit, before, after, FUSED, there.inside.label, f"computed inside {self._what(after.holder)}{order}"
        )

    def _evidence(self, unit: Unit, there: Holding) -> str:
        found = "; kernels given to it by order" if there.by_order else ""
        return found + (f"; matched {BY_ORDER}" if self.sides.how.get(unit) == BY_ORDER else "")

    def _what(self, holder: str | None) -> str:
        if holder is None:
            return "the kernel of its kind and place in the order"
        return f"the kernel “{holder[:200]}”" if self.after.basis == KERNEL else f"the layer “{holder}”"

    def _dla(self, unit: Unit) -> str | None:
        held = self.after.holdings[unit]
        main = held if held.inside is None else self.after.holdings.get(held.inside, held)
        place = next((k for k in main.layers if k in self.after.dla), None)
        if place is None:
            return None
        return f"runs on the DLA in “{self.after.layers[place].name}”; nsys records no time there, so nothing can be compared"

    def _vanished(self, unit: Unit, before: Cell) -> tuple[str, str | None, str]:
        """What became of a unit that nothing after names: (status, into, why)."""
        idle = not before.kernels and not before.copies
        if idle and (self.before.basis == RANGE or self.before.holdings[unit].kinds == frozenset({NOTHING})):
            return ABSORBED, None, "launches nothing before, and nothing after names it"
        region = self._region(unit)
        if region is not None:
            place, layer, first = region
            if place in self.after.dla:
                return (
                    UNEXPLAINED,
                    None,
                    f"runs on the DLA in “{layer.name}”; nsys records no time there, so nothing can be compared",
                )
            why = "which TensorRT compiled as a whole: by order of execution, as the region's name gives its ends only"
            return FUSED, first.label, f"inside the region “{layer.name}”, {why}"
        listed = self._generated_kernel(unit)
        if listed is not None:
            main, kernel = listed
            return (
                FUSED,
                main.label,
                f"the kernel “{kernel[:200]}”, the next after its place, lists an operator of its kind",
            )
        if self._is_normalisation(unit, before):
            product = self._product_before(unit)
            if product is not None and not self._norm_is_left(product):
                return ABSORBED, product.label, self._absorption(product)
        if self.sides.meet and before.categories and set(before.categories) == {"layout"}:
            return ABSORBED, None, "by the kernels' names a change of memory layout, and none is left for it after"
        anchor = self._nothing_between(unit)
        if anchor is not None:
            why = f"after, nothing that could be it runs between {anchor.label} and the next product: a kernel beside it does, by order"
            return FUSED, anchor.label, why
        if idle:
            inside = self.before.holdings[unit].inside
            target = inside if inside is not None and inside in self.after.holdings else None
            if target is not None:
                return UNEXPLAINED, None, f"before it is inside the kernel of {target.label}; nothing after names it"
        return (
            UNEXPLAINED,
            None,
            "no layer after names it" if self.after.basis == LAYER else "no kernel after can be said to compute it",
        )

    def _region(self, unit: Unit) -> tuple[int, EngineLayer, Unit] | None:
        for place, first, low, high in self._regions:
            if low is not None and high is not None and low <= self._here[unit] <= high:
                return place, self.after.layers[place], self.after.mains.get(place, first)
        return None

    @cached_property
    def _regions(self) -> list[tuple[int, Unit, int | None, int | None]]:
        """Layer, first unit and ends (places in the order before) of each region."""
        return [(k, a, self._end(a, first=True), self._end(b, first=False)) for k, a, b in self.after.regions]

    def _end(self, unit: Unit, first: bool) -> int | None:
        """The place of a region's end in the order before: of the unit itself, or of the first or last inside its module."""
        if unit in self._here:
            return self._here[unit]
        inside = [
            k
            for u, k in self._here.items()
            if unit.module and (u.module == unit.module or u.module.startswith(f"{unit.module}."))
        ]
        return (min if first else max)(inside, default=None)

    def _generated_kernel(self, unit: Unit) -> tuple[Unit, str] | None:
        """The next generated kernel after the unit's place whose name lists an operator of its kind, two anchors ahead at most."""
        kinds, anchor = self.before.holdings[unit].kinds, self._anchor_before(unit)
        if self.after.basis != KERNEL or not kinds or anchor is None:
            return None
        key = anchor, kinds
        if key not in self._generated:
            self._generated[key] = self._generated_after(anchor, kinds)
        return self._generated[key]

    def _generated_after(self, anchor: Unit, kinds: Kinds) -> tuple[Unit, str] | None:
        passed = 0
        for place in range(self._there[anchor] + 1, len(self.after.order)):
            other = self.after.order[place]
            held = self.after.holdings[other]
            passed += is_heavy(held.kinds)
            if passed > 1:
                return None
            if not are_alike(held.kinds, kinds):
                continue
            main = held.inside or other
            names = self.tables[id(self.after)].kernel_names(self.after.holdings[main].work)
            if names and fused_operators(names[0]):
                return main, names[0]
        return None

    def _anchor_before(self, unit: Unit) -> Unit | None:
        """The last product before a unit, if the other side has it."""
        anchor = self._anchors[self._here[unit]]
        return anchor if anchor in self.after.holdings else None

    @cached_property
    def _anchors(self) -> list[Unit | None]:
        """For each unit before the last product that runs before it."""
        found: list[Unit | None] = []
        last: Unit | None = None
        for unit in self.before.order:
            found.append(last)
            if is_heavy(self.before.holdings[unit].kinds):
                last = unit
        return found

    def _segment_after(self, anchor: Unit) -> _Segment:
        """What runs after an anchor until the next product, on the after side."""
        if anchor not in self._segments:
            end = self._there[anchor] + 1
            kinds: set[Kinds] = set()
            new: set[Kinds] = set()
            while end < len(self.after.order) and not is_heavy(self.after.holdings[self.after.order[end]].kinds):
                unit = self.after.order[end]
                kinds.add(self.after.holdings[unit].kinds)
                if unit not in self.before.holdings:
                    new.add(self.after.holdings[unit].kinds)
                end += 1
            self._segments[anchor] = _Segment(end, frozenset(kinds), frozenset(new))
        return self._segments[anchor]

    def _nothing_between(self, unit: Unit) -> Unit | None:
        """The anchor before a unit, where the after side names only products and nothing unaccounted runs behind this one."""
        anchor = self._anchor_before(unit)
        if anchor is None or not self.before.holdings[unit].kinds:
            return None
        layers = self.after.holdings[anchor].layers
        only_product = bool(layers) and all(
            _ONE_OF_SEVERAL.search(self.after.layers[k].name) and not self.after.layers[k].metadata for k in layers
        )
        if self.after.basis != KERNEL and not only_product:
            return None
        segment = self._segment_after(anchor)
        alike = any(are_alike(kinds, self.before.holdings[unit].kinds) for kinds in segment.kinds)
        return None if segment.new or alike else anchor

    def _is_normalisation(self, unit: Unit, before: Cell) -> bool:
        """Whether a unit is a batch norm, whose scale and shift can go into the weights of the product before it."""
        names = (*before.kernel_names, unit.op or "")
        if NORMALISATION in self.before.holdings[unit].kinds or NORMALISATION in before.categories:
            tail = unit.module.rpartition(".")[2]
            return is_batch_norm(names) or (
                bool(_NAMED_AS_NORM.match(tail))
                and not re.search("layer_?norm|group_?norm|rms", " ".join(names).lower())
            )
        return not before.kernel_names and bool(_NAMED_AS_NORM.match(unit.module.rpartition(".")[2]))

    def _product_before(self, unit: Unit) -> Unit | None:
        """The convolution or matrix product right before a normalisation, if the after side computes it."""
        product = self._products[self._here[unit]]
        return product if product in self.after.holdings else None

    @cached_property
    def _products(self) -> list[Unit | None]:
        """For each unit before what runs right before it, if that is a convolution or product."""
        found: list[Unit | None] = []
        last: Unit | None = None
        for unit in self.before.order:
            found.append(last)
            held = self.before.holdings[unit]
            if not len(held.work) and not is_heavy(held.kinds):
                if held.inside is not None:
                    last = None
                continue  # an identity or a dropout in between changes nothing
            kinds = self.tables[id(self.before)].categories(held.work)
            product = is_heavy(held.kinds) or (unit.op is None and any(k in HEAVY_CATEGORIES for k in kinds))
            last = unit if product else None
        return found

    def _norm_is_left(self, product: Unit) -> bool:
        """Whether a normalisation that is no other unit's runs behind the product, or behind the next one."""
        segment = self._segment_after(product)
        new = segment.new
        if segment.end < len(self.after.order):
            new |= self._segment_after(self.after.order[segment.end]).new
        return any(NORMALISATION in kinds for kinds in new)

    def _absorption(self, product: Unit) -> str:
        layers = [self.after.layers[i] for i in self.after.holdings[product].layers]
        counts = [
            v.get("Count") for la in layers for k, v in la.raw.items() if k.endswith("Bias") and isinstance(v, dict)
        ]
        held = next((c for c in counts if isinstance(c, int) and c > 0), None)
        evidence = f"; the layer's bias holds {held:,} values" if held else ""
        shown = self._what(self.sides.unit_cell(self.after, product).holder)
        order = f", matched {BY_ORDER}" if self.sides.how.get(product) == BY_ORDER else ""
        return (
            f"its scale and shift are in the weights and bias of {product.label}, which {shown} computes{order}; no normalisation is left "
            f"behind it{evidence}"
        )

    def _after_only(self, unit: Unit) -> Row:
        held = self.after.holdings[unit]
        cell = self.sides.unit_cell(self.after, unit)
        if self._dla(unit) is not None:
            return unit_row(unit, None, cell, UNEXPLAINED, None, str(self._dla(unit)))
        if len(held.work) and self.after.basis == LAYER and held.kinds and held.kinds <= {LAYOUT, CONCAT}:
            why = "by its name, the layer changes the memory layout or type of a tensor; before, no kernel does"
            return replace(unit_row(unit, None, cell, NEW, None, why), cause=placement.LAYOUT)
        if len(held.work):
            return unit_row(
                unit, None, cell, UNEXPLAINED, None, "nothing of the before trace can be said to be the same"
            )
        if held.inside is None:
            return unit_row(unit, None, cell, ABSORBED, None, "launches nothing after, and nothing of its own before")
        into = held.inside.label
        product = self.after.holdings[held.inside]
        if held.inside in self.before.holdings and len(product.work):
            return unit_row(
                unit,
                None,
                cell,
                FUSED,
                into,
                f"computed inside {self._what(cell.holder)}; before, no kernel of its own is known",
            )
        return unit_row(
            unit,
            None,
            cell,
            UNEXPLAINED,
            None,
            f"computed inside {self._what(cell.holder)}; nothing before can be said to be it",
        )


class EngineRows:
    """Rows of two engines, layer by layer: what changed of each layer's main operation."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides

    def rows(self) -> list[Row]:
        before, after = self.sides.before, self.sides.after
        units = dict.fromkeys((*before.order, *after.order))
        return [row for row in map(self._row, units) if row is not None]

    def _row(self, unit: Unit) -> Row | None:
        first, second = self.sides.before.holdings.get(unit), self.sides.after.holdings.get(unit)
        mains = [h is not None and h.inside is None for h in (first, second)]
        if not any(mains):
            return None  # inside another layer on both sides, or on the only one that has it
        one = self.sides.unit_cell(self.sides.before, unit) if first is not None else None
        other = self.sides.unit_cell(self.sides.after, unit) if second is not None else None
        if all(mains) and one is not None and other is not None:
            change = _changes(one, other, self.sides.before, self.sides.after)
            why = f"a layer of both engines: “{one.holder}” before, “{other.holder}” after" + (
                f"; {change}" if change else ""
            )
            return replace(unit_row(unit, one, other, KEPT, None, why), change=change)
        if mains[0] and one is not None:
            if second is not None and second.inside is not None and other is not None:
                why = f"a layer of its own before, inside “{other.holder}” after"
                return replace(unit_row(unit, one, other, FUSED, second.inside.label, why), change="merged")
            return unit_row(unit, one, None, UNEXPLAINED, None, "no layer of the engine after names it")
        if first is not None and first.inside is not None and one is not None and other is not None:
            why = f"inside “{one.holder}” before, a layer of its own after"
            return replace(unit_row(unit, one, other, KEPT, None, why), change="split")
        return (
            unit_row(unit, None, other, UNEXPLAINED, None, "no layer of the engine before names it") if other else None
        )


def _changes(one: Cell, other: Cell, before: Placement, after: Placement) -> str | None:
    """What is different between two layers: precision, tactic, number of layers."""
    found = []
    precisions = [c.layers[0].precision if c.layers else None for c in (one, other)]
    if all(precisions) and precisions[0] != precisions[1]:
        found.append(f"precision {precisions[0]} → {precisions[1]}")
    tactics = [tuple(la.tactic for la in c.layers if la.tactic) for c in (one, other)]
    if all(tactics) and tactics[0] != tactics[1]:
        found.append("another tactic")
    elif not all(tactics) and one.kernel_names != other.kernel_names:
        found.append("other kernels")
    if len(one.layers) != len(other.layers):
        found.append(
            f"{'split into' if len(other.layers) > len(one.layers) else 'merged into'} {len(other.layers)} layers"
        )
    return ", ".join(found) or None
