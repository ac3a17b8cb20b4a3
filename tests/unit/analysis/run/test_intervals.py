from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.run.intervals import covered, union

pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted), max_size=20)


@given(pairs)
def test_union_covers_exactly_the_same_instants(rows: list[list[int]]) -> None:
    starts = np.array([r[0] for r in rows], dtype=np.int64)
    ends = np.array([r[1] for r in rows], dtype=np.int64)
    low, high = union(starts, ends)
    instants = {t for a, b in rows for t in range(a, b)}
    assert {t for a, b in zip(low.tolist(), high.tolist()) for t in range(a, b)} == instants
    assert covered(starts, ends) == len(instants)
    assert (low[1:] > high[:-1]).all()
