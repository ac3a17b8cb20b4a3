"""Which layer of a TensorRT engine each piece of GPU work belongs to.

TensorRT leaves an NVTX range per layer (domain ``TensorRT``) while it enqueues, so a kernel belongs to the layer in whose
range it was launched. In a CUDA graph the whole inference is one launch: then the kernels' order is held against the
layers' order, tactic names being the fixed points, and everything placed so is marked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.fusion.layer_names import parse_layer_name
from profiler.analysis.fusion.modules import inference_of_ranges, is_tensorrt
from profiler.analysis.fusion.operators import (
    HEAVY_CATEGORIES,
    LAYOUT,
    UNKNOWN,
    Kinds,
    are_alike,
    is_heavy,
    kinds_of,
    kinds_of_kernel,
)
from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import combined, first_of_each
from profiler.trace import Trace
from profiler.trace.arrays import encode
from profiler.trace.engine_file import EngineLayer, named_layer, parse_payloads, read_engine_file
from profiler.trace.nvtx import NvtxIndex

_CALL = re.compile(r"^I?ExecutionContext::|^IRuntime|^ICudaEngine|^myelin", re.IGNORECASE)
_MYELIN_LAYER = re.compile(r"_myl\d+_\d+$|^__myl_")
_DLA = re.compile(r"(?: to nvm| from nvm)$")
_LEAST_AGREEMENT = 0.9
_MAX_ALIGNED = 4_000  # kernels × layers of the alignment's table stay below 16 million


@dataclass(frozen=True)
class EngineSide:
    """The engine's side of a ledger.

    Attributes:
        work: the inferences' GPU work with a column ``layer`` (place in ``layers``, -1: in none) and ``by_order``.
        layers: in order of execution.
        how: how work was given to layers, in words.
        source: what describes the layers.
    """

    work: pd.DataFrame
    layers: tuple[EngineLayer, ...]
    how: str
    source: str


def engine_side(
    trace: Trace, inferences: Inferences, work: pd.DataFrame, engine_file: Path | None = None
) -> EngineSide | None:
    """Give every piece of GPU work of the inferences to a layer; None when neither trace nor file describe layers.

    Args:
        engine_file: the engine inspector's JSON, used where the trace itself has no layers.

    Raises:
        TraceError: the engine file cannot be read.
    """
    return find_layers(trace, inferences, work, engine_file)[0]


def find_layers(
    trace: Trace, inferences: Inferences, work: pd.DataFrame, engine_file: Path | None = None
) -> tuple[EngineSide | None, str | None]:
    """The same, and why a description of layers that is there was not used."""
    by_range = _layers_by_range(trace, inferences, work)
    if by_range is not None:
        layers, layer_of_range, holds_work = by_range
        if holds_work:
            layer = _layer_at(layer_of_range, work)
            how = "by launch inside the layer's NVTX range"
            return EngineSide(work.assign(layer=layer, by_order=False), layers, how, "TensorRT's layer ranges"), None
    refused = None
    described = [(read_engine_file(engine_file), engine_file.name)] if engine_file is not None else []
    described += [(by_range[0], "the layer ranges of another enqueue")] if by_range else []
    for layers, origin in described:
        placed, agreed, products = _by_order(work, layers)
        if products and agreed < _LEAST_AGREEMENT * products:
            refused = (
                f"{origin} does not describe this trace: {agreed} of {products} convolutions and products of its layers and of the "
                "kernels agree in kind and order"
            )
            continue
        how = (
            "by order, checked against the engine's layers with tactic names as fixed points, as the launches do not tell them "
            f"apart: {agreed} of {products} convolutions and products agree"
        )
        source = f"the engine's layers ({origin}), by order"
        return EngineSide(work.assign(layer=placed, by_order=placed >= 0), layers, how, source), refused
    return None, refused


def _by_order(work: pd.DataFrame, layers: tuple[EngineLayer, ...]) -> tuple[npt.NDArray[np.int32], int, int]:
    """The layer of each piece of work by order, and how many products of the first inference and its layers agree, of how many."""
    layer = np.full(len(work), -1, dtype=np.int32)
    cache: dict[bytes, list[int]] = {}
    agreement: tuple[int, int] = (0, 0)
    inference, codes = work["inference"].to_numpy(), work["name"].cat.codes.to_numpy()
    edges = [*np.flatnonzero(np.diff(inference, prepend=-1)), len(work)]  # the work is sorted by inference
    for begin, end in itertools.pairwise(edges):
        key = codes[begin:end].tobytes()
        if key not in cache:
            part = work.iloc[begin:end]
            names, categories = tuple(part["name"]), tuple(part["category"])
            cache[key] = align(names, categories, layers)
            if len(cache) == 1:
                agreement = _agreement(names, categories, layers, cache[key])
        layer[begin:end] = cache[key]
    return layer, *agreement


def _agreement(
    names: Sequence[str], categories: Sequence[str], layers: Sequence[EngineLayer], placed: Sequence[int]
) -> tuple[int, int]:
    """Products (kernels, or layers that must run one) that sit in a layer of their kind, and how many there are."""
    on_dla = any(is_dla_transfer(layer.name) for layer in layers)
    kinds = [layer_kinds(layer) for layer in layers]
    good, taken = 0, set()
    heavy = [i for i, c in enumerate(categories) if c in HEAVY_CATEGORIES]
    for i in heavy:
        j = placed[i]
        named = j >= 0 and bool(layers[j].tactic) and names[i].startswith(str(layers[j].tactic))
        region = j >= 0 and "ForeignNode[" in layers[j].name and not on_dla
        if j >= 0 and (
            named or region or not kinds[j] or are_alike(kinds[j], kinds_of_kernel(names[i], categories[i]))
        ):
            good += 1
            taken.add(j)
    empty = sum(is_heavy(k) and j not in taken and "ForeignNode[" not in layers[j].name for j, k in enumerate(kinds))
    return good, len(heavy) + empty


def layer_kinds(layer: EngineLayer) -> Kinds:
    """The kind of a layer's main operation: the product that its name or type tells, else all that it names."""
    name = parse_layer_name(layer.name, layer.metadata)
    if name.reformat_for is not None:
        return frozenset({LAYOUT})
    if not name.computes_product:
        return frozenset().union(*(kinds_of(op) for op in name.generated))
    named = [n.kinds for n in name.operations if n.kinds]
    return next(
        (k for k in named if is_heavy(k)), kinds_of(layer.kind) or (frozenset().union(*named) if named else UNKNOWN)
    )


def is_dla_transfer(name: str) -> bool:
    """Whether a layer's name is that of a copy to or from the DLA's memory; such engines run some layers on the DLA."""
    return bool(_DLA.search(name))


def _layer_at(layer_of_range: npt.NDArray[np.int32], work: pd.DataFrame) -> npt.NDArray[np.int32]:
    nvtx = work["nvtx"].to_numpy()
    if not len(layer_of_range):
        return np.full(len(work), -1, dtype=np.int32)
    return np.where(nvtx >= 0, layer_of_range[np.maximum(nvtx, 0)], -1)


def _layers_by_range(
    trace: Trace, inferences: Inferences, work: pd.DataFrame
) -> tuple[tuple[EngineLayer, ...], npt.NDArray[np.int32], bool] | None:
    """The layers in order, for each NVTX range its layer (nearest around it) or -1, and whether work was launched in them.

    Where no inference has layer ranges of its own (a replayed graph), those of another enqueue describe the layers.
    """
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    calls = np.asarray([bool(_CALL.match(text)) for text in ranges["text"].texts], dtype=bool)
    mine = is_tensorrt(ranges) & ranges["kind"].are("push/pop")
    if len(calls):
        mine &= ~calls[ranges["text"].codes]
    if not mine.any():
        return None
    payloads = parse_payloads(trace.payloads(ranges["json_id"][mine]))
    inside = mine & (inference_of_ranges(trace, inferences, work) >= 0)
    for allowed in (inside, mine):
        if allowed.any():
            layers, layer_of = _read_ranges(trace, allowed, payloads)
            held = _layer_at(layer_of, work)
            used = np.bincount(held[held >= 0], minlength=len(layers)) > 0
            outer = _holds_another(index, layer_of)
            kept = [k for k in range(len(layers)) if used[k] or k not in outer]
            if not used.any() and allowed is not mine:
                continue
            table = np.full(len(layers) + 1, -1, dtype=np.int32)
            table[kept] = np.arange(len(kept), dtype=np.int32)
            return tuple(layers[k] for k in kept), table[layer_of], bool(used.any())
    return None


def _holds_another(index: NvtxIndex, layer_of: npt.NDArray[np.int32]) -> set[int]:
    """Layers whose range holds the ranges of other layers: a region around the layers that Myelin made of it."""
    inner = np.flatnonzero((layer_of >= 0) & (index.parent >= 0))
    around = layer_of[index.parent[inner]]
    return {int(k) for k in np.unique(around[(around >= 0) & (around != layer_of[inner])])}


def _read_ranges(
    trace: Trace, mine: npt.NDArray[np.bool_], payloads: dict[int, EngineLayer]
) -> tuple[list[EngineLayer], npt.NDArray[np.int32]]:
    ranges, index = trace.events.nvtx_ranges, trace.nvtx_index
    texts, ids = ranges["text"], ranges["json_id"]
    id_codes, id_values = encode(ids)
    described = np.asarray([int(i) in payloads for i in id_values], dtype=bool)[id_codes]
    compiled = np.asarray([bool(_MYELIN_LAYER.search(text)) for text in texts.texts], dtype=bool)
    rows = np.flatnonzero(mine)
    own = np.zeros(
        len(ranges), dtype=bool
    )  # a range that a layer opens inside its own is no layer, unless Myelin made it one
    own[rows] = described[rows] | compiled[texts.codes[rows]]
    others = rows[~own[rows]]
    for at in index.by_level(others):
        around = index.parent[at]
        own[at] = (around < 0) | ~own[around]
    rows = np.flatnonzero(own).astype(np.int32)
    codes, combinations = combined(
        [np.where(described[rows], ids[rows], -1), np.where(described[rows], -1, texts.codes[rows])]
    )
    layer_of = np.full(len(ranges), -1, dtype=np.int32)
    found = [payloads[int(i)] if i >= 0 else named_layer(texts.texts[t]) for i, t in combinations]
    layers: list[EngineLayer] = []
    places: dict[str, int] = {}
    table = np.empty(len(found), dtype=np.int32)
    first = first_of_each(codes, len(found))
    for k in np.argsort(first):
        layer = found[k]
        if layer.name not in places:
            places[layer.name] = len(layers)
            layers.append(layer)
        table[k] = places[layer.name]
    layer_of[rows] = table[codes]
    holder = index.nearest(rows)
    nearest = layer_of[holder]
    nearest[holder < 0] = -1
    return layers, nearest


def align(names: Sequence[str], categories: Sequence[str], layers: Sequence[EngineLayer]) -> list[int]:
    """For the kernels of one inference, in order, the layer of each.

    The longest common subsequence of kernels and layers whose tactic names the kernel is fixed. What lies between two fixed
    points goes, in order, to the layers between them that name no tactic and fit its kind; what is left goes to the next
    fixed layer (kernels that prepare a layer run before it), at the end to the last one. A pointwise kernel after a layer that
    holds pointwise operations (``PWN(…)``) is that layer's: TensorRT runs them so where the layer's tactic cannot.
    """
    if not names or not layers or len(names) > _MAX_ALIGNED or len(layers) > _MAX_ALIGNED:
        return [-1] * len(names)
    fits = _named_by_tactic(names, layers)
    m, n = fits.shape
    best = np.zeros((m + 1, n + 1), dtype=np.int32)  # the longest common subsequence of names[i:] and layers[j:]
    for i in range(m - 1, -1, -1):
        with_this = np.maximum(best[i + 1, :n], (best[i + 1, 1:] + 1) * fits[i])
        best[i, :n] = np.maximum.accumulate(with_this[::-1])[::-1]
    found = [-1] * m
    i = j = 0
    while i < m and j < n:
        if fits[i, j]:
            found[i] = j
            i, j = i + 1, j + 1
        elif best[i + 1, j] >= best[i, j + 1]:
            i += 1
        else:
            j += 1
    fixed = [(-1, -1), *((i, j) for i, j in enumerate(found) if j >= 0), (m, n)]
    named = {layers[j].tactic for j in np.flatnonzero(fits.any(axis=0)).tolist()}
    kinds = [layer_kinds(layer) for layer in layers]
    for (i0, j0), (i1, j1) in itertools.pairwise(fixed):
        free = list(range(j0 + 1, j1))
        last = j0
        for i in range(i0 + 1, i1):
            place = next((j for j in free if _suits(layers[j], kinds[j], names[i], categories[i], named)), None)
            if place is not None:
                found[i] = last = place
                free = [j for j in free if j > place]
            elif last >= 0 and "ForeignNode[" in layers[last].name:
                found[i] = last  # a region runs several kernels
            elif j0 >= 0 and categories[i] == "pointwise" and "PWN(" in layers[j0].name:
                found[i] = j0
            else:
                found[i] = j1 if j1 < n else j0
    return found


def _named_by_tactic(names: Sequence[str], layers: Sequence[EngineLayer]) -> npt.NDArray[np.bool_]:
    """For each kernel and layer whether the kernel's name starts with the layer's tactic."""
    kernels, tactics = list(dict.fromkeys(names)), list(dict.fromkeys(la.tactic or "" for la in layers))
    table = np.asarray([[bool(t) and k.startswith(t) for t in tactics] for k in kernels], dtype=bool)
    row = {name: i for i, name in enumerate(kernels)}
    column = {tactic: j for j, tactic in enumerate(tactics)}
    return table[np.ix_([row[n] for n in names], [column[la.tactic or ""] for la in layers])]


def _suits(layer: EngineLayer, kinds: Kinds, kernel: str, category: str, named: set[str | None]) -> bool:
    """Whether a layer can have launched a kernel that its tactic does not name."""
    kind = (layer.kind or "").lower()
    if kind in ("noop", "constant", "shape"):
        return False
    if kind == "reformat" or layer.name.startswith("Reformatting CopyNode"):
        return category == "layout"
    if layer.tactic and layer.tactic in named:
        return False
    if is_heavy(kinds) or category in HEAVY_CATEGORIES:
        region = "ForeignNode[" in layer.name
        return region or not kinds or are_alike(kinds, kinds_of_kernel(kernel, category))
    if layer.tactic and not layer.tactic.startswith("__my"):
        return False
    return category != "layout"
