"""A sanitised copy holds the same figures and nothing about the machine, the user or the program."""

from __future__ import annotations

import lzma
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from profiler.capture.identifying import remove_paths
from profiler.capture.sanitise import KeptSpan, sanitise
from profiler.errors import OutputError, TraceError
from profiler.trace import open_trace
from profiler.trace.schema import READ
from tests.support.dirt import DIRT, HOME, HOST, USER, UUID, soil
from tests.support.make_trace import TraceMaker, simple
from tests.support.traces import RUNS, bundled


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A bundled trace, unpacked once."""
    folder = tmp_path_factory.mktemp("plain")

    def unpack(run: str) -> Path:
        target = folder / f"{run}.sqlite"
        if not target.exists():
            target.write_bytes(lzma.decompress(bundled(run).read_bytes()))
        return target

    return unpack


@pytest.mark.parametrize(
    "run", [r for r in RUNS if r in ("torch-fp16-b8", "trt-int8-b8", "trt-int8-badqdq-b8-graphlevel")]
)
def test_nothing_of_the_dirt_is_left(run: str, plain: Callable[[str], Path], tmp_path: Path) -> None:
    dirty = soil(plain(run), tmp_path / "dirty.sqlite")
    assert all(d.encode() in dirty.read_bytes() for d in DIRT if "-" not in d or d in (HOST, UUID))
    report = sanitise(dirty, tmp_path / "clean.sqlite")
    content = (tmp_path / "clean.sqlite").read_bytes()
    assert [d for d in DIRT if d.encode() in content] == []
    assert "NEW_IN_NSYS_2030" in report.tables_dropped
    assert report.values_searched > 5
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("run", RUNS)
def test_the_figures_are_the_same(run: str, plain: Callable[[str], Path], tmp_path: Path) -> None:
    sanitise(plain(run), tmp_path / "clean.sqlite")
    with open_trace(plain(run)) as before, open_trace(tmp_path / "clean.sqlite") as after:
        for name in ("kernels", "api_calls", "memcpys", "memsets", "graph_traces", "nvtx_ranges"):
            pd.testing.assert_frame_equal(getattr(before, name), getattr(after, name))
        assert before.session.options.items() >= after.session.options.items()
        assert after.session.graph_trace_mode == before.session.graph_trace_mode
        for field in ("nsys_version", "schema_version", "driver_version", "cuda_version", "gpus", "recorded_utc"):
            assert getattr(before.session, field) == getattr(after.session, field)
        assert after.gpu_metrics.names == before.gpu_metrics.names
        series, again = before.gpu_metrics.tensor_active(), after.gpu_metrics.tensor_active()
        assert (series is None) == (again is None)
        if series is not None and again is not None:
            assert (series.values == again.values).all() and (series.timestamps_ns == again.timestamps_ns).all()
        payload = before.nvtx_ranges["json_id"].to_numpy()
        assert before.payloads(payload) == after.payloads(payload)
        assert not after.session.holds_environment


def test_layer_names_that_look_like_paths_stay(plain: Callable[[str], Path], tmp_path: Path) -> None:
    sanitise(soil(plain("trt-int8-b8"), tmp_path / "dirty.sqlite"), tmp_path / "clean.sqlite")
    with open_trace(tmp_path / "clean.sqlite") as trace:
        texts = trace.nvtx_ranges["text"].astype(str)
    assert texts.str.contains("/layer3/layer3.0/conv3/Conv", regex=False).any()


def test_a_window_can_be_kept(plain: Callable[[str], Path], tmp_path: Path) -> None:
    with open_trace(plain("torch-fp32-b8")) as whole:
        ranges = whole.nvtx_ranges[whole.nvtx_ranges["text"].astype(str).str.match(r"iter\d")].head(3)
        window = KeptSpan(int(ranges["start_ns"].min()), int(ranges["end_ns"].max()), 3)
    report = sanitise(plain("torch-fp32-b8"), tmp_path / "three.sqlite", window=window)
    assert report.inferences == 3
    with open_trace(plain("torch-fp32-b8")) as whole, open_trace(tmp_path / "three.sqlite") as part:
        assert part.kernel_count * 10 == whole.kernel_count * 3
        assert part.nvtx_ranges["text"].astype(str).str.match(r"iter\d").sum() == 3
        assert (part.kernels["nvtx"] >= 0).all()
    assert report.bytes_after < report.bytes_before / 2


def test_unused_tables_can_be_dropped(plain: Callable[[str], Path], tmp_path: Path) -> None:
    report = sanitise(plain("trt-int8-b8"), tmp_path / "small.sqlite", drop_unused_tables=True)
    assert set(report.tables_kept) <= {*READ}
    with open_trace(plain("trt-int8-b8")) as before, open_trace(tmp_path / "small.sqlite") as after:
        pd.testing.assert_frame_equal(before.kernels, after.kernels)


def test_names_of_older_exports_without_references_in_the_schema(tmp_path: Path) -> None:
    sanitise(simple().write(tmp_path / "a.sqlite"), tmp_path / "b.sqlite")
    with open_trace(tmp_path / "a.sqlite") as before, open_trace(tmp_path / "b.sqlite") as after:
        pd.testing.assert_frame_equal(before.kernels, after.kernels)


def test_metrics_of_older_exports_are_kept_and_other_events_are_not(tmp_path: Path) -> None:
    maker = TraceMaker()
    maker.add(
        "GENERIC_EVENTS", timestamp=1, typeId=0, data='{"Tensor Active": "12", "SM Active": 5, "note": "on gpu-node"}'
    )
    maker.add("GENERIC_EVENTS", timestamp=2, typeId=1, data=f'{{"comm": "{USER}"}}')
    maker.add("META_DATA_EXPORT", name="EXPORT_SCHEMA_VERSION", value="2.9")
    sanitise(maker.write(tmp_path / "a.sqlite"), tmp_path / "b.sqlite")
    rows = [
        r[0]
        for r in sqlite3.connect(tmp_path / "b.sqlite").execute("SELECT data FROM GENERIC_EVENTS ORDER BY timestamp")
    ]
    assert rows == ['{"Tensor Active": "12", "SM Active": 5}', None]


@pytest.mark.parametrize("drop_unused", [False, True])
def test_versions_of_the_earliest_exports_are_kept(drop_unused: bool, tmp_path: Path) -> None:
    """nsys 2020 calls the table of the export EXPORT_META_DATA; nothing else of it stays."""
    source = simple().write(tmp_path / "a.sqlite")
    db = sqlite3.connect(source)
    with db:
        db.execute("CREATE TABLE EXPORT_META_DATA (name TEXT, value TEXT)")
        kept = [("EXPORT_PRODUCT_VERSION", "2020.3.4.32"), ("EXPORT_SCHEMA_VERSION", "2.7.1")]
        rows = [*kept, ("EXPORT_HOST", "gpu-node-17"), ("EXPORT_PARAM_INPUT", f"{HOME}/run.qdrep")]
        db.executemany("INSERT INTO EXPORT_META_DATA VALUES (?, ?)", rows)
    db.close()
    sanitise(source, tmp_path / "b.sqlite", drop_unused)
    with open_trace(tmp_path / "b.sqlite") as copy:
        assert (copy.session.nsys_version, copy.session.schema_version) == ("2020.3.4.32", "2.7.1")
        assert copy.database.rows("SELECT name, value FROM EXPORT_META_DATA") == kept
    assert b"gpu-node-17" not in (tmp_path / "b.sqlite").read_bytes()


def test_text_hidden_in_an_integer_column_is_dropped(tmp_path: Path) -> None:
    source = simple().write(tmp_path / "a.sqlite")
    db = sqlite3.connect(source)
    db.execute("UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET returnValue = ? WHERE rowid = 1", (f"{HOME}/x",))
    db.commit()
    db.close()
    sanitise(source, tmp_path / "b.sqlite")
    assert HOME.encode() not in (tmp_path / "b.sqlite").read_bytes()


def test_a_value_that_survives_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:WORKING_DIR", value=f"{HOME}/project")
    maker.add("META_DATA_EXPORT", name="EXPORT_PRODUCT_NAME", value=f"{HOME}/project")
    monkeypatch.setattr("profiler.capture.sanitise_rules.fact", lambda *_: True)
    monkeypatch.setattr("profiler.capture.identifying.Scrubber.text", lambda _self, text: text)
    with pytest.raises(TraceError, match="still in the sanitised copy"):
        sanitise(maker.write(tmp_path / "a.sqlite"), tmp_path / "b.sqlite")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sqlite"]


def test_refusals(tmp_path: Path) -> None:
    source = simple().write(tmp_path / "a.sqlite")
    with pytest.raises(OutputError, match="exists already"):
        sanitise(source, source)
    with pytest.raises(TraceError, match="no such file"):
        sanitise(tmp_path / "none.sqlite", tmp_path / "b.sqlite")
    (tmp_path / "text").write_text("no database, whatever it says")
    with pytest.raises(TraceError, match="not an SQLite database"):
        sanitise(tmp_path / "text", tmp_path / "b.sqlite")
    with pytest.raises(OutputError, match="cannot be written"):
        sanitise(source, tmp_path / "no" / "folder" / "b.sqlite")
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE people (name TEXT)").connection.close()
    with pytest.raises(TraceError, match="not an nsys export"):
        sanitise(tmp_path / "other.sqlite", tmp_path / "b.sqlite")
    db = sqlite3.connect(source)
    db.execute("CREATE VIEW CUDNN_EVENTS AS SELECT 1")
    db.commit()
    db.close()
    with pytest.raises(TraceError, match="view or virtual table"):
        sanitise(source, tmp_path / "b.sqlite")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sqlite", "other.sqlite", "text"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Loaded CUPTI library: /opt/nvidia/x/libcupti.so.13.0", "Loaded CUPTI library: …/libcupti.so.13.0"),
        ("/layer3/layer3.0/conv3/Conv + /tmp_block/Relu", "/layer3/layer3.0/conv3/Conv + /tmp_block/Relu"),
        ("open '/home/me/a b.txt'", "open '…/a b.txt'"),
        (r"C:\Users\me\model.onnx", r"…\model.onnx"),
        ("2.5 images/home", "2.5 images/home"),
    ],
)
def test_paths(text: str, clean: str) -> None:
    assert remove_paths(text) == clean


def test_a_layers_description_with_raw_control_characters_stays(tmp_path: Path) -> None:
    """TensorRT from 8.6 on writes \\x1e and \\x1f between the ONNX layers of its NVTX payloads."""
    layer = '{"Name": "conv", "LayerType": "kgen", "Strides": [1], "Metadata": "[ONNX Layer: /conv/Conv]\x1e[ONNX Layer: /relu/Relu]"}'
    maker = simple()
    maker.range("conv", 1_200, 1_300, jsonTextId=maker.string(layer))
    sanitise(maker.write(tmp_path / "source.sqlite"), tmp_path / "clean.sqlite")
    with open_trace(tmp_path / "clean.sqlite") as trace:
        assert list(trace.payloads(trace.nvtx_ranges["json_id"].to_numpy()).values()) == [layer]
