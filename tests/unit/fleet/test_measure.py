"""One trace of many: its row, and every way in which it can fail."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from profiler.errors import OutputError
from profiler.fleet import measure as module
from profiler.fleet.assemble import Settings, assemble
from profiler.fleet.discover import Found
from profiler.fleet.identity import Identity
from profiler.fleet.measure import Broken, Task, TraceFigures, measure
from profiler.fleet.results import read_fleet, write
from profiler.fleet.tables import SCHEMAS, table
from tests.support.fleet_folder import fleet_folder, make_result
from tests.support.make_trace import PID, TraceMaker, simple, whole_graphs


def _measured(folder: Path, maker: TraceMaker, nvtx: str | None = None) -> TraceFigures:
    outcome = measure(Task(str(folder), maker.write(folder / "t.sqlite").name, Identity("."), nvtx))
    assert isinstance(outcome, TraceFigures), outcome
    return outcome


def test_a_row_says_where_it_is_from(tmp_path: Path) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value='RANK="7"')
    row = _measured(tmp_path, maker).row
    assert (row["rank"], row["identity"]) == (7, "rank: trace")
    assert row["sha256"] == hashlib.sha256((tmp_path / "t.sqlite").read_bytes()).hexdigest()
    assert row["bytes"] == (tmp_path / "t.sqlite").stat().st_size
    document = {"format": "profiler-run/1", "trace": "t.sqlite", "rank": 2, "engine": {"onnx_sha256": "ab" * 32}}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    again = measure(Task(str(tmp_path), "t.sqlite", Identity(".")))
    assert isinstance(again, TraceFigures)
    assert (again.row["rank"], again.row["onnx"], again.row["has_manifest"]) == (2, "abababababab", True)


def test_times_are_per_inference_or_per_trace(tmp_path: Path) -> None:
    maker = simple(inferences=4, kernels=3)
    one = _measured(tmp_path, maker)
    assert one.row["basis"] == "inference" and one.kernels["time_ns"].tolist() == [120.0, 110.0, 100.0]
    (tmp_path / "t.sqlite").unlink()
    once = simple(inferences=1, kernels=3)
    once.rows.pop("NVTX_EVENTS")
    whole = _measured(tmp_path, once)
    assert whole.row["basis"] == "trace" and whole.kernels["time_ns"].tolist() == [120.0, 110.0, 100.0]
    assert whole.row["latency_p50_ns"] is None and whole.row["kernel_time_mean_ns"] == 330.0


def test_kernels_outside_inferences_are_not_in_their_time(tmp_path: Path) -> None:
    maker = simple(inferences=2, kernels=1)
    maker.kernel(90_000, 10_000, "void warm_up<float>(float *)")
    outcome = _measured(tmp_path, maker)
    assert outcome.row["kernel_time_ns"] == 10_200 and outcome.row["kernel_time_mean_ns"] == 100.0


def test_hidden_kernels_are_unknown_and_not_none(tmp_path: Path) -> None:
    row = _measured(tmp_path, whole_graphs()).row
    for name in (
        "kernels",
        "kernel_time_ns",
        "compute_time_mean_ns",
        "gpu_idle_mean_ns",
        "gpu_busy_pct",
        "tensor_cores_yes_pct",
    ):
        assert row[name] is None, name
    assert row["graph_time_mean_ns"] == 400.0 and "--cuda-graph-trace=node" in row["no_kernels_reason"]


def test_several_gpus_and_processes_in_a_file_are_said(tmp_path: Path) -> None:
    maker = simple()
    maker.kernel(40_000, 10, deviceId=1, globalPid=PID + (1 << 24))
    row = _measured(tmp_path, maker).row
    assert any("2 GPUs and 2 processes" in w for w in row["warnings"])


def test_what_is_broken_is_named_without_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"nonsense" * 100)
    for name in ("x.sqlite", "missing.sqlite"):
        outcome = measure(Task(str(tmp_path), name, Identity(".")))
        assert isinstance(outcome, Broken) and outcome.kind == "TraceError"
        assert outcome.message.startswith(f"{name}: ") and str(tmp_path) not in f"{outcome.message}{outcome.hint}"


def test_a_pattern_that_finds_nothing_is_that_traces_failure(tmp_path: Path) -> None:
    simple().write(tmp_path / "t.sqlite")
    outcome = measure(Task(str(tmp_path), "t.sqlite", Identity("."), "nothing*"))
    assert isinstance(outcome, Broken) and "no NVTX range" in outcome.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ZeroDivisionError("x"), "ZeroDivisionError"), (MemoryError(), "MemoryError"), (OSError(5, "gone"), "OSError")],
)
def test_our_own_mistakes_lose_one_trace_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "open_trace", fails)
    outcome = measure(Task(str(tmp_path), "t.sqlite", Identity(".")))
    assert isinstance(outcome, Broken) and outcome.kind == kind and "t.sqlite" in outcome.message


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = _measured(tmp_path, simple())
    result = assemble("traces", Found(("t.sqlite",), {}), [measured], Settings(), {})
    calls = []

    def full(rows: object, path: Path, **options: object) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write_table(rows, path, **options)

    write_table = pq.write_table
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "out", result)
    assert {p.name for p in tmp_path.iterdir()} == {"t.sqlite"}
    monkeypatch.undo()
    write(tmp_path / "out", result)
    assert read_fleet(tmp_path / "out").document == json.loads(json.dumps(result.document))


def test_unlike_groups_never_share_a_name(tmp_path: Path) -> None:
    outcome = _measured(tmp_path, simple())
    rows = [{**outcome.row, "framework": a, "model": b} for a, b in (("x", None), (None, "x"), ("x", None))]
    frames = (outcome.kernels, outcome.categories, outcome.inferences)
    many = [
        TraceFigures(
            f"t{i}", {**row, "trace": f"t{i}", "has_manifest": True}, *(f.assign(trace=f"t{i}") for f in frames)
        )
        for i, row in enumerate(rows)
    ]
    traces = assemble("d", Found(("t0", "t1", "t2"), {}), many, Settings(), {}).frame("traces")
    groups = dict(zip(traces["trace"], traces["group"]))
    assert groups["t0"] == groups["t2"] != groups["t1"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_table_has_its_columns_without_rows(name: str) -> None:
    empty = table(name, [])
    assert empty.schema.equals(SCHEMAS[name]) and empty.num_rows == 0
    assert isinstance(empty.to_pandas(), pd.DataFrame)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "\ud800"}, {"model": "a\0b"}, {"model": "x" * 10_000}, {"batch": 2**70}, {"batch": True}, {"batch": [8]},
        {"trace": "\ud800.sqlite"}, {"trace": "a\0b"}, {"trace": "x" * 10_000}, {"layers": "\0"}, {"build_log": "\udfff"},
        {"node": "\ud800"}, {"run": 10**4000}, {"run": "x\0"}, {"engine": {"onnx_sha256": "\ud800"}}, {"framework_version": "\ud83d"},
    ],
)  # fmt: skip
def test_a_hostile_manifest_stops_no_other_trace(tmp_path: Path, change: dict[str, Any]) -> None:
    traces = fleet_folder(tmp_path / "traces", 4, None, broken=False)
    bad = traces / "node00" / "rank3.manifest.json"
    bad.write_text(json.dumps({"format": "profiler-run/1", "trace": "rank3.sqlite", **change}))
    result = read_fleet(make_result(traces, tmp_path / "result"))
    assert result.document["traces"] >= 3 and result.document["traces"] + result.document["broken"] == 4
    json.dumps(result.document, ensure_ascii=False).encode()
