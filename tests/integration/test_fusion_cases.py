"""The ledger on traces as people have them: other exporters, other dialects of ranges, other TensorRT generations, or none of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from profiler import fusion, open_run
from profiler.analysis.fusion.blocks import block, blocks
from profiler.analysis.fusion.ledger import Ledger
from profiler.charts import collapse
from profiler.errors import NotComparableError
from profiler.report.documents import flat_row, ledger_document
from tests.support.ledgers import check_sums
from tests.support.traces import DATA, bundled

CASES, GENERATIONS = DATA / "cases", DATA / "generations"
TORCH, ENGINE = CASES / "00-baseline" / "torch.sqlite.xz", CASES / "00-baseline" / "trt.sqlite.xz"
NORMS = ("bn1", "layer1.0.bn1", "layer1.0.bn2")
PRODUCTS = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "fc")


def ledger(before: Path, after: Path, engine: Path | None = None) -> Ledger:
    with open_run(before) as first, open_run(after) as second:
        made = fusion(first, second, after_engine=engine)
    check_sums(made)
    return made


def case(name: str) -> Path:
    return CASES / f"{name}.sqlite.xz"


def statuses(found: Ledger) -> dict[str, tuple[str, str | None]]:
    return {r.label: (r.status, r.into) for r in found.rows}


def explained(found: Ledger) -> tuple[float | None, float | None]:
    return found.coverage("before").time_pct, found.coverage("after").time_pct


def assert_is_the_baseline(found: Ledger) -> None:
    """Three convolutions with their batch norms and ReLUs, a residual addition, a pooling, a linear layer."""
    became = statuses(found)
    assert explained(found) == (100.0, 100.0)
    assert [became[p] for p in (*PRODUCTS, "maxpool")] == [("kept", None)] * 5
    assert [became[n] for n in NORMS] == [("absorbed", p) for p in PRODUCTS[:3]]
    assert became["relu"] == ("fused", "conv1")
    for unit in ("layer1.0: add", "layer1.0.relu (2nd call)"):
        assert became[unit] == ("fused", "layer1.0.conv2")
    for product in PRODUCTS:
        row = next(r for r in found.rows if r.label == product)
        assert row.after is not None and row.after.kernels == found.after_placement.inferences


@pytest.mark.parametrize(
    "name", ["trt_dynamo", "trt_torchtrt", "trt_old", "trt_old_int8", "trt_myl", "trt_myl_metadata", "trt_nolayers"]
)
def test_names_of_other_exporters(name: str) -> None:
    found = ledger(TORCH, case(f"04-onnx-names/{name}"))
    assert_is_the_baseline(found)
    assert not any("Q/DQ" in f for f in found.findings)
    if name in ("trt_dynamo", "trt_old", "trt_old_int8", "trt_myl", "trt_nolayers"):
        assert found.match.statement.startswith("by order and kind: 4 of 4 anchors agree")
        assert "names do not meet: “conv1” against" in found.match.statement
    else:
        assert found.match.statement.startswith("by name")


@pytest.mark.parametrize(
    ("before", "source"),
    [
        ("06-module-range-dialects/a_pythooks", "module ranges"),
        ("06-module-range-dialects/b_classnames", "ranges with the class of each module"),
        ("06-module-range-dialects/c_pyprof", "module ranges"),
        ("02-emit-nvtx/outer", "operator ranges of PyTorch (emit_nvtx)"),
        ("02-emit-nvtx/outer_modules", "module ranges"),
    ],
)
def test_dialects_of_ranges(before: str, source: str) -> None:
    found = ledger(case(before), ENGINE)
    assert explained(found) == (100.0, 100.0) and found.before_placement.source == source
    became = statuses(found)
    assert [became[p] for p in PRODUCTS] == [("kept", None)] * 4
    assert sum(s == "absorbed" for s, _ in became.values()) == 3


def test_a_wrapper_around_the_exported_model() -> None:
    found = ledger(TORCH, case("06-module-range-dialects/trt_wrapped"))
    assert_is_the_baseline(found)
    assert found.match.statement.startswith("by name")


@pytest.mark.parametrize("name", ["torch_forward", "torch_iteronly", "torch_none"])
def test_kernels_without_module_ranges_take_the_engines_names(name: str) -> None:
    found = ledger(case(f"01-pytorch-no-module-ranges/{name}"), ENGINE)
    assert explained(found) == (100.0, 100.0)
    assert [statuses(found)[p] for p in PRODUCTS] == [("kept", None)] * 4
    assert found.match.anchors_agreed == found.match.anchors == 4
    assert found.before_placement.source == "kernel kinds in order"
    norms = [r for r in found.rows if r.unit is not None and r.unit.op == "normalisation"]
    assert [(r.status, r.into) for r in norms] == [("absorbed", p) for p in PRODUCTS[:3]]


def test_another_model_is_not_explained() -> None:
    """Sixteen convolutions against three."""
    found = ledger(case("02-emit-nvtx/opsonly"), ENGINE)
    assert found.match.statement.startswith("not matched: only")
    assert found.coverage("before").time_explained_ns == 0
    assert found.by_status["fused"] == found.by_status["absorbed"] == 0
    assert any("profiler.annotate(model)" in a for a in found.advice)


def test_trtexec_with_copies_and_in_graphs() -> None:
    for name in ("trtexec", "trtexec_graph"):
        found = ledger(case("08-trtexec/torch"), case(f"08-trtexec/{name}"))
        assert found.coverage("after").time_pct == 100.0
        left = [r.label for r in found.unexplained("before")]
        assert left == ["memory copies: Host-to-Device", "memory copies: Device-to-Host"]
    assert "the layer ranges of another enqueue" in found.after_placement.source


@pytest.mark.parametrize("name", ["ort", "ort_ranges"])
def test_subgraphs_of_onnx_runtime(name: str) -> None:
    found = ledger(TORCH, case(f"09-ort-trt-ep/{name}"))
    assert found.coverage("before").time_pct == 100.0
    left = {r.label: r for r in found.unexplained("after")}
    outside = left["(after: kernels that belong to no unit)"].after
    assert outside is not None and outside.kernels == 30 and any("NMSKernel" in k for k in outside.kernel_names)
    assert {"head.cls", "head.box"} < set(left)


def test_a_description_of_names_only() -> None:
    found = ledger(TORCH, case("13-layers-json/trt_graph"), CASES / "13-layers-json" / "a_names_only.json")
    assert_is_the_baseline(found)
    assert "a_names_only.json" in found.after_placement.source and "4 of 4" in found.after_placement.how


def test_the_description_of_another_engine_is_refused() -> None:
    found = ledger(TORCH, case("13-layers-json/trt_graph"), CASES / "13-layers-json" / "e_other_engine.json")
    assert_is_the_baseline(found)  # by the kernels alone
    assert any("e_other_engine.json does not describe this trace" in f for f in found.findings)


def test_work_on_the_dla_is_said_and_gives_no_ratio() -> None:
    found = ledger(TORCH, case("13-layers-json/trt_dla"))
    row = next(r for r in found.rows if r.label == "conv1")
    assert row.status == "unexplained" and "runs on the DLA" in row.why
    assert found.no_ratio is not None and found.no_ratio == found.findings[0]
    assert found.coverage("before").time_pct == pytest.approx(5.9, abs=0.1)  # the linear layer alone is on the GPU


def test_a_reversed_pair_is_refused() -> None:
    with pytest.raises(NotComparableError, match="The order looks reversed") as refused:
        ledger(ENGINE, TORCH)
    assert "swap the two traces" in str(refused.value)


def test_an_engine_with_regions_against_itself() -> None:
    trace = case("07-myelin-startend/iter")
    found = ledger(trace, trace)
    assert {(r.status, r.change) for r in found.rows} == {("kept", None)} and len(found.rows) == 11


# --- TensorRT generations, recorded on an H200 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run", ["rtx161-fp16-stream-b8", "rtx161-fp32-graph-b8", "trt86-fp16-stream-b8", "trt86-int8-stream-b8"]
)
def test_generations_have_every_kernel_in_a_row_of_its_own_unit(run: str) -> None:
    found = ledger(bundled("torch-fp16-eager-b8"), GENERATIONS / run / "trace.sqlite.xz")
    assert explained(found) == (100.0, 100.0) and found.by_status["unexplained"] == 0
    rows = {r.label: r for r in found.rows}
    convolutions = [
        r for r in rows.values() if ".conv" in r.label or r.label == "conv1" or r.label.endswith("downsample.0")
    ]
    assert len(convolutions) == 53
    for row in convolutions:
        assert row.status == "kept" and row.after is not None and row.after.kernels == 10, row.label
        assert row.after.categories[0] in ("convolution", "gemm")
    norms = [r for r in rows.values() if ".bn" in r.label or r.label == "bn1" or r.label.endswith("downsample.1")]
    assert len(norms) == 53
    for row in norms:
        product = row.label.replace("bn", "conv").replace("downsample.1", "downsample.0")
        assert (row.status, row.into) == ("absorbed", product) and "computes" in row.why


def test_the_outer_region_of_a_myelin_engine_holds_its_layers() -> None:
    found = ledger(bundled("torch-fp16-eager-b8"), GENERATIONS / "rtx161-fp16-stream-b8" / "trace.sqlite.xz")
    assert len(found.after_placement.layers) == 58
    assert not any("ForeignNode" in la.name for la in found.after_placement.layers)
    new = {r.label: r.cause for r in found.rows if r.status == "new"}
    assert new == {"__myl_CastConc_myl0_0": "layout or type change", "__myl_Tran_myl0_55": "layout or type change"}


def test_eager_to_compile_to_tensorrt_reads_as_one_story() -> None:
    eager, compiled, engine = (
        bundled(f"{r}-b8") for r in ("torch-fp16-eager", "torch-fp16-compile", "trt-fp16-stream")
    )
    first, second = ledger(eager, compiled), ledger(compiled, engine)
    assert first.coverage("before").time_pct == 100.0 and second.coverage("after").time_pct == 100.0
    # what is left is the copy of the input that a compiled run makes; its kernel does not say so
    for found, side in ((first, "after"), (second, "before")):
        assert found.coverage(side).time_pct == pytest.approx(97.6, abs=0.1)
        assert [r.label for r in found.unexplained(side)] == ["(model): operation"]
    norms = [r for r in first.rows if ".bn" in r.label or r.label == "bn1" or r.label.endswith("downsample.1")]
    assert len(norms) == 53 and {r.status for r in norms} == {"kept", "fused"}
    kept = [r for r in norms if r.status == "kept"]
    assert len(kept) == 49  # one Triton kernel each; where a block has two branches, one kernel takes both norms
    assert all(
        "triton_" in str(r.after and r.after.holder) and "batch_norm" in str(r.after and r.after.holder) for r in kept
    )
    later = {r.label: r for r in second.rows}
    for row in kept:
        assert later[row.label].status == "absorbed"
        assert row.after is not None and later[row.label].before is not None
        assert later[row.label].before.time_ns == row.after.time_ns  # type: ignore[union-attr]
    assert sum(r.status == "kept" for r in second.rows) == 56


def test_two_engines_are_compared_layer_by_layer() -> None:
    found = ledger(bundled("trt-fp16-stream-b8"), bundled("trt-int8-stream-b8"))
    rows = {r.label: r for r in found.rows}
    assert rows["maxpool"].change == "merged" and rows["maxpool"].into == "conv1"
    assert "precision fp16 → int8" in str(rows["layer1.0.conv2"].change)
    assert found.by_status["fused"] == 1 and "relu" not in rows  # inside another layer before and after: no row
    other = ledger(bundled("trt-fp16-stream-b8"), GENERATIONS / "trt86-fp16-stream-b8" / "trace.sqlite.xz")
    assert {r.status for r in other.rows if r.unit is not None} == {"kept"}


def test_the_command_states_sources_coverage_and_what_would_raise_it() -> None:
    argv = ["fusion", str(case("01-pytorch-no-module-ranges/torch_forward")), str(case("04-onnx-names/trt_old"))]
    done = subprocess.run([sys.executable, "-m", "profiler", *argv], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("before: 54 of 54 kernels") and "from kernel kinds in order" in lines[0]
    assert "from TensorRT's layer ranges" in lines[1] and lines[2].startswith("matched by order and kind: 4 of 4")
    done = subprocess.run(
        [sys.executable, "-m", "profiler", *argv[:2], str(ENGINE), "--format", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["source"]["before"] == "kernel kinds in order" and document["match"]["anchors_agreed"] == 4


def test_the_pictures_numbers_are_the_ledgers() -> None:
    with open_run(bundled("torch-fp16-eager-b8")) as first, open_run(bundled("trt-fp16-stream-b8")) as second:
        found = fusion(first, second)
        entries = ledger_document(found)["rows"]
    row = next(r for r in found.rows if r.label == "layer3.0.conv2")
    assert row.after is not None and row.after.copies  # a memory set runs for it
    shown = flat_row(row, next(e for e in entries if e["module"] == row.label))
    shown_block = block(found, next(g for g in blocks(found) if g.label == "layer3.0"))
    picture = collapse.figure(shown_block)
    assert picture is not None
    (box,) = (b for b in shown_block.after if b.label == "conv2")
    assert [w.kind for w in box.work] == ["memset", "kernel"]
    drawn = {t["name"]: len(t["x"]) for t in picture.data if t["type"] == "bar"}
    assert drawn.pop("memory copy or set") == 1 and sum(drawn.values()) == 20 + 4
    assert (
        shown["after_time_ns"]
        == row.after.gpu_time_ns / 10
        == found.to_frame().set_index("unit")["time_after_ns"][row.label] / 10
    )
    assert box.time_ns == pytest.approx(shown["after_time_ns"], rel=0.05)  # of one inference, and the mean of ten
