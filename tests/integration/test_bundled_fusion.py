"""The ledger on the bundled H200 traces."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from profiler.analysis.fusion.decompose import decompose
from profiler.analysis.fusion.layers import align, engine_side
from profiler.analysis.fusion.ledger import Ledger, fusion, read_ahead
from profiler.analysis.fusion.traffic import memory_traffic
from profiler.analysis.run.autotuning import autotuning, build_log_of
from profiler.analysis.run.run import Run
from profiler.analysis.run.work import gpu_work
from profiler.report.documents import ledger_document
from profiler.trace import Trace, open_trace
from profiler.trace.build_log import read_build_log
from tests.support.ledgers import check_sums
from tests.support.traces import RUNS, TRACES, bundled

BEFORE = ("torch-fp32-b8", "torch-fp16-b8", "torch-fp32-eager-b8", "torch-fp16-eager-b8")
AFTER = (
    "trt-fp32-b8", "trt-fp16-b8", "trt-int8-b8", "trt-fp32-stream-b8", "trt-fp16-stream-b8", "trt-int8-stream-b8", "trt-int8-graph-b8",
    "trt-fp16-graph-b8", "trt-tf32-stream-b8",
)  # fmt: skip
BAD = "trt-int8-badqdq-b8-graphnode"


@pytest.fixture(scope="module")
def traces() -> Iterator[dict[str, Trace]]:
    opened = {run: open_trace(bundled(run)) for run in RUNS if not run.endswith("graphlevel")}
    yield opened
    for trace in opened.values():
        trace.close()


@pytest.fixture(scope="module", params=[(b, a) for b in BEFORE for a in AFTER], ids="-".join)
def ledger(request: pytest.FixtureRequest, traces: dict[str, Trace]) -> Ledger:
    before, after = request.param
    return fusion(Run(traces[before]), Run(traces[after]))


def test_everything_is_in_a_row_and_explained(ledger: Ledger) -> None:
    check_sums(ledger)
    for side in ("before", "after"):
        coverage = ledger.coverage(side)
        assert coverage.kernels_pct == 100.0
        assert coverage.time_pct is not None and coverage.time_pct >= 99.0
    assert ledger.by_status["unexplained"] == 0


def test_what_becomes_of_batch_norms_relus_and_additions(ledger: Ledger) -> None:
    rows = {r.label: r for r in ledger.rows if r.unit is not None}
    norms = [
        r for r in rows.values() if r.module.rpartition(".")[2].startswith("bn") or r.module.endswith("downsample.1")
    ]
    assert len(norms) == 53 and all(r.status == "absorbed" for r in norms)
    for norm in norms:
        product = norm.module.replace("bn", "conv").replace("downsample.1", "downsample.0")
        assert norm.into == product
    relus = [r for r in rows.values() if r.module.rpartition(".")[2] == "relu"]
    additions = [r for r in rows.values() if r.unit is not None and r.unit.op == "add"]
    assert (len(relus), len(additions)) == (49, 16), [r.label for r in additions]
    for row in (*relus, *additions):
        assert row.status == "fused"
        holder = rows[str(row.into)]
        assert holder.status == "kept" and holder.after is not None and row.after is not None
        assert row.after.holder == holder.after.holder  # the same layer


@pytest.mark.parametrize("run", ["trt-int8-b8", "trt-int8-stream-b8", "trt-int8-graph-b8"])
def test_first_layer_of_the_int8_engine_is_one_kernel(run: str, traces: dict[str, Trace]) -> None:
    ledger = fusion(Run(traces["torch-fp32-b8"]), Run(traces[run]))
    rows = {r.label: r for r in ledger.rows}
    assert rows["conv1"].after is not None and rows["conv1"].after.kernels == 10  # one in each of ten inferences
    assert [(rows[m].status, rows[m].into) for m in ("relu", "maxpool")] == [("fused", "conv1")] * 2
    assert "sm80_trt_conv_act_pool" in rows["conv1"].after.kernel_names[0]


def test_the_badly_quantised_engine_is_found_out(traces: dict[str, Trace]) -> None:
    ledger = fusion(Run(traces["torch-fp32-b8"]), Run(traces[BAD]))
    check_sums(ledger)
    new = [r.after for r in ledger.rows if r.status == "new" and r.after is not None]
    assert sum(c.kernels for c in new) / 10 == 95
    padding = [r for r in ledger.rows if r.cause == "bias padding"]
    assert sum(r.after.kernels for r in padding if r.after) / 10 == 42
    assert any("bias padding: 42 kernels" in f for f in ledger.findings) and any("Q/DQ" in f for f in ledger.findings)
    good = fusion(Run(traces["torch-fp32-b8"]), Run(traces["trt-int8-b8"]))
    assert not any("Q/DQ" in f for f in good.findings)


@pytest.mark.parametrize(
    "run",
    [
        "trt-fp32-b8",
        "trt-tf32-b8",
        "trt-fp16-b8",
        "trt-int8-b8",
        "trt-fp32-stream-b8",
        "trt-fp16-stream-b8",
        "trt-int8-stream-b8",
        "quickgelu-trt-fp16-stream-b8",
        "quickgelu-plugin-trt-fp16-stream-b8",
    ],
)
def test_placement_by_order_equals_placement_by_launch(run: str, traces: dict[str, Trace]) -> None:
    """What is done for CUDA graphs, where launches do not tell, against traces where they do."""
    analysis = Run(traces[run])
    side = engine_side(analysis.trace, analysis.inferences, gpu_work(analysis.trace, analysis.inferences))
    assert side is not None and (side.work["layer"] >= 0).all()
    for _, part in side.work.groupby("inference"):
        assert align(tuple(part["name"]), tuple(part["category"]), side.layers) == part["layer"].tolist()


def test_split_of_every_pair_is_exact(traces: dict[str, Trace]) -> None:
    for before in (*BEFORE, "torch-tf32-b8"):
        for after in (*AFTER, "trt-tf32-b8", BAD):
            split = decompose(fusion(Run(traces[before]), Run(traces[after])))
            assert sum(p.before_ns for p in split.parts) == split.before_latency_ns
            assert sum(p.after_ns for p in split.parts) == split.after_latency_ns
            assert next(p for p in split.parts if p.id == "unexplained").before_ns == 0


def test_memory_minimum_is_known_and_agrees_with_the_shapes_of_resnet(traces: dict[str, Trace]) -> None:
    ledger = fusion(Run(traces["torch-fp32-b8"]), Run(traces["trt-int8-b8"]))
    traffic = memory_traffic(ledger)
    assert (traffic.before_unknown, traffic.after_unknown) == (0, 0)
    minima = {r.row.label: r.before.minimum for r in traffic.rows}
    b, hw = 8, 112 * 112
    assert minima["conv1"] == 4 * (b * 3 * 224 * 224 + 64 * 3 * 49 + b * 64 * hw)
    assert minima["bn1"] == minima["relu"] == 4 * 2 * b * 64 * hw
    assert minima["maxpool"] == 4 * (b * 64 * hw + b * 64 * 56 * 56)
    assert minima["layer1.0: add"] == 4 * 3 * b * 256 * 56 * 56
    assert traffic.before_sampled.read_bytes is not None and traffic.before_sampled.samples > 1000


def test_recorded_shapes_and_the_engines_tensors_give_the_same_minimum(traces: dict[str, Trace]) -> None:
    """Two sources of shapes: the manifest of our own recording, and the engine on the other side of the earlier one."""
    engine = Run(traces["trt-int8-b8"])
    recorded, derived = (
        {r.row.label: r.before for r in memory_traffic(fusion(Run(traces[run]), engine)).rows}
        for run in ("torch-fp32-eager-b8", "torch-fp32-b8")
    )
    assert set(recorded) == set(derived)
    for label, row in recorded.items():
        other = derived[label]
        assert row.minimum is not None and other.minimum is not None
        assert row.minimum == pytest.approx(other.minimum, rel=0.01), (
            label
        )  # recorded ones also count scales and biases


def test_sampled_bytes_equal_plain_arithmetic(traces: dict[str, Trace]) -> None:
    analysis = Run(traces["trt-fp32-b8"])
    traffic = memory_traffic(fusion(Run(traces["torch-fp32-b8"]), analysis))
    spans = analysis.inferences.table
    rows = analysis.trace.database.rows(
        "SELECT m.timestamp, m.value FROM GPU_METRICS m JOIN TARGET_INFO_GPU_METRICS t USING (typeId, metricId) "
        "WHERE t.metricName = 'DRAM Read Bandwidth [Throughput %]'"
    )
    inside = [v for t, v in rows if any(a <= t <= b for a, b in zip(spans["gpu_start_ns"], spans["gpu_end_ns"]))]
    expected = np.mean(inside) / 100 * 4_814_304_000_000 * np.mean(spans["gpu_span_ns"]) * 1e-9
    assert traffic.after_sampled.read_bytes == pytest.approx(expected)


def test_auto_tuning_of_the_bundled_engines(traces: dict[str, Trace]) -> None:
    log = build_log_of(Run(traces["trt-int8-b8"]))
    assert log is not None
    tuned = autotuning(read_build_log(log))
    assert len(tuned.layers) >= 20
    assert (tuned.layers["chosen_ms"] <= tuned.layers["median_ms"]).all()
    assert build_log_of(Run(traces["torch-fp32-b8"])) is None


def _profiler(*args: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "profiler", *args, "--format", "json"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_documents_of_the_command_line() -> None:
    before, after = str(bundled("torch-fp32-b8")), str(bundled("trt-int8-b8"))
    fusion = _profiler("fusion", before, after)
    assert {"coverage", "rows", "totals"} <= set(fusion)
    assert sum(r["before"]["kernels"] for r in fusion["rows"] if r["before"]) == pytest.approx(174)
    assert sum(r["after"]["kernels"] for r in fusion["rows"] if r["after"]) == pytest.approx(56)
    assert {"module", "before", "after", "status"} <= set(fusion["rows"][0])
    assert {"layer", "kernels", "time_ns", "tactic"} <= set(fusion["rows"][0]["after"])
    split = _profiler("decompose", before, after, "--via", str(bundled("trt-fp16-b8")))["steps"]
    assert [s["split"] is None for s in split] == [True, False, False]
    for step in split[1:]:
        parts = step["split"]["parts"]
        assert sum(p["saved_ns"] for p in parts) == step["split"]["saved_ns"]
    log = bundled("trt-int8-b8").with_name("build.log.xz")
    assert len(_profiler("tactics", str(log))["layers"]) >= 20


@pytest.mark.parametrize("run", ["mobilenet_v2-trt-fp16-stream-b8", "mobilenet_v2-trt-fp16-graph-b8"])
def test_a_second_network_works_unchanged(run: str, traces: dict[str, Trace]) -> None:
    """MobileNetV2: depthwise convolutions, inverted residuals without a ReLU after the addition, a Dropout."""
    ledger = fusion(Run(traces["mobilenet_v2-torch-fp32-eager-b8"]), Run(traces[run]))
    check_sums(ledger)
    for side in ("before", "after"):
        coverage = ledger.coverage(side)
        assert (coverage.kernels_pct, coverage.time_pct) == (100.0, 100.0)
    assert ledger.by_status["unexplained"] == 0
    manifest = json.loads((TRACES / "mobilenet_v2-torch-fp32-eager-b8" / "manifest.json").read_text())
    kinds = {m["name"]: m["type"] for m in manifest["modules"]}
    found = Counter((kinds.get(r.module) or "operation", r.status) for r in ledger.rows if r.unit is not None)
    # torchvision's architecture: 52 convolutions with a batch norm each, 35 ReLU6, 10 additions, pooling, a Dropout, a classifier
    assert found == {
        ("Conv2d", "kept"): 52, ("BatchNorm2d", "absorbed"): 52, ("ReLU6", "fused"): 35, ("operation", "fused"): 10,
        ("Dropout", "absorbed"): 1, ("Linear", "kept"): 1, ("operation", "kept"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("whole", [False, True])
def test_a_ledger_of_what_was_read_ahead_is_the_same(whole: bool) -> None:
    paths = [TRACES / name / "trace.sqlite.xz" for name in ("torch-fp32-eager-b8", "trt-fp16-stream-b8")]
    documents = []
    for ahead in (False, True):
        with open_trace(paths[0]) as before, open_trace(paths[1]) as after:
            runs = Run(before), Run(after)
            for run in runs if ahead else ():
                read_ahead(run, least_kernels=0, whole=whole)
                assert "kernels" not in run.trace.events.__dict__
            documents.append(ledger_document(fusion(*runs)))
            for run in runs if ahead else ():  # and none of them was needed again
                assert not {"kernels", "api_calls", "nvtx_ranges"} & run.trace.events.__dict__.keys()
    assert documents[0] == documents[1]
