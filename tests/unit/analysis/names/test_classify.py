"""The classification of kernel names: every rule, the labelled names, real traces, and hostile input."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiler.analysis.names import score as classify_score
from profiler.analysis.names.classify import (
    CATEGORIES,
    CATEGORY_LABELS,
    CATEGORY_RULES,
    TENSOR_CORE_RULES,
    classify,
    classify_names,
    explain,
)
from profiler.analysis.names.parse import HEAD_CHARS, TAIL_CHARS, parse, shorten
from profiler.analysis.names.rules import Rule
from profiler.errors import TraceError, UsageError
from profiler.report.documents import score_document

DEV = Path(__file__).parents[3] / "data" / "kernel_names" / "dev.tsv.xz"
RULES = (*TENSOR_CORE_RULES, *CATEGORY_RULES)
TENSOR_CORE_IDS = {rule.id for rule in TENSOR_CORE_RULES}
VERDICTS = ("yes", "no", "unknown")


def _decided_by(rule: Rule, name: str) -> str:
    found = classify(name, sm=rule.example_sm)
    return found.rule if rule.id in TENSOR_CORE_IDS else found.category_rule


def _ids(rule: Rule) -> str:
    return rule.id


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_every_rule_decides_its_positives(rule: Rule) -> None:
    assert rule.positive
    for name in rule.positive:
        assert _decided_by(rule, name) == rule.id, name


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_no_rule_decides_its_negatives(rule: Rule) -> None:
    assert rule.negative
    for name in rule.negative:
        assert _decided_by(rule, name) != rule.id, name


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_every_rule_explains_itself(rule: Rule) -> None:
    assert explain(rule.id) is rule
    assert re.fullmatch(r"(tc|category)\.[a-z0-9-]+", rule.id)
    assert rule.reason.endswith(".")
    assert rule.where in ("text", "base", "leaf", "symbol", "cxx")
    assert rule.verdict in (VERDICTS if rule.id in TENSOR_CORE_IDS else CATEGORIES)


def test_rule_ids_are_unique_and_lists_end_with_a_rule_for_everything() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert TENSOR_CORE_RULES[-1].verdict == "unknown"
    assert CATEGORY_RULES[-1].verdict == "other"
    assert set(CATEGORY_LABELS) == set(CATEGORIES)


def test_gpu_bounds_apply_only_when_the_gpu_is_known() -> None:
    bounded = [rule for rule in TENSOR_CORE_RULES if rule.sm_min is not None or rule.sm_max is not None]
    assert bounded
    for rule in bounded:
        for name in rule.positive:
            assert classify(name).rule != rule.id


def test_explain_refuses_an_unknown_rule() -> None:
    with pytest.raises(KeyError):
        explain("tc.no-such-rule")


# Names as Nsight Systems printed them in traces of one H200, and as other projects print theirs.
REAL = [
    ("nvjet_sm90_hsh_64x8_64x16_4x1_v_bz_bias_TNT", "gemm", "fp16", "yes"),
    ("nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNT", "gemm", "bf16", "yes"),
    (
        "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwckrsc_nhwc_tilesize64x64x8_stage3_warpsize1x4x1_g1_"
        "ffma_simple_t1r1s1_aligna4_alignc4_execute_kernel_trt",
        "convolution",
        "fp32",
        "no",
    ),
    (
        "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16_stage4_warpsize2x2x1_g1_"
        "tensor16x8x8_simple_t1r1s1_execute_kernel_trt",
        "convolution",
        "tf32",
        "yes",
    ),
    (
        "sm80_xmma_fprop_implicit_gemm_interleaved_i8f16_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_nchw_vect_c_32_"
        "tilesize128x128x64_stage4_warpsize2x2x1_g1_tensor16x8x32_simple_t1r1s1_execute_kernel_trt",
        "convolution",
        "int8",
        "yes",
    ),
    (
        "sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize64x64x64_warpgroupsize1x1x1_g1_"
        "execute_segment_k_off_kernel__5x_cudnn",
        "convolution",
        "fp16",
        "yes",
    ),
    (
        "sm90_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn_n_tilesize64x64x128_warpgroupsize1x1x1_execute_segment_k_off_kernel",
        "gemm",
        "fp8",
        "yes",
    ),
    (
        "sm90_xmma_fprop_image_first_layer_f16f16_f32_f16_nhwckrsc_nhwc_hmma_k64c4r7s7_stride2x2_tile16x64x64_"
        "tensor1688_execute_kernel_kernel_trt",
        "convolution",
        "fp16",
        "yes",
    ),
    ("sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_116_execute_kernel_trt", "convolution", None, "yes"),
    ("sm72_xmma_pooling_IMMA_NCxHW32_gap_execute_kernel_trt", "pooling", None, "no"),
    ("sm50_xmma_pooling_coalescedC_NHWC_kMAX_3_False_execute_kernel_trt", "pooling", None, "no"),
    ("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4>(T1::Params)", "gemm", "tf32", "yes"),
    (
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_f16_64x64_64x5_nhwc_align8>"
        "(T1::Params)",
        "convolution",
        "fp16",
        "yes",
    ),
    ("void cutlass::Kernel2<cutlass_80_simt_sgemm_128x64_8x5_nn_align1>(T1::Params)", "gemm", "fp32", "no"),
    ("ampere_sgemm_128x64_nn", "gemm", "fp32", "no"),
    ("volta_h884gemm_128x128_ldg8_nn", "gemm", "fp16", "yes"),
    ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nt", "gemm", "bf16", "yes"),
    (
        "void implicit_convolve_sgemm<float, float, (int)1024, (int)5, (int)5, (int)3, (int)3, (int)3, (int)1, "
        "(bool)0, (bool)0, (bool)1>(int, int, int, const T1 *, int, T2 *, const T1 *, kernel_conv_params)",
        "convolution",
        "fp32",
        "no",
    ),
    (
        "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, (bool)1, (int)1>(T2, T2, cudnnTensorStruct)",
        "normalisation",
        "fp32",
        "no",
    ),
    (
        "void at::native::<unnamed>::max_pool_forward_nhwc<c10::Half, int>(const T1 *, int, T2, T2)",
        "pooling",
        "fp16",
        "no",
    ),
    (
        "void at::native::vectorized_elementwise_kernel<(int)8, at::native::CUDAFunctor_add<c10::Half>, "
        "std::array<char *, (unsigned long)3>>(int, T2, T3)",
        "pointwise",
        "fp16",
        "no",
    ),
    (
        "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::MeanOps<float, "
        "float, float, float>, unsigned int, float, (int)4, (int)4>>(T3)",
        "reduction",
        "fp32",
        "no",
    ),
    (
        "void genericReformat::copyVectorizedKernel<double, float, signed char, (bool)0, (bool)0, (int)3>"
        "(unsigned int, const void *)",
        "layout",
        None,
        "no",
    ),
    (
        "void cuInt8::nhwcTonchw<float, (int)1, (int)128, (int)2>(const __half *, T1 *, int, int, int)",
        "layout",
        "fp32",
        "no",
    ),
    (
        "void CUTENSOR_NAMESPACE::permutationKernelPLC3<CUTENSOR_NAMESPACE::VectorWrite2DTensorView<(unsigned char)0>>",
        "layout",
        None,
        "no",
    ),
    (
        "void nvinfer1::rt::cuda::padBiasWeights<float, (int)32, (nvinfer1::rt::cuda::QuantMethod)2>(T1)",
        "layout",
        "fp32",
        "no",
    ),
    (
        "void cudnn::engines_precompiled::nchwToNhwcKernel<float, float, float, (bool)0, (bool)1>(T1)",
        "layout",
        "fp32",
        "no",
    ),
    ("void cublasLt::splitKreduce_kernel<(int)32, (int)16, int, float, float>(T1)", "reduction", "fp32", "no"),
    ("generatedNativePointwise", "pointwise", None, "no"),
    ("fmha_v2_flash_attention_fp16_S_64_sm80_kernel", "attention", "fp16", "yes"),
    ("triton_poi_fused_convolution_relu_0", "pointwise", None, "no"),
    ("triton_tem_fused_mm_3", "other", None, "unknown"),
    ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "communication", "fp32", "no"),
    ("my_kernel", "other", None, "unknown"),
    ("Kernel", "other", None, "unknown"),
    ("device_kernel", "other", None, "unknown"),
]


@pytest.mark.parametrize(("name", "category", "precision", "tensor_cores"), REAL, ids=[row[0][:60] for row in REAL])
def test_names_of_real_traces(name: str, category: str, precision: str | None, tensor_cores: str) -> None:
    found = classify(name, sm=90) if "884" not in name else classify(name, sm=70)
    assert found.tensor_cores == tensor_cores
    assert found.precision == precision
    if category != "other":
        assert found.category == category


# The same kernel as nsys and as c++filt print it.
TWICE = [
    (
        "void at::native::<unnamed>::max_pool_forward_nchw<float, int>(T2, const T1 *, long)",
        "void at::native::(anonymous namespace)::max_pool_forward_nchw<float, int>(int, float const*, long)",
    ),
    (
        "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, (bool)1, (int)1>(T2, T2, cudnnTensorStruct)",
        "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, true, 1>(float, float, cudnnTensorStruct)",
    ),
    (
        "void RNN_persist_fp<__half, __half, float, (cudnnRNNMode_t)2, (bool)1, (int)512, (int)8>(T1)",
        "void RNN_persist_fp<__half, __half, float, (cudnnRNNMode_t)2, true, 512, 8>(persistArgs<__half>)",
    ),
    (
        "void RNN_persist_fp<__half, __half, float, (cudnnRNNMode_t)2, (bool)0, (int)512, (int)8>(T1)",
        "void RNN_persist_fp<__half, __half, float, (cudnnRNNMode_t)2, false, 512, 8>(persistArgs<__half>)",
    ),
    (
        "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4>(T1::Params)",
        "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4>"
        "(cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4::Params)",
    ),
    (
        "void gemmSN_TN_kernel<float, (int)128, (int)16, (int)2, (int)4, (int)8, (int)9, (bool)0>(T9)",
        "void gemmSN_TN_kernel<float, 128, 16, 2, 4, 8, 9, false>(cublasGemmSmallNParams<float>)",
    ),
    (
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float>, "
        "std::array<char *, (unsigned long)3>>(int, T2, T3)",
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, "
        "std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)",
    ),
]


@pytest.mark.parametrize(("nsys", "cxxfilt"), TWICE)
def test_both_demanglings_get_the_same_answer(nsys: str, cxxfilt: str) -> None:
    assert classify(nsys, sm=90) == classify(cxxfilt, sm=90)
    assert parse(nsys).base == parse(cxxfilt).base


MANGLED = [
    (
        "_ZN2at6native18elementwise_kernelILi128ELi4EZNS0_15gpu_kernel_implEEEviT1_",
        "at::native::elementwise_kernel",
        "no",
    ),
    (
        "_ZN15xmma__51_cublas4gemm6kernelINS0_30Kernel_triangular_input_traitsINS_29Hopper_dmma_fp64_16816_traitsENS_"
        "8Cta_tileINS_6HopperELi128ELi64EEEEEEvNT_6ParamsE",
        "xmma__51_cublas::gemm::kernel",
        "yes",
    ),
    (
        "_ZN15xmma__51_cublas4gemm6kernelINS0_30Kernel_triangular_input_traitsINS_23Ampere_ffma_fp32_traitsENS_"
        "8Cta_tileINS_6AmpereELi128ELi64EEEEEEvNT_6ParamsE",
        "xmma__51_cublas::gemm::kernel",
        "no",
    ),
    (
        "_ZN15xmma__51_cublas4gemm14split_k_kernelINS0_30Kernel_triangular_input_traitsINS_29Hopper_dmma_fp64_16816_"
        "traitsEEEEEvNT_6ParamsE",
        "xmma__51_cublas::gemm::split_k_kernel",
        "no",
    ),
    ("_Z12softmax_rowsPfi", "softmax_rows", "no"),
]


@pytest.mark.parametrize(("name", "base", "tensor_cores"), MANGLED)
def test_mangled_names_are_read(name: str, base: str, tensor_cores: str) -> None:
    assert parse(name).base == base
    assert classify(name, sm=90).tensor_cores == tensor_cores


def test_the_gpu_matters_where_the_instruction_does() -> None:
    name = (
        "void cutlass_cudnn_infer::Kernel<cutlass_tensorop_h16816fprop_optimized_64x128_32x6_nhwc_align8>(T1::Params)"
    )
    assert classify(name, sm=75).tensor_cores == "no"
    assert classify(name, sm=80).tensor_cores == "yes"
    assert classify(name).tensor_cores == "yes"


@pytest.mark.parametrize(
    "name", ["", None, "   ", "\x00", "\u202e\u200f", "_Z", "_ZN", "<", "((((", ">>>>", "operator<"]
)
def test_names_that_say_nothing(name: str | None) -> None:
    found = classify(name)
    assert (found.category, found.tensor_cores, found.precision) == ("other", "unknown", None)


def test_the_short_name_serves_only_without_a_name() -> None:
    assert classify("", "ampere_sgemm_128x64_nn").tensor_cores == "no"
    assert classify("volta_h884gemm_128x128_ldg8_nn", "ampere_sgemm_128x64_nn", 70).tensor_cores == "yes"


def test_invisible_characters_do_not_hide_a_kernel() -> None:
    assert classify("ampere_\u202es\x00gemm_128x64_nn").rule == classify("ampere_sgemm_128x64_nn").rule


def test_many_names_keep_their_order() -> None:
    found = classify_names(["ampere_sgemm_128x64_nn", "", "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNT"], sm=90)
    assert [one.tensor_cores for one in found] == ["no", "unknown", "yes"]


PIECES = st.sampled_from(
    ["void ", "at::native::", "<", ">", "(", ")", "::", "cutlass", "_tensorop_", "sm80_xmma_", "flash_fwd_", "mma", "16816",
     "_ZN", "7cutlass", "6Kernel", "Mma", "OpClass", "FlashAttn", "RNN_persist_fp<", "true", ", ", "lambda(", "nvjet_", "_",
     "[", "]", "{", "}", "operator", "->", "\x00", "\u202e", "é", "🙂", "(int)128", "(bool)1", "<unnamed>", "cutlass3x_"]
)  # fmt: skip


@given(
    st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)), st.sampled_from([None, 70, 75, 80, 90, 100, 120])
)
@example("operator<<(", 90)
def test_any_text_gets_a_valid_answer(name: str, sm: int | None) -> None:
    found = classify(name, sm=sm)
    assert found == classify(name, sm=sm)
    assert found.category in CATEGORIES
    assert found.tensor_cores in VERDICTS
    assert explain(found.rule).verdict == found.tensor_cores
    assert explain(found.category_rule).verdict == found.category


HOSTILE = [
    "a", "mma", "Mma", "OpClass", "flash_fwd_", "_xmma_", "xmma_", "cutlass_", "tensorop_", "volta_", "16816", "<", ">", "(", "9",
    "flashinfer::", "attn", "_ZN7cutlass", "cutlass3x_", "MainloopSm90", "lambda(", "operator<", "f32", "sm90_xmma_f16f16_",
    "FlashAttn", "convolve", "_", "RNN_", "at::native::", "x x", "__nv_static_", "nvinfer1::rt::cuda::", "loop_", "kernel_", "__myl_", "S",
    "transformtransform", "imma_", "grad", "_emu::", "multi_tensor_apply_kernel", "softsoft", "norm_",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_names_cost_little(piece: str) -> None:
    name = piece * (100_000 // len(piece))
    start = time.perf_counter()
    classify(name, sm=90)
    assert time.perf_counter() - start < 1.5, "a pattern backtracks"


def test_only_the_head_and_the_tail_of_a_long_name_are_read() -> None:
    name = "x" * 100_000
    assert len(shorten(name)) == HEAD_CHARS + TAIL_CHARS + 1
    assert classify("x" * HEAD_CHARS + "ampere_sgemm_128x64_nn" + "y" * 5000).tensor_cores == "unknown"


@pytest.fixture(scope="module")
def dev_report() -> classify_score.ScoreReport:
    return classify_score.score(DEV)


def test_verdicts_on_the_labelled_names(dev_report: classify_score.ScoreReport) -> None:
    overall = dev_report.overall
    assert overall.names > 18_000
    assert (overall.yes_precision or 0) >= 0.999
    assert (overall.no_precision or 0) >= 0.999
    assert (overall.unknown_share or 0) <= 0.01


def test_verdicts_where_the_label_turns_on_the_gpu(dev_report: classify_score.ScoreReport) -> None:
    conflicting = dev_report.conflicting
    assert conflicting.names > 1_000
    assert (conflicting.yes_precision or 0) >= 0.99
    assert (conflicting.no_precision or 0) >= 0.99


def test_the_report_is_a_table(dev_report: classify_score.ScoreReport) -> None:
    text = classify_score.render(dev_report)
    assert "cublasLt" in text
    assert "all, label same on every GPU" in text
    assert sum(one.names for one in dev_report.by_library.values()) == dev_report.overall.names


HEADER = "\t".join(classify_score.COLUMNS)


def _table(path: Path, *rows: tuple[str, ...]) -> Path:
    path.write_text("\n".join([HEADER, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_a_wrong_name_is_reported_with_its_rule(tmp_path: Path) -> None:
    path = _table(
        tmp_path / "names.tsv",
        ("lib", "1", "90", "ampere_sgemm_128x64_nn", "", "1", "HMMA", "0"),
        ("lib", "1", "90", "ampere_sgemm_64x64_nn", "", "0", "", "0"),
        ("lib", "1", "90", "mystery", "", "1", "HMMA", "1"),
    )
    report = classify_score.score(path)
    assert [one.rule for one in report.wrong] == ["tc.legacy-gemm-cuda-cores"]
    assert report.overall.no_precision == 0.5
    assert report.overall.yes_precision is None
    assert report.conflicting.unknown_share == 1.0
    assert "tc.legacy-gemm-cuda-cores" in classify_score.render(report)
    plain = json.loads(json.dumps(score_document(report)))
    assert plain["overall"]["names"] == 2
    assert plain["by_library"]["lib"]["no_precision"] == 0.5
    assert plain["wrong"][0]["truth"] == "yes"


def test_an_empty_table_scores_nothing(tmp_path: Path) -> None:
    report = classify_score.score(_table(tmp_path / "names.tsv"))
    assert report.overall.names == 0
    assert report.overall.unknown_share is None
    assert "none" in classify_score.render(report)


def test_bad_tables_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"missing\.tsv"):
        classify_score.score(tmp_path / "missing.tsv")
    headless = tmp_path / "headless.tsv"
    headless.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks library"):
        classify_score.score(headless)
    with pytest.raises(TraceError, match="line 2"):
        classify_score.score(_table(tmp_path / "short.tsv", ("lib", "1")))
    broken = tmp_path / "broken.tsv.xz"
    broken.write_bytes(b"not xz at all")
    with pytest.raises(TraceError, match="cannot be read"):
        classify_score.score(broken)
    binary = tmp_path / "binary.tsv"
    binary.write_bytes(HEADER.encode() + b"\n\xff\xfe\n")
    with pytest.raises(TraceError, match="cannot be read"):
        classify_score.score(binary)
