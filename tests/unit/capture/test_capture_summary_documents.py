"""Run documents that somebody else wrote: any JSON is a row, or none, and never an exception."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from profiler.capture.summary import collect

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["p50", "mean", "throughput", "streams"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = (
    "model", "framework", "precision", "mode", "batch", "bench", "profiled", "accuracy", "warnings", "telemetry", "latency_ms",
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(_FIELDS), _ANY), min_size=1, max_size=3))
def test_any_document(documents: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for n, document in enumerate(documents):
            (Path(name) / str(n)).mkdir()
            (Path(name) / str(n) / "manifest.json").write_text(json.dumps({**document, "complete": True}))
        rows = collect(Path(name))
        assert len(rows) == len(documents)
        for row in rows:
            assert all(
                row[key] is None or isinstance(row[key], (int, float))
                for key in row
                if key.endswith(("_ms", "_pct", "_w"))
            )
