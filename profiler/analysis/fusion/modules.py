"""Which module of the model each piece of GPU work belongs to, on the framework's side.

A range per module, named as ``named_modules()`` names it, says so. Work that no leaf module's range holds (a residual
addition in the ``forward`` of a block) is an operation of its block: of the block whose range holds it, or, in a trace with
ranges of leaf modules only, of the block that the modules before and after it share; then it is marked as placed by order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from profiler.analysis.names.parse import readable
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import combined, first_of_each
from profiler.trace import Trace

_MODULE = re.compile(r"^[A-Za-z_]\w*(\.\w+)*$")
_FUNCTOR = re.compile(
    r"(?:CUDAFunctorOnSelf_|CUDAFunctor_|BinaryFunctor<[^>]{0,500}?)(add|sub|mul|div)|(\w{1,64}?)_kernel_cuda|(Mul|Div|Add)Functor"
)
_OTHERS = (
    ("CatArray", "concat"),
    ("sigmoid", "sigmoid"),
    ("silu", "silu"),
    ("softmax", "softmax"),
    ("upsample", "resize"),
)


@dataclass(frozen=True, order=True)
class Unit:
    """A piece of the model: one call of a module, or an operation in a block's own ``forward``.

    Attributes:
        module: path as ``named_modules()`` gives it; "" is the model itself.
        call: 0 for the first call in an inference.
        op: operation in lower case, for operations of a block; None for a module.
    """

    module: str
    call: int = 0
    op: str | None = None

    @property
    def label(self) -> str:
        """What readers see: ``layer1.0.relu (2nd call)``, ``layer1.0: add``."""
        name = self.module or "(model)"
        if self.op is not None:
            return f"{name}: {self.op}" + (f" ({self.call + 1})" if self.call else "")
        return name + (f" (call {self.call + 1})" if self.call else "")


@dataclass(frozen=True)
class ModuleSide:
    """The framework's side of a ledger.

    Attributes:
        work: the inferences' GPU work with a column ``unit`` (place in ``units``, -1: in none) and ``by_order`` (placed by its
            neighbours, not by a range).
        units: those that have work.
        order: units in order of execution in the first inference, those that launch nothing included.
        neighbours: for an operation of a block the modules executed before and after it.
        paths: all module paths that have a range.
    """

    work: pd.DataFrame
    units: tuple[Unit, ...]
    order: tuple[Unit, ...]
    neighbours: dict[Unit, tuple[str, str]]
    paths: frozenset[str]


def module_side(trace: Trace, inferences: Inferences, work: pd.DataFrame) -> ModuleSide:
    """Place every piece of GPU work of the inferences in the model."""
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    of_range = _inference_of_ranges(trace, inferences)
    texts, codes = [str(t) for t in ranges["text"].cat.categories], ranges["text"].cat.codes.to_numpy()
    is_module = (
        np.asarray([bool(_MODULE.match(t)) for t in texts], dtype=bool)[codes] if texts else np.zeros(0, dtype=bool)
    )
    is_module &= (of_range >= 0) & (ranges["domain"] != "TensorRT").to_numpy()
    if inferences.count:
        is_module[inferences.ranges["row"].to_numpy()] = False
    rows = np.flatnonzero(is_module)
    paths = frozenset(texts[c] for c in np.unique(codes[rows]))
    containers = paths & {path[:at] for path in paths for at, c in enumerate(path) if c == "."}
    is_container = np.asarray([t in containers for t in texts], dtype=bool)
    # ranges are sorted by start, so the running number within the inference is the call
    call = pd.DataFrame({"inference": of_range[rows], "text": codes[rows]}).groupby(["inference", "text"]).cumcount()
    call_of = np.zeros(len(ranges), dtype=np.int32)
    call_of[rows] = call.to_numpy()
    leaves = rows[~is_container[codes[rows]]]
    holder = _nearest(index.parent, index.level, rows, len(ranges))
    nvtx = work["nvtx"].to_numpy()
    at = np.where(nvtx >= 0, holder[np.maximum(nvtx, 0)], -1) if len(ranges) else np.full(len(work), -1)
    in_leaf = (at >= 0) & ~is_container[codes[at]] if len(ranges) else np.zeros(len(work), dtype=bool)

    found = _Units(len(work))
    held = at[in_leaf]
    found.add(np.flatnonzero(in_leaf), [codes[held], call_of[held]], lambda text, n: Unit(texts[text], n))
    neighbours: dict[Unit, tuple[str, str]] = {}
    loose = np.flatnonzero(~in_leaf) if paths else np.empty(0, dtype=np.int64)
    if len(loose):
        names = work["name"].cat
        part = work.iloc[loose]
        launch, called = trace.api_calls["start_ns"].to_numpy(), part["api_call"].to_numpy()
        times = part["start_ns"].to_numpy()
        if len(launch):
            times = np.where(called >= 0, launch[np.maximum(called, 0)], times)
        before, after = _around(
            ranges["start_ns"].to_numpy(), leaves, codes, of_range, part["inference"].to_numpy(), times
        )
        own = np.where(at[loose] >= 0, codes[at[loose]], -1) if len(ranges) else np.full(len(loose), -1)
        blocks = _Labels()
        parent = blocks.of(
            [own, before, after], lambda o, b, a: texts[o] if o >= 0 else _common(_text(texts, b), _text(texts, a))
        )
        ops = _Labels()
        op = ops.of(
            [part["kind"].cat.codes.to_numpy(), names.codes.to_numpy()[loose]],
            lambda kind, name: (
                operation_of(str(names.categories[name])) if kind == 0 else str(part["kind"].cat.categories[kind])
            ),
        )
        number = (
            pd.DataFrame({"i": part["inference"].to_numpy(), "p": parent, "o": op}).groupby(["i", "p", "o"]).cumcount()
        )
        placed = found.add(
            loose, [parent, op, number.to_numpy()], lambda p, o, n: Unit(blocks.labels[p], n, ops.labels[o])
        )
        for unit, first in placed.items():
            neighbours[unit] = (_text(texts, before[first]), _text(texts, after[first]))
    by_order = np.zeros(len(work), dtype=bool)
    by_order[loose] = at[loose] < 0

    first_leaves = leaves[of_range[leaves] == 0]
    order = [(int(ranges["start_ns"].iloc[r]), Unit(texts[codes[r]], int(call_of[r]))) for r in first_leaves]
    if len(loose):
        early = np.flatnonzero(part["inference"].to_numpy() == 0)
        order += [(int(times[k]), found.units[found.of[loose[k]]]) for k in early]
    sequence = tuple(dict.fromkeys(u for _, u in sorted(order, key=lambda item: item[0])))
    late = tuple(u for u in found.by_appearance() if u not in set(sequence))
    return ModuleSide(
        work.assign(unit=found.of, by_order=by_order), tuple(found.units), sequence + late, neighbours, paths
    )


def _text(texts: list[str], code: int) -> str:
    return texts[code] if code >= 0 else ""


class _Labels:
    """Text labels of combinations of codes, each combination looked at once."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def of(self, columns: list[np.ndarray], label: Callable[..., str]) -> np.ndarray:
        codes, combinations = combined(columns)
        made = [label(*map(int, c)) for c in combinations]
        places = {text: k for k, text in enumerate(dict.fromkeys(made))}
        self.labels = list(places)
        return np.asarray([places[text] for text in made], dtype=np.int32)[codes]


class _Units:
    """The unit of each piece of work."""

    def __init__(self, n: int) -> None:
        self.units: list[Unit] = []
        self.of = np.full(n, -1, dtype=np.int32)

    def add(self, rows: np.ndarray, columns: list[np.ndarray], unit: Callable[..., Unit]) -> dict[Unit, int]:
        """Give ``rows`` the units that their combinations of codes stand for; returns where in ``rows`` each comes first."""
        codes, combinations = combined(columns)
        places = np.asarray([self._place(unit(*map(int, c))) for c in combinations], dtype=np.int32)
        if not len(rows):
            return {}
        self.of[rows] = places[codes]
        first = first_of_each(codes, len(places))
        return {self.units[k]: int(f) for k, f in sorted(zip(places, first), key=lambda item: -item[1])}

    def _place(self, unit: Unit) -> int:
        if unit not in self._known:
            self._known[unit] = len(self.units)
            self.units.append(unit)
        return self._known[unit]

    @cached_property
    def _known(self) -> dict[Unit, int]:
        return {}

    def by_appearance(self) -> list[Unit]:
        first = first_of_each(self.of, len(self.units))
        return [unit for at, _, unit in sorted(zip(first.tolist(), range(len(first)), self.units)) if at >= 0]


def _inference_of_ranges(trace: Trace, inferences: Inferences) -> np.ndarray:
    """The inference that each NVTX range starts in (on its own thread), or -1."""
    ranges = trace.nvtx_ranges
    return inferences.assign_calls(ranges[["tid", "pid", "start_ns"]])


def _nearest(parent: np.ndarray, level: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """For each range the nearest range among ``rows`` that is it or holds it, or -1."""
    found = np.full(n, -1, dtype=np.int64)
    found[rows] = rows
    for depth in range(1, int(level.max(initial=0)) + 1):
        at = np.flatnonzero((level == depth) & (found < 0))
        found[at] = np.where(parent[at] >= 0, found[parent[at]], -1)
    return found


def _around(
    starts: np.ndarray,
    leaves: np.ndarray,
    codes: np.ndarray,
    of_range: np.ndarray,
    inference: np.ndarray,
    times: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Text codes of the leaf modules entered last before and first after each time in the same inference (-1: none)."""
    place = np.searchsorted(starts[leaves], times, side="right")
    found = []
    for which in (place - 1, place):
        inside = (which >= 0) & (which < len(leaves))
        row = leaves[np.where(inside, which, 0)] if len(leaves) else np.zeros(len(times), dtype=np.int64)
        inside &= of_range[row] == inference
        found.append(np.where(inside, codes[row], -1))
    return found[0], found[1]


def _common(first: str, second: str) -> str:
    """The innermost block that holds both modules."""
    shared = []
    for a, b in zip(first.split(".")[:-1], second.split(".")[:-1]):
        if a != b:
            break
        shared.append(a)
    return ".".join(shared)


@lru_cache(maxsize=65_536)
def operation_of(kernel: str) -> str:
    """What a framework's own kernel computes, as far as its name tells: "add", "mul", "concat", …, else "operation"."""
    kernel = readable(kernel)
    match = _FUNCTOR.search(kernel)
    if match:
        return next(g for g in match.groups() if g).lower().replace("direct_copy", "copy")
    return next((op for mark, op in _OTHERS if mark in kernel), "operation")
