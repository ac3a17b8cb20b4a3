"""The ordered rules that say whether a kernel uses Tensor Cores, judged by its name alone.

The order carries meaning:

1. GPUs on which the named instruction cannot run (only when the compute capability is known).
2. Code generators (Triton, XLA, Myelin), whose names list what was fused.
3. Helpers: kernels that carry the name of a Tensor Core kernel but only reduce, reorder or convert for it.
4. Names that state the instruction: shapes, ``tensorop``, ``hmma``, MMA atoms, or ``ffma`` and ``simt``.
5. Families whose published source or measured machine code settles the question.
6. Ordinary work (copies, reductions, element-wise), by namespace and by word.
7. Unknown.
"""

from __future__ import annotations

from profiler.analysis.names.rule_examples import (
    BN_MATMUL,
    BN_STATS,
    CUTLASS_1688,
    CUTLASS_SIMT,
    FA3,
    FA3_COMBINE,
    GEMM_UNIVERSAL,
    VOLTA_884,
    XMMA_FFMA,
    XMMA_SPLIT_K,
    XMMA_TENSOR,
    XMMA_WARPGROUP,
)
from profiler.analysis.names.rules import Rule, rule
from profiler.analysis.names.rules_family import FAMILY_RULES
from profiler.analysis.names.rules_gpu import GPU_RULES
from profiler.analysis.names.rules_ordinary import GENERATED_RULES, ORDINARY_RULES

_MMA_NUMBER = (
    r"(?<![a-z0-9])(?:[hsdczib]|gz|gd|gs|gc|ig|o|q)(?:884|1684|1688|8816|8832|88128|161616|168(?:8|16|32|64|128|256)|"
    r"64x\d+x\d+)(?:tf32|bf16|f16|s8|u8|s4|u4|e4m3|e5m2)?(?:gemm|cudnn|fprop|dgrad|wgrad|syrk|herk|symm|hemm|"
    r"trmm|rank|spgemm|conv)"
)

_HELPER_RULES: tuple[Rule, ...] = (
    rule(
        "tc.split-k-reduce",
        "no",
        "base",
        r"(?i)split_k_kernel|split_?k_?reduc|reduce_?split_?k|segment_k_reduc",
        "A split-K product is summed by a kernel of its own that only adds; it carries the name of the product "
        "(measured: 0 of 2,985 such kernels hold an MMA).",
        [XMMA_SPLIT_K, "void cublasLt::splitKreduce_kernel<(int)32, (int)16, int, float>(T1)"],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.cutlass-reduction",
        "no",
        "text",
        r"(?:Kernel2?|device_kernel)<\s*cutlass\w{0,20}(?:::|, )(?:reduction|transform)(?:::|, )|"
        r"fmha::kernel::\w{0,40}Reduction",
        "cutlass::reduction kernels only add, cutlass::transform kernels only rearrange (published source of CUTLASS).",
        ["void cutlass::Kernel<cutlass::reduction::kernel::ReduceSplitK<cutlass::MatrixShape<4, 128> > >(T1)"],
        [CUTLASS_1688],
    ),
    rule(
        "tc.xmma-helper",
        "no",
        "base",
        r"execute_helper|helper_kernel|kernel_helper|pre_execute|post_execute|_imma_emu(?:::|_)",
        "Helper, pre- and post-execute kernels prepare or finish a product without computing it (measured in "
        "cuBLAS 11, cuDNN 8 and TensorRT 8.5).",
        [
            "sm80_xmma_dgrad_implicit_gemm_f16f16_f16f32_f32_tilesize128x64x64_g1_tensor16x8x16_"
            "execute_helper_kernel_cudnn_infer"
        ],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.cutlass-assist",
        "no",
        "text",
        r"cutlass3x_\w{0,200}?_assist",
        "CUTLASS 3 'assist' kernels set a product up without computing it (measured in cuBLAS).",
        [
            "cutlass3x_sm90_tensorop_s64x128x16gemm_f16_assist_kernel",
            "cutlass3x_sm100_tensorop_s128x256x64gemm_block_scaled_ue4m3_assistant_kernel",
        ],
        ["cutlass3x_sm90_tensorop_s64x128x16gemm_f16_128x128x64_warpspecialized"],
    ),
    rule(
        "tc.operand-reorder",
        "no",
        "leaf",
        r"(?i)reorder|repack|prepack|transform_?filter|metadata|set_device_ptrs|permute_?(?:cols|weights|rows)|RSKC_to_|"
        r"reshape_and_cache|Rearrangement$|GemmBiasKernel$|GemmPtrs|bidirectional_accum|"
        r"RNN_(?:skip|handle)|(?:Join|Split)Heads|combine_d[hw]",
        "Kernels that lay weights or metadata out for a later product only move data (measured in cuDNN 8, "
        "cuBLAS 13, vLLM).",
        [
            "xmma::implicit_gemm::cuda_reorder_hmma_filter(xmma::implicit_gemm::Reorder_imma_filter_params)",
            "void marlin::gptq_marlin_repack_kernel<256, 4, true>(unsigned int const*, unsigned int*)",
        ],
        [XMMA_TENSOR],
        unless=r"_xmma_(?!reorder)|tensorop",
    ),
    rule(
        "tc.batchnorm-statistics",
        "no",
        "base",
        r"bn_stats_kernel|dbn_stats|dbn_apply|bn_apply_kernel|::bn_\w*kernel$",
        "The statistics kernels of a fused convolution and batch norm carry the MMA traits of the convolution, and "
        "only add (measured in cuDNN 8).",
        [BN_STATS],
        [BN_MATMUL],
    ),
    rule(
        "tc.attention-helper",
        "no",
        "base",
        r"(?i)(?:flash|fmha|mla|attn|attention|sdpa|mha).{0,80}?(?:combine|merge|convert_?d?[qkv]|pre_?process|"
        r"post_?process|clear_d|dot_do_o|cu_?seqlens|schedul|metadata|prepare_|reduc)|compute_dot_do_o",
        "Attention kernels that combine partial results, convert gradients or prepare indices do no product "
        "(measured in PyTorch, xFormers, vLLM).",
        [
            "void pytorch_flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<64> >(T1)",
            "void flash_bwd_convert_dq_kernel<Flash_bwd_kernel_traits<128, 64> >(Flash_bwd_params)",
        ],
        ["void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128> >(Flash_fwd_params)"],
    ),
    rule(
        "tc.flash-attention-3-helper",
        "no",
        "text",
        r"(?:^|[<:, ])FlashAttn\w{0,20}(?:Combine|Preprocess|Postprocess|Convert|Prepare)",
        "FlashAttention 3's combine, pre- and post-process kernels do no product (measured in vLLM).",
        [FA3_COMBINE],
        [FA3],
    ),
    rule(
        "tc.attention-decode-cuda-cores",
        "no",
        "base",
        r"(?i)paged_attention_v\d|single_query_cached_kv|masked_multihead_attention|^mmha|"
        r"flashinfer::.{0,120}?(?:Decode|MergeState|Variable\w*Merge|AppendPaged|Cascade|Sampling|RMSNorm|Rotary)",
        "Attention for one query token is a matrix-vector product, done on CUDA cores in these projects (published "
        "source of vLLM, FasterTransformer and FlashInfer).",
        ["void vllm::paged_attention_v1_kernel<float, float, 64, 16, 128>(float*)"],
        [FA3],
        unless=r"(?i)MLA|TensorCore|_tc_|wgmma|hopper|sm90",
    ),
)

_INSTRUCTION_RULES: tuple[Rule, ...] = (
    rule(
        "tc.reference-version",
        "unknown",
        "leaf",
        r"(?i)^(?=.*(?:gemm|mma|mm_|conv|atten|attn|flash|fmha|mha|xqa|tensor))(?!.*4bit_inference).*_(?:ref|reference|naive|baseline|"
        r"fallback|emulated|emulation|simulated)(?:_|$)",
        "A reference or fallback version bears the name of the kernel that it stands in for, and is often written on CUDA cores.",
        ["void flash_fwd_kernel_reference(float*)", "void conv_wmma_reference(float*)", "xqa_kernel_naive(float*)"],
        ["void kgemm_4bit_inference_naive<float, 128, 32>(int, int, int, float*, unsigned char*, float*)"],
    ),
    rule(
        "tc.nvjet",
        "yes",
        "base",
        r"^nvjet_(?:sm\d+[a-z]?_)?[a-z0-9]{2,12}_(?:mma_|\dsm_|v?\d+x)",
        "nvjet kernels are cuBLAS's generated matrix products for Hopper and later, all on warp-group or "
        "tensor-memory MMA (counted by ncu on an H200: docs/verification.md).",
        ["nvjet_sm90_hsh_128x192_64x5_2x1_v_bz_coopB_TNN", "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNT"],
        ["void nvjet_imma_gemm_set_device_ptrs_ker<(emu_internal_pack_t)1>(void *)"],
    ),
    rule(
        "tc.xmma-tensor-shape",
        "yes",
        "base",
        r"_(?:sp)?tensor\d+x\d+(?:x\d+)?(?:_|$)",
        "tensorMxNxK names the MMA shape; every execute kernel so named holds it (measured: 3,610 of 3,610).",
        [XMMA_TENSOR],
        [XMMA_FFMA],
    ),
    rule(
        "tc.xmma-cuda-cores",
        "no",
        "base",
        r"_(?:ffma|dfma|hfma2?|idp4a?|dp4a|simt)(?:_|$)",
        "ffma, dfma, hfma, idp and simt name the CUDA-core instruction that does the product (measured in cuBLAS "
        "11, cuDNN 8 and TensorRT 8.5).",
        [XMMA_FFMA],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.xmma-winograd",
        "no",
        "base",
        r"_xmma_fprop_wngd_f32f32_f32_f32_",
        "XMMA's Winograd convolution with FP32 throughout holds no MMA (counted in TensorRT 8.6).",
        [
            "sm80_xmma_fprop_wngd_f32f32_f32_f32_nchwkcrs_nchw_tilesize8x16x64x8_warpsize8x1x1_wngd2x2_execute_kernel_trt",
        ],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.xmma-pooling",
        "no",
        "base",
        r"^sm\d+_xmma_pooling",
        "Pooling kernels hold no MMA, also where the name says IMMA (measured in TensorRT 8.5).",
        ["sm72_xmma_pooling_IMMA_NCxHW32_gap_execute_kernel_trt", "sm50_xmma_pooling_coalescedC_NHWC_kMAX_3_False"],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.xmma-depthwise",
        "no",
        "base",
        r"^sm\d+_xmma_depthwise",
        "Depth-wise tiling kernels compute on CUDA cores (measured in cuDNN 8 for SM 7.0, 8.0 and 9.0).",
        ["sm90_xmma_depthwise_convolution_fprop_tiling_f16f16_f32f32_f32_nhwckrsc_nhwc_execute_kernel_cudnn_infer"],
        [XMMA_TENSOR],
    ),
    rule(
        "tc.xmma-warp-group",
        "yes",
        "base",
        r"xmma_\w{0,300}?(?:warpgroup|utmaldg|gmma)",
        "warpgroupsize means warp-group MMA of Hopper (measured in cuBLAS 11 and cuDNN 8, split-K aside).",
        [XMMA_WARPGROUP],
        [XMMA_FFMA],
    ),
    rule(
        "tc.trt-conv-act-pool",
        "yes",
        "base",
        r"trt_conv_(?:act|clippedReLU)_pool|convActPoolKernel|implicitGemm\d\w{0,40}Maxpool",
        "TensorRT's fused INT8 convolution, activation and pooling for the first layer of a network runs on IMMA "
        "(measured in TensorRT 8.5).",
        ["sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_116_execute_kernel_trt"],
        ["sm72_xmma_pooling_IMMA_NCxHW32_gap_execute_kernel_trt"],
    ),
    rule(
        "tc.trt-depthwise-separable",
        "yes",
        "base",
        r"(?i)trt_dep_sep_conv|Dep_Sep_Kernel|xmma_fprop_avdt_sparse",
        "TensorRT's fused depth-wise separable and sparse INT8 convolutions run on IMMA (measured in TensorRT 8.5).",
        ["sm80_trt_dep_sep_conv_1d_INT8_FP32_nFrags_4_C512_K512_execute_kernel_trt"],
        ["sm90_xmma_depthwise_convolution_fprop_tiling_f16f16_f32f32_f32_nhwckrsc_nhwc_execute_kernel_cudnn_infer"],
    ),
    rule(
        "tc.mma-number",
        "yes",
        "text",
        _MMA_NUMBER,
        "The digits 884, 1688, 16816, 8816, 16832 and so on in a GEMM or convolution name are the MMA shape "
        "(measured in cuBLAS 11, cuDNN 8 and TensorRT 8.5).",
        [
            VOLTA_884,
            "ampere_s16816gemm_fp16_128x128_ldg8_stages_32x5_tn",
            CUTLASS_1688,
            "trt_turing_fp32_i8816cudnn_int8_128x128_ldg16_relu_small_nt_v1",
        ],
        ["ampere_sgemm_128x64_nn", CUTLASS_SIMT, "gemm_m512_n1688_k64"],
    ),
    rule(
        "tc.cutlass-simt",
        "no",
        "text",
        r"cutlass\w{0,12}_simt_|OpClassSimt|MmaSimt|UniversalFMA",
        "simt is CUTLASS's name for CUDA cores (published source of CUTLASS; measured in cuBLAS).",
        [CUTLASS_SIMT],
        [CUTLASS_1688],
    ),
    rule(
        "tc.cutlass-tensorop",
        "yes",
        "text",
        r"tensorop(?:_|$)|OpClass\w{0,20}TensorOp|[mM]ma\w{0,40}TensorOp|TensorOpMultiplicand",
        "tensorop is CUTLASS's name for Tensor Cores (published source of CUTLASS; measured in cuBLAS and cuDNN).",
        [
            "void cutlass::Kernel2<cutlass_70_wmma_tensorop_gemm_f16_32x32_nn>(T1::Params)",
            "void cutlass::Kernel<cutlass::gemm::kernel::Gemm<cutlass::gemm::warp::MmaTensorOp<float> > >(T1)",
        ],
        [CUTLASS_SIMT],
    ),
    rule(
        "tc.template-mma-simt",
        "no",
        "text",
        r"(?<![A-Z])MMA_SIMT",
        "The template argument says that the product is done on CUDA cores (measured in TurboMind).",
        ["void turbomind::attention_kernel<turbomind::attention::Impl<turbomind::attention::MMA_SIMT, __half> >(T1)"],
        [GEMM_UNIVERSAL],
    ),
    rule(
        "tc.template-mma-shape",
        "yes",
        "text",
        r"MMA_(?:884|1688|8816|81616|16816|16832|\d+x\d+x\d+_)(?![0-9])",
        "The template argument names the MMA shape (measured in TurboMind).",
        ["void turbomind::attention_kernel<turbomind::attention::Impl<turbomind::attention::MMA_16816, __half> >(T1)"],
        ["void turbomind::attention_kernel<turbomind::attention::Impl<turbomind::attention::MMA_SIMT, __half> >(T1)"],
    ),
    rule(
        "tc.cute-mma-atom",
        "yes",
        "text",
        r"SM(?:70|75|80|89|90|100|103|120)_\d+x\d+x\d+_|SM1\d\d_(?:MMA|SPARSE|BLOCKSCALED|\w{0,12}UMMA)|GMMA::|"
        r"Mainloop\w{0,40}(?:Gmma|Umma)|MacheteCollectiveMma|KernelTmaWarpSpecialized|KernelPtrArrayTma|"
        r"KernelCpAsyncWarpSpecialized|fmha::kernel::Sm\d+\w{0,20}Fmha|Sm\d+Fmha(?:Fwd|Bwd|Gen|Mla)\w{0,20}(?:Kernel|Mainloop)",
        "A CuTe MMA atom or a Gmma main loop in the template is the instruction itself (published source of "
        "CUTLASS; measured in vLLM and PyTorch).",
        [GEMM_UNIVERSAL],
        [FA3_COMBINE],
    ),
    rule(
        "tc.template-wmma-type",
        "yes",
        "text",
        r"(?:nvcuda|mma)::wmma::|[ <,]wmma::",
        "A template argument out of nvcuda::wmma belongs to a kernel that is written on it (CUDA C++ Programming Guide).",
        ["void tcnn::kernel_mlp_fused_backward<64, 8, __half, (tcnn::Activation)3, nvcuda::wmma::col_major>(T1)"],
        ["void tcnn::kernel_grid<__half, 3u, 2u>(unsigned int)"],
    ),
    rule(
        "tc.xmma-traits",
        "yes",
        "text",
        r"_(?:h|i|d|q|o|b|s|tf32|hg|ig|qg|e4m3|fp8){1,3}mma_\w{0,60}traits",
        "xmma templates carry the instruction in their traits (measured in cuBLAS 11, cuDNN 8, TensorRT 8.5).",
        [BN_MATMUL],
        ["void xmma::gemm::kernel<xmma::gemm::Traits<xmma::Ampere_ffma_fp32_traits> >(T1)"],
    ),
    rule(
        "tc.xmma-traits-cuda-cores",
        "no",
        "text",
        r"_(?:ffma|dfma|hfma2?|idp|imad)\w{0,60}_traits",
        "xmma templates carry the instruction in their traits (measured in cuBLAS 11).",
        ["void xmma::gemm::kernel<xmma::gemm::Traits<xmma::Ampere_ffma_fp32_traits> >(T1)"],
        [BN_MATMUL],
    ),
    rule(
        "tc.names-instruction",
        "yes",
        "base",
        r"(?i)(?:^|[_:\d])(?:hmma|imma|dmma|bmma|qmma|omma|hgmma|igmma|qgmma|wgmma|gmma|umma|wmma|tcgen05|utcmma)(?=[_\d]|$)|"
        r"m(?:8|16|64)n\d+k\d+|tensor_?core(?!_?free)|[a-z]WMMA|ImmaGemm|HmmaGemm|first_layer_(?:wgrad|filter)",
        "The function is named after the Tensor Core instruction or its shape (measured in cuDNN, TensorRT, "
        "PyTorch, vLLM).",
        [
            "Volta_scale_bias_relu_hmma_implicit_gemm_fprop_fp32_nhwc_128x128x32_1x1",
            "void at::native::tinygemm_m16n8k16_chunk_kernel<at::native::ALayout_RM<0>, 8, 8>(T1)",
            "volta_first_layer_filter3x3_fwd_execute_flt_k_16_kernel_cudnn_infer",
        ],
        [BN_STATS, "void at::native::matrix_to_m16n8k16_Bint4_layout<2>(T1)"],
        unless=r"matrix_to_|_layout$|[eE]lement_?[wW]ise|(?i:cuda_?core|(?:no|non|without|transform|convert|copy)_|_(?:transform|convert|copy))",
    ),
    rule(
        "tc.legacy-gemm-cuda-cores",
        "no",
        "base",
        r"(?:^|_|::)(?:kepler|fermi|maxwell|pascal)(?:_|Plus|[A-Z])|"
        r"(?:^|_)(?:volta|turing|ampere|ada|hopper|blackwell)_(?:\w{1,12}_)?(?:g?[sdczh]|i|ig)"
        r"(?:gemm|cudnn|conv|syrk|herk|trsm|symm|hemm|trmm)(?:_|$)|"
        r"(?:^|_)(?:volta|turing|ampere)_\w{0,60}?winograd",
        "Without MMA digits, sgemm, hgemm, dgemm, scudnn and their kin run on CUDA cores (measured in cuBLAS 11 "
        "and cuDNN 8: 0.3% do not).",
        [
            "ampere_sgemm_128x64_nn",
            "cudnn_infer_volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1",
            "maxwell_scudnn_128x64_relu_interior_nn_v1",
            "void fermiCgemm_v3_kernel<true, 5>(int)",
        ],
        [VOLTA_884],
    ),
)

TENSOR_CORE_RULES: tuple[Rule, ...] = (
    *GPU_RULES,
    *GENERATED_RULES,
    *_HELPER_RULES,
    *_INSTRUCTION_RULES,
    *FAMILY_RULES,
    *ORDINARY_RULES,
)
