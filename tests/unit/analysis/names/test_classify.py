"""The classification of kernel names: names of real traces, both demanglings, and hostile input."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiler.analysis.names.classify import (
    CATEGORIES,
    classify,
    classify_names,
    explain,
)
from profiler.analysis.names.parse import HEAD_CHARS, TAIL_CHARS, parse, readable

VERDICTS = ("yes", "no", "unknown")


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
    assert len(readable(name)) == HEAD_CHARS + TAIL_CHARS + 1
    assert classify("x" * HEAD_CHARS + "ampere_sgemm_128x64_nn" + "y" * 5000).tensor_cores == "unknown"


@pytest.mark.parametrize("digits", ["884", "1688", "16816", "f64", "e4m3", "half", "bf16"])
def test_hashes_say_nothing(digits: str) -> None:
    hashed = f"0x97651bc2989bb400a6d2363d{digits if set(digits) <= set('0123456789abcdef') else '0'}1"
    found = classify(f"__myl_CastMulAdd_{hashed}", sm=90)
    assert (found.tensor_cores, found.precision) == ("no", None)
    attention = classify(f"_gemm_mha_v2_{hashed}", sm=90)
    assert (attention.tensor_cores, attention.precision) == ("yes", None)
    assert parse(f"void run<T, {hashed}>(int)").text == parse("void run<T, 0x0123456789abcdef>(int)").text


def test_what_was_built_for_volta_turns_on_the_gpu() -> None:
    for name in ("fmha_v2_fp16_128_64_sm70_kernel", "fused_multihead_attention_fp16_128_64_kernel_sm70"):
        assert [classify(name, sm=sm).tensor_cores for sm in (70, 80, 90)] == ["yes", "no", "no"]
        assert classify(name.replace("sm70", "sm75"), sm=90).tensor_cores == "yes"


@pytest.mark.parametrize("argument", ["__half", "c10::Half", "__nv_bfloat16", "int8_t", "__nv_fp8_e4m3", "half2"])
def test_a_users_kernel_over_a_type_of_tensor_cores_is_unknown(argument: str) -> None:
    assert classify(f"void step({argument} const*, {argument}*, int)", sm=90).tensor_cores == "unknown"
    assert classify("void step(float const*, float*, int)", sm=90).tensor_cores == "no"
    assert classify(f"void softmax_rows({argument} const*, {argument}*, int)", sm=90).tensor_cores == "no"


@pytest.mark.parametrize(
    "name",
    [
        "<unnamed>::nvfuser_none_f0_c0_r0_g0(<unnamed>::Tensor<float, (int)3, (int)3>)",
        "gemm_m512_n1688_k64",
        "void no_tensor_core_gemm(float*)",
        "void gemm_wmma_baseline(float*)",
        "void mul_mat_q<(ggml_type)2, 64, false>(const char *, const char *)",
        "void ThunderKittens::attend_ker<128, true>(fwd_globals<128>)",
    ],
)
def test_names_that_only_look_like_evidence(name: str) -> None:
    assert classify(name, sm=90).tensor_cores == "unknown"
