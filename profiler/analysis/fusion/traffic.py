"""Memory traffic: the bytes that each unit must move at least, and the DRAM bytes that were sampled.

*Computed minimum*: every input, weight and output once, element count × element size. Engine layers say their tensors; a
framework's units take their shapes from the manifest's ``modules`` (recorded by running the model once) or, where there are
none, from the tensors of the engine on the other side, which computes the same model. Caches, padding of vectorised
layouts, workspace and second reads are not in it, so a kernel can move more; what it finds in the L2 cache it need not read
from DRAM, so the sampled figure can also be lower.

*Sampled*: nsys's DRAM bandwidth counters (percent of the peak) over the GPU spans of the inferences × the GPU's peak.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.placement import LAYER, RANGE, Placement
from profiler.analysis.fusion.rows import Row
from profiler.analysis.fusion.work_table import WorkTable
from profiler.analysis.run.dram import SampledBytes
from profiler.analysis.run.run import Run
from profiler.trace.engine_file import EngineLayer, data_type, element_bytes

Shape = tuple[int, ...]
FROM_LAYER = "the engine's description of the layer"
FROM_MODULES = "shapes recorded by running the model"
FROM_ENGINE = "shapes of the engine's tensors, as both compute the same model"


@dataclass(frozen=True)
class Bytes:
    """Bytes that a unit must read and write at least in one inference; None when its shapes are not known."""

    minimum: int | None
    how: str


@dataclass(frozen=True)
class TrafficRow:
    """Computed minimum of one ledger row, per inference; a side without work of its own moves nothing."""

    row: Row
    before: Bytes
    after: Bytes


@dataclass(frozen=True)
class Traffic:
    """Memory traffic of a ledger.

    Attributes:
        rows: in ledger order.
        before_bytes, after_bytes: sums of the computed minima.
        before_unknown, after_unknown: rows with work whose minimum is not known; their bytes are not in the sums.
    """

    rows: tuple[TrafficRow, ...]
    before_bytes: int
    after_bytes: int
    before_unknown: int
    after_unknown: int
    before_sampled: SampledBytes
    after_sampled: SampledBytes


def memory_traffic(ledger: Ledger) -> Traffic:
    """Compute the minimum of every row, and sample DRAM over both sides' inferences."""
    before = _Minimum(ledger.before, ledger.before_placement, ledger.after_placement)
    after = _Minimum(ledger.after, ledger.after_placement, ledger.before_placement)
    rows = tuple(TrafficRow(r, before.of(r, "before"), after.of(r, "after")) for r in ledger.rows)
    return Traffic(
        rows,
        sum(r.before.minimum or 0 for r in rows),
        sum(r.after.minimum or 0 for r in rows),
        sum(r.before.minimum is None for r in rows),
        sum(r.after.minimum is None for r in rows),
        ledger.before.sampled_bytes,
        ledger.after.sampled_bytes,
    )


def by_stage(traffic: Traffic) -> dict[str, tuple[int, int]]:
    """Stage of the model → computed minimum before and after, in bytes per inference; rows without one count nothing."""
    sums: dict[str, tuple[int, int]] = {}
    for row in traffic.rows:
        before, after = sums.get(row.row.stage or "(outside)", (0, 0))
        sums[row.row.stage or "(outside)"] = (before + (row.before.minimum or 0), after + (row.after.minimum or 0))
    return sums


class _Minimum:
    """Minimum bytes of the rows of one side."""

    def __init__(self, analysis: Run, side: Placement, other: Placement) -> None:
        self.side = side
        self.table = WorkTable(side.work)
        facts = analysis.facts
        self.element = element_bytes({"tf32": "fp32"}.get(facts.precision or "", facts.precision or ""))
        self.shapes: Mapping[Unit, _UnitShape] = {}
        self._following = dict(itertools.pairwise(side.order))
        self.how = ""
        if side.basis == RANGE:
            modules = facts.manifest.extra.get("modules") if facts.manifest else None
            if isinstance(modules, list) and modules:
                self.shapes, self.how = _recorded_shapes(modules), FROM_MODULES
            elif other.basis == LAYER:
                self.shapes, self.how = _engine_shapes(other), FROM_ENGINE

    def of(self, row: Row, side: str) -> Bytes:
        cell = row.before if side == "before" else row.after
        if cell is None or not cell.kernels:
            return Bytes(0, "no kernel of its own")
        if self.side.basis == LAYER:
            sizes = [layer.min_bytes for layer in cell.layers]
            if not sizes or any(s is None for s in sizes):
                return Bytes(None, "the engine's description does not give the layer's tensors")
            return Bytes(sum(s for s in sizes if s is not None), FROM_LAYER)
        if row.unit is None or self.element is None or not self.shapes:
            return Bytes(
                None, "neither shapes nor element size are known: no manifest, and no engine on the other side"
            )
        shape = self.shapes.get(row.unit)
        if shape is None and row.unit.op is not None:
            shape = self._operation(row.unit)
        if shape is None:
            return Bytes(None, "no shape is known for this unit")
        return Bytes(int(shape.elements * self.element), self.how)

    def _operation(self, unit: Unit) -> _UnitShape | None:
        """An operation of a block reads two tensors and writes one, of the shape that the unit after it reads (an addition)."""
        following = self._following.get(unit)
        shape = self.shapes.get(following) if following is not None else None
        if unit.op not in ("add", "sub", "mul", "div") or shape is None:
            return None
        return _UnitShape(3 * shape.input_elements, shape.input_elements)


@dataclass(frozen=True)
class _UnitShape:
    """``elements``: of everything that the unit reads and writes; ``input_elements``: of its first input."""

    elements: int
    input_elements: int


def _recorded_shapes(modules: list[Any]) -> dict[Unit, _UnitShape]:
    """From the workload's list of module calls: name, inputs, outputs, parameters."""
    found: dict[Unit, _UnitShape] = {}
    calls: dict[str, int] = {}
    for entry in modules:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            continue
        name = entry["name"]
        inputs, outputs = _shape_list(entry.get("inputs")), _shape_list(entry.get("outputs"))
        call = calls.get(name, 0)
        calls[name] = call + 1
        if inputs is None or outputs is None or not inputs:
            continue
        parameters = entry.get("parameters")
        if not isinstance(parameters, int):
            size = element_bytes(data_type(str(entry.get("dtype"))))
            held = entry.get("parameters_bytes")
            parameters = int(held / size) if isinstance(held, int) and size else 0
        elements = sum(map(prod, inputs)) + sum(map(prod, outputs)) + parameters
        found[Unit(name, call)] = _UnitShape(elements, prod(inputs[0]))
    return found


def _shape_list(value: Any) -> list[Shape] | None:
    if not isinstance(value, list):
        return None
    shapes = [tuple(s) for s in value if isinstance(s, list) and all(isinstance(d, int) for d in s)]
    return shapes if len(shapes) == len(value) else None


def _engine_shapes(engine: Placement) -> dict[Unit, _UnitShape]:
    """From the tensors of the layers: main operations directly, what is fused or absorbed from the tensor it works on."""
    found: dict[Unit, _UnitShape] = {}
    inside: dict[Unit, list[Unit]] = {}
    for unit, held in engine.holdings.items():
        if held.inside is not None and not held.layers:
            inside.setdefault(held.inside, []).append(unit)
    for place, main in engine.mains.items():
        layer = engine.layers[place]
        if not layer.inputs or not layer.outputs or layer.inputs[0].dims is None or layer.outputs[0].dims is None:
            continue
        read, last = prod(layer.inputs[0].dims), prod(layer.outputs[0].dims)
        product = _product_output(layer)
        weights = _weight_count(layer)
        found.setdefault(main, _UnitShape(read + product + weights, read))
        for unit in inside.get(main, ()):
            if unit.op == "add":
                found.setdefault(unit, _UnitShape(3 * product, product))
            elif product != last and unit.module.rpartition(".")[2].startswith(("maxpool", "pool", "avgpool")):
                found.setdefault(unit, _UnitShape(product + last, product))
            else:
                found.setdefault(unit, _UnitShape(2 * product, product))
        found.update(_normalisations(main, product))
    return found


def _normalisations(product_unit: Unit, elements: int) -> dict[Unit, _UnitShape]:
    """The batch norm behind a convolution works on its output; by torchvision's names of such pairs."""
    head, _, tail = product_unit.module.rpartition(".")
    names = []
    if tail.startswith("conv") and tail[4:].isdigit():
        names.append(f"bn{tail[4:]}")
    if tail.isdigit():
        names.append(str(int(tail) + 1))
    units = [Unit(f"{head}.{n}" if head else n) for n in names]
    return {u: _UnitShape(2 * elements, elements) for u in units}


def _product_output(layer: EngineLayer) -> int:
    """Elements that the layer's main operation makes; before the pooling in a layer that also pools."""
    last = layer.outputs[0].dims or ()
    raw, read = layer.raw, layer.inputs[0].dims or ()
    kernel, stride, maps = raw.get("ConvKernel"), raw.get("ConvStride"), raw.get("ConvOutMaps")
    if not (
        isinstance(kernel, list) and isinstance(stride, list) and isinstance(maps, int) and len(read) == len(kernel) + 2
    ):
        return prod(last)
    pads = [raw.get(k) or [0] * len(kernel) for k in ("ConvPrePadding", "ConvPostPadding")]
    dilation = raw.get("ConvDilation") or [1] * len(kernel)
    sizes = [
        (read[2 + i] + pads[0][i] + pads[1][i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(len(kernel))
    ]
    return prod((read[0], maps, *sizes))


def _weight_count(layer: EngineLayer) -> int:
    return sum(
        v["Count"]
        for k, v in layer.raw.items()
        if k.endswith("Weights") and isinstance(v, dict) and isinstance(v.get("Count"), int)
    )
