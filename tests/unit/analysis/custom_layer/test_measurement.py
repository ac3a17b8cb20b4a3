"""Reading what plugin measure wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.custom_layer.measurement import (
    COPY,
    COPY_STREAM,
    EAGER,
    KERNEL,
    is_measurement,
    read_measurement,
)
from profiler.errors import TraceError
from profiler.plugins import measure


def document(**changes: Any) -> dict[str, Any]:
    def timed(what: str, ms: float) -> dict[str, Any]:
        return {"precision": "fp16", "size_mib": 4, "what": what, "ms": ms, "gb_per_s": 8.39 / ms}

    agreed = {"precision": "fp16", "what": "all", "unit": "relative", "within": True}
    return {
        "format": measure.FORMAT,
        "gpu": {"name": "G"},
        "recorded": "2026-11-24T11:07:23Z",
        "bandwidth": [timed(COPY, 2.0), timed(COPY_STREAM, 1.0), timed(KERNEL, 1.25), timed(EAGER, 4.0)],
        "agreement": [
            {**agreed, "variant": KERNEL, "max_error": 4e-4, "bound": 1e-3},
            {**agreed, "variant": EAGER, "max_error": None, "bound": None},
        ],
        "edges": [{"precision": "fp16", "cases": 3, "wrong": ["a"], "skipped": []}],
        **changes,
    }


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_the_words_are_those_of_the_measurement() -> None:
    assert (measure.KERNEL, measure.EAGER, measure.COPY, measure.COPY_STREAM) == (KERNEL, EAGER, COPY, COPY_STREAM)


def test_the_faster_copy_is_a_hundred_percent(tmp_path: Path) -> None:
    found = read_measurement(written(tmp_path, document()))
    assert dict(zip(found.bandwidth["form"], found.bandwidth["pct_of_copy"], strict=True)) == {
        COPY: 50, COPY_STREAM: 100, KERNEL: 80, EAGER: 25,
    }  # fmt: skip
    assert found.agreement["form"].tolist() == [KERNEL, EAGER]
    assert (found.gpu, found.edges["wrong"].tolist(), found.others.empty) == ("G", [1], True)


def test_of_several_variants_only_the_kept_one_is_the_kernel(tmp_path: Path) -> None:
    rows = document()["bandwidth"][:2]
    rows += [
        {**rows[0], "what": name, "ms": ms} for name, ms in (("one-vector", 1.0), ("auto", 1.1), ("streaming", 3.0))
    ]
    found = read_measurement(written(tmp_path, document(format="profiler-plugin-measure/1", bandwidth=rows)))
    kernel = found.bandwidth[found.bandwidth["form"] == KERNEL]
    assert kernel["us"].tolist() == [1000.0]
    assert found.others["form"].tolist() == ["auto", "streaming"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "else"}, "its format is none of"),
        ({"bandwidth": None}, "bandwidth is no list"),
        ({"bandwidth": [{"precision": "fp16"}]}, "size_mib 'None'; expected a number"),
        ({"agreement": [{"precision": 1}]}, "precision '1'; expected text"),
    ],
)
def test_what_is_no_measurement(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=said):
        read_measurement(written(tmp_path, document(**changes)))


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_anything_else_is_refused_and_not_run_into(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.mktemp("m"), {**document(), "bandwidth": content, "gpu": content, "edges": []})
    assert is_measurement(path)
    try:
        read_measurement(path)
    except TraceError as error:
        assert str(path) in error.message
    assert not is_measurement(written(path.parent, content))
    assert not is_measurement(path.parent / "none.json")
