"""One side of a ledger: every piece of GPU work belongs to a unit of the model, to work that serves none, or to nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.fusion.layer_names import LayerName, OnnxNode, parse_layer_name, resolve_calls
from profiler.analysis.fusion.layers import EngineSide, engine_side
from profiler.analysis.fusion.modules import Unit, module_side
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.run.work import gpu_work
from profiler.analysis.statistics import count_codes, in_order_of_appearance, sum_by_code
from profiler.trace import Trace
from profiler.trace.engine_file import EngineLayer

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention"})
HEAVY_CATEGORIES = ("convolution", "gemm", "attention")
LAYOUT, QUANTISATION, BIAS_PADDING, OTHER = "layout or type change", "quantisation", "bias padding", "other"
"""Causes of work that serves no unit of the model."""
Rows = npt.NDArray[np.int64]
"""Rows of a side's work table, ascending."""
NO_ROWS: Rows = np.empty(0, dtype=np.int64)
RANGE, LAYER, KERNEL = "module ranges", "engine layers", "kernels alone"


@dataclass
class Holding:
    """What holds a unit on one side.

    Attributes:
        work: rows of the side's work table; empty for a unit that another unit's layer computes.
        layers: places of the layers whose main operation this unit is.
        inside: place of a layer that computes this unit beside its main operation, None otherwise.
        by_order: placed by order of execution, not by a range.
    """

    work: Rows = field(default_factory=lambda: NO_ROWS)
    layers: list[int] = field(default_factory=list)
    inside: int | None = None
    by_order: bool = False


@dataclass
class Extra:
    """Work that serves no unit of the model: a reformat, a quantisation, a bias padding."""

    label: str
    cause: str
    why: str
    module: str
    work: Rows
    layer: int | None
    by_order: bool = False


@dataclass(frozen=True)
class Placement:
    """One side of a ledger.

    Attributes:
        work: GPU work of the inferences (see :func:`gpu_work`).
        basis: :data:`RANGE`, :data:`LAYER` or :data:`KERNEL`.
        how: in words.
        holdings: per unit what holds it; units that launch nothing are there with no work.
        order: units by execution.
        extras: work that serves no unit.
        loose: rows of ``work`` that belong nowhere.
        anchors: per layer the unit whose row its work is in.
        regions: (first, last) units of regions whose inner operations are not named.
    """

    work: pd.DataFrame
    basis: str
    how: str
    inferences: int
    holdings: dict[Unit, Holding]
    order: tuple[Unit, ...]
    extras: tuple[Extra, ...]
    loose: Rows
    layers: tuple[EngineLayer, ...] = ()
    anchors: dict[int, Unit] = field(default_factory=dict)
    regions: tuple[tuple[int, Unit, Unit], ...] = ()
    neighbours: dict[Unit, tuple[str, str]] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()


def place(
    trace: Trace, inferences: Inferences, engine_file: Path | None = None, known: frozenset[str] = frozenset()
) -> Placement:
    """Place all GPU work of the inferences of one trace.

    Args:
        engine_file: an engine inspector's JSON, used where the trace does not describe its layers.
        known: module paths of the other side, to tell a repeated call from a module with a number in its name.
    """
    work = gpu_work(trace, inferences)
    engine = engine_side(trace, inferences, work, engine_file)
    if engine is not None:
        return _place_layers(engine, inferences.count, known)
    modules = module_side(trace, inferences, work)
    holdings = {unit: Holding() for unit in modules.order}
    rows = rows_by_code(modules.work["unit"].to_numpy(), len(modules.units))
    by_order = modules.work["by_order"].to_numpy()
    for unit, mine in zip(modules.units, rows):
        holdings[unit] = Holding(mine, by_order=bool(by_order[mine].any()))
    loose = np.flatnonzero(modules.work["unit"].to_numpy() < 0)
    return Placement(
        work,
        RANGE if modules.paths else KERNEL,
        "by launch inside the module's NVTX range"
        if modules.paths
        else "the trace has neither module ranges nor layers; only kernel names are known",
        inferences.count,
        holdings,
        modules.order,
        (),
        loose,
        neighbours=modules.neighbours,
        paths=modules.paths,
    )


def _place_layers(engine: EngineSide, inferences: int, known: frozenset[str]) -> Placement:
    names = [parse_layer_name(layer.name, layer.metadata) for layer in engine.layers]
    resolved = resolve_calls((n for name in names for n in name.nodes), known)
    blocks = _blocks(known or {n.module for n in resolved.values() if n.module})
    units: dict[OnnxNode, Unit] = {}
    numbers: dict[tuple[str, str], int] = {}
    for name in names:
        for node in name.operations:
            if node not in units and resolved[node].module is not None:
                units[node] = _unit(resolved[node], blocks, numbers)
    holdings: dict[Unit, Holding] = {}
    extras: list[Extra] = []
    anchors: dict[int, Unit] = {}
    regions: list[tuple[int, Unit, Unit]] = []
    placed_in = engine.work["layer"].to_numpy()
    rows_of_layer = rows_by_code(placed_in, len(engine.layers))
    was_by_order = engine.work["by_order"].to_numpy()
    for place_, (layer, name) in enumerate(zip(engine.layers, names)):
        rows = rows_of_layer[place_]
        by_order = bool(was_by_order[rows].any())
        own = [units[n] for n in name.operations if n in units]
        main = _main_operation(layer, name, units)
        if main is None:
            module = _served_module(name, resolved)
            extras.append(Extra(layer.name, *_why_extra(layer, name), module, rows, place_, by_order))
            continue
        anchors[place_] = main
        holding = holdings.setdefault(main, Holding())
        holding.layers.append(place_)
        holding.work = np.concatenate((holding.work, rows))
        holding.by_order |= by_order
        for unit in own:
            if unit != main:
                inner = holdings.setdefault(unit, Holding())
                inner.inside = place_ if inner.inside is None else inner.inside
        if name.region and len(own) >= 2:
            regions.append((place_, own[0], own[-1]))
    order = tuple(dict.fromkeys(units[n] for name in names for n in name.operations if n in units))
    return Placement(
        engine.work,
        LAYER,
        engine.how,
        inferences,
        holdings,
        order,
        tuple(extras),
        np.flatnonzero(placed_in < 0),
        engine.layers,
        anchors,
        tuple(regions),
        paths=frozenset(u.module for u in order),
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
    if module not in blocks:
        return Unit(module, node.call)
    op = (node.op or "operation").lower()
    number = numbers.get((module, op), 0)
    numbers[(module, op)] = number + 1
    return Unit(module, number, op)


def _main_operation(layer: EngineLayer, name: LayerName, units: dict[OnnxNode, Unit]) -> Unit | None:
    """The unit whose row gets the layer's work: its convolution or matrix product, else its first operation."""
    own = [n for n in name.operations if n in units]
    heavy = next((n for n in own if n.op in HEAVY), None)
    if heavy is not None:
        return units[heavy]
    return units[own[0]] if own else None


def _served_module(name: LayerName, resolved: dict[OnnxNode, OnnxNode]) -> str:
    if name.reformat_for:
        inner = parse_layer_name(name.reformat_for)
        return next((resolved.get(n, n).module or "" for n in inner.nodes if n.module), "")
    return next((resolved.get(n, n).module or "" for n in name.nodes if n.module), "")


def _why_extra(layer: EngineLayer, name: LayerName) -> tuple[str, str]:
    """The cause of a layer that computes no unit, and how we know."""
    if layer.origin == "QDQ" or any(n.kind == "quantize" for n in name.nodes):
        return QUANTISATION, "the layer quantises or dequantises a tensor"
    if name.reformat_for is not None or (layer.kind or "").lower() == "reformat":
        return LAYOUT, "the layer changes the memory layout or type of a tensor for the layer it serves"
    if (layer.kind or "").lower() in ("noop", "constant"):
        return OTHER, "the layer launches nothing"
    return OTHER, "added by TensorRT; its name gives no node of the model"


def place_by_kernels(side: Placement, other: Sequence[Unit], other_categories: dict[Unit, str]) -> Placement:
    """Place the kernels of a side that has no ranges and no layers, by kind and order, against the units of the other side.

    Convolutions, matrix products and poolings go to the other side's units of the same kind, in order of execution, when
    both have the same number of them in every inference; layout changes and what else serves no unit become extras. Nothing
    is claimed of kernels of other kinds.
    """
    holdings: dict[Unit, Holding] = {}
    extras: dict[str, Extra] = {}
    inference = side.work["inference"].to_numpy()
    categories = side.work["category"].cat
    roles = [_role(str(c)) for c in categories.categories]
    units_of = {
        role: [u for u in other if _role(other_categories.get(u, "")) == role] for role in ("product", "pooling")
    }
    is_loose = np.ones(len(side.work), dtype=bool)
    for role in dict.fromkeys(roles):
        wanted = np.asarray([r == role for r in roles], dtype=bool)
        rows = np.flatnonzero(wanted[categories.codes.to_numpy()])
        if not len(rows):
            continue
        units = units_of.get(role, [])
        fits = np.bincount(inference[rows]) == len(units)  # in these inferences there is a kernel for every unit
        ordered = rows[fits[inference[rows]]].reshape(-1, len(units)) if units else np.empty((0, 0), dtype=np.int64)
        for unit, mine in zip(units, ordered.T if len(ordered) else ()):
            holdings[unit] = Holding(mine, by_order=True)
        is_loose[ordered.ravel()] = False
        if role == "layout":
            names = side.work["name"].cat
            for code, mine in enumerate(rows_by_code(names.codes.to_numpy()[rows], len(names.categories))):
                name = str(names.categories[code])
                if len(mine):
                    extras[name] = Extra(name, *_why_kernel(name), "", rows[mine], None, True)
            is_loose[rows] = False
    loose = np.flatnonzero(is_loose)
    how = "by kind and order of the kernels, as the trace has neither module ranges nor layers; within a block two may be swapped"
    return Placement(
        side.work,
        KERNEL,
        how,
        side.inferences,
        holdings,
        tuple(u for u in other if u in holdings),
        tuple(sorted(extras.values(), key=lambda extra: int(extra.work[0]))),
        loose,
    )


def _role(category: str) -> str:
    return "product" if category in HEAVY_CATEGORIES else category


def _why_kernel(name: str) -> tuple[str, str]:
    if "padBias" in name:
        return BIAS_PADDING, "by its name, it pads the bias of a convolution, anew in each inference"
    return LAYOUT, "by its name, it changes the memory layout or type of a tensor"


def rows_by_code(codes: npt.NDArray[np.integer], n: int) -> list[Rows]:
    """For each code 0 … n - 1 the rows that have it, ascending."""
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(n + 1))
    return [order[a:b] for a, b in itertools.pairwise(edges)]


class WorkTable:
    """Sums over rows of a work table, on plain arrays: a ledger asks for thousands of them."""

    def __init__(self, work: pd.DataFrame) -> None:
        self._kernel = (work["kind"] == "kernel").to_numpy()
        self._duration = work["duration_ns"].to_numpy(dtype=np.int64)
        self._category, self._name = (
            (work[c].cat.codes.to_numpy(), [str(label) for label in work[c].cat.categories])
            for c in ("category", "name")
        )

    def count_and_time(self, rows: Rows, kernels: bool) -> tuple[int, int]:
        """Number and total duration (ns) of the kernels, or of the copies and sets, among the rows."""
        at = rows[self._kernel[rows] == kernels]
        return len(at), int(self._duration[at].sum())

    def categories(self, rows: Rows) -> tuple[str, ...]:
        """Kinds of the kernels among the rows, by time."""
        codes, labels = self._category
        at = rows[self._kernel[rows]]
        counts = count_codes(codes[at], len(labels))
        times = sum_by_code(codes[at], self._duration[at], len(labels))
        there = [(-int(times[k]), labels[k]) for k in np.flatnonzero(counts)]
        return tuple(label for _, label in sorted(there))

    def kernel_names(self, rows: Rows) -> tuple[str, ...]:
        """Names of the kernels among the rows, each once, in order."""
        codes, labels = self._name
        at = rows[self._kernel[rows]]
        return tuple(labels[c] for c in codes[at[in_order_of_appearance(codes[at])]])


def main_category(categories: Sequence[str]) -> str:
    """What a unit is for: a product if it runs one (beside layout changes that can take longer), else what takes longest."""
    return next((c for c in categories if c in HEAVY_CATEGORIES), categories[0] if categories else "")
