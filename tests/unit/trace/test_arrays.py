"""Array tools of large tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from profiler.trace.arrays import MISSING, encode


@given(st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)), max_size=50))
def test_encode_gives_back_the_values(values: list[int]) -> None:
    array = np.asarray(values, dtype=np.int64)
    codes, distinct = encode(array)
    assert distinct[codes].tolist() == values if values else not len(codes)
    assert distinct.tolist() == sorted(set(values))


def test_missing_is_the_smallest_integer() -> None:
    assert MISSING == -(2**63)
