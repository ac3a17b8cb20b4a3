from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace.manifest import FORMAT, find_manifest, manifest_of, parse_manifest, read_manifest
from tests.support.traces import RUNS, bundled

GOOD = {"format": FORMAT, "trace": "trace.sqlite.xz", "batch": 8, "input_shape": [8, 3, 224, 224], "title": "a run"}


def test_manifest_in_the_run_folder_belongs_to_the_trace_it_names(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(GOOD))
    manifest = manifest_of(tmp_path / "trace.sqlite.xz")
    assert manifest is not None and (manifest.batch, manifest.input_shape) == (8, (8, 3, 224, 224))
    assert find_manifest(tmp_path / "other.sqlite") is None


def test_manifest_of_its_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(GOOD))
    (tmp_path / "trace.manifest.json").write_text(json.dumps({**GOOD, "batch": 4}))
    manifest = manifest_of(tmp_path / "trace.sqlite.xz")
    assert manifest is not None and manifest.batch == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "format is 'other'"),
        ({"batch": "eight"}, "batch is 'eight'"),
        ({"batch": 0}, "batch is '0'"),
        ({"input_shape": [8, -1]}, "input_shape"),
        ({"trace": "../../etc/passwd"}, "the name of a file in the same folder"),
        ({"trace": None}, "the name of a file in the same folder"),
        ({"title": 5}, "title is '5'"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        parse_manifest({**GOOD, **change}, "m.json")


def test_unreadable_manifest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{not json")
    with pytest.raises(TraceError, match="not a readable manifest"):
        read_manifest(path)


@pytest.mark.parametrize("run", RUNS)
def test_bundled_manifests_are_valid_and_complete(run: str) -> None:
    manifest = manifest_of(bundled(run))
    assert manifest is not None
    for field in ("title", "framework", "model", "precision", "mode", "batch", "gpu", "source", "weights"):
        assert getattr(manifest, field), field


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "framework", "extra"]), json_values))
def test_any_document_is_accepted_or_refused_clearly(document: dict[str, object]) -> None:
    try:
        manifest = parse_manifest({**GOOD, **document}, "m.json")
    except TraceError as error:
        assert error.message.startswith("m.json: ")
    else:
        assert "/" not in manifest.trace
