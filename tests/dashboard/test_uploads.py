"""Files as people drop them: told apart by what they hold, and put beside their trace."""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from pathlib import Path

import pytest

from dashboard.sources import Candidate, order
from dashboard.uploads import Uploads
from profiler.analysis.fusion.ledger import engine_file_of
from profiler.analysis.run.autotuning import build_log_of
from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from tests.support.pages import app, text
from tests.support.traces import TRACES, bundled, run_folder

TORCH, TRT = "torch-fp32-eager-b8", "trt-int8-graph-b8"


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


def stream(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def run_file(run: str, name: str) -> bytes:
    return (run_folder(run) / name).read_bytes()


def test_two_traces_of_one_name_and_what_belongs_to_them(uploads: Uploads) -> None:
    names = ("manifest.json", "layers.json", "build.log.xz")
    drop = uploads.receive(
        [
            ("trace.sqlite.xz", stream(bundled(TORCH).read_bytes())),
            ("trace.sqlite.xz", stream(bundled("trt-int8-b8").read_bytes())),
        ]
    )
    assert [s.key for s in drop.sources] == ["upload/trace.sqlite.xz", "upload/trace.sqlite.xz-2"] and not drop.errors
    alone = uploads.receive(
        [("engine.sqlite.xz", stream(bundled(TRT).read_bytes())), *((n, stream(run_file(TRT, n))) for n in names)]
    )
    assert not alone.errors and len(alone.notes) == 3
    analysis = Run(open_trace(alone.sources[0].path))
    assert analysis.facts.precision == "int8" and analysis.facts.framework == "TensorRT"
    layers, log = engine_file_of(analysis), build_log_of(analysis)
    assert layers is not None and layers.read_bytes() == run_file(TRT, "layers.json")
    assert log is not None and log.read_bytes() == run_file(TRT, "build.log.xz")


def test_an_engine_description_finds_the_trace_that_is_not_pytorchs(uploads: Uploads) -> None:
    log = lzma.decompress(run_file("trt-int8-b8", "build.log.xz"))
    drop = uploads.receive(
        [
            ("any name.json", stream(run_file("trt-int8-b8", "layers.json"))),
            ("torch_fp32.sqlite.xz", stream(bundled("torch-fp32-b8").read_bytes())),
            ("what.txt", stream(log)),
            ("trt_int8.sqlite.xz", stream(bundled("trt-int8-b8").read_bytes())),
        ]
    )
    assert not drop.errors and all("of trt_int8.sqlite.xz" in note for note in drop.notes), drop
    assert engine_file_of(Run(open_trace(drop.sources[1].path))) is not None
    assert engine_file_of(Run(open_trace(drop.sources[0].path))) is None


def test_a_run_folder_as_zip(uploads: Uploads) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (TRACES / TRT).iterdir():
            archive.write(path, f"my run/{path.name}")
        archive.writestr("my run/notes.txt", "of no use here, and no reason to complain")
    drop = uploads.receive([("my run.zip", stream(packed.getvalue()))])
    assert not drop.errors and len(drop.sources) == 1
    source = drop.sources[0]
    assert source.key == "upload/my_run/my run/trace.sqlite.xz" and "INT8" in source.title
    analysis = Run(open_trace(source.path))
    assert engine_file_of(analysis) is not None and build_log_of(analysis) is not None
    uploads.remove(source.key)
    assert not source.path.exists() and not source.path.parent.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0 no trace", "photo.jpg: neither a trace nor a file that belongs to one"),
        ("x.json", b'{"answer": 42}', "x.json: JSON, but neither a manifest nor an engine description"),
        ("x.json", b'{"answer": ', "x.json: not readable as JSON"),
        ("x.zip", b"PK\x03\x04 broken", "not a .zip archive, or damaged"),
        ("empty", b"", "empty: neither a trace"),
    ],
)
def test_a_bad_file_explains_itself_beside_the_good_one(
    uploads: Uploads, name: str, content: bytes, message: str
) -> None:
    drop = uploads.receive([(name, stream(content)), ("good.sqlite.xz", stream(bundled("trt-fp32-b8").read_bytes()))])
    assert [s.title for s in drop.sources] == ["good.sqlite.xz"]
    assert len(drop.errors) == 1 and message in drop.errors[0].message and drop.errors[0].hint
    assert sum(p.is_file() for p in drop.sources[0].path.parents[1].rglob("*")) == 1  # nothing is left of the bad one


def test_a_zip_without_a_trace_and_one_that_climbs_out(uploads: Uploads) -> None:
    for name, message in (("readme.md", "and no trace"), ("../evil.sqlite", "no plain path")):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, "x")
        drop = uploads.receive([("a.zip", stream(packed.getvalue()))])
        assert not drop.sources and message in drop.errors[0].message


def test_what_belongs_to_no_trace_or_to_several(uploads: Uploads) -> None:
    layers = ("layers.json", stream(run_file(TRT, "layers.json")))
    drop = uploads.receive([layers])
    assert "fits none of the traces here" in drop.errors[0].message
    two = [(f"{n}.sqlite.xz", stream(bundled(TRT).read_bytes())) for n in "ab"]
    drop = uploads.receive([*two, ("layers.json", stream(run_file(TRT, "layers.json")))])
    assert "fits several of the traces" in drop.errors[0].message and len(drop.sources) == 2


def test_a_file_of_the_same_name_is_replaced_and_nothing_else_is(uploads: Uploads) -> None:
    one = uploads.receive([("t.sqlite.xz", stream(bundled("trt-fp32-b8").read_bytes()))]).sources[0]
    two = uploads.receive([("t.sqlite.xz", stream(bundled("trt-fp16-b8").read_bytes()))]).sources[0]
    assert list(uploads.sources.values()) == [two] and not one.path.exists() and two.path.exists()
    uploads.discard()
    assert not two.path.exists()


def candidate(name: str, framework: str | None = None, latency: float | None = None) -> Candidate:
    return Candidate(name, framework, latency)


@pytest.mark.parametrize(
    ("first", "second", "before", "why"),
    [
        (candidate("a", "TensorRT", 9), candidate("b", "PyTorch", 1), False, "is PyTorch"),
        (candidate("a", None, 1), candidate("b", "TensorRT", 9), True, "is TensorRT"),
        (candidate("run_after", "PyTorch", 9), candidate("x", "PyTorch", 1), False, "names"),
        (candidate("x"), candidate("Baseline.sqlite"), False, "names"),
        (candidate("before-after"), candidate("x"), True, "given first"),
        (candidate("a", "TensorRT", 1), candidate("b", "TensorRT", 2), False, "slower"),
        (candidate("a"), candidate("b"), True, "given first"),
    ],
)
def test_which_is_before(first: Candidate, second: Candidate, before: bool, why: str) -> None:
    found, reason = order(first, second)
    assert found is before and why in reason


def test_the_page_takes_a_drop_in_any_order_with_a_bad_file() -> None:
    test = app("overview").run()
    files = [
        ("b.sqlite.xz", bundled("trt-int8-b8").read_bytes(), ""),
        ("a.sqlite.xz", bundled("torch-fp32-b8").read_bytes(), ""),
        ("bad.bin", b"nothing", ""),
    ]
    test.file_uploader[0].set_value(files).run()
    assert not test.exception
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == (
        "upload/a.sqlite.xz",
        "upload/b.sqlite.xz",
    )
    shown = text(test)
    assert "is “before”" in shown and "bad\\.bin" in shown and "neither a trace" in shown


def test_an_uploaded_manifest_is_what_the_pages_show() -> None:
    test = app("details").run()
    manifest = {"format": "profiler-run/1", "trace": "elsewhere.sqlite", "title": "Mine", "batch": 3, "framework": "X"}
    files = [
        ("t.sqlite.xz", bundled("trt-fp32-b8").read_bytes(), ""),
        ("manifest.json", json.dumps(manifest).encode(), ""),
    ]
    test.file_uploader[0].set_value(files).run()
    assert not test.exception and test.selectbox(key="before").value == "upload/t.sqlite.xz"
    uploads: Uploads = test.session_state["uploads"]
    assert uploads.sources["upload/t.sqlite.xz"].title == "Mine"
    assert isinstance(uploads.sources["upload/t.sqlite.xz"].path, Path)
