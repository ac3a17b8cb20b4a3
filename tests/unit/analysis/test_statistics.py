"""Sums and statistics per group against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.statistics import (
    combined,
    count_codes,
    first_of_each,
    grouped_statistics,
    running_number,
    sum_by_code,
)
from profiler.trace import arrays

VALUES = st.lists(st.tuples(st.integers(-1, 4), st.one_of(st.integers(0, 50), st.integers(0, 2**50))), max_size=60)


@given(VALUES, st.integers(1, 9))
def test_statistics_agree_with_pandas(rows: list[tuple[int, int]], piece: int) -> None:
    codes, values = (np.asarray([r[k] for r in rows], dtype=np.int64) for k in (0, 1))
    kept, arrays.PIECE = arrays.PIECE, piece
    try:
        found = grouped_statistics(codes, values, 5)
        counts, sums, first = count_codes(codes, 5), sum_by_code(codes, values, 5), first_of_each(codes, 5)
    finally:
        arrays.PIECE = kept
    groups = pd.Series(values[codes >= 0]).groupby(codes[codes >= 0])
    assert counts.tolist() == [int((codes == c).sum()) for c in range(5)]
    assert sums.tolist() == [sum(v for k, v in rows if k == c) for c in range(5)]
    assert first.tolist() == [next((n for n, (k, _) in enumerate(rows) if k == c), -1) for c in range(5)]
    if len(found):
        assert found["count"].tolist() == groups.size().tolist()
        assert found["min_ns"].tolist() == groups.min().tolist() and found["max_ns"].tolist() == groups.max().tolist()
        assert found["total_ns"].tolist() == groups.sum().tolist()
        np.testing.assert_allclose(found["mean_ns"], groups.mean(), rtol=1e-12)
        np.testing.assert_allclose(found["median_ns"], groups.median(), rtol=1e-12)
        np.testing.assert_allclose(found["stddev_ns"], groups.std(ddof=1).fillna(0.0), rtol=1e-9, atol=1e-9)


def test_values_too_long_to_pack_are_sorted_all_the_same() -> None:
    codes, values = np.array([1, 0, 1, 0]), np.array([2**62, 5, 7, 3])
    found = grouped_statistics(codes, values, 2)
    assert found["min_ns"].tolist() == [3, 7] and found["max_ns"].tolist() == [5, 2**62]


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=1, max_size=30))
def test_combinations_give_back_their_values(rows: list[tuple[int, int]]) -> None:
    codes, pairs = combined([np.asarray([r[k] for r in rows], dtype=np.int64) for k in (0, 1)])
    assert [tuple(pairs[c]) for c in codes] == rows
    assert len(pairs) == len(set(rows))


_ANY = st.sampled_from([0, 1, 2, -1, 7, 2**31 - 1, -(2**62), 2**62])


@given(st.lists(st.tuples(_ANY, _ANY, _ANY), max_size=60))
def test_running_numbers_are_those_of_pandas(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.asarray(column, dtype=np.int64) for column in zip(*rows)] or [np.empty(0, dtype=np.int64)] * 3
    frame = pd.DataFrame(dict(zip("abc", columns)))
    assert running_number(columns).tolist() == frame.groupby(["a", "b", "c"]).cumcount().tolist()
