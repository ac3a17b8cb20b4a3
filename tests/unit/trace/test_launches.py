"""Which API call launched what."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.trace.launches import match_launches

IDS = st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 8)), max_size=25)

pytestmark = pytest.mark.usefixtures("small_pieces")


@given(IDS, IDS)
def test_launches_are_matched_as_a_join_would(work: list[tuple[int, int]], calls: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(calls, columns=["pid", "correlation_id"], dtype=np.int64)
    pids, ids = (np.asarray([w[k] for w in work], dtype=np.int64) for k in (0, 1))
    found = match_launches(pids, ids, frame)
    alone = (
        bool(calls)
        and len({p for p, _ in calls}) == 1
        and (all(p == -1 for p, _ in work) or all(p == -1 for p, _ in calls))
    )
    for (pid, correlation), row in zip(work, found.tolist()):
        rows = [n for n, (p, c) in enumerate(calls) if c == correlation != -1 and (alone or p == pid)]
        assert row == (rows[0] if rows else -1)
