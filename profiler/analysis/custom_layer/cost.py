"""What a replaced activation costs in each run of a model: its kernels, their time and bytes, and a plugin against TensorRT's own fusion.

An activation's *own* kernels compute it and nothing else: eager PyTorch's product, sigmoid and product; a plugin's kernel; a pointwise
kernel that TensorRT runs behind a convolution that cannot compute it. A *shared* kernel computes it on the way (a convolution with a
pointwise epilogue, a Triton kernel that also normalises), and what part of its time that is cannot be told from a trace. So the plugin and
TensorRT's own fusion are compared by everything that differs between the two engines (:func:`exchange`).

Bytes are computed: each kernel reads its inputs and writes its output once, at the tensor's element size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from profiler.analysis.fusion import placement
from profiler.analysis.fusion.ledger import work_source
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.operators import HEAVY_CATEGORIES
from profiler.analysis.fusion.placement import KERNEL, LAYER, RANGE, Placement
from profiler.analysis.fusion.work_table import WorkTable
from profiler.analysis.run.run import Run
from profiler.errors import NotComparableError, TraceError
from profiler.trace.engine_file import data_type, element_bytes
from profiler.trace.manifest import ACTIVATIONS, Manifest

OWN_CATEGORIES = ("pointwise", "plugin")
_TENSORS_MOVED = {1: 2, 3: 7}
"""Kernels of one activation → tensors read and written: x → y; or a·x → s, sigmoid(s) → g, x·g → y (2 + 2 + 3)."""


@dataclass(frozen=True)
class Activation:
    """One activation of the model: where it is in an inference, and how much it works on.

    Attributes:
        element_size: bytes of an element in the framework's run.
    """

    unit: Unit
    shape: tuple[int, ...]
    element_size: float

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Cost:
    """What one activation costs a run, per inference.

    Attributes:
        kernels, time_ns: its own kernels; 0 when only shared ones compute it.
        bytes: moved by its own kernels at least; None when the kernels are not what is expected.
        shared: it has no kernel of its own, another operation's kernel computes it.
        within: the layer or kernel that computes it.
        behind: its own kernel runs in the layer of the operation before it, which cannot compute it.
    """

    activation: Activation
    kernels: float
    time_ns: float
    bytes: float | None
    shared: bool
    within: str
    behind: bool = False


@dataclass(frozen=True)
class RunCost:
    """All activations of a run, per inference, and the run around them.

    Attributes:
        costs: one per activation; empty when the trace does not tell them apart, with ``how`` saying why.
        latency_ms: the median without a profiler, from the manifest; None where it holds none.
        min_bytes: of the whole engine, for a TensorRT run: every layer's inputs, weights and outputs once, and what kernels behind
            an operation in its layer read and write.
    """

    analysis: Run
    costs: tuple[Cost, ...]
    how: str
    kernels: float
    latency_ms: float | None
    min_bytes: int | None

    @property
    def known(self) -> bool:
        return bool(self.costs)

    @property
    def own_kernels(self) -> float:
        return sum(c.kernels for c in self.costs)

    @property
    def own_time_ns(self) -> float:
        return sum(c.time_ns for c in self.costs)

    @property
    def own_bytes(self) -> float | None:
        return _total([c.bytes for c in self.costs])

    @property
    def shared(self) -> int:
        """Activations that another operation's kernel computes."""
        return sum(c.shared for c in self.costs)


@dataclass(frozen=True)
class SpanPart:
    """One part of the GPU span of an inference, mean over the inferences."""

    label: str
    operators_ns: float
    plugin_ns: float

    @property
    def added_ns(self) -> float:
        return self.plugin_ns - self.operators_ns


@dataclass(frozen=True)
class Exchange:
    """The engine with the plugin against the engine from stock operators: what the plugin adds and what it saves.

    Attributes:
        parts: sum to the two mean GPU spans, under nsys.
        fused_ns: what an activation costs TensorRT's own way: the products' kernels are that much longer, and own pointwise kernels.
        plugin_ns: the plugin's kernel, mean over the activations.
        latency_ns: difference of the median latencies without a profiler, plugin − operators; None where one is missing.
        kernels, bytes: more kernels and more computed traffic per inference with the plugin.
    """

    activations: int
    parts: tuple[SpanPart, ...]
    fused_ns: float
    plugin_ns: float
    shortest_ns: float
    latency_ns: float | None
    kernels: float
    bytes: int | None

    @property
    def busy_ns(self) -> float:
        """GPU work added by the plugin: all parts but the idle time."""
        return sum(p.added_ns for p in self.parts if p.label != IDLE)

    @property
    def break_even_ns(self) -> float | None:
        """Mean time of the plugin's kernel at which both engines would take as long, all else as measured."""
        return None if self.latency_ns is None else self.plugin_ns - self.latency_ns / self.activations


PRODUCTS = "convolutions and matrix products"
OWN = "the activations' own kernels"
OTHERS = "other kernels"
SETS = "memory sets and copies"
OVERLAP = "work that overlaps"
IDLE = "idle between kernels"


def activations_of(manifests: Sequence[Manifest]) -> tuple[Activation, ...]:
    """The activations of a model, in order of execution, from the shapes that a PyTorch run of it recorded; empty without one."""
    for manifest in manifests:
        modules, name = manifest.extra.get("modules"), ACTIVATIONS.get(manifest.activation or "")
        if not isinstance(modules, list) or name is None:
            continue
        found = [a for m in modules if isinstance(m, dict) and m.get("type") == name if (a := _activation(m))]
        if found:
            return tuple(found)
    return ()


def _activation(entry: Mapping[str, Any]) -> Activation | None:
    shapes, size = entry.get("outputs"), element_bytes(data_type(str(entry.get("dtype"))))
    shape = shapes[0] if isinstance(shapes, list) and shapes else None
    if not (isinstance(shape, list) and all(isinstance(d, int) and 0 < d < 1 << 31 for d in shape) and size):
        return None
    name, call = entry.get("name"), entry.get("call")
    return Activation(Unit(str(name), call if isinstance(call, int) else 0), tuple(shape), size)


def run_cost(analysis: Run, activations: Sequence[Activation]) -> RunCost:
    """What the activations cost one run.

    Raises:
        NotComparableError: the trace hides its kernels inside graph launches.
        TraceError: there are no kernels or no inferences, or the engine's description beside the trace cannot be read.
    """
    trace, inferences = analysis.trace, analysis.inferences
    if trace.has_hidden_graph_kernels:
        raise NotComparableError(trace.graph_level_message)
    if trace.no_kernels_reason:
        raise TraceError(trace.no_kernels_reason)
    if not inferences.count:
        raise TraceError(f"{trace.path}: {inferences.statement}", "Name the ranges with --nvtx PATTERN.")
    known = frozenset(a.unit.module for a in activations)
    paths = known | {str(m.get("name")) for m in _modules(analysis)}
    placed = placement.place(work_source(analysis), inferences.count, paths)
    by_basis = {RANGE: _by_range, LAYER: _by_layer, KERNEL: _by_name}
    costs, how = by_basis[placed.basis](placed, activations)
    manifest = analysis.facts.manifest
    sizes: list[float | None] = [
        layer.min_bytes
        for place, layer in enumerate(placed.layers)
        if (placed.work["layer"].eq(place) & placed.work["kind"].eq("kernel")).any()
    ]
    total = _total([*sizes, *(c.bytes for c in costs if c.behind)])
    return RunCost(
        analysis=analysis,
        costs=tuple(costs),
        how=how,
        kernels=float((placed.work["kind"] == "kernel").sum()) / placed.inferences,
        latency_ms=manifest.latency.p50_ms if manifest and manifest.latency and manifest.latency.measured else None,
        min_bytes=None if total is None else int(total),
    )


def _modules(analysis: Run) -> list[dict[str, Any]]:
    found = analysis.facts.manifest.extra.get("modules") if analysis.facts.manifest else None
    return [m for m in found if isinstance(m, dict)] if isinstance(found, list) else []


def _by_range(placed: Placement, activations: Sequence[Activation]) -> tuple[list[Cost], str]:
    table, n = WorkTable(placed.work), placed.inferences
    costs = []
    for activation in activations:
        held = placed.holdings.get(activation.unit)
        if held is None:
            return [], f"no range in the trace is that of {activation.unit.label}"
        count, time = table.count_and_time(held.work, kernels=True)
        moved = _TENSORS_MOVED.get(count // n) if count % n == 0 else None
        size = None if moved is None else moved * activation.elements * activation.element_size
        costs.append(Cost(activation, count / n, time / n, size, False, f"the module {activation.unit.label}"))
    return costs, placed.how


def _by_layer(placed: Placement, activations: Sequence[Activation]) -> tuple[list[Cost], str]:
    table, n = WorkTable(placed.work), placed.inferences
    category = placed.work["category"].astype(str).to_numpy()
    costs = []
    for activation in activations:
        held = placed.holdings.get(activation.unit)
        if held is None or not (held.layers or held.inside is not None):
            return [], f"no layer of the engine names {activation.unit.label}"
        main = held if held.layers or held.inside is None else placed.holdings[held.inside]
        layer = placed.layers[main.layers[0]]
        work = main.work
        rows = work if held.layers else work[np.isin(category[work], OWN_CATEGORIES)]
        count, time = table.count_and_time(rows, kernels=True)
        element = element_bytes(layer.outputs[0].dtype) if layer.outputs else None
        size = None if element is None else _TENSORS_MOVED[1] * activation.elements * element * count / n
        within, behind = f"the layer “{layer.name}”", bool(count) and not held.layers
        costs.append(Cost(activation, count / n, time / n, size, not count, within, behind))
    return costs, placed.how


def _by_name(placed: Placement, activations: Sequence[Activation]) -> tuple[list[Cost], str]:
    """Compiled code replays without ranges; Triton kernels say in their names what they fuse, in order of execution."""
    names = placed.work["name"].astype(str)
    fused = placed.work[names.str.startswith("triton_") & names.str.contains("sigmoid")]
    per_inference = fused.groupby("inference")["name"].apply(list)
    if len(per_inference) != placed.inferences or any(len(found) != len(activations) for found in per_inference):
        return [], "a graph is replayed without ranges, and kernel names do not tell activations from other products"
    first = per_inference.iloc[0]
    how = "by kernel name and order: each of these Triton kernels names a sigmoid among what it fuses"
    return [Cost(a, 0.0, 0.0, 0.0, True, f"the kernel {name}") for a, name in zip(activations, first, strict=True)], how


def exchange(operators: RunCost, plugin: RunCost) -> Exchange | None:
    """Compare the engine with the plugin to the one from stock operators; None when one of them is not attributed."""
    if not (operators.known and plugin.known and len(operators.costs) == len(plugin.costs)):
        return None
    before, after = _span(operators), _span(plugin)
    n = len(plugin.costs)
    latency, more = (
        _difference(operators.latency_ms, plugin.latency_ms),
        _difference(operators.min_bytes, plugin.min_bytes),
    )
    return Exchange(
        activations=n,
        parts=tuple(SpanPart(label, before[label], after[label]) for label in before),
        fused_ns=(before[PRODUCTS] - after[PRODUCTS] + before[OWN]) / n,
        plugin_ns=plugin.own_time_ns / n,
        shortest_ns=min(c.time_ns for c in plugin.costs),
        latency_ns=None if latency is None else latency * 1e6,
        kernels=plugin.kernels - operators.kernels,
        bytes=None if more is None else int(more),
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _total(values: Sequence[float | None]) -> float | None:
    """The sum; None when there is nothing to add or a part of it is not known."""
    known = [v for v in values if v is not None]
    return sum(known) if known and len(known) == len(values) else None


def _span(run: RunCost) -> dict[str, float]:
    """Parts of the mean GPU span of an inference; they sum to it exactly."""
    table, n = run.analysis.inferences.table, run.analysis.inferences.count
    names = ("gpu_span", "gpu_idle", "kernel_time", "memset_time", "memcpy_time")
    span, idle, kernels, memsets, memcpys = (int(table[f"{name}_ns"].sum()) for name in names)
    by_kind = run.analysis.category_times.mean()  # means, as all parts of the sum are
    products = float(by_kind[by_kind.index.isin(HEAVY_CATEGORIES)].sum())
    return {
        PRODUCTS: products,
        OWN: run.own_time_ns,
        OTHERS: kernels / n - products - run.own_time_ns,
        SETS: (memsets + memcpys) / n,
        OVERLAP: (span - idle - kernels - memsets - memcpys) / n,
        IDLE: idle / n,
    }
