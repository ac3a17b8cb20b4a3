"""Statistics per group over tens of millions of values: sorted once, in pieces where memory would double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.trace import arrays
from profiler.trace.arrays import IntArray, encode
from profiler.trace.columns import Table

Int64Array = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]


def count_codes(codes: Codes, n: int, mask: npt.NDArray[np.bool_] | None = None) -> Int64Array:
    """How often each code 0 … n - 1 is there, where ``mask`` holds; negative codes are not counted."""
    counts = np.zeros(n, dtype=np.int64)

    def add(piece: slice) -> Int64Array | None:
        part = codes[piece]
        inside = part >= 0 if mask is None else mask[piece] & (part >= 0)
        part = part if inside.all() else part[inside]
        if n <= arrays.PIECE:
            return np.bincount(part, minlength=n)
        np.add.at(counts, part, 1)
        return None

    return _added(counts, len(codes), add)


def sum_by_code(codes: Codes, values: npt.NDArray[np.integer], n: int) -> Int64Array:
    """The exact sum of the values of each code 0 … n - 1; those of negative codes are left out.

    bincount sums in floating point, which is exact up to 2^53: the values are summed in two halves.
    """
    sums = np.zeros(n, dtype=np.int64)

    def add(piece: slice) -> Int64Array | None:
        part, worth = codes[piece], values[piece].astype(np.int64, copy=False)
        inside = part >= 0
        if not inside.all():
            part, worth = part[inside], worth[inside]
        if n > arrays.PIECE:
            np.add.at(sums, part, worth)
            return None
        high, low = worth >> _HALF, worth & ((1 << _HALF) - 1)
        found = np.bincount(part, weights=low, minlength=n).astype(np.int64)
        if high.any():
            found += np.bincount(part, weights=high, minlength=n).astype(np.int64) << _HALF
        return found

    return _added(sums, len(codes), add)


_HALF = 32  # 2^20 values of 32 bits stay below 2^53
_FEW_CODES = 1 << 16


def _added(into: Int64Array, n: int, add: Callable[[slice], Int64Array | None]) -> Int64Array:
    """``into`` with what ``add`` returns for each piece of ``n`` rows; the pieces at the same time where there are few codes."""
    together = len(into) <= _FEW_CODES  # else the results of all pieces would take much memory
    for found in arrays.in_pieces(n, add) if together else map(add, arrays.pieces(n)):
        if found is not None:
            into += found
    return into


def first_of_each(codes: Codes, n: int) -> Int64Array:
    """The first row of each code 0 … n - 1; -1 for a code that is not there."""
    first = np.full(n, -1, dtype=np.int64)
    for piece in arrays.pieces(len(codes)):
        if (first >= 0).all():
            break
        found, places = np.unique(codes[piece], return_index=True)
        new = found >= 0
        found, places = found[new], places[new]
        new = first[found] < 0
        first[found[new]] = places[new] + piece.start
    return first


def stable_order(codes: Codes, n: int) -> npt.NDArray[np.intp]:
    """The rows by code (below ``n``, and negative ones first), those of a code in order. NumPy sorts 16 bits by counting."""
    return np.argsort(codes.astype(np.int16) if n <= 1 << 15 else codes, kind="stable")


def running_number(columns: list[npt.NDArray[np.integer]]) -> npt.NDArray[np.int32]:
    """For each row how many rows before it have the same values in all columns."""
    keys, values = encode(columns[0])
    for column in columns[1:]:
        codes, own = encode(column)
        keys, values = encode(_paired(keys, len(values), codes, len(own)))
    order = stable_order(keys, len(values))
    keys = keys[order]
    places = np.arange(len(keys), dtype=np.int32)
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    found = np.empty(len(keys), dtype=np.int32)
    found[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return found


def in_order_of_appearance(codes: Codes) -> Int64Array:
    """The first row of each code that is there, by row."""
    if not len(codes):
        return np.empty(0, dtype=np.int64)
    present, dense = np.unique(codes, return_inverse=True) if len(codes) < arrays.PIECE else encode(codes)[::-1]
    return np.sort(first_of_each(dense, len(present)))


def combined(columns: list[npt.NDArray[np.integer]]) -> tuple[Codes, Int64Array]:
    """One code for each combination of values, and the combinations, a row each."""
    if not len(columns[0]):
        return np.empty(0, dtype=np.int64), np.empty((0, len(columns)), dtype=np.int64)
    codes, found = encode(columns[0])
    for column in columns[1:]:
        own, values = encode(column)
        codes, found = encode(_paired(codes, len(found), own, len(values)))
    first = first_of_each(codes, int(codes.max()) + 1)
    return codes, np.stack([column[first].astype(np.int64) for column in columns], axis=1)


def _paired(first: Codes, n_first: int, second: Codes, n_second: int) -> Codes:
    """One number for each pair of codes."""
    kind = np.dtype(np.int32 if n_first * n_second < 1 << 31 else np.int64)
    width = np.asarray(n_second, dtype=kind)
    return arrays.gathered(len(first), kind, lambda piece: first[piece].astype(kind) * width + second[piece])


def grouped_statistics(codes: Codes, values: Int64Array, n: int) -> Table:
    """Statistics of the values of each code 0 … n - 1 that is there; values of negative codes are left out.

    Args:
        values: 0 or more.

    Returns:
        A row a code: ``code``, ``count``, ``total_ns``, ``mean_ns``, ``median_ns``, ``min_ns``, ``max_ns``, ``stddev_ns`` (of a
        sample: ÷ (count - 1); 0 for a single value).
    """
    counts = count_codes(codes, n)
    present = np.flatnonzero(counts)
    return Table({"code": present, **statistics_of_runs(_by_code(codes, values, n), counts[present])})


def statistics_of_runs(ordered: IntArray, count: Int64Array) -> dict[str, Any]:
    """The same columns for values that lie group by group, each group by size; ``count`` is the size of each (1 or more)."""
    ends = np.cumsum(count)
    starts = ends - count
    totals = np.asarray([int(ordered[a:b].sum()) for a, b in zip(starts, ends)], dtype=np.int64)
    means = totals / count
    middle = ordered[starts + (count - 1) // 2] + ordered[starts + count // 2].astype(np.float64)
    squares = [_squared_deviations(ordered[a:b], mean) for a, b, mean in zip(starts, ends, means)]
    return {
        "count": count,
        "total_ns": totals,
        "mean_ns": means,
        "median_ns": middle / 2,
        "min_ns": ordered[starts].astype(np.int64),
        "max_ns": ordered[ends - 1].astype(np.int64),
        "stddev_ns": np.sqrt(np.asarray(squares, dtype=np.float64) / np.maximum(count - 1, 1)),
    }


def _by_code(codes: Codes, values: IntArray, n: int) -> IntArray:
    """The values by code and size."""
    if len(codes) and codes.min() < 0:
        inside = codes >= 0
        codes, values = codes[inside], values[inside]
    if not len(values):
        return np.empty(0, dtype=np.int64)
    bits = int(values.max()).bit_length()
    bits_of_both = bits + max(n - 1, 0).bit_length()
    if bits_of_both > 62:
        return values[np.lexsort((values, codes))].astype(np.int64)
    keys: IntArray = codes.astype(np.int32 if bits_of_both < 32 else np.int64)
    keys <<= bits
    keys |= values
    arrays.sort(keys)
    keys &= (1 << bits) - 1
    return keys


def _squared_deviations(values: IntArray, mean: float) -> float:
    return float(sum(arrays.in_pieces(len(values), lambda piece: ((values[piece] - mean) ** 2).sum())))


def two_modes(values: npt.NDArray[np.floating[Any]]) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """Count and median of the two groups that values fall into; None when they are one group.

    They are cut at their widest gap. They are two when each group holds a tenth of 6 or more values (and 2), when the medians are
    half as far apart again as the smaller one is large, and when the gap is 3 times wider than each group (10th to 90th percentile).
    """
    ordered = np.sort(values)
    n, least = len(ordered), max(2, int(np.ceil(len(ordered) / 10)))
    if n < 6:
        return None
    gaps = np.diff(ordered)[least - 1 : n - least]
    cut = least + int(np.argmax(gaps))
    low, high = ordered[:cut], ordered[cut:]
    spread = max(float(np.subtract(*np.percentile(part, [90, 10]))) for part in (low, high))
    middles = float(np.median(low)), float(np.median(high))
    if middles[1] < 1.5 * middles[0] or float(ordered[cut] - ordered[cut - 1]) <= 3 * spread:
        return None
    return (len(low), middles[0]), (len(high), middles[1])
