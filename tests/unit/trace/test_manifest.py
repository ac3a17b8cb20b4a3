from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace.manifest import FORMAT, companion, find_manifest, manifest_of, parse_manifest, read_manifest
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
        ({"batch": 0}, "batch is 0;"),
        ({"input_shape": [8, -1]}, "input_shape"),
        ({"trace": "../../etc/passwd"}, "the name of a file in the same folder"),
        ({"trace": None}, "the name of a file in the same folder"),
        ({"title": 5}, "title is 5;"),
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


ODD = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.just(2**70), st.just([]), st.just({}), st.just(10**4000),
    st.sampled_from(["\ud800", "a\0b", "x" * 10_000, "\x1b[2J", "../x", "\u202ex", "", "é" * 200]), st.text(max_size=40),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.booleans()), max_size=4),
)  # fmt: skip
FIELDS = (
    "trace", "title", "framework", "framework_version", "model", "weights", "precision", "mode", "gpu", "recorded", "source", "batch",
    "input_shape", "layers", "build_log", "versions", "warnings", "driver_version", "bench", "accuracy", "parameters", "engine", "node",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), ODD, min_size=1, max_size=6))
def test_whatever_a_manifest_holds_its_values_are_clean_or_it_is_refused(changes: dict[str, object]) -> None:
    try:
        manifest = parse_manifest({**GOOD, **changes}, "m.json")
    except TraceError as error:
        str(error).encode()  # can be printed
        return
    for name in (
        "title",
        "framework",
        "framework_version",
        "model",
        "weights",
        "gpu",
        "source",
        "driver_version",
        "activation",
    ):
        value = getattr(manifest, name)
        assert value is None or (value.isprintable() and len(value) <= 2000)
    assert manifest.batch is None or (type(manifest.batch) is int and 0 < manifest.batch < 2**31)
    assert all(w.isprintable() for w in manifest.warnings)
    for key in ("layers", "build_log"):
        companion(
            Path("trace.sqlite"), manifest, key
        )  # asks the file system, which refuses NUL and surrogates with ValueError


@pytest.mark.parametrize("batch", [2**70, 2**20_000, True, [8], -1, 8.0, "8"], ids=lambda value: type(value).__name__)
def test_a_batch_is_a_whole_number(batch: object) -> None:
    with pytest.raises(TraceError, match="batch is"):
        parse_manifest({**GOOD, "batch": batch}, "m.json")
