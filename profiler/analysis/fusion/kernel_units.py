"""Units of work of a trace that has no ranges to tell them apart: its kernels, by what their names say, in order.

Generated kernels list what they compute (TorchInductor's ``triton_poi_fused_add_relu_3``, Myelin's ``__myl_FcAddRelu_…``); of others
the kind is known. Kernels that only serve a product (a split-K sum, Winograd's transforms, a bias behind it) belong to it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.operators import (
    HEAVY_CATEGORIES,
    NORMALISATION,
    SOFTMAX,
    Kinds,
    fused_operators,
    is_heavy,
    kind_of,
    kinds_of,
    kinds_of_kernel,
    operation_of,
)
from profiler.analysis.fusion.work_table import NO_ROWS, Rows, rows_by_code

_SERVES_NEXT = re.compile(
    r"winograd\w{0,40}(?:Data|Filter|Tiles)|fft2d_r2c|computeOffsets|flip_filter|prepare|pre_execute", re.IGNORECASE
)
_SERVES_LAST = re.compile(r"split_?k|winograd\w{0,40}Output|fft2d_c2r|post_execute", re.IGNORECASE)
_NEXT, _LAST = "next", "last"
_SEVERAL = (
    frozenset({NORMALISATION}),
    frozenset({SOFTMAX}),
)  # operators that run one kernel for statistics and one more


@dataclass(frozen=True)
class KernelUnit:
    """A unit with its work (rows in all inferences); ``inside``: the unit whose kernel lists this one beside itself."""

    unit: Unit
    kinds: Kinds
    work: Rows
    inside: Unit | None = None


@dataclass(frozen=True)
class ServingWork:
    """Work that serves no unit: layout changes, memory sets, a bias padding."""

    label: str
    why: str
    work: Rows
    pads_bias: bool


@dataclass(frozen=True)
class KernelSide:
    """``units`` in order of execution; ``loose``: rows of inferences that run other kernels than most."""

    units: tuple[KernelUnit, ...]
    extras: tuple[ServingWork, ...]
    loose: Rows
    source: str
    how: str


@dataclass(frozen=True)
class _Kernel:
    """What a kernel's name says: operators, or which product it serves."""

    operators: tuple[str, ...]
    kinds: Kinds
    serves: str | None
    generated: bool


def kernel_side(work: pd.DataFrame, inferences: int) -> KernelSide:
    """Units of the inferences that run the same kinds of kernels in the same order as most do."""
    names, categories = work["name"].cat, work["category"].cat
    name_codes, category_codes = names.codes.to_numpy(), categories.codes.to_numpy()
    layout = np.asarray([c == "layout" for c in categories.categories], dtype=bool)[category_codes]
    rows = np.flatnonzero(~layout)
    by_inference = rows_by_code(work["inference"].to_numpy()[rows], inferences)
    groups = [category_codes[rows[mine]].tobytes() for mine in by_inference]
    usual, _ = Counter(groups).most_common(1)[0] if groups else (b"", 0)
    alike = [rows[mine] for mine, key in zip(by_inference, groups) if key == usual]
    others = [rows[mine] for mine, key in zip(by_inference, groups) if key != usual]
    matrix = np.stack(alike) if alike else np.empty((0, 0), dtype=np.int64)
    first = matrix[0] if len(matrix) else NO_ROWS
    kernels = [
        _read(str(names.categories[name_codes[r]]), str(categories.categories[category_codes[r]])) for r in first
    ]
    units = _units(kernels, matrix)
    generated = sum(k.generated for k in kernels)
    extras = []
    for code, mine in enumerate(rows_by_code(name_codes[layout], len(names.categories))):
        if len(mine):
            name = str(names.categories[code])
            pads = "padBias" in name
            why = "by its name, it pads the bias of a convolution, anew in each inference" if pads else (
                "by its name, it changes the memory layout or type of a tensor"
            )  # fmt: skip
            extras.append(ServingWork(name, why, np.flatnonzero(layout)[mine], pads))
    extras.sort(key=lambda extra: int(extra.work[0]))
    source = (
        f"kernel names in order ({generated} of {len(kernels)} list what they compute)"
        if generated
        else "kernel kinds in order"
    )
    how = "by kind and order of the kernels" + (
        ", and by what generated kernels list in their names" if generated else ""
    )
    return KernelSide(tuple(units), tuple(extras), np.sort(np.concatenate([NO_ROWS, *others])), source, how)


def _read(name: str, category: str) -> _Kernel:
    listed = fused_operators(name)
    if listed:
        heavy = [w for w in listed if kind_of(w) in HEAVY_CATEGORIES]
        if heavy and len(heavy) == len(listed) and category not in HEAVY_CATEGORIES:
            return _Kernel(listed, kinds_of(heavy[0]), _LAST, True)  # its bias, or what else runs behind the product
        return _Kernel(tuple(dict.fromkeys(listed)), kinds_of(listed[0]), None, True)
    kinds = kinds_of_kernel(name, category)
    serves = (_SERVES_NEXT.search(name) and _NEXT) or (
        _SERVES_LAST.search(name) and category not in HEAVY_CATEGORIES and _LAST
    )
    op = operation_of(name) if category == "pointwise" else category
    return _Kernel((op,), kinds, serves or None, False)


def _units(kernels: list[_Kernel], matrix: np.ndarray) -> list[KernelUnit]:
    numbers: Counter[str] = Counter()
    units: list[KernelUnit] = []
    products = [place for place, kernel in enumerate(kernels) if kernel.serves is None and is_heavy(kernel.kinds)]
    served: dict[int, list[int]] = {}
    run = 0  # where the kernels of this kind began
    for place, kernel in enumerate(kernels):
        if place and kernel.kinds != kernels[place - 1].kinds:
            run = place
        if kernel.serves == _NEXT:
            at = bisect_right(products, place)
            target = products[at] if at < len(products) else None
        elif kernel.serves == _LAST:
            at = bisect_left(products, place)
            target = products[at - 1] if at else None
        elif run < place and not kernel.generated and kernel.kinds in _SEVERAL:
            target = run
        else:
            continue
        served.setdefault(target if target is not None else place, []).append(place)
    listed: set[str] = set()
    taken = {place for target, places in served.items() for place in places if target != place}
    for place, kernel in enumerate(kernels):
        if place in taken:
            continue
        columns = sorted({place, *served.get(place, [])})
        main: Unit | None = None
        operators = kernel.operators
        if kernel.generated:  # one that the kernel before lists too is there because this one reads its result
            operators = tuple(op for op in operators if op not in listed) or operators
            listed |= set(kernel.operators)
        elif is_heavy(kernel.kinds):
            listed = set()
        for op in operators:
            unit = Unit("", numbers[op], op)
            numbers[op] += 1
            if main is None:
                main = unit
                kinds = kernel.kinds if not kernel.generated else kinds_of(op)
                units.append(KernelUnit(unit, kinds, np.sort(matrix[:, columns].ravel())))
            else:
                units.append(KernelUnit(unit, kinds_of(op), NO_ROWS, main))
    return units
