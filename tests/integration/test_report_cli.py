"""``report`` and ``timeline``, as processes where that matters: files, exit statuses, refusals."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pptx import Presentation
from pypdf import PdfReader

from profiler.charts import images
from tests.support.commands import called, profiler
from tests.support.make_trace import simple
from tests.support.traces import bundled

BEFORE, AFTER = str(bundled("torch-fp32-b8")), str(bundled("trt-int8-stream-b8"))
GRAPH = str(bundled("trt-int8-badqdq-b8-graphlevel"))


def test_everything_in_one_run(tmp_path: Path) -> None:
    done = profiler(
        "report", BEFORE, AFTER, "-o", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "r.md"), "--tables",
        str(tmp_path / "tables"), "--table-format", "csv,parquet", "--fail-if", "kernels_per_inference>60",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "calibrated on random data" in done.stderr
    html = (tmp_path / "r.html").read_text()
    assert html.startswith("<!DOCTYPE html>") and "174 kernels to 56" in html
    assert "**1 gate: none failed**" in (tmp_path / "r.md").read_text()
    kernels = list(csv.DictReader(io.StringIO((tmp_path / "tables" / "kernels_after.csv").read_text())))
    frame = pd.read_parquet(tmp_path / "tables" / "kernels_after.parquet")
    assert sum(int(k["count"]) for k in kernels) == frame["count"].sum() == 560
    assert {p.suffix for p in (tmp_path / "tables").iterdir()} == {".csv", ".parquet"}
    assert not list(tmp_path.rglob(".*"))  # nothing half-written is left


def test_the_terminal_says_a_message_of_tensorrt_once() -> None:
    pair = str(bundled("torch-fp16-eager-b8")), str(bundled("trt-fp16-stream-b8"))
    said = [line for line in profiler("report", *pair).stderr.splitlines() if line.startswith("warning: ")]
    weights = "warning: after: TensorRT's log: 54 weights subnormal in FP16, 17 weights too small for FP16"
    assert weights in said and not any("modify the weights" in line or "verbose logs" in line for line in said)
    assert len(said) == len(set(said)) == 3
    twice = [line for line in profiler("report", pair[1], pair[1]).stderr.splitlines() if "weights subnormal" in line]
    assert twice == [weights.replace("after:", "before and after:")]


def test_slides_are_written_whole_and_never_over_a_file(tmp_path: Path) -> None:
    target = tmp_path / "deck.pptx"
    asked = ("report", BEFORE, AFTER, "-o", str(tmp_path / "r.md"), "--pptx", str(target))
    done = profiler(*asked)
    assert (done.returncode, done.stdout) == (0, "")
    found = Presentation(target)
    assert len(found.slides) == 6 and found.slides[0].shapes.title.text_frame.text == "174 → 56 kernels per inference"
    refused = profiler(*asked[:3], "--pptx", str(target))
    assert refused.returncode == 2 and "exists already" in refused.stderr
    assert profiler(*asked, "--force").returncode == 0
    onto = profiler("report", BEFORE, AFTER, "--pptx", AFTER, "--force")
    assert onto.returncode == 2 and "deck" not in onto.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deck.pptx", "r.md"]


def test_slides_as_pdf(tmp_path: Path) -> None:
    target = tmp_path / "deck.pdf"
    without = profiler(
        "report", BEFORE, AFTER, "--pdf", str(target), env={**os.environ, "PATH": "", "BROWSER_PATH": ""}
    )
    assert without.returncode == 1 and "none is on the PATH" in without.stderr and not target.exists()
    if images.missing_browser() is not None:
        pytest.skip("no Chromium on this machine")
    done = profiler("report", BEFORE, AFTER, "-o", str(tmp_path / "r.md"), "--pdf", str(target))
    assert done.returncode == 0, done.stderr
    pages = PdfReader(target).pages
    assert len(pages) == 6 and "174 → 56 kernels per inference" in pages[0].extract_text()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names of files are Unicode")
def test_a_name_that_is_not_utf8_is_shown(tmp_path: Path) -> None:
    trace = tmp_path / os.fsdecode(b"a\xff b.sqlite")
    simple().write(trace)
    done = profiler(
        "report", BEFORE, str(trace), "-o", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "r.md"), "--tables",
        str(tmp_path / "tables"), "--table-format", "csv,parquet",
    )  # fmt: skip
    assert done.returncode == 0 and "should not have happened" not in done.stderr, done.stderr
    assert "a\\udcff b.sqlite" in (tmp_path / "r.html").read_text("utf-8")
    assert "a\\udcff b.sqlite" in pd.read_parquet(tmp_path / "tables" / "provenance.parquet")["after"].tolist()


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "\ud800x", "model": "a\0b", "weights": "w" * 10_000}, {"layers": "x" * 10_000, "build_log": "a\0b"},
        {"bench": {"latency_ms": {"p50": "\ud800", "p99": 2**70}}}, {"batch": 2**70}, {"batch": True}, {"batch": [8]},
        {"input_shape": [2**70]}, {"trace": "\ud800"},
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_hostile_manifest_is_read_or_refused_in_one_line(tmp_path: Path, fields: dict[str, object]) -> None:
    trace = tmp_path / "t.sqlite"
    simple().write(trace)
    manifest = {"format": "profiler-run/1", "trace": trace.name, **fields}
    (tmp_path / "t.manifest.json").write_text(json.dumps(manifest))
    for verb in (["report", BEFORE, str(trace), "-o", str(tmp_path / "r.html"), "-f"], ["fusion", BEFORE, str(trace)]):
        done = called(*verb)
        assert done.returncode in (0, 1) and "should not have happened" not in done.stderr, done.stderr
        refused = any(key in fields for key in ("batch", "input_shape", "trace"))
        assert not refused or (done.returncode == 1 and "expected" in done.stderr)


def test_markdown_is_what_is_printed() -> None:
    done = called("report", BEFORE, AFTER)
    assert (
        done.returncode == 0
        and done.stdout.startswith("## ")
        and "kernels per inference. Same model" in done.stdout.splitlines()[0]
    )


def test_document() -> None:
    done = profiler("report", BEFORE, AFTER, "--format", "json", "--fail-if", "latency>0.1ms")
    document = json.loads(done.stdout)
    assert done.returncode == 3
    assert {m["id"]: m["after"] for m in document["metrics"]}["kernels_per_inference"] == 56
    latency = {m["id"]: m["after"] for m in document["metrics"]}["latency"]
    assert document["gates"][0]["outcome"] == "failed" and document["gates"][0]["value"] == latency
    assert document["fusion"]["statuses"]["kept"] == 55 and document["no_fusion_reason"] is None
    assert sum(p["saved_ns"] for p in document["decompose"]["parts"]) == document["decompose"]["saved_ns"]
    assert document["provenance"]["after"]["GPU"].startswith("NVIDIA H200")


@pytest.mark.parametrize(
    ("pair", "gates", "status"),
    [
        ((BEFORE, AFTER), ["kernels_per_inference>60"], 0),
        ((BEFORE, AFTER), ["kernels_per_inference>50"], 3),
        ((BEFORE, GRAPH), ["kernels_per_inference>50"], 4),
        ((BEFORE, GRAPH), ["kernels_per_inference>50", "latency>9s"], 4),
        ((BEFORE, GRAPH), ["kernels_per_inference>50", "latency>1ns"], 3),
        ((BEFORE, AFTER), ["kernels_per_inferense>50"], 2),
        ((BEFORE, AFTER), ["kernels_per_inference>"], 2),
        ((BEFORE, "/no/such/trace.sqlite"), ["kernels_per_inference>50"], 1),
    ],
)
def test_exit_status(pair: tuple[str, str], gates: list[str], status: int, tmp_path: Path) -> None:
    target = tmp_path / "report.md"
    done = called("report", *pair, "-o", str(target), *(a for g in gates for a in ("--fail-if", g)))
    assert done.returncode == status, done.stderr
    assert target.exists() == (status in (0, 3, 4))  # the report is written when a gate fails, and only whole
    if status in (3, 4):
        assert ("gate failed: " if status == 3 else "gate not decided: ") in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_exist_are_not_replaced_unasked(tmp_path: Path) -> None:
    target, tables = tmp_path / "r.html", tmp_path / "tables"
    target.write_text("mine")
    assert called("report", BEFORE, AFTER, "-o", str(target)).returncode == 2
    assert called("report", BEFORE, AFTER, "--markdown", str(target)).returncode == 2
    assert target.read_text() == "mine"
    tables.mkdir()
    (tables / "figures.csv").write_text("mine")
    done = called("report", BEFORE, AFTER, "--tables", str(tables))
    assert done.returncode == 1 and "--force" in done.stderr
    assert [p.name for p in tables.iterdir()] == ["figures.csv"] and (tables / "figures.csv").read_text() == "mine"
    assert called("report", BEFORE, AFTER, "--tables", str(tables), "--force").returncode == 0
    assert (tables / "figures.csv").read_text() != "mine"


@pytest.mark.parametrize(
    "arguments",
    [["-o", "report.docx"], ["--table-format", "xlsx"], ["--figure-format", "pdf,bmp"], ["--figure-format", ","]],
)
def test_wrong_usage_is_said_before_any_work(arguments: list[str], tmp_path: Path) -> None:
    done = called("report", "missing.sqlite", "missing.sqlite", *arguments)
    assert done.returncode == 2 and done.stderr.startswith("error: ")


def test_figures_without_a_browser_say_what_is_missing(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "BROWSER_PATH": ""}
    done = profiler("report", BEFORE, AFTER, "--figures", str(tmp_path / "figures"), env=env)
    assert done.returncode == 1 and "Chromium" in done.stderr and "BROWSER_PATH" in done.stderr
    assert not (tmp_path / "figures").exists()


def test_no_verb_that_writes_figures_as_data_loads_what_draws() -> None:
    heavy = {"plotly.graph_objs", "plotly.io", "narwhals", "streamlit"}
    code = (
        f"import sys; from profiler.cli.main import main; main(sys.argv[1:]); print(sorted({heavy} & set(sys.modules)))"
    )
    for arguments in (["report", BEFORE, AFTER], ["report", BEFORE, AFTER, "--format", "html"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_timeline(tmp_path: Path) -> None:
    plain, packed = tmp_path / "t.json", tmp_path / "t.json.gz"
    assert called("timeline", BEFORE, AFTER, "-o", str(plain)).returncode == 0
    assert called("timeline", BEFORE, AFTER, "-o", str(packed)).returncode == 0
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    events = json.loads(plain.read_text())["traceEvents"]
    assert [sum("rule" in e.get("args", {}) and e["pid"] == p for e in events) for p in (1, 2)] == [174, 56]
    assert called("timeline", BEFORE, "-o", str(plain)).returncode == 2  # it is there
    done = called(
        "timeline",
        BEFORE,
        AFTER,
        "--inference",
        "0",
        "--inference-after",
        "2",
        "--window",
        "100:200.5",
        "-o",
        str(plain),
        "-f",
    )
    assert done.returncode == 0
    about = json.loads(plain.read_text())["otherData"]
    assert about["before"] == {**about["before"], "part": "iter0", "from_us": 100.0, "to_us": 200.5}
    assert about["after"]["part"] == "inference 2"


def test_timeline_of_a_whole_trace_alone(tmp_path: Path) -> None:
    trace, target = simple().write(tmp_path / "one.sqlite"), tmp_path / "t.json"
    assert called("timeline", str(trace), "--inference", "whole", "-o", str(target)).returncode == 0
    events = json.loads(target.read_text())["traceEvents"]
    assert sum("rule" in e.get("args", {}) for e in events) == 12


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--inference", "10"], "inferences 0 to 9"),
        (["--inference", "-1"], "inferences 0 to 9"),
        (["--window", "5"], "not a window"),
        (["--window", "900000:"], "It is 5.10 ms long"),
        (["--window", "200:100"], "is in it"),
    ],
)
def test_timeline_refuses_what_is_not_there(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = called("timeline", BEFORE, AFTER, *arguments, "-o", str(tmp_path / "t.json"))
    assert done.returncode == 2 and says in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_pair_without_a_ledger_is_still_a_timeline(tmp_path: Path) -> None:
    done = profiler("timeline", BEFORE, GRAPH, "-o", str(tmp_path / "t.json"))
    assert done.returncode == 0 and "without their modules and layers" in done.stderr
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert any(e["name"] == "CUDA graph, recorded whole" for e in events)
