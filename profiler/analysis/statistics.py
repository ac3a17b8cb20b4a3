"""Statistics per group over tens of millions of values: sorted once, in pieces where memory would double."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Int64Array = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]

_PIECE = 1 << 20


def count_codes(codes: Codes, n: int, mask: npt.NDArray[np.bool_] | None = None) -> Int64Array:
    """How often each code 0 … n - 1 is there, where ``mask`` holds; negative codes are not counted."""
    counts = np.zeros(n, dtype=np.int64)
    for at in range(0, len(codes), _PIECE):
        part = codes[at : at + _PIECE]
        part = part[part >= 0] if mask is None else part[mask[at : at + _PIECE] & (part >= 0)]
        counts += np.bincount(part, minlength=n)
    return counts


def sum_by_code(codes: Codes, values: npt.NDArray[np.integer], n: int) -> Int64Array:
    """The exact sum of the values of each code 0 … n - 1; those of negative codes are left out.

    bincount sums in floating point, which is exact up to 2^53: the values are summed in two halves.
    """
    sums = np.zeros(n, dtype=np.int64)
    for at in range(0, len(codes), _PIECE):
        part, worth = codes[at : at + _PIECE], values[at : at + _PIECE].astype(np.int64, copy=False)
        inside = part >= 0
        if not inside.all():
            part, worth = part[inside], worth[inside]
        high, low = worth >> _HALF, worth & ((1 << _HALF) - 1)
        sums += np.bincount(part, weights=low, minlength=n).astype(np.int64)
        if high.any():
            sums += np.bincount(part, weights=high, minlength=n).astype(np.int64) << _HALF
    return sums


_HALF = 32  # 2^20 values of 32 bits stay below 2^53


def grouped_statistics(codes: Codes, values: Int64Array, n: int) -> pd.DataFrame:
    """Statistics of the values of each code 0 … n - 1 that is there.

    Args:
        values: 0 or more.

    Returns:
        A row a code (the index): ``count``, ``total_ns``, ``mean_ns``, ``median_ns``, ``min_ns``, ``max_ns``, ``stddev_ns`` (of a
        sample: ÷ (count - 1); 0 for a single value).
    """
    counts = count_codes(codes, n)
    present = np.flatnonzero(counts)
    return statistics_of_runs(_by_code(codes, values, n), counts[present]).set_axis(present)


def statistics_of_runs(ordered: Int64Array, count: Int64Array) -> pd.DataFrame:
    """The same for values that lie group by group, each group by size; ``count`` is the size of each (1 or more)."""
    ends = np.cumsum(count)
    starts = ends - count
    totals = np.asarray([int(ordered[a:b].sum()) for a, b in zip(starts, ends)], dtype=np.int64)
    means = totals / count
    middle = ordered[starts + (count - 1) // 2] + ordered[starts + count // 2].astype(np.float64)
    squares = [_squared_deviations(ordered[a:b], mean) for a, b, mean in zip(starts, ends, means)]
    return pd.DataFrame(
        {
            "count": count,
            "total_ns": totals,
            "mean_ns": means,
            "median_ns": middle / 2,
            "min_ns": ordered[starts],
            "max_ns": ordered[ends - 1],
            "stddev_ns": np.sqrt(np.asarray(squares, dtype=np.float64) / np.maximum(count - 1, 1)),
        }
    )


def _by_code(codes: Codes, values: Int64Array, n: int) -> Int64Array:
    """The values by code and size."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    bits = int(values.max()).bit_length()
    if bits + max(n - 1, 0).bit_length() > 62:
        return values[np.lexsort((values, codes))]
    keys = codes.astype(np.int64)
    keys <<= bits
    keys |= values
    keys.sort()
    keys &= (1 << bits) - 1
    return keys


def _squared_deviations(values: Int64Array, mean: float) -> float:
    return float(sum(((values[at : at + _PIECE] - mean) ** 2).sum() for at in range(0, len(values), _PIECE)))
