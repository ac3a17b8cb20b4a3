"""Which module of the model each piece of GPU work belongs to, on the framework's side.

A range per module says so (:mod:`profiler.analysis.fusion.range_names` reads the dialects); without them a range per class or per
operator at least tells what each piece is. Work that no leaf module's range holds (a residual
addition in the ``forward`` of a block) is an operation of its block: of the block whose range holds it, or, in a trace with
ranges of leaf modules only, of the block that the modules before and after it share; then it is marked as placed by order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.fusion.operators import HEAVY_CATEGORIES, operation_of
from profiler.analysis.fusion.range_names import CLASS, MODULE, OPERATOR, RangeName, range_name
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import combined, first_of_each, running_number
from profiler.lazy import cached_property
from profiler.text import ordinal
from profiler.trace import Trace
from profiler.trace.arrays import gathered, in_pieces
from profiler.trace.columns import Table
from profiler.trace.nvtx import NvtxIndex

_TENSORRT_DOMAIN = re.compile(r"tensorrt|nvinfer|myelin", re.IGNORECASE)
_MOST_PRODUCTS = 4


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
            return f"{name}: {self.op}" + (f" ({ordinal(self.call + 1)})" if self.call else "")
        return name + (f" ({ordinal(self.call + 1)} call)" if self.call else "")


@dataclass(frozen=True)
class ModuleSide:
    """The framework's side of a ledger.

    Attributes:
        work: the inferences' GPU work with a column ``unit`` (place in ``units``, -1: in none) and ``by_order`` (placed by its
            neighbours, not by a range).
        units: those that have work.
        order: units in order of execution in the first inference, those that launch nothing included.
        neighbours: for an operation of a block the modules executed before and after it.
        paths: all module paths that have a range; empty where the ranges name classes or operators only.
        source: what ranges say so, in words; None when there are none.
        range_names: what a range's name says beside the path: class or operator, and the input's shape.
    """

    work: pd.DataFrame
    units: tuple[Unit, ...]
    order: tuple[Unit, ...]
    neighbours: dict[Unit, tuple[str, str]]
    paths: frozenset[str]
    source: str | None
    range_names: dict[Unit, RangeName]


def module_side(trace: Trace, inferences: Inferences, work: pd.DataFrame) -> ModuleSide:
    """Place every piece of GPU work of the inferences in the model."""
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    of_range = inference_of_ranges(trace, inferences, work)
    leaves = _leaves(trace, inferences, of_range, work)
    texts, codes, rows = leaves.names, leaves.codes, leaves.rows
    # ranges are sorted by start, so the running number within the inference is the call
    call_of = np.zeros(len(ranges), dtype=np.int32)
    call_of[rows] = running_number([of_range[rows], codes[rows]])
    holder = index.nearest(rows)
    nvtx = work["nvtx"].to_numpy()
    at = _at(holder, nvtx)
    in_leaf = (at >= 0) & leaves.is_leaf[at] if len(ranges) else np.zeros(len(work), dtype=bool)

    found = _Units(len(work))
    held = at[in_leaf]
    found.add(np.flatnonzero(in_leaf), [codes[held], call_of[held]], leaves.unit)
    neighbours: dict[Unit, tuple[str, str]] = {}
    copies = (work["kind"] == "memcpy").to_numpy()
    loose = np.flatnonzero(~in_leaf & ~copies) if leaves.source is not None else np.empty(0, dtype=np.int64)
    leaf_rows = rows[leaves.is_leaf[rows]]
    part = work.iloc[loose]
    times = part["start_ns"].to_numpy()
    if len(loose):
        launch, called = trace.events.api_calls["start_ns"], part["api_call"].to_numpy()
        if len(launch):
            times = np.where(called >= 0, launch[np.maximum(called, 0)], times)
        before, after = _around(ranges["start_ns"], leaf_rows, codes, of_range, part["inference"].to_numpy(), times)
        if not leaves.has_paths:  # class and operator names give no place in the model
            before, after = np.full_like(before, -1), np.full_like(after, -1)
        own = np.where((at[loose] >= 0) & leaves.has_paths, codes[at[loose]], -1) if len(ranges) else before
        blocks = _Labels()
        parent = blocks.of(
            [own, before, after], lambda o, b, a: texts[o] if o >= 0 else _common(_text(texts, b), _text(texts, a))
        )
        operator = _at(index.nearest(leaves.operators), nvtx[loose])
        spoken = np.where(operator >= 0, leaves.operator_codes[operator], -1) if len(ranges) else operator
        names, kinds = work["name"].cat, part["kind"].cat
        ops = _Labels()
        op = ops.of(
            [kinds.codes.to_numpy(), np.where(spoken >= 0, -1, names.codes.to_numpy()[loose]), spoken],
            lambda kind, name, said: (
                leaves.operator_names[said]
                if said >= 0
                else operation_of(str(names.categories[name]))
                if kind == 0
                else str(kinds.categories[kind])
            ),
        )
        held_by = [part["inference"].to_numpy(), parent, op]
        number = running_number(held_by)
        if (operator >= 0).any():  # the kernels of one operator's range are one operation, others one each
            place = pd.DataFrame(dict(zip("ipo", held_by)))
            place["g"] = np.where(operator >= 0, operator, -1 - np.arange(len(loose)))
            first = place.drop_duplicates()
            number = place.merge(first.assign(n=first.groupby(["i", "p", "o"]).cumcount()), how="left")["n"].to_numpy()
        placed = found.add(loose, [parent, op, number], lambda p, o, n: Unit(blocks.labels[p], n, ops.labels[o]))
        for unit, row in placed.items():
            neighbours[unit] = (_text(texts, before[row]), _text(texts, after[row]))
    by_order = np.zeros(len(work), dtype=bool)
    by_order[loose] = at[loose] < 0

    first_leaves = leaf_rows[of_range[leaf_rows] == 0]
    order = [(int(ranges["start_ns"][r]), leaves.unit(codes[r], int(call_of[r]))) for r in first_leaves]
    early = np.flatnonzero(part["inference"].to_numpy() == 0)
    order += [(int(times[k]), found.units[found.of[loose[k]]]) for k in early]
    sequence = tuple(dict.fromkeys(u for _, u in sorted(order, key=lambda item: item[0])))
    late = tuple(u for u in found.by_appearance() if u not in set(sequence))
    range_names = {leaves.unit(codes[r], int(call_of[r])): leaves.range_names[codes[r]] for r in first_leaves}
    return ModuleSide(
        work.assign(unit=found.of, by_order=by_order),
        tuple(found.units),
        sequence + late,
        neighbours,
        frozenset(texts[c] for c in np.unique(codes[rows])) if leaves.has_paths else frozenset(),
        leaves.source,
        {u: name for u, name in range_names.items() if name is not None},
    )


@dataclass(frozen=True)
class _Leaves:
    """The ranges that stand for pieces of the model.

    Attributes:
        rows: those ranges, ``codes`` the place of each range's name in ``names`` (-1: none).
        is_leaf: per range, whether it is a piece of its own and not one that holds others.
        range_names: per name what the range's name says of class, operator and shape.
        operators: outermost ranges of operators, ``operator_codes`` their places in ``operator_names``.
        source: in words; None when there are no such ranges.
    """

    rows: np.ndarray
    codes: np.ndarray
    names: list[str]
    is_leaf: np.ndarray
    range_names: list[RangeName | None]
    operators: np.ndarray
    operator_codes: np.ndarray
    operator_names: list[str]
    source: str | None
    has_paths: bool

    def unit(self, code: int, call: int) -> Unit:
        return Unit(self.names[code], call) if self.has_paths else Unit("", call, self.names[code].lower())


def _leaves(trace: Trace, inferences: Inferences, of_range: np.ndarray, work: pd.DataFrame) -> _Leaves:
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    said = [range_name(text) for text in ranges["text"].texts]
    text_codes = ranges["text"].codes
    usable = (of_range >= 0) & ~is_tensorrt(ranges)
    if inferences.count:
        own = inferences.ranges["row"].to_numpy()
        usable[own[own >= 0]] = False  # inferred ones have no range

    def chosen(what: str) -> tuple[np.ndarray, np.ndarray, list[str], list[RangeName | None]]:
        paths = {s.name for s in said if s is not None and s.what == MODULE}
        fits = [
            s is not None and s.what == what and (not s.phase or any(p.startswith(f"{s.name}.") for p in paths))
            for s in said
        ]
        names = list(dict.fromkeys(s.name for s, fit in zip(said, fits) if fit and s is not None))
        place = {name: k for k, name in enumerate(names)}
        table = np.asarray(
            [place[s.name] if fit and s is not None else -1 for s, fit in zip(said, fits)], dtype=np.int32
        )
        codes = np.where(usable, table[text_codes], -1) if len(table) else np.full(len(ranges), -1, dtype=np.int32)
        range_names: list[RangeName | None] = [None] * len(names)
        for s, fit in zip(said, fits):
            if fit and s is not None and (range_names[place[s.name]] is None or s.shape):
                range_names[place[s.name]] = s
        return np.flatnonzero(codes >= 0), codes, names, range_names

    operators, operator_codes, operator_names, operator_ranges = chosen(OPERATOR)
    operators = operators[~_inside(index, operators)]
    rows, codes, names, range_names = chosen(MODULE)
    there = {names[c] for c in np.unique(codes[rows])}
    containers = there & {path[:k] for path in there for k, c in enumerate(path) if c == "."}
    is_leaf = (codes >= 0) & ~np.asarray([n in containers for n in names], dtype=bool)[codes] if names else codes >= 0
    kept = _pieces(index, rows[is_leaf[rows]], codes, work)
    if kept is not None:
        is_leaf &= ~np.isin(codes, kept)
        rows = rows[~np.isin(codes[rows], kept)]
    if is_leaf.any():
        return _Leaves(
            rows, codes, names, is_leaf, range_names, operators, operator_codes, operator_names, "module ranges", True
        )
    rows, codes, names, range_names = chosen(CLASS)
    if len(rows):
        is_leaf = codes >= 0
        is_leaf[index.parent[rows[index.parent[rows] >= 0]]] = False
        source = "ranges with the class of each module"
        return _Leaves(
            rows, codes, names, is_leaf, range_names, operators, operator_codes, operator_names, source, False
        )
    if len(operators):
        is_leaf = np.zeros(len(ranges), dtype=bool)
        is_leaf[operators] = True
        source = "operator ranges of PyTorch (emit_nvtx)"
        return _Leaves(
            operators, operator_codes, operator_names, is_leaf, operator_ranges, operators, operator_codes,
            operator_names, source, False,
        )  # fmt: skip
    nothing = np.empty(0, dtype=np.int64)
    return _Leaves(nothing, codes, [], codes >= 0, [], nothing, operator_codes, [], None, False)


def _pieces(index: NvtxIndex, leaves: np.ndarray, codes: np.ndarray, work: pd.DataFrame) -> list[int] | None:
    """Names of ranges that hold a whole program's work although they look like modules; None where there are none.

    One name that holds four or more products an inference, while no other range holds any, is a phase of a program
    ("resnet", "inference_part") and no leaf module.
    """
    heavy = work["category"].isin(HEAVY_CATEGORIES).to_numpy()
    if not heavy.any():
        return None
    at = _at(index.nearest(leaves), work["nvtx"].to_numpy()[heavy])
    found, counts = np.unique(codes[at[at >= 0]], return_counts=True)
    inferences = max(int(work["inference"].max()) + 1, 1)
    return [int(found[0])] if len(found) == 1 and counts[0] >= _MOST_PRODUCTS * inferences else None


def inference_of_ranges(trace: Trace, inferences: Inferences, work: pd.DataFrame) -> np.ndarray:
    """The inference of each NVTX range: the one it starts in, else the only one whose work was launched inside it; -1 for none.

    An inference that was inferred from its kernels begins with its first launch, inside the range of the first module or layer.
    """
    ranges, parent = trace.events.nvtx_ranges, trace.nvtx_index.parent
    found = inferences.assign_calls(ranges)
    least, most = np.full(len(ranges), np.iinfo(np.int32).max, dtype=np.int32), np.full(len(ranges), -1, dtype=np.int32)
    at, of = work["nvtx"].to_numpy(), work["inference"].to_numpy()
    while len(at):
        kept = at >= 0
        at, of = at[kept], of[kept]
        kept = found[at] < 0
        at, of = at[kept], of[kept]
        np.minimum.at(least, at, of)
        np.maximum.at(most, at, of)
        at = parent[at]
    single = (found < 0) & (most >= 0) & (least == most)
    found[single] = most[single]
    return found


def is_tensorrt(ranges: Table) -> npt.NDArray[np.bool_]:
    """Which ranges TensorRT makes itself: in its own domain and in those of its compiler Myelin."""
    wanted = [bool(_TENSORRT_DOMAIN.search(domain)) for domain in ranges["domain"].texts]
    found: npt.NDArray[np.bool_] = np.asarray([*wanted, False], dtype=bool)[
        ranges["domain"].codes
    ]  # code -1: no domain
    return found


def _at(holder: np.ndarray, nvtx: np.ndarray) -> np.ndarray:
    """The range that holds each piece of work, given its innermost range; -1 for none."""
    if not len(holder):
        return np.full(len(nvtx), -1)
    return gathered(len(nvtx), holder.dtype, lambda p: np.where(nvtx[p] >= 0, holder[np.maximum(nvtx[p], 0)], -1))


def _inside(index: NvtxIndex, rows: np.ndarray) -> npt.NDArray[np.bool_]:
    """Which of the rows lie in another of them."""
    parent = index.parent[rows]
    found: npt.NDArray[np.bool_] = (parent >= 0) & (index.nearest(rows)[parent] >= 0)
    return found


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


def _around(
    starts: np.ndarray,
    leaves: np.ndarray,
    codes: np.ndarray,
    of_range: np.ndarray,
    inference: np.ndarray,
    times: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Text codes of the leaf modules entered last before and first after each time in the same inference (-1: none)."""
    entered = starts[leaves]

    def of_piece(piece: slice) -> tuple[np.ndarray, np.ndarray]:
        place = np.searchsorted(entered, times[piece], side="right")
        found = []
        for which in (place - 1, place):
            inside = (which >= 0) & (which < len(leaves))
            row = leaves[np.where(inside, which, 0)] if len(leaves) else np.zeros(len(place), dtype=np.int64)
            inside &= of_range[row] == inference[piece]
            found.append(np.where(inside, codes[row], -1))
        return found[0], found[1]

    parts = in_pieces(len(times), of_piece) or [of_piece(slice(0, 0))]
    before, after = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return before, after


def _common(first: str, second: str) -> str:
    """The innermost block that holds both modules."""
    shared = []
    for a, b in zip(first.split(".")[:-1], second.split(".")[:-1]):
        if a != b:
            break
        shared.append(a)
    return ".".join(shared)
