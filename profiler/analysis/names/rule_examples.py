"""Kernel names that several rules use as examples, as the tools print them."""

from __future__ import annotations

XMMA_TENSOR = (
    "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x64x64_stage3_"
    "warpsize2x2x1_g1_tensor16x8x16_execute_kernel_trt"
)
XMMA_SPLIT_K = XMMA_TENSOR.replace("execute_kernel_trt", "execute_split_k_kernel_trt")
XMMA_FFMA = (
    "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwckrsc_nhwc_tilesize64x64x8_stage3_"
    "warpsize1x4x1_g1_ffma_aligna4_alignc4_execute_kernel_trt"
)
XMMA_WARPGROUP = (
    "sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize64x64x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas"
)
CUTLASS_1688 = "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4>(T1::Params)"
CUTLASS_16816 = (
    "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_f16_64x64_64x5_nhwc_align8>(T1::Params)"
)
CUTLASS_884 = (
    "void cutlass_cudnn_infer::Kernel<cutlass_tensorop_h884fprop_optimized_128x128_32x2_nhwc_align8>(T1::Params)"
)
CUTLASS_SIMT = "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x64_8x5_nn_align1>(T1::Params)"
FA3 = (
    "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<"
    "flash::CollectiveMainloopFwdSm90<2> > > >(flash::FlashAttnFwdSm90<>::Params)"
)
FA3_SM80 = (
    "void cutlass::device_kernel<flash::enable_sm80_to_sm89<flash::FlashAttnFwdSm80<"
    "flash::CollectiveMainloopFwdSm80<8> > > >(flash::FlashAttnFwdSm80<>::Params)"
)
FA3_COMBINE = (
    "void cutlass::device_kernel<flash::FlashAttnFwdCombine<cute::tuple<cute::C<8>, cute::C<128> >, 7, 256> >"
    "(flash::FlashAttnFwdCombine<>::Params)"
)
GEMM_UNIVERSAL = (
    "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int, int, int>, "
    "cutlass::gemm::collective::CollectiveMma<cutlass::gemm::MainloopSm90TmaGmmaWarpSpecialized<7>, "
    "cute::TiledMMA<cute::MMA_Atom<cute::SM90_64x128x16_F32F16F16_SS<(cute::GMMA::Major)0> > > > > >(T1::Params)"
)
FMHA_F32_SM80 = "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<float>::Params)"
FMHA_F16_SM80 = FMHA_F32_SM80.replace("f32", "f16")
FMHA_F32_SM75 = FMHA_F32_SM80.replace("sm80", "sm75")
FMHA_F16_SM75 = FMHA_F16_SM80.replace("sm80", "sm75")
FMHA_F16_SM50 = FMHA_F16_SM80.replace("sm80", "sm50")
VOLTA_884 = "volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_nn"
BN_STATS = (
    "void xmma::ext::batchnorm::bn_stats::bn_stats_kernel<32, xmma::ext::batchnorm::Params<"
    "xmma::Ampere_hmma_fp32_traits<false> > >(T1)"
)
BN_MATMUL = (
    "void xmma::ext::batchnorm::kernel_matmul<xmma::ext::batchnorm::Kernel_traits<"
    "xmma::Ampere_hmma_fp32_traits<false> > >(T1)"
)
RNN_TC = "void RNN_persist_fp<__half, __half, float, (cudnnRNNMode_t)2, true, 512, 8>(persistArgs)"
RNN_FP32 = "void RNN_persist_fp<float, float, float, (cudnnRNNMode_t)2, true, 512, 8>(persistArgs)"
RNN_BLOCK_BP_FP32 = "void RNN_blockPersist_bp_LSTM_HMMA<float, float, float, 96>(block_bp_args_lstm<float, float>)"
CUDNN_GENERATED = "cudnn_generated_fort_native_sm90_convFwd_pointwise_pointwise_knob_29_64x128x32_12_0"
