"""Which module of the model each piece of GPU work belongs to, on the framework's side.

A range per module, named as ``named_modules()`` names it, says so. Work that no leaf module's range holds (a residual
addition in the ``forward`` of a block) is an operation of its block: of the block whose range holds it, or, in a trace with
ranges of leaf modules only, of the block that the modules before and after it share; then it is marked as placed by order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from profiler.analysis.inferences import Inferences
from profiler.analysis.kernel_name import shorten
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
        work: the inferences' GPU work with a column ``unit`` (a :class:`Unit`, or None) and ``by_order`` (placed by its
            neighbours, not by a range).
        order: units in order of execution in the first inference, those that launch nothing included.
        neighbours: for an operation of a block the modules executed before and after it.
        paths: all module paths that have a range.
    """

    work: pd.DataFrame
    order: tuple[Unit, ...]
    neighbours: dict[Unit, tuple[str, str]]
    paths: frozenset[str]


def module_side(trace: Trace, inferences: Inferences, work: pd.DataFrame) -> ModuleSide:
    """Place every piece of GPU work of the inferences in the model."""
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    of_range = _inference_of_ranges(trace, inferences)
    texts = ranges["text"].astype(str).to_numpy()
    selected = set(inferences.ranges["row"].tolist()) if inferences.count else set()
    foreign = (ranges["domain"] == "TensorRT").to_numpy()
    candidates = np.flatnonzero((of_range >= 0) & ~foreign).tolist()
    rows: list[int] = [r for r in candidates if r not in selected and _MODULE.match(texts[r])]
    paths = frozenset(texts[r] for r in rows)
    containers = {p for p in paths if any(other.startswith(f"{p}.") for other in paths)}
    calls: dict[tuple[int, str], int] = {}
    unit_of: dict[int, Unit] = {}
    for row in rows:  # ranges are sorted by start
        key = (int(of_range[row]), texts[row])
        unit_of[row] = Unit(texts[row], calls.get(key, 0))
        calls[key] = calls.get(key, 0) + 1
    leaves = [r for r in rows if texts[r] not in containers]
    holder = _nearest(index.parent, index.level, np.asarray(sorted(unit_of), dtype=np.int64), len(ranges))
    units: list[Unit | None] = []
    by_order: list[bool] = []
    neighbours: dict[Unit, tuple[str, str]] = {}
    seen: dict[tuple[int, str, str], int] = {}
    leaf_starts = ranges["start_ns"].to_numpy()[leaves] if leaves else np.empty(0, np.int64)
    launch = trace.api_calls["start_ns"].to_numpy()
    order: list[tuple[int, Unit]] = [(int(ranges["start_ns"].iloc[r]), unit_of[r]) for r in leaves if of_range[r] == 0]
    columns = ("nvtx", "api_call", "start_ns", "inference", "name", "kind")
    for nvtx, api_call, start_ns, inference, name, kind in zip(*(work[c].tolist() for c in columns)):
        at = int(holder[nvtx]) if nvtx >= 0 else -1
        if at >= 0 and texts[at] not in containers:
            units.append(unit_of[at])
            by_order.append(False)
            continue
        if not paths:
            units.append(None)
            by_order.append(False)
            continue
        time = int(launch[api_call]) if api_call >= 0 else int(start_ns)
        before, after = _around(leaf_starts, leaves, texts, of_range, int(inference), time)
        parent = texts[at] if at >= 0 else _common(before, after)
        op = operation_of(str(name)) if kind == "kernel" else str(kind)
        number = (int(inference), parent, op)
        unit = Unit(parent, seen.get(number, 0), op)
        seen[number] = seen.get(number, 0) + 1
        neighbours.setdefault(unit, (before, after))
        units.append(unit)
        by_order.append(at < 0)
        if inference == 0:
            order.append((time, unit))
    placed = work.assign(unit=pd.Series(units, dtype=object, index=work.index), by_order=by_order)
    sequence = tuple(dict.fromkeys(u for _, u in sorted(order, key=lambda item: item[0])))
    late = tuple(dict.fromkeys(u for u in units if u is not None and u not in set(sequence)))
    return ModuleSide(placed, sequence + late, neighbours, paths)


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
    starts: np.ndarray, leaves: list[int], texts: np.ndarray, of_range: np.ndarray, inference: int, time: int
) -> tuple[str, str]:
    """The leaf modules entered last before and first after ``time`` in the same inference ("" without one)."""
    place = int(np.searchsorted(starts, time, side="right"))
    before = leaves[place - 1] if place > 0 else -1
    after = leaves[place] if place < len(leaves) else -1
    return (
        texts[before] if before >= 0 and of_range[before] == inference else "",
        texts[after] if after >= 0 and of_range[after] == inference else "",
    )


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
    kernel = shorten(kernel)
    match = _FUNCTOR.search(kernel)
    if match:
        return next(g for g in match.groups() if g).lower().replace("direct_copy", "copy")
    return next((op for mark, op in _OTHERS if mark in kernel), "operation")
