"""What is claimed of made traces: shared modules, transformers, loops, engines against engines, norms that are left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.analysis.fusion.decompose import decompose
from profiler.analysis.fusion.evidence import tensor_core_evidence
from profiler.analysis.fusion.ledger import Ledger, fusion
from profiler.analysis.run.run import Run
from profiler.errors import NotComparableError
from profiler.trace import Trace
from tests.support.kernel_names import FFMA, HMMA
from tests.support.ledgers import check_sums, engine, framework
from tests.support.make_trace import TraceMaker

Open = Callable[[TraceMaker], Trace]
BN = "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, true, 1>(float, float)"
SILU = "void at::native::vectorized_elementwise_kernel<4, at::native::silu_kernel(at::TensorIteratorBase &)>(int)"
LN = "void at::native::<unnamed>::vectorized_layer_norm_kernel<c10::Half, float>(int, float)"
GELU = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl(at::TensorIteratorBase &)>(int)"
)
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"
ATTENTION = "fmha_cutlassF_f16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel::Params)"
GEMM = "ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x4_tn"


def made(opened: Open, before: TraceMaker, after: TraceMaker) -> Ledger:
    found = fusion(Run(opened(before)), Run(opened(after)))
    check_sums(found)
    return found


def statuses(found: Ledger) -> dict[str, tuple[str, str | None]]:
    return {r.label: (r.status, r.into) for r in found.rows}


def test_a_module_that_several_places_share_is_told_apart_by_order(opened: Open) -> None:
    before = [(m, k, 10) for n in (1, 2, 3) for m, k in ((f"cv{n}.conv", FFMA), ("cv1.act", SILU))]
    after = [(f"/cv{n}/conv/Conv + /cv{n}/act/Sigmoid + /cv{n}/act/Mul", [(HMMA, 5)]) for n in (1, 2, 3)]
    found = statuses(made(opened, framework(before), engine(after)))
    assert found["cv1.act"] == ("fused", "cv1.conv")
    assert found["cv1.act (2nd call)"] == ("fused", "cv2.conv") and found["cv1.act (3rd call)"] == ("fused", "cv3.conv")


def vit(blocks: int) -> list[tuple[str, str | None, int]]:
    units: list[tuple[str, str | None, int]] = [("patch", FFMA, 50)]
    for n in range(blocks):
        units += [
            (f"blocks.{n}.norm1", LN, 8),
            (f"blocks.{n}.attn.qkv", GEMM, 30),
            ("", ATTENTION, 25),
            (f"blocks.{n}.attn.proj", GEMM, 15),
        ]
        units += [
            ("", ADD, 6),
            (f"blocks.{n}.norm2", LN, 8),
            (f"blocks.{n}.mlp.fc1", GEMM, 40),
            (f"blocks.{n}.mlp.act", GELU, 9),
        ]
        units += [(f"blocks.{n}.mlp.fc2", GEMM, 40), ("", ADD, 6)]
    return [*units, ("norm", LN, 5), ("head", GEMM, 9)]


def vit_engine(blocks: int) -> list[tuple[str, list[tuple[str, int]]]]:
    layers = [("/patch/Conv", [(HMMA, 30)])]
    for n in range(blocks):
        b = f"/blocks/blocks.{n}"
        layers += [
            (f"{b}/norm1/LayerNormalization", [("__myl_MeanSubMul_0x1234567890ab", 4)]),
            (f"{b}/attn/qkv/MatMul + {b}/attn/qkv/Add", [(HMMA, 20)]),
        ]
        layers += [(f"{b}/attn/MatMul + {b}/attn/Softmax + {b}/attn/MatMul_1", [("_gemm_mha_v2_0x769fb0c0640f", 12)])]
        layers += [(f"{b}/attn/proj/MatMul + {b}/attn/proj/Add + {b}/Add", [(HMMA, 10)])]
        layers += [(f"{b}/norm2/LayerNormalization", [("__myl_MeanSubMul_0x1234567890ab", 4)])]
        layers += [
            (f"{b}/mlp/fc1/MatMul + {b}/mlp/act/Erf", [(HMMA, 25)]),
            (f"{b}/mlp/fc2/MatMul + {b}/Add_1", [(HMMA, 22)]),
        ]
    return [*layers, ("/norm/LayerNormalization", [("__myl_Mean_0x12345678", 2)]), ("/head/Gemm", [(HMMA, 4)])]


def test_a_transformer_by_names(opened: Open) -> None:
    found = made(opened, framework(vit(2)), engine(vit_engine(2)))
    became = statuses(found)
    for n in range(2):
        assert (
            became[f"blocks.{n}.norm1"] == became[f"blocks.{n}.norm2"] == ("kept", None)
        )  # a layer norm is never absorbed
        assert became[f"blocks.{n}.mlp.act"] == ("fused", f"blocks.{n}.mlp.fc1")
        attention = next(
            r for r in found.rows if r.block == f"blocks.{n}" and r.before and "attention" in r.before.categories
        )
        assert attention.status == "kept" and attention.after is not None and "mha" in attention.after.kernel_names[0]
    assert found.coverage("before").time_pct == found.coverage("after").time_pct == 100.0


def test_a_transformer_without_names_before(opened: Open) -> None:
    """Two products and a softmax in one layer are the attention that is one kernel before."""
    found = made(opened, framework([("", k, d) for _, k, d in vit(3)]), engine(vit_engine(3)))
    assert found.match.anchors_agreed == found.match.anchors == 2 + 3 * 5
    assert found.coverage("before").time_pct == found.coverage("after").time_pct == 100.0
    assert statuses(found)["blocks.2.mlp.fc1"] == ("kept", None)


def test_a_layer_norm_behind_a_product_is_not_absorbed(opened: Open) -> None:
    before = framework([("proj", GEMM, 20), ("norm", LN, 5), ("head", GEMM, 9)])
    found = made(opened, before, engine([("/proj/Gemm", [(HMMA, 9)]), ("/head/Gemm", [(HMMA, 4)])]))
    assert statuses(found)["norm"] == ("unexplained", None)


def test_a_batch_norm_whose_kernel_still_runs_is_not_absorbed(opened: Open) -> None:
    model = [("conv1", FFMA, 20), ("bn1", BN, 5), ("conv2", FFMA, 20)]
    after = engine([("c1", [(HMMA, 9)]), ("n", [(BN, 5)]), ("c2", [(HMMA, 9)])], ranges=False)
    row = next(r for r in made(opened, framework(model), after).rows if r.label == "bn1")
    assert row.status == "kept" and row.after is not None and row.after.kernels == 2
    gone = engine([("c1", [(HMMA, 9)]), ("c2", [(HMMA, 9)])], ranges=False)
    row = next(r for r in made(opened, framework(model), gone).rows if r.label == "bn1")
    assert (row.status, row.into) == ("absorbed", "conv1") and "no normalisation is left" in row.why


def test_anchors_that_disagree_explain_nothing(opened: Open) -> None:
    before = framework([(f"conv{n}", FFMA, 20) for n in range(6)])
    after = engine([(f"c{n}", [(HMMA, 9)]) for n in range(4)], ranges=False)
    found = made(opened, before, after)
    assert found.match.statement.startswith("not matched: only 0 of 6 anchors agree")
    assert found.by_status["unexplained"] == len(found.rows)


def test_equal_steps_of_a_loop_are_one_row(opened: Open) -> None:
    maker = framework(
        [("jacobi_step", "void jacobi<float>(float *)", 5)] * 200 + [("norm_step", "void residual<float>(float *)", 5)]
    )
    found = made(opened, maker, maker)
    row = next(r for r in found.rows if r.module == "jacobi_step")
    assert row.label == "jacobi_step (200 calls)" and row.calls == 200
    assert row.before is not None and row.before.kernels == 400 and len(found.rows) == 2


def test_engines_that_split_and_merge(opened: Open) -> None:
    first = engine([("/conv1/Conv + /relu/Relu", [(HMMA, 9)]), ("/pool/MaxPool", [(FFMA, 4)])])
    second = engine([("/conv1/Conv", [(HMMA, 9)]), ("/relu/Relu", [(FFMA, 2)]), ("/pool/MaxPool", [(FFMA, 4)])])
    found = {r.label: r for r in made(opened, first, second).rows}
    assert (found["relu"].status, found["relu"].change) == ("kept", "split")
    assert found["conv1"].change is None or "precision" not in found["conv1"].change
    merged = {r.label: r for r in made(opened, second, first).rows}
    assert (merged["relu"].status, merged["relu"].into, merged["relu"].change) == ("fused", "conv1", "merged")


def test_products_of_both_kinds_in_a_row_are_mixed(opened: Open) -> None:
    before = framework([("conv", FFMA, 300_000)])
    for begin in (0, 1_000_000):
        before.kernel(begin + 800_000, 90_000, HMMA, launched=begin + 120)
    before.metric("Tensor Active [Throughput %]", [(t, 30) for t in range(500_000, 900_000, 20_000)])
    found = made(opened, before, engine([("/conv/Conv", [(HMMA, 30)])]))
    (evidence,) = tensor_core_evidence(found, "before")
    assert evidence.verdict == "mixed" and evidence.disagreement is None


@pytest.mark.parametrize("name", ["/conv1/Conv_myl0_1", "__myl_ConvRelu_myl0_1"])
def test_layers_of_myelin_without_a_description(opened: Open, name: str) -> None:
    model = [("conv1", FFMA, 20), ("bn1", BN, 5), ("relu", ADD.replace("CUDAFunctor_add", "relu"), 5), ("fc", GEMM, 5)]
    found = made(opened, framework(model), engine([(name, [(HMMA, 9)]), ("/fc/Gemm_myl0_2", [(HMMA, 4)])]))
    became = statuses(found)
    assert became["conv1"] == ("kept", None) and became["bn1"] == ("absorbed", "conv1")


kernels = st.sampled_from(
    [FFMA, HMMA, BN, SILU, LN, ADD, GEMM, ATTENTION, "triton_poi_fused_add_relu_1", "triton_poi_fused_convolution_0"]
)
sides = st.lists(
    st.tuples(st.sampled_from(["a.conv", "b.bn", "", "Conv2d", "aten::relu, op_id = 1"]), kernels, st.integers(1, 90)),
    min_size=1,
    max_size=9,
)
layers = st.lists(
    st.tuples(
        st.sampled_from(["Conv_0 + Relu_1", "node_add", "__myl_FcAdd_myl0_3", "/a/conv/Conv", "/b/bn/Mul",
             "{ForeignNode[x...y]}", "images to nvm", "PWN(a)"]),
        st.lists(st.tuples(kernels, st.integers(1, 90)), max_size=3),
    ),
    min_size=1, max_size=6, unique_by=lambda t: t[0],
).filter(lambda e: any(k for _, k in e))  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sides, sides, layers, st.booleans(), st.sampled_from(["framework", "engine", "kernels"]))
def test_sums_are_exact_whatever_the_sources(
    opened: Open, first: list, second: list, engine_layers: list, ranges: bool, kind: str
) -> None:
    before = framework(first) if kind != "engine" else engine(engine_layers)
    after = framework([("", k, d) for _, k, d in second]) if kind == "kernels" else engine(engine_layers, ranges=ranges)
    traces = opened(before), opened(after)
    try:
        found = fusion(Run(traces[0]), Run(traces[1]))
    except NotComparableError:  # kernels of PyTorch alone after an engine
        return
    check_sums(found)
    split = decompose(found)
    assert sum(p.before_ns for p in split.parts) == split.before_latency_ns
    assert sum(p.after_ns for p in split.parts) == split.after_latency_ns
    labels = {r.label for r in found.rows}
    assert all(r.into in labels for r in found.rows if r.into is not None)
    assert len(repr(found)) < 300 and len(found.to_frame()) == len(found.rows)
    for trace in traces:
        trace.close()
        trace.path.unlink()
