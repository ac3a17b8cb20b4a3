"""Which layer of a TensorRT engine each piece of GPU work belongs to.

TensorRT leaves an NVTX range per layer (domain ``TensorRT``) while it enqueues, so a kernel belongs to the layer in whose
range it was launched. In a CUDA graph the whole inference is one launch: then the kernels' order is held against the
layers' order, tactic names being the fixed points, and everything placed so is marked.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.run.inferences import Inferences
from profiler.analysis.statistics import combined, first_of_each
from profiler.trace import Trace
from profiler.trace.arrays import encode
from profiler.trace.engine_file import EngineLayer, named_layer, parse_payloads, read_engine_file

_ENQUEUE = "ExecutionContext::enqueue"
_MAX_ALIGNED = 4_000  # kernels × layers of the alignment's table stay below 16 million


@dataclass(frozen=True)
class EngineSide:
    """The engine's side of a ledger.

    Attributes:
        work: the inferences' GPU work with a column ``layer`` (place in ``layers``, -1: in none) and ``by_order``.
        layers: in order of execution.
        how: how work was given to layers, in words.
    """

    work: pd.DataFrame
    layers: tuple[EngineLayer, ...]
    how: str


def engine_side(
    trace: Trace, inferences: Inferences, work: pd.DataFrame, engine_file: Path | None = None
) -> EngineSide | None:
    """Give every piece of GPU work of the inferences to a layer; None when neither trace nor file describe layers.

    Args:
        engine_file: the engine inspector's JSON, used where the trace itself has no layers.

    Raises:
        TraceError: the engine file cannot be read.
    """
    by_range = _layers_by_range(trace, inferences)
    if by_range is not None:
        layers, layer_of_range = by_range
        if len(work) and (work["nvtx"] >= 0).any() and (layer_of_range[work["nvtx"].to_numpy()] >= 0).any():
            nvtx = work["nvtx"].to_numpy()
            layer = np.where(nvtx >= 0, layer_of_range[np.maximum(nvtx, 0)], -1)
            return EngineSide(
                work.assign(layer=layer, by_order=False), layers, "by launch inside the layer's NVTX range"
            )
    layers = read_engine_file(engine_file) if engine_file is not None else (by_range[0] if by_range else ())
    if not layers:
        return None
    layer = np.full(len(work), -1, dtype=np.int64)
    cache: dict[bytes, list[int]] = {}
    inference, codes = work["inference"].to_numpy(), work["name"].cat.codes.to_numpy()
    edges = [*np.flatnonzero(np.diff(inference, prepend=-1)), len(work)]  # the work is sorted by inference
    for begin, end in itertools.pairwise(edges):
        key = codes[begin:end].tobytes()
        if key not in cache:
            part = work.iloc[begin:end]
            cache[key] = align(tuple(part["name"]), tuple(part["category"]), layers)
        layer[begin:end] = cache[key]
    how = "by order, held against the engine's layers with tactic names as fixed points, as the launches do not tell them apart"
    return EngineSide(work.assign(layer=layer, by_order=layer >= 0), layers, how)


def _layers_by_range(trace: Trace, inferences: Inferences) -> tuple[tuple[EngineLayer, ...], np.ndarray] | None:
    """The layers of the first inference that has them, and for each NVTX range its layer (nearest around it) or -1."""
    ranges, index = trace.nvtx_ranges, trace.nvtx_index
    mine = (ranges["domain"] == "TensorRT").to_numpy() & (ranges["text"] != _ENQUEUE).to_numpy()
    if not mine.any():
        return None
    payloads = parse_payloads(trace.payloads(ranges["json_id"].to_numpy()[mine]))
    of_range = inferences.assign_calls(ranges[["tid", "pid", "start_ns"]])
    texts, ids = ranges["text"].cat, ranges["json_id"].to_numpy()
    id_codes, id_values = encode(ids)
    described = np.asarray([int(i) in payloads for i in id_values], dtype=bool)[id_codes]
    rows = np.flatnonzero(mine & (of_range >= 0))
    own = np.zeros(len(ranges), dtype=bool)  # a range that a layer opens inside its own is no layer
    own[rows] = described[rows]
    others = rows[~described[rows]]
    for depth in range(int(index.level[others].max(initial=-1)) + 1):
        at = others[index.level[others] == depth]
        around = index.parent[at]
        own[at] = (around < 0) | ~own[around]
    rows = np.flatnonzero(own)
    codes, combinations = combined(
        [np.where(described[rows], ids[rows], -1), np.where(described[rows], -1, texts.codes.to_numpy()[rows])]
    )
    layer_of = np.full(len(ranges), -1, dtype=np.int64)
    found = [payloads[int(i)] if i >= 0 else named_layer(str(texts.categories[t])) for i, t in combinations]
    layers: list[EngineLayer] = []
    places: dict[str, int] = {}
    table = np.empty(len(found), dtype=np.int64)
    first = first_of_each(codes, len(found))
    for k in np.argsort(first):
        layer = found[k]
        if layer.name not in places:
            places[layer.name] = len(layers)
            layers.append(layer)
        table[k] = places[layer.name]
    layer_of[rows] = table[codes]
    for depth in range(1, int(index.level.max(initial=0)) + 1):
        at = np.flatnonzero((index.level == depth) & (layer_of < 0))
        layer_of[at] = np.where(index.parent[at] >= 0, layer_of[index.parent[at]], -1)
    return (tuple(layers), layer_of) if layers else None


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
    for (i0, j0), (i1, j1) in itertools.pairwise(fixed):
        free = list(range(j0 + 1, j1))
        for i in range(i0 + 1, i1):
            place = next((j for j in free if _suits(layers[j], categories[i])), None)
            if place is not None:
                found[i] = place
                free = [j for j in free if j > place]
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


def _suits(layer: EngineLayer, category: str) -> bool:
    """Whether a layer without a matching tactic can have launched a kernel of this kind."""
    kind = (layer.kind or "").lower()
    if kind in ("noop", "constant", "shape"):
        return False
    if kind == "reformat" or layer.name.startswith("Reformatting CopyNode"):
        return category == "layout"
    if layer.tactic:
        return False
    return category != "layout"
