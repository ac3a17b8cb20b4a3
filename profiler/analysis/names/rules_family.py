"""Tensor Core rules for kernel families whose name states no instruction.

What settles each is the project's published source or the machine code of its libraries.
"""

from __future__ import annotations

from profiler.analysis.names.rule_examples import (
    FA3,
    FA3_COMBINE,
    FMHA_F16_SM50,
    FMHA_F16_SM75,
    FMHA_F16_SM80,
    FMHA_F32_SM75,
    FMHA_F32_SM80,
    RNN_FP32,
    RNN_TC,
    VOLTA_884,
    XMMA_FFMA,
    XMMA_TENSOR,
)
from profiler.analysis.names.rules import Rule, rule

FAMILY_RULES: tuple[Rule, ...] = (
    rule(
        "tc.product-on-fma",
        "no",
        "base",
        r"gemm_half_q_half|moe_wna16_gemm|router_gemm|silu_mul_\w{0,40}quant|VecQuant\dMatMul|EigenContraction|SparseTensorDense|dequantize_gemm|kdequant_mm|"
        r"MatMulFloat\w{0,12}Kernel|tiny_?k(?:_|$)|tiny_mnk|moe_vec_q|_emu::|construct_bf16|"
        r"cublasLt::epilogue::|xmma_cublas_smallN|^sputnik::|nvinfer1::sdcrr::|deduce_nmoduli|inverse_scaling_|prolog_mod",
        "GPTQ's and Sputnik's kernels multiply with FMA; cuBLAS's epilogue and emulation helpers only scale and split "
        "numbers (measured in vLLM, xFormers, cuBLAS 12 and 13).",
        [
            "void vllm::gptq::gemm_half_q_half_gptq_4bit_kernel<true, 1>(__half const*, unsigned int const*)",
            "void inverse_scaling_mrc_kernel<float>(float*)",
        ],
        ["void marlin::Marlin<__half, 1125899906909960L, 256, 1, 8, 8>(int4 const*, int4 const*)"],
    ),
    rule(
        "tc.cudnn-fusion-matmul",
        "yes",
        "base",
        r"fusion::matmul_dq",
        "cuDNN's dequantising matrix product is written on MMA (measured in cuDNN 9 for SM 8.0, 9.0 and 10.0).",
        ["void cudnn::fusion::matmul_dq_sm80<true, 128>(void const*, void const*, void*)"],
        ["cudnn::fusion::qkv_tma_setup(void*)"],
    ),
    rule(
        "tc.fmha-cutlass-f32-simt",
        "no",
        "base",
        r"(?:^|::)fmha_cutlass[FB]_f32_\w+_sm(?:50|70|75)$",
        "Below SM 8.0 FP32 attention has no Tensor Core instruction to use (measured in PyTorch and xFormers).",
        [FMHA_F32_SM75],
        [FMHA_F32_SM80],
    ),
    rule(
        "tc.fmha-cutlass-sm50",
        "no",
        "base",
        r"(?:^|::)fmha_cutlass[FB]_\w+_sm(?:50|60)$",
        "The sm50 variants are written for GPUs without Tensor Cores (measured in PyTorch and xFormers).",
        [FMHA_F16_SM50],
        [FMHA_F16_SM75],
    ),
    rule(
        "tc.fmha-cutlass",
        "yes",
        "base",
        r"(?:^|::)fmha_cutlass[FB]_\w+_sm\d+$",
        "Memory-efficient attention multiplies FP16 and BF16 on Tensor Cores, and FP32 as TF32 from SM 8.0 on "
        "(measured in PyTorch and xFormers).",
        [FMHA_F32_SM80, FMHA_F16_SM80, FMHA_F16_SM75],
        [FMHA_F16_SM50],
    ),
    rule(
        "tc.attention-template-simt",
        "no",
        "text",
        r"AttentionKernel<(?:cutlass::arch::Sm[567]\d, (?:float|cutlass::bfloat16_t)|"
        r"(?:float|cutlass::bfloat16_t), cutlass::arch::Sm[567]\d|cutlass::half_t, cutlass::arch::Sm[56]\d)",
        "Below SM 8.0 CUTLASS's fused attention has no MMA for FP32 and BF16, nor below SM 7.0 for FP16 (measured in "
        "ONNX Runtime and PyTorch 2.0).",
        ["void attention_kernel_batched<AttentionKernel<float, cutlass::arch::Sm75, true, 64> >(T1::Params)"],
        ["void attention_kernel_batched<AttentionKernel<float, cutlass::arch::Sm80, true, 64> >(T1::Params)"],
    ),
    rule(
        "tc.attention-template",
        "yes",
        "text",
        r"AttentionKernel<(?:(?:float|cutlass::half_t|cutlass::bfloat16_t), )?cutlass::arch::Sm(?:7|8|9)\d",
        "CUTLASS's fused attention names the architecture whose MMA it uses (measured in ONNX Runtime and PyTorch 2.0).",
        ["void attention_kernel_batched<AttentionKernel<cutlass::half_t, cutlass::arch::Sm80, true, 64> >(T1::Params)"],
        ["void attention_kernel_batched<AttentionKernel<float, cutlass::arch::Sm75, true, 64> >(T1::Params)"],
    ),
    rule(
        "tc.product-for-sm90",
        "yes",
        "base",
        r"(?i)gemm\w{0,30}_sm(?:90|100|103|120)[a-z]?(?:_|$)|hadacore::",
        "A product written for SM 9.0 or later is written for its MMA (measured in TurboMind and vLLM).",
        ["void turbomind::gemm::gemm_kernel_sm90_mixed<turbomind::arch::Sm90>(T1)"],
        ["void gemmSN_TN_kernel<float, (int)128, (int)16, (int)2, (int)4>(cublasGemmSmallNParams<T1>)"],
        unless=r"(?i)copy|convert|transform|pack|weights|prepare|schedule|quant(?!ized)|reduc",
    ),
    rule(
        "tc.ggml-attention-cuda-cores",
        "no",
        "base",
        r"(?:^|::)flash_attn_(?:tile|vec)(?:_|$)",
        "ggml's tile and vector attention compute on CUDA cores; its MMA kernels are others (published source of llama.cpp).",
        [
            "void flash_attn_tile_ext_f16<128, 16, 4, false>(const char *)",
            "flash_attn_vec_ext_f16<128, 1>(char const*)",
        ],
        ["void flash_attn_ext_f16<128, 128, 32, 1, false, false>(const char *)"],
    ),
    rule(
        "tc.written-on-mma",
        "yes",
        "base",
        r"(?:^|::)(?:flash_attn_(?:mma_)?ext_f16$|kernel_mlp_fused(?:_backward)?$|qk_int\d?\w{0,20}_sv_f\d+_\w{0,40}attn)|"
        r"^deep_gemm::\w{0,60}gemm",
        "ggml's MMA attention, tiny-cuda-nn's fused networks, SageAttention and DeepGEMM are written on MMA, WMMA or warp-group "
        "MMA, without another path (published source of each).",
        [
            "void flash_attn_ext_f16<128, 128, 32, 1, false, false>(const char *)",
            "void tcnn::kernel_mlp_fused<128, 8, __half, (tcnn::Activation)0, true>(tcnn::Activation, __half const*)",
            "void qk_int_sv_f8_attn_kernel<128u, 64u, 32u, 64u>(signed char*)",
            "void deep_gemm::sm90_fp8_gemm_1d2d_impl<(unsigned int)0, (unsigned int)2112>(float *)",
        ],
        ["void deep_gemm::transpose_fp32<512u, 128u, 64u>(float const*)", "void kernel_mlp_fused_bias<float>(float *)"],
    ),
    rule(
        "tc.flash-attention",
        "yes",
        "text",
        r"(?:^|[ :<_])(?:flash|lean)_(?:fwd|bwd)\w{0,60}kernel|(?:^|[ :<,])FlashAttn(?:Fwd|Bwd)\w*|flash_fprop|flash_bprop",
        "FlashAttention 2 and 3 do both products on Tensor Cores, forward and backward (measured in PyTorch, "
        "xFormers, vLLM).",
        ["void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128> >(Flash_fwd_params)", FA3],
        [FA3_COMBINE],
    ),
    rule(
        "tc.fused-attention",
        "yes",
        "base",
        r"(?:^|_|::)(?:fmha_v\d|fmha_m?hca|fmhca|fused_multihead_(?:cross_)?attention|fmhaSm\d+|_?gemm_mha_v\d|"
        r"fmha_(?:block_)?(?:fprop|dgrad|bprop|fwd|bwd)|kernel_mha$|xqa_kernel)|"
        r"^cudnn_generated_\w{0,60}?(?:sdpa|flash|mha)|flashinfer::.{0,120}?(?:Prefill|MLAPaged|BatchMLA|POD)",
        "The fused attention kernels of TensorRT, cuDNN and FlashInfer's prefill are written on MMA (measured in "
        "TensorRT 8.5; published source of FlashInfer).",
        [
            "fmha_v2_flash_attention_fp16_S_64_sm80_kernel",
            "fused_multihead_attention_v2_int8_256_64_kernel_sm86",
        ],
        [FMHA_F32_SM75],
    ),
    rule(
        "tc.marlin",
        "yes",
        "leaf",
        r"^Marlin(?:_24|MoE\w*)?$",
        "Marlin multiplies dequantised weights with m16n8k16 MMA (measured in vLLM).",
        ["void marlin::Marlin<__half, 1125899906909960L, 256, 1, 8, 8>(int4 const*, int4 const*)"],
        ["void marlin::gptq_marlin_repack_kernel<256, 4, true>(unsigned int const*, unsigned int*)"],
    ),
    rule(
        "tc.awq-gemm",
        "yes",
        "leaf",
        r"^(?:gemm_forward_4bit|gemmv2_forward_4bit|kgemm_4bit_inference$|gemm_device$)",
        "AWQ's GEMM and bitsandbytes' half-precision GEMMs are written on MMA and WMMA (measured in vLLM and "
        "bitsandbytes).",
        [
            "void kgemm_4bit_inference<__half, 256>(int, int, int, __half*, unsigned char*, float*, __half*, int)",
            "void vllm::awq::gemm_forward_4bit_cuda_m16nXk32<128>(int, int, __half*)",
        ],
        ["void kgemm_4bit_inference_naive<float, 128, 32>(int, int, int, float*, unsigned char*, float*)"],
    ),
    rule(
        "tc.bitsandbytes-naive",
        "no",
        "leaf",
        r"_4bit_inference_naive$",
        "The naive variant is a matrix-vector product on CUDA cores (measured in bitsandbytes).",
        ["void kgemm_4bit_inference_naive<float, 128, 32>(int, int, int, float*, unsigned char*, float*)"],
        ["void kgemm_4bit_inference<__half, 256>(int, int, int, __half*, unsigned char*, float*, __half*, int)"],
    ),
    rule(
        "tc.rnn-block-persist",
        "yes",
        "base",
        r"RNN_blockPersist_\w{0,20}HMMA|^(?:volta|turing|ampere)_(?:lstm|gru|rnn)_",
        "cuDNN's block-persistent recurrent kernels run on HMMA (measured in cuDNN 8 and 9).",
        ["volta_lstm_8_512(params_t)", "void ampere_lstm_tile16<16, 2>(T1)"],
        [RNN_FP32],
    ),
    rule(
        "tc.rnn-persist",
        "yes",
        "text",
        r"^(?:void )?RNN_persist_(?:fp<\w+, __half|bp<(?!double)\w+, \w+), \w+, (?:\(cudnnRNNMode_t\))?\w+, true",
        "The first boolean of RNN_persist selects Tensor Cores; forward needs half-precision weights, double has "
        "none (measured in cuDNN 8 and 9: 3,240 kernels).",
        [RNN_TC],
        [RNN_FP32],
    ),
    rule(
        "tc.rnn-persist-cuda-cores",
        "no",
        "base",
        r"^RNN_persist_|RNN_blockPersist_|persistRNN|(?:LSTM|GRU|RNN)_?\w{0,40}elementWise|elemWiseRNN",
        "Without that boolean, in FP32 forward, in double, or without HMMA in the name, cuDNN's recurrent kernels run "
        "on CUDA cores (measured in cuDNN 8 and 9).",
        [RNN_FP32],
        [RNN_TC],
    ),
    rule(
        "tc.cudnn-volta-dgrad",
        "yes",
        "base",
        r"dgrad_1x1_stride_2x2|^dgrad_2d$",
        "cuDNN's hand-written Volta backward-data kernels are written on 8x8x4 MMA (measured in cuDNN 8).",
        ["cudnn::cnn::dgrad_1x1_stride_2x2(cudnn::cnn::Dgrad2d_First_Layer_884_NHWC_Engine_Impl::Params)"],
        ["void cudnn::cnn::dgrad2d_grouped_direct_kernel<false, true, int>(T1)"],
    ),
    rule(
        "tc.trt-bert-sparse",
        "yes",
        "base",
        r"(?:^|::)(?:conv|gemm)_kernel_\d+_(?:fp\d+_)?sb+(?:_\w+)?$|fused_convolutions_kernel_int8|^res2_(?:sm_\d+|br)\w{0,20}_kernel$",
        "TensorRT's small-batch kernels for BERT and ResNet blocks run on MMA (measured in TensorRT 8.5).",
        ["conv_kernel_128_sb_sm90(geometry_t, void*, void*)", "fused_convolutions_kernel_int8_sm86"],
        [XMMA_FFMA],
    ),
    rule(
        "tc.conv-cuda-cores",
        "no",
        "base",
        r"(?:implicit|explicit|precomputed)_convolve\w{0,20}gemm|(?:implicit|explicit)_convolveNd|convolve\w{0,40}_engine|"
        r"conv\d?[dD]_(?:c1_k1|grouped_direct|NCHW|precomputed)|grouped_direct|shmem_tiling|kernel_specialized|"
        r"[dw]grad\w{0,40}engine|winograd|fft[12]d|cudnn::(?:detail|gnn)::|dgrad2d_|wgrad2d_|"
        r"convolution_sm\d|(?:^|_)c(?:onv)?dw|[dD]epth_?[wW]ise|causal_?conv1d|[wd]?grad\d?d_c1_k1|generateWinograd|fusedConvolutionRelu|"
        r"compute\w{0,12}OffsetsKernel|_fft(?:_|$)|fft\dd_|dgrad\dd_filter\dx\d",
        "cuDNN's older direct, implicit, Winograd and FFT convolutions are written on FMA (measured in cuDNN 8: "
        "2,700 kernels).",
        [
            "void implicit_convolve_sgemm<float, float, (int)1024, (int)5>(int, int, int, const T1 *)",
            "void cudnn::cnn::conv2d_grouped_direct_kernel<false, true, int>(T1)",
        ],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.blas-cuda-cores",
        "no",
        "base",
        r"(?i)gemv|(?:^|_)(?:s?dot|nrm2|asum|axpy|scal|rotm?g?|swap|i?am(?:ax|in)|ger[cu]?|symv|hemv|trmv|trsv|tbmv|tbsv|"
        r"tpmv|tpsv|gbmv|spmv|spr2?|syr2?|her2?)(?:_|$)|gemmSN|gemmk1|gemm_kernel\dx\d|batch_gemm_kernel|largek|"
        r"fermiPlus|gemm1x1_kernel|magma|trsm|trmm|syherk|syhemm|syhem|syrk|syr2k|getr[fsi]|geqr|potrf|gels|trtri|"
        r"cublasGemm|gemm_batched_smallsq|gemm_template_(?:v?batched|device)|batch_gemm[nt]|gemm_small|gemmEx_kernel|gemmBiasEx|geam|"
        r"(?:bsr|csr)[ms]m|gemm_to_sparse|"
        r"(?:^|::)(?:mat)?vec_?mat|mul_mat_vec|matvec|mat_vec",
        "BLAS levels 1 and 2, triangular and small-matrix products are written on FMA (measured in cuBLAS 11).",
        [
            "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>(T1)",
            "void gemmSN_TN_kernel<float, (int)128, (int)16, (int)2, (int)4>(cublasGemmSmallNParams<T1>)",
            "void magma_sgemmEx_kernel<float, signed char, float, false, true, 6, 4, 6, 3, 4>(int)",
        ],
        [VOLTA_884],
    ),
)
