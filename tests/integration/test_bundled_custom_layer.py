"""The custom layer on the bundled H200 traces: the page's figures against plain SQL and the shapes of ResNet-50."""

from __future__ import annotations

import json
import lzma
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profiler.analysis.custom_layer.cost import IDLE, OWN, PRODUCTS, SETS, RunCost, activations_of, exchange, run_cost
from profiler.analysis.custom_layer.measurement import COPY, COPY_STREAM, KERNEL, read_measurement
from profiler.analysis.fusion.ledger import fusion
from profiler.analysis.run.run import Run
from profiler.trace import open_trace
from tests.support.ledgers import check_sums
from tests.support.traces import TRACES, bundled

EAGER, COMPILED = "quickgelu-torch-fp16-eager-b8", "quickgelu-torch-fp16-compile-b8"
GRAPH = {"plugin": "quickgelu-plugin-trt-fp16-graph-b8", "operators": "quickgelu-trt-fp16-graph-b8"}
STREAM = {"plugin": "quickgelu-plugin-trt-fp16-stream-b8", "operators": "quickgelu-trt-fp16-stream-b8"}
INT8 = "quickgelu-plugin-trt-int8-graph-b8"
RUNS = (EAGER, COMPILED, *GRAPH.values(), *STREAM.values(), INT8, "quickgelu-torch-fp16-graph-b8")
INFERENCES = 10


def resnet50_activations(batch: int) -> list[int]:
    """Elements of every activation of ResNet-50 at 224×224, in order, from the paper's table (He et al. 2015, table 1)."""
    found = [batch * 64 * 112 * 112]
    size = 56
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            before = size
            if stage and not block:
                size //= 2  # torchvision's version strides in the 3×3 convolution
            found += [
                batch * width * before * before,
                batch * width * size * size,
                batch * 4 * width * size * size,
            ]
    return found


@pytest.fixture(scope="module")
def analyses() -> Iterator[dict[str, Run]]:
    opened = {run: Run(open_trace(bundled(run))) for run in RUNS}
    yield opened
    for analysis in opened.values():
        analysis.trace.close()


@pytest.fixture(scope="module")
def costs(analyses: dict[str, Run]) -> dict[str, RunCost]:
    manifests = [a.facts.manifest for a in analyses.values()]
    activations = activations_of([m for m in manifests if m is not None])
    return {run: run_cost(analysis, activations) for run, analysis in analyses.items()}


Query = Callable[[str, str], list[tuple[int, ...]]]


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Query:
    folder = tmp_path_factory.mktemp("custom_layer")

    def ask(run: str, query: str) -> list[tuple[int, ...]]:
        path = folder / f"{run}.sqlite"
        if not path.exists():
            path.write_bytes(lzma.decompress(bundled(run).read_bytes()))
        connection = sqlite3.connect(path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    return ask


NAMED = """SELECT count(*), coalesce(sum(end - start), 0) FROM CUPTI_ACTIVITY_KIND_KERNEL
    JOIN StringIds ON StringIds.id = demangledName WHERE value LIKE '{}'"""
INSIDE_RELU = """SELECT count(*), sum(k.end - k.start) FROM CUPTI_ACTIVITY_KIND_KERNEL k
    JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.correlationId = k.correlationId
    JOIN NVTX_EVENTS n ON n.globalTid = r.globalTid AND n.start <= r.start AND r.start < n.end
    LEFT JOIN StringIds s ON s.id = n.textId
    WHERE coalesce(n.text, s.value) = 'relu' OR coalesce(n.text, s.value) LIKE '%.relu'"""


def test_activations_are_those_of_resnet50(costs: dict[str, RunCost]) -> None:
    expected = resnet50_activations(8)
    assert len(expected) == 49
    for run, cost in costs.items():
        if cost.known:
            assert [c.activation.elements for c in cost.costs] == expected, run


def test_eager_runs_three_kernels_that_move_seven_tensors(costs: dict[str, RunCost], sql: Query) -> None:
    [(count, time)] = sql(EAGER, INSIDE_RELU)
    assert count == 49 * 3 * INFERENCES
    cost = costs[EAGER]
    assert (cost.own_kernels, cost.shared) == (147, 0)
    assert cost.own_time_ns == pytest.approx(time / INFERENCES, abs=1e-6)
    assert cost.own_bytes == 7 * 2 * sum(resnet50_activations(8))


@pytest.mark.parametrize(("run", "size"), [(GRAPH["plugin"], 2), (STREAM["plugin"], 2), (INT8, 1)])
def test_the_plugin_runs_one_kernel_that_moves_two_tensors(
    run: str, size: int, costs: dict[str, RunCost], sql: Query
) -> None:
    [(count, time)] = sql(run, NAMED.format("%quick_gelu_plugin%"))
    assert count == 49 * INFERENCES
    cost = costs[run]
    assert all(c.kernels == 1 and not c.shared for c in cost.costs)
    assert cost.own_time_ns == pytest.approx(time / INFERENCES, abs=1e-6)
    assert cost.own_bytes == 2 * size * sum(resnet50_activations(8))


@pytest.mark.parametrize("run", [GRAPH["operators"], STREAM["operators"]])
def test_tensorrt_fuses_all_but_four_activations(run: str, costs: dict[str, RunCost], sql: Query) -> None:
    """One is a layer of its own, three run behind a convolution whose kernel cannot compute them."""
    [(count, time)] = sql(run, NAMED.format("generatedNativePointwise"))
    assert count == 4 * INFERENCES
    cost = costs[run]
    own = [c.activation.unit.label for c in cost.costs if c.kernels]
    assert own == ["relu", "layer4.0.relu (2nd call)", "layer4.1.relu (2nd call)", "layer4.2.relu (2nd call)"]
    assert (cost.own_kernels, cost.shared) == (4, 45)
    assert cost.own_time_ns == pytest.approx(time / INFERENCES, abs=1e-6)
    elements = resnet50_activations(8)
    assert cost.own_bytes == 2 * 2 * (elements[0] + 3 * 8 * 512 * 7 * 7)


def test_fused_convolutions_run_on_linkable_kernels(costs: dict[str, RunCost]) -> None:
    tactics = {
        form: [
            str(la.get("TacticName")) for la in json.loads((TRACES / run / "layers.json").read_text("utf-8"))["Layers"]
        ]
        for form, run in GRAPH.items()
    }
    linkable = {form: sum(name.endswith("linkable") for name in names) for form, names in tactics.items()}
    assert linkable == {"plugin": 0, "operators": costs[GRAPH["operators"]].shared}
    hopper = {form: sum(name.startswith("sm90_") for name in names) for form, names in tactics.items()}
    assert hopper == {"plugin": 14, "operators": 4}


def test_compiled_code_fuses_all(costs: dict[str, RunCost], sql: Query) -> None:
    [(count, _)] = sql(COMPILED, NAMED.format("triton_%sigmoid%"))
    assert count == 49 * INFERENCES
    assert (costs[COMPILED].own_kernels, costs[COMPILED].shared) == (0, 49)


def test_a_replayed_graph_without_ranges_is_not_attributed(costs: dict[str, RunCost]) -> None:
    cost = costs["quickgelu-torch-fp16-graph-b8"]
    assert not cost.known and "without ranges" in cost.how


def test_the_exchange_sums_to_the_spans_and_the_latencies_are_the_manifests(
    costs: dict[str, RunCost], sql: Query
) -> None:
    found = exchange(costs[GRAPH["operators"]], costs[GRAPH["plugin"]])
    assert found is not None
    sums = {"operators": sum(p.operators_ns for p in found.parts), "plugin": sum(p.plugin_ns for p in found.parts)}
    parts = {p.label: {"operators": p.operators_ns, "plugin": p.plugin_ns} for p in found.parts}
    latency = {}
    for form, run in GRAPH.items():
        # a graph's work shares the correlation of its launch, so each launch is an inference
        spans = sql(
            run,
            """SELECT max(end) - min(start) FROM (
                SELECT correlationId, start, end FROM CUPTI_ACTIVITY_KIND_KERNEL
                UNION ALL SELECT correlationId, start, end FROM CUPTI_ACTIVITY_KIND_MEMSET) GROUP BY correlationId""",
        )
        assert len(spans) == INFERENCES
        assert sums[form] == pytest.approx(sum(s for (s,) in spans) / INFERENCES, abs=1e-3)
        [(sets,)] = sql(run, "SELECT sum(end - start) FROM CUPTI_ACTIVITY_KIND_MEMSET")
        assert parts[SETS][form] == pytest.approx(sets / INFERENCES, abs=1e-6)
        [(_, products)] = sql(run, NAMED.format("sm__\\_%xmma%") + " ESCAPE '\\'" + " AND value NOT LIKE '%pooling%'")
        assert parts[PRODUCTS][form] == pytest.approx(products / INFERENCES, abs=1e-6)
        manifest = json.loads((TRACES / run / "manifest.json").read_text("utf-8"))
        latency[form] = manifest["bench"]["latency_ms"]["p50"]
    assert found.latency_ns == pytest.approx((latency["plugin"] - latency["operators"]) * 1e6)
    assert (found.kernels, found.activations) == (107 - 62, 49)
    saved = parts[PRODUCTS]["operators"] - parts[PRODUCTS]["plugin"] + parts[OWN]["operators"]
    assert found.fused_ns == pytest.approx(saved / 49)
    assert found.break_even_ns == pytest.approx(parts[OWN]["plugin"] / 49 - found.latency_ns / 49)
    assert found.busy_ns == pytest.approx(
        sums["plugin"] - sums["operators"] - parts[IDLE]["plugin"] + parts[IDLE]["operators"]
    )
    # what is not fused is written and read once more: two tensors for each of the 45 that TensorRT fuses whole
    elements = resnet50_activations(8)
    assert found.bytes == 2 * 2 * (sum(elements) - elements[0] - 3 * 8 * 512 * 7 * 7)


@pytest.mark.parametrize("run", [*GRAPH.values(), *STREAM.values(), INT8])
def test_the_ledger_explains_every_kernel_and_tells_what_became_of_the_activations(
    run: str, analyses: dict[str, Run]
) -> None:
    ledger = fusion(analyses[EAGER], analyses[run])
    check_sums(ledger)
    for side in ("before", "after"):
        assert ledger.coverage(side).kernels_pct == 100.0 and ledger.coverage(side).time_pct == 100.0
    assert ledger.by_status["unexplained"] == 0
    rows = {r.label: r for r in ledger.rows if r.module.rpartition(".")[2] == "relu"}
    assert len(rows) == 49
    if "plugin" in run:
        for row in rows.values():
            assert row.status == "kept" and row.after is not None
            assert (row.after.kernels, row.after.categories) == (INFERENCES, ("plugin",))
        return
    assert [label for label, row in rows.items() if row.status == "kept"] == ["relu"]
    others = {str(row.into): row for row in rows.values() if row.status == "fused"}
    assert len(others) == 48
    behind = [r for r in ledger.rows if r.after and r.after.kernels == 2 * INFERENCES and r.unit]
    assert [r.label for r in behind] == ["layer4.0.conv2", "layer4.1.conv2", "layer4.2.conv2"]
    assert all(r.after is not None and "pointwise" in r.after.categories and r.label in others for r in behind)


@pytest.mark.parametrize("run", [*GRAPH.values(), *STREAM.values()])
def test_no_layout_change_is_added_around_the_plugin(run: str, sql: Query) -> None:
    """Two in every engine: of the network's input and of its output."""
    [(count, _)] = sql(run, NAMED.format("%genericReformat%"))
    assert count == 2 * INFERENCES


def test_documents_of_the_bundled_runs_hold_no_paths_of_a_machine() -> None:
    for path in sorted(TRACES.rglob("*.json")):
        text = path.read_text("utf-8")
        assert not [place for place in ('"/root', '"/home', "/tmp/", "/Users/", " /root/", " /home/") if place in text]


def test_the_measurement_meets_what_is_claimed_of_the_kernels() -> None:
    path = TRACES / "custom_layer/measure.json"
    found, raw = read_measurement(path), json.loads(Path(path).read_text("utf-8"))
    ours = found.agreement[found.agreement["form"] == KERNEL]
    assert dict(ours.groupby("precision")["max_error"].max()) == {
        "fp16": pytest.approx(4.883e-4, rel=1e-3),
        "fp32": pytest.approx(4.910e-7, rel=1e-3),
        "int8": 0,
    }
    assert ours["within"].all() and (ours["max_error"] <= ours["bound"]).all() and found.edges["wrong"].sum() == 0
    large = found.bandwidth[(found.bandwidth["form"] == KERNEL) & (found.bandwidth["size_mib"] >= 256)]
    assert len(large) == 6 and (large["pct_of_copy"] >= 85).all()
    for row in large.itertuples():
        same = [r for r in raw["bandwidth"] if (r["precision"], r["size_mib"]) == (row.precision, row.size_mib)]
        copy = min(r["ms"] for r in same if r["what"] in (COPY, COPY_STREAM))
        assert row.pct_of_copy == pytest.approx(1e5 * copy / row.us)
        assert row.gb_per_s == pytest.approx(2 * row.size_mib * 2**20 / row.us / 1e3)
