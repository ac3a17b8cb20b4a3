"""One side of a ledger: every piece of GPU work belongs to a unit of the model, to work that serves none, or to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from profiler.analysis.engine import EngineSide, engine_side
from profiler.analysis.inferences import Inferences
from profiler.analysis.layer_names import LayerName, OnnxNode, parse_layer_name, resolve_calls
from profiler.analysis.modules import Unit, module_side
from profiler.analysis.work import gpu_work
from profiler.trace import Trace
from profiler.trace.engine_file import EngineLayer

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention"})
HEAVY_CATEGORIES = ("convolution", "gemm", "attention")
LAYOUT, QUANTISATION, BIAS_PADDING, OTHER = "layout or type change", "quantisation", "bias padding", "other"
"""Causes of work that serves no unit of the model."""
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

    work: list[int] = field(default_factory=list)
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
    work: list[int]
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
    loose: tuple[int, ...]
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
    loose = []
    for row, unit, by_order in zip(work.index, modules.work["unit"], modules.work["by_order"]):
        if unit is None:
            loose.append(int(row))
        else:
            holdings[unit].work.append(int(row))
            holdings[unit].by_order |= bool(by_order)
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
        tuple(loose),
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
    rows_of_layer: dict[int, list[int]] = {}
    for row, layer in zip(engine.work.index, engine.work["layer"]):
        rows_of_layer.setdefault(int(layer), []).append(int(row))
    for place_, (layer, name) in enumerate(zip(engine.layers, names)):
        rows = rows_of_layer.get(place_, [])
        by_order = bool(rows) and bool(engine.work["by_order"].loc[rows].any())
        own = [units[n] for n in name.operations if n in units]
        main = _main_operation(layer, name, units)
        if main is None:
            module = _served_module(name, resolved)
            extras.append(Extra(layer.name, *_why_extra(layer, name), module, rows, place_, by_order))
            continue
        anchors[place_] = main
        holding = holdings.setdefault(main, Holding())
        holding.layers.append(place_)
        holding.work += rows
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
        tuple(rows_of_layer.get(-1, [])),
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
    loose: list[int] = []
    rows_by_kind: dict[tuple[int, str], list[int]] = {}
    for row, (inference, category) in enumerate(zip(side.work["inference"].tolist(), side.work["category"].tolist())):
        rows_by_kind.setdefault((int(inference), _role(str(category))), []).append(row)
    wanted = {role: [u for u in other if _role(other_categories.get(u, "")) == role] for role in ("product", "pooling")}
    for (_, role), rows in rows_by_kind.items():
        units = wanted.get(role, [])
        if units and len(units) == len(rows):
            for unit, row in zip(units, rows):
                holding = holdings.setdefault(unit, Holding(by_order=True))
                holding.work.append(row)
        elif role == "layout":
            for row in rows:
                name = str(side.work.at[row, "name"])
                extra = extras.setdefault(name, Extra(name, *_why_kernel(name), "", [], None, True))
                extra.work.append(row)
        else:
            loose += rows
    how = "by kind and order of the kernels, as the trace has neither module ranges nor layers; within a block two may be swapped"
    return Placement(
        side.work,
        KERNEL,
        how,
        side.inferences,
        holdings,
        tuple(u for u in other if u in holdings),
        tuple(extras.values()),
        tuple(loose),
    )


def _role(category: str) -> str:
    return "product" if category in HEAVY_CATEGORIES else category


def _why_kernel(name: str) -> tuple[str, str]:
    if "padBias" in name:
        return BIAS_PADDING, "by its name, it pads the bias of a convolution, anew in each inference"
    return LAYOUT, "by its name, it changes the memory layout or type of a tensor"


class WorkTable:
    """Sums over rows of a work table, on plain arrays: a ledger asks for thousands of them."""

    def __init__(self, work: pd.DataFrame) -> None:
        self._kernel = (work["kind"] == "kernel").to_numpy()
        self._duration = work["duration_ns"].to_numpy(dtype=np.int64)
        self._category = work["category"].to_numpy(dtype=object)
        self._name = work["name"].to_numpy(dtype=object)

    def count_and_time(self, rows: Sequence[int], kernels: bool) -> tuple[int, int]:
        """Number and total duration (ns) of the kernels, or of the copies and sets, among the rows."""
        at = np.asarray(rows, dtype=np.int64)
        at = at[self._kernel[at] == kernels]
        return len(at), int(self._duration[at].sum())

    def categories(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Kinds of the kernels among the rows, by time."""
        times: dict[str, int] = {}
        for row in rows:
            if self._kernel[row]:
                times[self._category[row]] = times.get(self._category[row], 0) + int(self._duration[row])
        return tuple(sorted(times, key=lambda c: (-times[c], c)))

    def kernel_names(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Names of the kernels among the rows, each once, in order."""
        return tuple(dict.fromkeys(self._name[row] for row in rows if self._kernel[row]))


def main_category(categories: Sequence[str]) -> str:
    """What a unit is for: a product if it runs one (beside layout changes that can take longer), else what takes longest."""
    return next((c for c in categories if c in HEAVY_CATEGORIES), categories[0] if categories else "")
