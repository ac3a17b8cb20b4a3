"""Arithmetic on intervals of time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


def union(starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The disjoint intervals, in order, that cover exactly what the given ones cover together.

    Touching intervals are joined; empty ones (start == end) inside a gap are kept as empty.
    """
    if not len(starts):
        return starts, ends
    order = np.lexsort((ends, starts))
    starts, ends = starts[order], ends[order]
    reach = np.maximum.accumulate(ends)
    first = np.concatenate(([True], starts[1:] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return starts[first], reach[last]


def covered(starts: Int64Array, ends: Int64Array) -> int:
    """Total length of the union."""
    low, high = union(starts, ends)
    return int((high - low).sum()) if len(low) else 0
