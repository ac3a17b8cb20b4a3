"""The Export page, and figures as files."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from dashboard import data
from dashboard.views import export
from profiler.analysis.run.run import Run
from profiler.charts import images
from profiler.charts.figures import figures
from profiler.errors import MissingToolError, OutputError
from profiler.report import evidence as report_evidence
from profiler.report.evidence import Evidence, gather
from profiler.report.tables import tables, to_csv
from profiler.trace import open_trace
from tests.support.pages import DEMO, GRAPH_LEVEL, app, counts, kernels, text, unfolded
from tests.support.traces import bundled


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gather(*(Run(open_trace(bundled(run))) for run in ("torch-fp32-b8", "trt-int8-stream-b8")))


def test_the_page_offers_everything() -> None:
    test = unfolded(app("export"), "preview").run()
    assert not test.exception and not test.error
    offered = {b.key for b in test.download_button}
    assert {
        "report_html",
        "report_markdown",
        "table_csv",
        "table_parquet",
        "tables_csv",
        "tables_parquet",
        "slides_pptx",
    } <= offered
    assert ("slides_pdf" in offered) == (images.missing_browser() is None)
    if images.missing() is None:
        assert {"figure_pdf", "figure_png", "figures_pdf", "figures_png"} <= offered
    assert any(
        c.value.startswith(f"## {counts()} kernels per inference. Same model, same precision.") for c in test.code
    )
    shown = [d.value for d in test.dataframe]
    assert any("before_over_after" in frame for frame in shown)
    test.selectbox(key="export_table").set_value("kernels_after").run()
    assert any("stddev_ns" in d.value for d in test.dataframe)
    unfolded(test, "figure_preview")
    for figure in ("fusion", "timeline"):
        test.selectbox(key="export_figure").set_value(figure).run()
        assert not test.exception and len(test.get("plotly_chart")) == 1


def test_gates_of_the_page() -> None:
    test = unfolded(app("export"), "preview").run()
    test.text_area(key="gates").input("kernels_per_inference>60\nlatency>0.1ms").run()
    assert [s.value.replace("\\", "") for s in test.success] == [
        f"**passed**: after.kernels_per_inference is {kernels(DEMO[1])}, and the gate fails at > 60"
    ]
    assert test.error[0].value.startswith("**failed**: after")
    command = "--fail-if 'kernels_per_inference>60' --fail-if 'latency>0.1ms'"
    assert any(command in c.value for c in test.code)
    assert any("**2 gates: 1 failed**" in c.value for c in test.code)
    test.text_area(key="gates").input("nonsense").run()
    assert not test.exception and "not a gate" in test.error[0].value


def test_gates_that_cannot_be_decided() -> None:
    test = app("export", after=GRAPH_LEVEL).run()
    test.text_area(key="gates").input("kernels_per_inference>60").run()
    assert not test.exception
    assert any(w.value.startswith("**unknown**") for w in test.warning)


def test_without_a_browser_the_page_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "browser", lambda: None)
    test = app("export").run()
    offered = {b.key for b in test.download_button}
    assert (
        "none is on the PATH" in text(test) and not {"figure_pdf", "slides_pdf"} & offered and "slides_pptx" in offered
    )


def test_names_of_files() -> None:
    assert export._file_name("torch-fp32-b8", "folder/../<x> y.sqlite") == "torch-fp32-b8_to__x_y.sqlite"


def test_a_zip_of_tables(evidence: Evidence) -> None:
    found = tables(evidence)
    packed = export._zipped((f"{t.id}.csv", to_csv(t.frame).encode()) for t in found)
    assert packed == export._zipped((f"{t.id}.csv", to_csv(t.frame).encode()) for t in found)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{t.id}.csv" for t in found]


needs_browser = pytest.mark.skipif(images.missing() is not None, reason="no Chromium or no Kaleido on this machine")


@needs_browser
def test_figures_as_files(evidence: Evidence, tmp_path: Path) -> None:
    chosen = [d for d in figures(evidence) if d.id in ("speedup", "fusion")]
    paths = images.write(chosen, tmp_path / "figures", ("pdf", "png", "svg"), force=False)
    assert [p.name for p in paths] == [f"{d.id}.{k}" for d in chosen for k in ("pdf", "png", "svg")]
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".pdf":
            assert content.startswith(b"%PDF") and b"/Font" in content
            if path.stem != "fusion":  # whose hatching is made of tiles
                assert b"/Subtype /Image" not in content  # vectors and text
        elif path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            width, height = struct.unpack(">II", content[16:24])
            assert width == 2 * 1200 and height > 600
        else:
            assert content.lstrip().startswith(b"<svg")
    with pytest.raises(OutputError, match="exists already"):
        images.write(chosen, tmp_path / "figures", ("png",), force=False)


@needs_browser
def test_a_browser_that_does_not_start_is_named(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "browser", lambda: shutil.which("false"))
    with pytest.raises(OutputError, match=r"could not be drawn with .*false"):
        images.write(figures(evidence)[:1], tmp_path / "figures", ("png",), force=False)
    assert not (tmp_path / "figures").exists()


@needs_browser
@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_a_browser_that_hangs_is_ended(evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "browser"
    hanging.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(images, "browser", lambda: str(hanging))
    monkeypatch.setattr(images, "_TIMEOUT_S", 6)
    monkeypatch.setattr(images, "_TIMEOUT_EACH_S", 0)
    with pytest.raises(OutputError, match=r"could not be drawn with .*browser"):
        images.render(figures(evidence)[:1], ["png"])
    browser = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 20  # it was told to end, which takes a moment
    while time.monotonic() < until:
        try:
            if psutil.Process(browser).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)
    pytest.fail("the browser is still there")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="Kaleido"):
        images.render(figures(evidence)[:1], ["png"])


def test_digests_of_large_files_are_made_once_and_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[Path] = []

    def counted(path: Path) -> str:
        digested.append(path)
        return original(path)

    original = report_evidence.sha256_of
    monkeypatch.setattr(report_evidence, "sha256_of", counted)
    monkeypatch.setattr(data, "_SLOW_TO_DIGEST_BYTES", 0)
    monkeypatch.setattr(data, "_DIGESTED_AFTER_S", 0.0)
    data._evidence.clear()
    data._digested.clear()
    data._tables.clear()
    assert not app("overview").run().exception
    until = time.monotonic() + 30
    while len(digested) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(digested) == 2
    test = app("export").run()
    test.selectbox(key="export_table").set_value("provenance").run()
    shown = next(d.value for d in test.dataframe if "SHA-256 of the file" in d.value.to_string())
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() in shown.to_numpy() for path in digested)
    assert len(digested) == 2
    data._evidence.clear()
