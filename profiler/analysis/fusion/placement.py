"""One side of a ledger: every piece of GPU work belongs to a unit of the model, to work that serves none, or to nothing.

Both sides are made alike, from the best source that a trace has: the engine's layers (their ranges, or a description of the engine
and the order of kernels), module ranges, ranges of classes or operators, and at last the kernels' names and kinds in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from profiler.analysis.fusion.kernel_units import KernelSide, kernel_side
from profiler.analysis.fusion.layer_names import LayerName, OnnxNode, parse_layer_name, resolve_calls
from profiler.analysis.fusion.layers import EngineSide, find_layers, is_dla_transfer
from profiler.analysis.fusion.modules import ModuleSide, Unit, module_side
from profiler.analysis.fusion.operators import (
    ATTENTION,
    GEMM,
    POINTWISE,
    SOFTMAX,
    UNKNOWN,
    Kinds,
    is_heavy,
    kinds_of,
    usual_place,
)
from profiler.analysis.fusion.work_table import NO_ROWS, Rows, WorkTable, rows_by_code
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.work import gpu_work
from profiler.trace import Trace
from profiler.trace.engine_file import EngineLayer
from profiler.trace.manifest import Manifest

LAYOUT, QUANTISATION, BIAS_PADDING, OTHER = "layout or type change", "quantisation", "bias padding", "other"
COPIES = "memory copies"
"""Causes of work that serves no unit of the model."""
RANGE, LAYER, KERNEL = "module ranges", "engine layers", "kernels alone"


@dataclass
class Holding:
    """What holds a unit on one side.

    Attributes:
        work: rows of the side's work table; empty for a unit that another unit's layer or kernel computes.
        layers: places of the layers whose main operation this unit is.
        inside: the unit whose layer or kernel computes this one beside its main operation, None otherwise.
        by_order: placed by order of execution, not by a range.
        kinds: the kinds of operator that it can be.
        shape: of the tensor that it makes (or, on the framework's side, reads); None where nothing tells.
    """

    work: Rows = field(default_factory=lambda: NO_ROWS)
    layers: list[int] = field(default_factory=list)
    inside: Unit | None = None
    by_order: bool = False
    kinds: Kinds = UNKNOWN
    shape: tuple[int, ...] | None = None


@dataclass
class Extra:
    """Work that serves no unit of the model: a reformat, a quantisation, a bias padding. ``cause`` None: nothing tells what it is."""

    label: str
    cause: str | None
    why: str
    module: str
    work: Rows
    layer: int | None
    by_order: bool = False


@dataclass(frozen=True)
class Placement:
    """One side of a ledger.

    Attributes:
        work: GPU work of the inferences (see :func:`gpu_work`), without ``end_ns``.
        basis: :data:`RANGE`, :data:`LAYER` or :data:`KERNEL`.
        source: where units and their work are from, in words.
        how: how work was given to units, in words.
        holdings: per unit what holds it; units that launch nothing are there with no work.
        order: units by execution.
        extras: work that serves no unit.
        loose: rows of ``work`` that belong nowhere.
        mains: per layer the unit whose row its work is in.
        regions: (layer, first, last) units of regions whose inner operations are not named.
        paths: module paths that the side names.
        nameless: units whose place in the model nothing tells; they are known by kind and order.
        dla: layers that run on the DLA, which nsys records no kernels of.
        refused: why a description of layers was not used; None otherwise.
    """

    work: pd.DataFrame
    basis: str
    source: str
    how: str
    inferences: int
    holdings: dict[Unit, Holding]
    order: tuple[Unit, ...]
    extras: tuple[Extra, ...]
    loose: Rows
    layers: tuple[EngineLayer, ...] = ()
    mains: dict[int, Unit] = field(default_factory=dict)
    regions: tuple[tuple[int, Unit, Unit], ...] = ()
    neighbours: dict[Unit, tuple[str, str]] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    nameless: frozenset[Unit] = frozenset()
    dla: frozenset[int] = frozenset()
    refused: str | None = None

    def __repr__(self) -> str:
        return f"Placement({self.source}: {len(self.holdings):,} units, {len(self.work):,} GPU operations)"


@dataclass(frozen=True)
class WorkSource:
    """What a trace tells of its GPU work: by engine layers, module ranges, or kernels alone. A ledger needs nothing more of the trace."""

    by: EngineSide | ModuleSide | KernelSide
    work: pd.DataFrame
    refused: str | None


def work_source_of(trace: Trace, inferences: Inferences, engine_file: Path | None = None) -> WorkSource:
    """Read what a trace tells of the GPU work of its inferences.

    Args:
        engine_file: an engine inspector's JSON, used where the trace does not describe its layers.
    """
    work = gpu_work(trace, inferences)
    engine, refused = find_layers(trace, inferences, work, engine_file)
    if engine is not None:
        return WorkSource(replace(engine, work=_placed(engine.work)), _placed(engine.work), refused)
    modules = module_side(trace, inferences, work)
    if modules.source is not None:
        return WorkSource(replace(modules, work=_placed(modules.work)), _placed(modules.work), refused)
    return WorkSource(kernel_side(work, inferences.count), _placed(work), refused)


def _placed(work: pd.DataFrame) -> pd.DataFrame:
    """Without what only placing needs, and the end, which is start and duration: tens of millions of rows take memory."""
    return work.drop(columns=["nvtx", "api_call", "end_ns"])


def place(
    read: WorkSource, inferences: int, known: frozenset[str] = frozenset(), manifest: Manifest | None = None
) -> Placement:
    """Place all GPU work of the inferences of one trace.

    Args:
        inferences: how many there are.
        known: module paths of the other side, to tell a repeated call from a module with a number in its name.
        manifest: of the run; its list of modules says of what class each is.
    """
    if isinstance(read.by, EngineSide):
        return _copies_apart(_place_layers(read.by, inferences, known, read.refused))
    if isinstance(read.by, ModuleSide):
        return _copies_apart(_place_modules(read.by, inferences, read.refused, manifest))
    found = read.by
    holdings = {u.unit: Holding(u.work, inside=u.inside, by_order=True, kinds=u.kinds) for u in found.units}
    extras = [
        Extra(e.label, BIAS_PADDING if e.pads_bias else LAYOUT, e.why, "", e.work, None, True) for e in found.extras
    ]
    return Placement(
        read.work,
        KERNEL,
        found.source,
        f"{found.how}, as the trace has neither module ranges nor layers",
        inferences,
        holdings,
        tuple(holdings),
        tuple(extras),
        found.loose,
        nameless=frozenset(holdings),
        refused=read.refused,
    )


def _copies_apart(side: Placement) -> Placement:
    """Copies that no unit makes (of inputs and outputs) in rows of their own, by direction."""
    names = side.work["name"].cat
    copied = (side.work["kind"] == "memcpy").to_numpy()[side.loose]
    codes = names.codes.to_numpy()[side.loose]
    extras = tuple(
        Extra(
            f"memory copies: {names.categories[code]}", COPIES, "recorded as copies outside every unit", "", mine, None
        )
        for code in dict.fromkeys(codes[copied].tolist())
        for mine in (side.loose[copied & (codes == code)],)
    )
    return replace(side, extras=(*side.extras, *extras), loose=side.loose[~copied])


def _place_modules(modules: ModuleSide, inferences: int, refused: str | None, manifest: Manifest | None) -> Placement:
    table = WorkTable(modules.work)
    listed = manifest.extra.get("modules") if manifest else None
    classes = {
        str(m.get("name")): str(m.get("type"))
        for m in (listed if isinstance(listed, list) else ())
        if isinstance(m, dict)
    }
    rows = dict(zip(modules.units, rows_by_code(modules.work["unit"].to_numpy(), len(modules.units))))
    by_order = modules.work["by_order"].to_numpy()
    holdings = {}
    for unit in modules.order:
        mine, named = rows.get(unit, NO_ROWS), modules.range_names.get(unit)
        kinds = table.kinds(mine)
        word = unit.op if unit.op is not None else classes.get(unit.module)
        kinds = kinds_of(word) or kinds
        if unit.op is None and word is None and not kinds:
            kinds = kinds_of(unit.module.rpartition(".")[2])
        holdings[unit] = Holding(
            mine, by_order=bool(by_order[mine].any()), kinds=kinds, shape=named.shape if named else None
        )
    source = str(modules.source)
    return Placement(
        modules.work,
        RANGE,
        source,
        f"by launch inside the {source.replace('ranges', 'range', 1)}"
        if not modules.paths
        else "by launch inside the module's NVTX range",
        inferences,
        holdings,
        modules.order,
        (),
        np.flatnonzero(modules.work["unit"].to_numpy() < 0),
        neighbours=modules.neighbours,
        paths=modules.paths,
        nameless=frozenset() if modules.paths else frozenset(holdings),
        refused=refused,
    )


class _Layers:
    """What the layers' names, taken apart, say: which layer computes which node."""

    def __init__(self, engine: EngineSide, known: frozenset[str]) -> None:
        self.names = [parse_layer_name(layer.name, layer.metadata) for layer in engine.layers]
        self.table = WorkTable(engine.work)
        self.rows = rows_by_code(engine.work["layer"].to_numpy(), len(engine.layers))
        nodes = [n for name in self.names for n in name.nodes]
        self.resolved = resolve_calls(nodes, known)
        blocks = _blocks(known or {n.module for n in self.resolved.values() if n.module})
        self.units: dict[OnnxNode, Unit] = {}
        self.kinds: dict[Unit, Kinds] = {}
        numbers: dict[tuple[str, str], int] = {}
        self._calls: dict[str, tuple[str | None, int]] = {}
        self.owner: dict[OnnxNode, int] = {}
        for name in self.names:
            for node in name.operations:
                if node not in self.units:
                    self.units[node] = unit = _unit(self._called(self.resolved[node]), blocks, numbers)
                    if not self.kinds.get(unit) or is_heavy(
                        node.kinds
                    ):  # a module of several operators is what its product is
                        self.kinds[unit] = node.kinds
        for name in self.names:
            self._join_attention(name)
        self.nameless = frozenset(u for n, u in self.units.items() if self.resolved[n].module is None)
        for place_, name in enumerate(self.names):
            heavy = any(is_heavy(n.kinds) for n in name.operations)
            for node in name.operations:
                if name.computes_product if heavy else not name.only_moves:
                    self.owner.setdefault(node, place_)
        for place_, name in enumerate(self.names):  # what only a preparing layer names
            for node in name.operations:
                self.owner.setdefault(node, place_)
        self._numbers, self._engine = numbers, engine

    def _join_attention(self, name: LayerName) -> None:
        """Two products with a softmax between them in one layer are one attention, as a framework's fused kernel is."""
        kinds = [n.kinds for n in name.operations]
        products = [self.units[n] for n in name.operations if GEMM in n.kinds]
        if len(products) > 1 and frozenset({SOFTMAX}) in kinds:
            self.kinds[products[0]] = frozenset({ATTENTION})
            self.kinds.update(dict.fromkeys(products[1:], frozenset({POINTWISE})))

    def _called(self, node: OnnxNode) -> OnnxNode:
        """Torch-TensorRT's names do not number the calls of a module: a new one begins where the operator that was its first recurs."""
        if not node.name.startswith("[") or node.module is None:
            return node
        first, call = self._calls.get(node.module, (node.op, -1))
        call += first == node.op
        self._calls[node.module] = first, call
        return replace(node, call=call)

    def own(self, place_: int) -> list[Unit]:
        """Units that this layer computes, its product first."""
        nodes = [n for n in self.in_order(place_) if self.owner[n] == place_]
        return list(dict.fromkeys(self.units[n] for n in sorted(nodes, key=lambda n: not is_heavy(n.kinds))))

    def in_order(self, place_: int) -> list[OnnxNode]:
        """The layer's operations in order of computation; Metadata lists them in none, so there in the usual one."""
        nodes = list(self.names[place_].operations)
        if self._engine.layers[place_].metadata:
            nodes.sort(key=lambda n: (not is_heavy(n.kinds), usual_place(n.op or "")))
        return nodes

    def shared(self, place_: int) -> Unit | None:
        """The unit that this layer computes together with an earlier one."""
        nodes = self.names[place_].operations
        nodes = tuple(sorted(nodes, key=lambda n: not is_heavy(n.kinds)))
        return next((self.units[n] for n in nodes if self.owner[n] != place_), None)

    def by_kind(self, place_: int) -> Unit | None:
        """A unit for a layer whose name tells nothing: of the kind that its type or its kernels tell."""
        layer = self._engine.layers[place_]
        kinds = kinds_of(layer.kind) or self.table.kinds(self.rows[place_])
        if not kinds or kinds & frozenset({"layout", "nothing", "quantisation"}):
            return None
        op = min(kinds_of(layer.kind) or {self.table.categories(self.rows[place_])[0]})
        number = self._numbers.get(("", op), 0)
        self._numbers["", op] = number + 1
        unit = Unit("", number, op)
        self.kinds[unit] = kinds
        self.nameless |= {unit}
        return unit


def _place_layers(engine: EngineSide, inferences: int, known: frozenset[str], refused: str | None) -> Placement:
    parsed = _Layers(engine, known)
    holdings: dict[Unit, Holding] = {}
    extras: list[Extra] = []
    mains: dict[int, Unit] = {}
    regions: list[tuple[int, Unit, Unit]] = []
    was_by_order = engine.work["by_order"].to_numpy()
    dla = _on_dla(engine, parsed)
    for place_, (layer, name) in enumerate(zip(engine.layers, parsed.names)):
        rows = parsed.rows[place_]
        by_order = bool(was_by_order[rows].any())
        own = parsed.own(place_)
        if name.only_moves and all(u in parsed.nameless for u in own):
            own = []
        cause, why = _why_extra(layer, name)
        main = own[0] if own else None
        if main is None and cause is None and len(rows):
            main = parsed.shared(place_) or (parsed.by_kind(place_) if not name.nodes or not parsed.units else None)
            main = main or parsed.by_kind(place_)
        if main is None:
            extras.append(Extra(layer.name, cause, why, _served_module(name, parsed.resolved), rows, place_, by_order))
            continue
        mains[place_] = main
        holding = holdings.setdefault(main, Holding())
        holding.layers.append(place_)
        holding.work = np.concatenate((holding.work, rows))
        holding.by_order |= by_order
        holding.kinds = parsed.kinds.get(main, UNKNOWN) or kinds_of(layer.kind) or parsed.table.kinds(rows)
        holding.shape = holding.shape or (layer.outputs[0].dims if layer.outputs else None)
        for unit in own[1:]:
            inner = holdings.setdefault(unit, Holding(kinds=parsed.kinds[unit]))
            inner.inside = main if inner.inside is None else inner.inside
        if name.region and len(own) >= 2:
            regions.append((place_, parsed.units[name.operations[0]], parsed.units[name.operations[-1]]))
    listed = (parsed.units[n] for place_ in range(len(parsed.names)) for n in parsed.in_order(place_))
    order = tuple(u for u in dict.fromkeys((*listed, *mains.values())) if u in holdings)
    return Placement(
        engine.work,
        LAYER,
        engine.source,
        engine.how,
        inferences,
        holdings,
        order if not parsed.nameless else _by_layers(order, mains, parsed),
        tuple(extras),
        np.flatnonzero(engine.work["layer"].to_numpy() < 0),
        engine.layers,
        mains,
        tuple(regions),
        paths=frozenset(u.module for u in order if u not in parsed.nameless),
        nameless=parsed.nameless,
        dla=dla,
        refused=refused,
    )


def _by_layers(order: tuple[Unit, ...], mains: dict[int, Unit], parsed: _Layers) -> tuple[Unit, ...]:
    """Units layer by layer, for units of layers that name nothing stand at their layer's place."""
    listed: list[Unit] = []
    for place_, main in mains.items():
        listed += [main, *(parsed.units[n] for n in parsed.in_order(place_))]
    there = set(order)
    return tuple(u for u in dict.fromkeys(listed) if u in there)


def _on_dla(engine: EngineSide, parsed: _Layers) -> frozenset[int]:
    """Regions without a kernel in an engine that copies tensors to and from the DLA."""
    if not any(is_dla_transfer(layer.name) or (layer.kind or "").upper() == "DLA" for layer in engine.layers):
        return frozenset()
    return frozenset(
        place_
        for place_, (layer, name) in enumerate(zip(engine.layers, parsed.names))
        if (name.region or (layer.kind or "").upper() == "DLA") and not len(parsed.rows[place_])
    )


def _blocks(paths: frozenset[str] | set[str]) -> frozenset[str]:
    """Modules that hold others; an ONNX node with such a path is an operation of the block's own forward."""
    found = {""}
    for path in paths:
        parts = path.split(".")
        found.update(".".join(parts[:n]) for n in range(1, len(parts)))
    return frozenset(found)


def _unit(node: OnnxNode, blocks: frozenset[str], numbers: dict[tuple[str, str], int]) -> Unit:
    module = node.module or ""
    if node.module is not None and module not in blocks:
        return Unit(module, node.call)
    op = (node.op or "operation").lower()
    number = numbers.get((module, op), 0)
    numbers[module, op] = number + 1
    return Unit(module, number, op)


def _served_module(name: LayerName, resolved: dict[OnnxNode, OnnxNode]) -> str:
    if name.reformat_for:
        inner = parse_layer_name(name.reformat_for)
        return next((resolved.get(n, n).module or "" for n in inner.nodes if n.module), "")
    return next((resolved.get(n, n).module or "" for n in name.nodes if n.module), "")


def _why_extra(layer: EngineLayer, name: LayerName) -> tuple[str | None, str]:
    """The cause of a layer that computes no unit, and how we know; None when nothing tells it."""
    if layer.origin == "QDQ" or (any(n.kind == "quantize" for n in name.nodes) and not name.operations):
        return QUANTISATION, "the layer quantises or dequantises a tensor"
    if name.reformat_for is not None or (layer.kind or "").lower() == "reformat":
        return LAYOUT, "the layer changes the memory layout or type of a tensor for the layer it serves"
    if is_dla_transfer(layer.name) or layer.name.endswith(" copy finish"):
        return LAYOUT, "by its name, the layer copies a tensor to or from the DLA's memory"
    if name.only_moves:
        return LAYOUT, "the layer's name lists changes of layout and type only"
    if (layer.kind or "").lower() in ("noop", "constant"):
        return OTHER, "the layer launches nothing"
    helpers = [n for n in name.nodes if n.kind == "helper"]
    if helpers and len(helpers) == len(name.nodes):
        return LAYOUT, "by its name, the layer reshapes or transposes a tensor for the layer it serves"
    return None, "a layer of the engine whose name gives no operation of the model"
