"""The ledger on made traces, and that its sums hold whatever is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.analysis.fusion.alignment import block_of, stage_of
from profiler.analysis.fusion.decompose import chain, decompose
from profiler.analysis.fusion.evidence import tensor_core_evidence
from profiler.analysis.fusion.ledger import Ledger, fusion
from profiler.analysis.fusion.rows import Row
from profiler.analysis.fusion.traffic import memory_traffic
from profiler.analysis.run.run import Run
from profiler.errors import NotComparableError, TraceError
from profiler.trace import Trace
from tests.support.kernel_names import FFMA, HMMA
from tests.support.ledgers import check_sums, description, engine, framework
from tests.support.make_trace import PID, TraceMaker, simple, whole_graphs

Open = Callable[[TraceMaker], Trace]
BN = "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, true, 1>(float, float)"
RELU = "void at::native::vectorized_elementwise_kernel<4, at::native::launch_clamp_scalar(float)>(int)"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"
REFORMAT = "void genericReformat::copyPackedKernel<float, float, true, true>(unsigned int)"


def ledger_of(opened: Open, before: TraceMaker, after: TraceMaker) -> Ledger:
    ledger = fusion(Run(opened(before)), Run(opened(after)))
    check_sums(ledger)
    return ledger


def statuses(ledger: Ledger) -> dict[str, tuple[str, str | None]]:
    return {r.label: (r.status, r.into) for r in ledger.rows}


MODEL = [
    ("block.0.conv1", FFMA, 100), ("block.0.bn1", BN, 20), ("block.0.relu", RELU, 10),
    ("block.0.conv2", FFMA, 90), ("block.0.bn2", BN, 20), ("", ADD, 15), ("block.0.relu", RELU, 10), ("block.0.drop", None, 0),
]  # fmt: skip
ENGINE = [
    (
        "Reformatting CopyNode for Input Tensor 0 to /block/block.0/conv1/Conv + /block/block.0/relu/Relu",
        [(REFORMAT, 5)],
    ),
    ("/block/block.0/conv1/Conv + /block/block.0/relu/Relu", [(HMMA, 30)]),
    ("/block/block.0/conv2/Conv + /block/block.0/Add + /block/block.0/relu_1/Relu", [(HMMA, 25), (REFORMAT, 3)]),
]


@pytest.mark.parametrize("containers", [False, True])
def test_a_residual_block(opened: Open, containers: bool) -> None:
    ledger = ledger_of(opened, framework(MODEL, containers=containers), engine(ENGINE))
    add = "block.0: add" if not containers else next(r.label for r in ledger.rows if "add" in r.label)
    assert statuses(ledger) == {
        "block.0.conv1": ("kept", None),
        "block.0.bn1": ("absorbed", "block.0.conv1"),
        "block.0.relu": ("fused", "block.0.conv1"),
        "block.0.conv2": ("kept", None),
        "block.0.bn2": ("absorbed", "block.0.conv2"),
        add: ("fused", "block.0.conv2"),
        "block.0.relu (2nd call)": ("fused", "block.0.conv2"),
        "block.0.drop": ("absorbed", None),
        ENGINE[0][0]: ("new", None),
    }
    assert ledger.coverage("before").time_pct == ledger.coverage("after").time_pct == 100.0
    row = next(r for r in ledger.rows if r.label == "block.0.bn1")
    assert "bias holds 8 values" in row.why


def test_work_that_nothing_accounts_for_is_unexplained(opened: Open) -> None:
    ledger = ledger_of(
        opened, framework([*MODEL, ("extra.pool", "void pool_kernel<float>(float *)", 40)]), engine(ENGINE)
    )
    assert statuses(ledger)["extra.pool"] == ("unexplained", None)
    coverage = ledger.coverage("before")
    assert coverage.kernels - coverage.kernels_explained == 2
    assert coverage.time_pct == pytest.approx(100 * 265 / 305)


def test_a_norm_that_follows_no_product_is_not_absorbed(opened: Open) -> None:
    model = [("relu0", RELU, 10), ("bn", BN, 20), ("conv", FFMA, 100)]
    ledger = ledger_of(opened, framework(model), engine([("/relu0/Relu", [(RELU, 5)]), ("/conv/Conv", [(HMMA, 30)])]))
    assert statuses(ledger)["bn"][0] == "unexplained"


def test_a_region_covers_what_lies_between_its_ends(opened: Open) -> None:
    after = engine([("{ForeignNode[/block/block.0/conv1/Conv.../block/block.0/relu_1/Relu]}", [("myl_kernel", 70)])])
    ledger = ledger_of(opened, framework(MODEL), after)
    assert ledger.by_status["unexplained"] == 0
    assert "by order" in next(r.why for r in ledger.rows if r.label == "block.0.bn2")


def test_a_region_without_module_paths_is_not_explained(opened: Open) -> None:
    ledger = ledger_of(opened, framework(MODEL), engine([("{ForeignNode[node_a...node_b]}", [("myl_kernel", 70)])]))
    assert ledger.coverage("before").time_pct == 0.0


def test_graph_kernels_are_placed_by_order_against_an_engine_description(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    kinds = {ENGINE[0][0]: "Reformat"}
    layers = [description(name, kinds) for name, _ in ENGINE]
    for layer in layers[1:]:
        layer["TacticName"] = HMMA.removesuffix("_execute_kernel_trt")
    path.write_text(json.dumps({"Layers": layers}))
    before, after = Run(opened(framework(MODEL))), Run(opened(engine(ENGINE, ranges=False)))
    ledger = fusion(before, after, after_engine=path)
    check_sums(ledger)
    conv = next(r for r in ledger.rows if r.label == "block.0.conv1")
    assert conv.after is not None and conv.after.kernels == 2 and conv.after.by_order
    assert "by order" in conv.why
    assert next(r for r in ledger.rows if r.status == "new").after.kernels == 2  # type: ignore[union-attr]


def test_kernels_alone_are_placed_by_kind_and_that_is_said(opened: Open) -> None:
    after = engine([("a", [(REFORMAT, 5), (HMMA, 30)]), ("b", [(HMMA, 25)])], ranges=False)
    ledger = ledger_of(opened, framework(MODEL), after)
    found = statuses(ledger)
    assert found["block.0.conv1"][0] == "kept" and found["block.0.relu"] == ("fused", "block.0.conv1")
    assert "by kind and order" in ledger.after_placement.how
    assert ledger.by_status["new"] == 1


def test_traces_without_ranges_explain_nothing_and_say_so(opened: Open) -> None:
    ledger = ledger_of(opened, simple(), simple())
    assert ledger.coverage("before").kernels_explained == 0
    assert "neither module ranges nor layers" in ledger.before_placement.how


def test_hidden_kernels_are_refused(opened: Open) -> None:
    maker = whole_graphs()
    with pytest.raises(NotComparableError, match="cuda-graph-trace=node"):
        fusion(Run(opened(simple())), Run(opened(maker)))
    alone = TraceMaker()
    alone.kernel(100, 10)
    with pytest.raises(TraceError, match="no NVTX ranges"):
        fusion(Run(opened(alone)), Run(opened(simple())))


def test_blocks_and_stages() -> None:
    assert [block_of(m) for m in ("layer3.0.conv1", "layer3.0.downsample.0", "conv1", "features.1.0.block.0.0", "features.3.conv.1")] == [
        "layer3.0", "layer3.0", "conv1", "features.1.0", "features.3",
    ]  # fmt: skip
    assert [stage_of(b) for b in ("layer3.0", "conv1", "features.1.0", "")] == ["layer3", "conv1", "features.1", ""]


durations = st.integers(1, 400)
modules = st.sampled_from(["a.0.conv", "a.0.bn", "a.0.relu", "a.1.conv", "a.1.pool", "", "head"])
kernels = st.sampled_from([FFMA, HMMA, BN, RELU, ADD, REFORMAT, "Kernel", None])
layers = st.sampled_from(
    ["/a/a.0/conv/Conv + /a/a.0/relu/Relu", "/a/a.1/conv/Conv", "/a/a.1/pool/MaxPool", "/head/Gemm", "Q_input",
     "{ForeignNode[/a/a.0/conv/Conv.../head/Gemm]}",
     "Reformatting CopyNode for Input Tensor 0 to /head/Gemm", "onnx::Conv_1"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(modules, kernels, durations), min_size=1, max_size=12).filter(lambda m: any(k for _, k, _ in m)),
    st.lists(
        st.tuples(layers, st.lists(st.tuples(kernels.filter(bool), durations), max_size=3)),
        min_size=1,
        max_size=8,
        unique_by=lambda t: t[0],
    ).filter(lambda e: any(k for _, k in e)),
    st.booleans(),
)
def test_sums_hold_for_any_model_and_engine(opened: Open, model: list, layer_list: list, ranges: bool) -> None:
    before, after = framework(model), engine(layer_list, ranges=ranges)
    after.add(
        "CUPTI_ACTIVITY_KIND_MEMSET",
        start=700_000,
        end=700_050,
        bytes=4,
        globalPid=PID,
        correlationId=after.launch(300, name="cudaMemsetAsync"),
    )
    traces = opened(before), opened(after)
    ledger = fusion(Run(traces[0]), Run(traces[1]))
    check_sums(ledger)
    split = decompose(ledger)
    assert sum(p.before_ns for p in split.parts) == split.before_latency_ns
    assert sum(p.after_ns for p in split.parts) == split.after_latency_ns
    traffic = memory_traffic(ledger)
    assert traffic.before_bytes >= 0 and len(traffic.rows) == len(ledger.rows)
    assert all(
        e.verdict in ("yes", "no", "unknown", "mixed")
        for side in ("before", "after")
        for e in tensor_core_evidence(ledger, side)
    )
    for trace in traces:
        trace.close()
        trace.path.unlink()


def test_two_operations_of_one_block_do_not_share_a_kernel(opened: Open) -> None:
    """Found by the property test: one of them was matched to the kernel that the other is placed with."""
    model = [("a.0.conv", BN, 1), ("", BN, 1), ("", FFMA, 1)]
    ledger_of(opened, framework(model), engine([("/a/a.0/conv/Conv", [(FFMA, 1)])], ranges=False))


def test_decomposition_parts(opened: Open) -> None:
    split = decompose(ledger_of(opened, framework(MODEL), engine(ENGINE)))
    parts = {p.id: (p.before_ns, p.after_ns) for p in split.parts}
    assert parts["vanished"] == (20 + 10 + 20 + 15 + 10, 0)
    assert parts["same"] == (190, 55)
    assert parts["layout"] == (0, 5 + 3)
    assert parts["added"] == parts["unexplained"] == parts["copies"] == parts["overlap"] == (0, 0)
    assert sum(p.saved_ns for p in split.parts) == split.before_latency_ns - split.after_latency_ns


def test_overlap_is_counted_once(opened: Open) -> None:
    maker = framework(MODEL)
    for i in range(2):
        maker.kernel(
            i * 1_000_000 + 500_000, 100, FFMA, launched=i * 1_000_000 + 20, streamId=9
        )  # beside conv1, for as long
    split = decompose(ledger_of(opened, maker, engine(ENGINE)))
    assert next(p for p in split.parts if p.id == "overlap").before_ns == -100


def test_a_chain_measures_every_step(opened: Open) -> None:
    runs = [Run(opened(m)) for m in (framework(MODEL), engine(ENGINE), engine(ENGINE[:2]))]
    steps = chain(runs)
    assert [s.split is None for s in steps] == [True, False, False]
    total = sum(p.saved_ns for s in steps[1:] for p in s.split.parts)  # type: ignore[union-attr]
    assert total == steps[0].latency_ns - steps[-1].latency_ns


def test_memory_of_an_engine_is_what_its_layers_say(opened: Open) -> None:
    traffic = memory_traffic(ledger_of(opened, framework(MODEL), engine(ENGINE)))
    per_layer = 2 * 2 * 8 * 4 * 4 * 2 + 100 * 2 + 8 * 4
    assert traffic.after_bytes == 3 * per_layer
    assert traffic.before_unknown > 0  # the made trace has no manifest, so the size of an element is not known


def _row(ledger: Ledger, label: str) -> Row:
    return next(r for r in ledger.rows if r.label == label)


def test_samples_inside_a_row_are_evidence_and_contradictions_are_listed(opened: Open) -> None:
    before = framework([("conv", FFMA, 400_000)])
    before.metric("Tensor Active [Throughput %]", [(t, 30) for t in range(500_000, 900_000, 20_000)])
    ledger = ledger_of(opened, before, engine([("/conv/Conv", [(HMMA, 30)])]))
    (evidence,) = tensor_core_evidence(ledger, "before")
    assert evidence.row == _row(ledger, "conv")
    assert evidence.sampled_pct == 30.0 and evidence.samples >= 5
    assert evidence.disagreement is not None and "the name says no" in evidence.disagreement
    (after,) = tensor_core_evidence(ledger, "after")
    assert (after.verdict, after.precision, after.sampled_pct, after.disagreement) == ("yes", "fp16", None, None)
