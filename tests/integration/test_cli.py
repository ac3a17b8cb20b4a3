"""The command line: what users type, what they get back. What depends on the process is run as one."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.generate import generate
from profiler.cli.main import VERBS
from tests.support.commands import called, profiler
from tests.support.make_trace import simple
from tests.support.traces import RUNS, bundled

TORCH, INT8 = str(bundled("torch-fp32-b8")), str(bundled("trt-int8-b8"))
GRAPH = str(bundled("trt-int8-badqdq-b8-graphlevel"))


def document(*args: str) -> dict:
    done = called(*args, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_compare_prints_the_headline() -> None:
    done = profiler("compare", TORCH, INT8)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [row for row in done.stdout.splitlines() if row.startswith("Kernels ") and " in " not in row]
    assert line.split() == ["Kernels", "174", "56", "3.11×", "kernels"]


def test_compare_document() -> None:
    result = document("compare", TORCH, INT8)
    assert set(result) == {"before", "after", "pair", "metrics", "warnings"}
    assert result["pair"]["is_comparable"] and result["pair"]["refusal"] is None
    metrics = {m["id"]: m for m in result["metrics"]}
    assert {"id", "label", "unit", "before", "after", "ratio", "reason"} <= set(metrics["latency"])
    assert (metrics["kernels_per_inference"]["before"], metrics["kernels_per_inference"]["after"]) == (174, 56)
    assert result["before"]["batch"] == result["after"]["batch"] == 8
    assert result["warnings"] == []


def test_graph_level_trace_is_refused_with_advice() -> None:
    done = called("compare", TORCH, GRAPH, "--format", "json")
    assert done.returncode == 1
    assert "--cuda-graph-trace=node" in done.stderr
    metrics = {m["id"]: m for m in json.loads(done.stdout)["metrics"]}
    assert metrics["kernels_per_inference"]["before"] is None and metrics["kernels_per_inference"]["reason"]
    assert metrics["latency"]["after"] > 0
    done = called("kernels", GRAPH)
    assert done.returncode == 1 and "--cuda-graph-trace=node" in done.stderr and not done.stdout


@pytest.mark.parametrize("run", RUNS)
def test_info_document(run: str) -> None:
    info = document("info", str(bundled(run)))
    assert info["nsys_version"].startswith("2025.3") and info["schema_version"] == "3.20.3"
    assert [g["name"] for g in info["gpus"]] == ["NVIDIA H200"] and info["gpus"][0]["sm"] == 90
    assert info["graph_level_only"] is run.endswith("graphlevel")
    assert info["graph_launches"] == (10 if "graph" in run or "compile" in run else 0)
    assert info["gpu_metrics"]["tensor_counter"] == "Tensor Active [Throughput %]"
    assert info["gpu_metrics"]["frequency_hz"] == pytest.approx(20_000, rel=0.01)
    assert (
        isinstance(info["kernels"], int)
        and isinstance(info["nvtx_ranges"], int)
        and isinstance(info["runtime_calls"], int)
    )


def test_kernels_document_and_csv_agree() -> None:
    result = document("kernels", INT8)
    assert result["inferences"] == 10
    assert sum(k["count"] for k in result["kernels"]) == 560
    assert sum(k["per_inference"] for k in result["kernels"]) == 56
    keys = "name short_name category tensor_cores rule count per_inference total_ns mean_ns median_ns min_ns max_ns stddev_ns"
    assert set(keys.split()) <= set(result["kernels"][0])
    rows = list(csv.DictReader(io.StringIO(called("kernels", INT8, "--format", "csv").stdout)))
    assert [(r["name"], int(r["total_ns"])) for r in rows] == [(k["name"], k["total_ns"]) for k in result["kernels"]]


def test_kernels_are_the_same_without_looking_for_inferences(tmp_path: Path) -> None:
    large = tmp_path / "large.sqlite"
    generate(large, 60_000)  # from 50,000 rows on only names and durations are read
    for trace in (INT8, str(large)):
        whole, alone = document("kernels", trace), document("kernels", trace, "--no-inferences")
        assert alone["inferences"] is alone["outside_inferences"] is alone["per_inference"] is None
        for part in ("kernels", "categories"):
            assert [{**row, "per_inference": None} for row in whole[part]] == alone[part]
        assert (whole["kernel_count"], whole["total_ns"], whole["wall_ns"]) == tuple(
            alone[key] for key in ("kernel_count", "total_ns", "wall_ns")
        )


def test_kernels_without_inferences(tmp_path: Path) -> None:
    maker = simple(inferences=1)
    maker.rows.pop("NVTX_EVENTS")
    result = document("kernels", str(maker.write(tmp_path / "t.sqlite")))
    assert result["inferences"] is None and result["kernels"][0]["per_inference"] is None


def test_nvtx_pattern_reaches_the_analysis() -> None:
    assert document("kernels", TORCH, "--nvtx", "layer1.0.conv1")["per_inference"] == 1
    done = called("kernels", TORCH, "--nvtx", "nothing")
    assert done.returncode == 2 and "no NVTX range" in done.stderr


def test_tensor_cores_keeps_the_two_figures_apart() -> None:
    result = document("tensor-cores", INT8)
    shares = {v["tensor_cores"]: v["share_pct"] for v in result["by_name"]}
    assert sum(shares.values()) == pytest.approx(100)
    assert result["sampled"]["samples"] > 100 and 0 < result["sampled"]["value_pct"] < shares["yes"]
    assert [k["time_ns"] for k in document("tensor-cores", TORCH)["eligible_not_using"]] == sorted(
        (k["time_ns"] for k in document("tensor-cores", TORCH)["eligible_not_using"]), reverse=True
    )


def test_classify_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    names = "cutlass_80_tensorop_s1688gemm_128x128_16x4_nn_align4\n\nvoid cutlass_80_simt_sgemm_128x64_8x5_nn_align1\n"
    (tmp_path / "names.txt").write_text(names)
    from_file = document("classify", str(tmp_path / "names.txt"))
    done = profiler("classify", "-", "--format", "json", stdin=names)
    assert json.loads(done.stdout) == from_file
    assert [(k["tensor_cores"], k["category"]) for k in from_file] == [("yes", "gemm"), ("no", "gemm")]
    assert all(k["rule"] for k in from_file)


def test_output_file_is_whole_and_is_not_replaced_without_force(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert profiler("info", INT8, "--format", "json", "-o", str(target)).returncode == 0
    first = target.read_text()
    done = called("info", TORCH, "--format", "json", "-o", str(target))
    assert done.returncode == 2 and "--force" in done.stderr and target.read_text() == first
    assert called("info", TORCH, "--format", "json", "-o", str(target), "--force").returncode == 0
    assert json.loads(target.read_text())["kernels"] == 1740
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    done = called("info", TORCH, "-o", str(tmp_path / "missing" / "out.json"))
    assert done.returncode == 1 and "cannot be written" in done.stderr


def test_bad_traces_are_errors_without_a_traceback(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"nonsense" * 100)
    for args in (
        ["info", str(bad)],
        ["info", str(tmp_path / "missing.sqlite")],
        ["compare", TORCH, str(bad)],
        ["kernels", str(tmp_path)],
    ):
        done = profiler(*args)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr, args


def test_control_characters_of_a_trace_do_not_reach_the_terminal(tmp_path: Path) -> None:
    maker = simple()
    maker.kernel(20_000, 10, "\x1b]0;owned\x07\u202eevil")
    path = maker.write(tmp_path / "t.sqlite")
    done = called("kernels", str(path))
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout and "\\u001b" in done.stdout


def test_formulas_do_not_reach_a_spreadsheet(tmp_path: Path) -> None:
    maker = simple()
    maker.kernel(20_000, 10, "=cmd|'/c calc'!A0")
    done = called("kernels", str(maker.write(tmp_path / "t.sqlite")), "--format", "csv")
    assert not [row for row in csv.reader(io.StringIO(done.stdout)) for cell in row if cell.startswith("=")]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_is_documented(verb: str) -> None:
    done = called(verb, "--help")
    assert done.returncode == 0 and len(done.stdout) > 200
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"profiler {verb}" in readme


def test_usage_errors_exit_with_2() -> None:
    for args in (
        [],
        ["nothing"],
        ["compare", TORCH],
        ["kernels", TORCH, "--top", "0"],
        ["info", TORCH, "--format", "xml"],
    ):
        assert called(*args).returncode == 2, args


def test_unexpected_errors_are_no_traceback_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from profiler.cli import info, main  # noqa: PLC0415

    def broken(*_: object) -> None:
        raise ZeroDivisionError("inner")

    monkeypatch.setattr(info, "open_trace", broken)
    assert main.main(["info", TORCH]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error_message() -> None:
    command = f"{sys.executable} -m profiler kernels {TORCH} --format json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
