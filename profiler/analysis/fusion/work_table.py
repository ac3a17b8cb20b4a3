"""Rows of a table of GPU work, and sums over them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.analysis.fusion.operators import HEAVY_CATEGORIES, UNKNOWN, Kinds, kinds_of_kernel
from profiler.analysis.statistics import count_codes, in_order_of_appearance, stable_order, sum_by_code

Rows = npt.NDArray[np.int64]
"""Rows of a side's work table, ascending."""
_FEW = 1000
"""Rows of which a Python loop is as fast: most units have a kernel or two an inference."""
NO_ROWS: Rows = np.empty(0, dtype=np.int64)


def rows_by_code(codes: npt.NDArray[np.integer], n: int) -> list[Rows]:
    """For each code 0 … n - 1 the rows that have it, ascending."""
    order = stable_order(codes, n)
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
        self._kernels_of_last: tuple[Rows, Rows] = NO_ROWS, NO_ROWS

    def _kernels_of(self, rows: Rows) -> Rows:
        """The kernels among the rows: found once where several sums of the same rows are asked for."""
        last, found = self._kernels_of_last
        if last is not rows:
            are_kernels = self._kernel[rows]
            found = rows if are_kernels.all() else rows[are_kernels]
            self._kernels_of_last = rows, found
        return found

    def count_and_time(self, rows: Rows, kernels: bool) -> tuple[int, int]:
        """Number and total duration (ns) of the kernels, or of the copies and sets, among the rows."""
        at = self._kernels_of(rows)
        if not kernels:
            at = NO_ROWS if at is rows else rows[~self._kernel[rows]]
        return len(at), int(self._duration[at].sum())

    def categories(self, rows: Rows) -> tuple[str, ...]:
        """Kinds of the kernels among the rows, by time."""
        codes, labels = self._category
        at = self._kernels_of(rows)
        found = codes[at]
        if not len(found) or (found == found[0]).all():
            return tuple(labels[k] for k in found[:1])
        counts = count_codes(found, len(labels))
        times = sum_by_code(found, self._duration[at], len(labels))
        there = [(-int(times[k]), labels[k]) for k in np.flatnonzero(counts)]
        return tuple(label for _, label in sorted(there))

    def kernel_names(self, rows: Rows) -> tuple[str, ...]:
        """Names of the kernels among the rows, each once, in order."""
        codes, labels = self._name
        found = codes[self._kernels_of(rows)]
        if len(found) and (found == found[0]).all():
            return (labels[found[0]],)
        if len(found) <= _FEW:
            return tuple(labels[c] for c in dict.fromkeys(found.tolist()))
        return tuple(labels[c] for c in found[in_order_of_appearance(found)])

    def kinds(self, rows: Rows) -> Kinds:
        """The kinds of operator that a unit with these kernels can be: of its product if it runs one, else of its longest kernel."""
        categories = self.categories(rows)
        if not categories:
            return UNKNOWN
        main = main_category(categories)
        codes, labels = self._category
        at = self._kernels_of(rows)
        return frozenset().union(
            *(kinds_of_kernel(n, main) for n in self.kernel_names(at[codes[at] == labels.index(main)]))
        )


def main_category(categories: Sequence[str]) -> str:
    """What a unit is for: a product if it runs one (beside layout changes that can take longer), else what takes longest."""
    heavy = next((c for c in categories if c in HEAVY_CATEGORIES), None)
    return heavy or next((c for c in categories if c != "layout"), categories[0] if categories else "")
