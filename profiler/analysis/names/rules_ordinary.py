"""Rules for the ordinary work around products (copies, reductions, element-wise), and the end of the list.

These come after every rule that recognises a Tensor Core kernel. First whole namespaces and code generators,
then words that name the work, then C++ functions whose name holds no word for a product at all, then unknown.
"""

from __future__ import annotations

from profiler.analysis.names.rule_examples import CUDNN_GENERATED
from profiler.analysis.names.rules import Rule, rule

# Words for work that a Tensor Core could do. A name with one of them is never judged by absence.
PRODUCT_WORD = (
    r"(?i)gemm|mat_?mul|mul_?mat|mat_?mat|(?<![a-z])mm(?![a-z])|bmm|(?<!ga)mma(?![dx])|conv(?!er|ex)|attend|"
    r"fprop|(?<![a-z0-9])[dw]grad|attention|attn|fmha|mha(?![a-z])|"
    r"flash|lstm|(?<![a-z])gru(?![a-z])|rnn|(?<!bi)(?<!tri)linear(?!_?(?:index|comb|interp|offset|upsampl))|"
    r"(?<!to)(?<!to_)dense(?!_to)|einsum|"
    r"(?<![a-z])mlp|fused_?moe|tensor_?op|tensor_?core|xmma|cutlass(?:::|_\w)|cute::|contract|gett_|hadamard|mat_?(?:appl|expect)|apply_?mat|"
    r"dot(?![a-z])|(?<![a-z])[sdcz]?(?:syrk|herk|symm|trmm|trsm)(?![a-z])|"
    r"(?<![a-z])qkv|project|ssd_|chunk_(?:state|scan)|mamba|delta_rule|fft|winograd"
)

# Types that a user's kernel has for the sake of Tensor Cores as often as for memory.
TENSOR_CORE_TYPE = (
    r"(?<!_)half(?:2|_t)?(?![a-z])|__half|bfloat16|bf16|fp8|float8|e4m3|e5m2|fp4|e2m1|tf32|tfloat32|"
    r"int8_t|signed char|char4|wmma"
)


_ORDINARY_WORD = (
    r"(?i)element_?wise|point_?wise|vectorized|unrolled|(?:^|_|:)(?:fill|copy|cast|convert|add|mul|div|sub|clamp|abs|exp|log|"
    r"sqrt|pow|neg|scale|axpby|saxpy|daxpy|set|zero|memset|init)(?:_|$|\d|[A-Z])|copy(?:_?kernel)?$|memcpy|transpose|permut|"
    r"re_?format|reorder|shuffle|concat|(?:^|_)cat(?:_|$)|(?:^|_)pad|slice|split(?!k)|stack|gather|scatter|index|embedding|"
    r"lookup|one_?hot|arange|iota|range|linspace|tril|triu|eye|where|mask|compare|relu|gelu|silu|swish|sigmoid|tanh|"
    r"softplus|activation|act_and_mul|bias|dropout|rand|philox|bernoulli|normal_|uniform|multinomial|"
    r"reduc|(?:^|_)sum(?:_|$)|mean|(?:^|_)arg_?(?:max|min)|amax|cumsum|cumprod|scan|histogram|count|top_?k|sort|unique|"
    r"select|norm(?:al|alize|alise|alization|alisation)?|softmax|batch_?norm|layer_?norm|group_?norm|rms|(?:^|_)bn_|"
    r"loss|entropy|optimi[sz]er|adam|sgd|lamb|momentum|lars|ema_|multi_tensor|"
    r"quant|dequant|pool|resize|upsample|interp|grid_sampl|im2col|col2im|unfold|vol2col|roi_?align|(?:^|_)nms|rotary|rope|"
    r"cache|bitonic|radix|merge|nchw|nhwc|ncdhw|ndhwc|layout|tile_?(?:copy|bias)|broadcast|expand|repeat|"
    r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|barrier|nvshmem|send_?recv|sampl|penalt|beam|token|"
    r"decode|encode|compress|hash|crop|flip|warp_?affine|color|yuv|rgb|jpeg|"
    r"epilog|prolog|dwconv_bias|empty_?kernel|check|nan|isfinite|unscale|l2norm|triangular_?fill|fused_bias|stencil|laplac|jacobi|op_generic_tensor|region_transform|row_?stats"
)

GENERATED_RULES: tuple[Rule, ...] = (
    rule(
        "tc.triton-inductor-plain",
        "no",
        "base",
        r"^triton_(?:poi|red|per|for|split_scan)_",
        "torch.compile names element-wise, reduction and persistent-reduction kernels poi, red and per; products "
        "are templates (tem) of their own (published source of PyTorch's Inductor).",
        ["triton_poi_fused_convolution_relu_0", "triton_red_fused_native_layer_norm_3"],
        ["triton_tem_fused_addmm_2"],
    ),
    rule(
        "tc.triton-template",
        "unknown",
        "base",
        r"(?i)^(?:triton_(?:tem|mm|bmm|gemm|conv|flex)|gemm_fusion_dot|_?fused_moe|_?matmul_kernel)",
        "A Triton matrix template uses Tensor Cores or not by its types and options, which the name omits.",
        ["triton_tem_fused_addmm_2", "gemm_fusion_dot_12_0"],
        ["triton_poi_fused_add_1"],
    ),
    rule(
        "tc.xla-fusion",
        "no",
        "symbol",
        r"^(?:(?:loop|input|wrapped|transpose|concatenate|scatter|reduce|triton_softmax)_\w{0,200}|(?:\w{0,200}_)?fusion(?:_\d+)*(?:__\d+)?|"
        r"(?:copy|broadcast|select|add|multiply|subtract|convert|compare|dynamic_update_slice)_\w{0,120}?fusion\w{0,20})$",
        "XLA emits loop, input, transpose and reduce fusions as CUDA-core code; products are calls or "
        "gemm_fusion_dot (published source of XLA).",
        ["loop_add_multiply_fusion_3", "input_reduce_fusion", "fusion_12", "wrapped_transpose"],
        ["gemm_fusion_dot_12_0"],
        unless=r"(?i)gemm|dot|conv_|cudnn|cublas",
    ),
    rule(
        "tc.cudnn-generated-product",
        "yes",
        "base",
        r"^cudnn_generated_fort_native_(?=\w{0,40}sm(?:[89]|1\d)\d)\w{0,60}?(?:conv(?:Fwd|Dgrad|Wgrad|Bwd)|matMul)",
        "cuDNN's run-time fusion engines compute convolutions and products on Tensor Cores, FP32 as TF32 (ncu counted them in "
        "every one of 109 executions of FP16 and FP32 engines of TensorRT-RTX 1.6.1 on an H200).",
        [CUDNN_GENERATED, "cudnn_generated_fort_native_sm80_matMul_pointwise_knob_41_splitk_4_32x32x32_8_0"],
        ["cudnn_generated_resampleFwd_cutlass_sm80_knob_34_16x32x1_8x32x1_1_kernel0_0"],
    ),
    rule(
        "tc.cudnn-generated-plain",
        "no",
        "base",
        r"^cudnn_generated_\w{0,60}?(?:resample|pointwise|reduc|norm|softmax|reshape|transpose|concat|rng)",
        "cuDNN's generated kernels list what they fuse; without a product there is no use for Tensor Cores (counted by ncu on an "
        "H200 for resampling).",
        ["cudnn_generated_resampleFwd_cutlass_sm80_knob_34_16x32x1_8x32x1_1_kernel0_0"],
        [CUDNN_GENERATED],
        unless=r"(?i)conv(?!ert)|matMul|gemm|sdpa|mha|flash|attn|attention",
    ),
    rule(
        "tc.nvfuser-plain",
        "no",
        "base",
        r"(?:^|::)nvfuser_(?:pointwise|reduction|transpose|resize|(?:inner|outer|inner_outer)_persistent|no_op)_",
        "nvFuser names a kernel after its scheduler; these schedulers take no product (published source of nvFuser).",
        ["nvfuser_pointwise_f1_c1_r0_g0", "nvfuser_inner_outer_persistent_f0_c1_r0_g0"],
        ["nvfuser_none_f0_c0_r0_g0"],
    ),
    rule(
        "tc.nvfuser",
        "unknown",
        "base",
        r"(?:^|::)nvfuser_",
        "nvFuser's matmul scheduler, and kernels that were scheduled by hand (none), use Tensor Cores or not by their types.",
        ["<unnamed>::nvfuser_none_f0_c0_r0_g0(<unnamed>::Tensor<float, (int)2, (int)2>)", "nvfuser_matmul_f0_c1_r0_g0"],
        ["nvfuser_pointwise_f1_c1_r0_g0"],
    ),
    rule(
        "tc.myelin-product",
        "unknown",
        "base",
        r"^__myl_\w{0,200}?(?:Fc|Gemm|Mma|Conv|Dot|Mha|Attn|Mat[Mm]ul|Bmm)",
        "A Myelin kernel that fuses a product may or may not use Tensor Cores; the name does not say.",
        ["__myl_FcAddRelu_0x1b2c3d"],
        ["__myl_MulSumAddSqrt_0x1b2c3d"],
    ),
    rule(
        "tc.myelin-plain",
        "no",
        "base",
        r"^__myl_",
        "A Myelin kernel lists the operations that it fuses; without a product among them it has no use for "
        "Tensor Cores.",
        ["__myl_MulSumAddSqrt_0x1b2c3d"],
        ["__myl_FcAddRelu_0x1b2c3d"],
    ),
)
"""Kernels of code generators, whose names list the operations that were fused."""

ORDINARY_RULES: tuple[Rule, ...] = (
    rule(
        "tc.at-native",
        "no",
        "base",
        r"^at::(?:native|cuda|functorch)::|^(?:c10|torch)::|^at_cuda_detail::",
        "PyTorch's own kernels are written on CUDA cores; its products come from cuBLAS, cuDNN and CUTLASS "
        "(published source of PyTorch; measured in libtorch_cuda, tinygemm aside).",
        [
            "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float> >(int, T2, T3)",
            "void at::native::<unnamed>::max_pool_forward_nchw<float, int>(T2, const T1 *)",
        ],
        ["void at::native::tinygemm_m16n8k16_chunk_kernel<at::native::ALayout_RM<0>, 8, 8>(T1)"],
    ),
    rule(
        "tc.cub-thrust",
        "no",
        "base",
        r"(?:^|::)(?:cub|thrust|cuda_cub|moderngpu|mgpu)(?:::|$)",
        "CUB and Thrust sort, scan, reduce and copy; they hold no product (published source of CCCL).",
        [
            "void cub::CUB_200200_700_NS::DeviceReduceSingleTileKernel<cub::Policy>(float*)",
            "void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__parallel_for::ParallelForAgent>(T1)",
        ],
        ["ampere_sgemm_128x64_nn"],
    ),
    rule(
        "tc.collectives",
        "no",
        "base",
        r"^nccl(?:Dev)?(?:Kernel|Sym|Local|AllReduce|Func)|nvshmem|(?i:all_?reduce)|^(?:one|two)Shot",
        "Collectives move and add data (published source of NCCL).",
        ["ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"],
        ["ampere_sgemm_128x64_nn"],
    ),
    rule(
        "tc.tensorrt-support",
        "no",
        "text",
        r"genericReformat::|^(?:void )?cuInt8::|CUTENSOR_NAMESPACE::\w{0,40}permut|^generatedNativePointwise|"
        r"nvinfer1::rt::cuda::\w{0,60}(?:pad|copy|Bias|scale|[Pp]ool|[Ss]oftmax|shuffle|gather)|permutationKernelPLC",
        "TensorRT's reformat, pad, permute and point-wise kernels only move or map data (measured in TensorRT 8.5).",
        [
            "void genericReformat::copyVectorizedKernel<double, float, signed char, (bool)0, (bool)0, (int)3>(unsigned int)",
            "generatedNativePointwise",
            "void nvinfer1::rt::cuda::padBiasWeights<float, (int)32, (nvinfer1::rt::cuda::QuantMethod)2>(T1)",
        ],
        ["sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_116_execute_kernel_trt"],
    ),
    rule(
        "tc.ordinary-word",
        "no",
        "leaf",
        _ORDINARY_WORD,
        "The function is named after work that has no matrix product in it (measured: see docs/classification.md).",
        [
            "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, (bool)1, (int)1>(T2, T2)",
            "void kOptimizerStatic8bit1StateBlockwise<float, 4, 256, 1>(float*)",
            "void vllm::rms_norm_kernel<c10::Half>(c10::Half*)",
            "softmax_kernel",
        ],
        ["void mystery_gemm<float>(float*)"],
        unless=PRODUCT_WORD,
    ),
    rule(
        "tc.no-product-word-in-library",
        "no",
        "cxx",
        r"^(?:void )?(?:cu(?:dnn|blas|sparse|solver|tensor|fft)\w*|nvinfer1|onnxruntime|caffe2|tensorflow|apex|_anon_::cu\w+)::",
        "A kernel of a library that was measured, with no word for a matrix product, convolution, attention or recurrence "
        "in its name or template arguments (measured: see docs/classification.md).",
        ["void cudnn::ops::strided_walk<__half, float>(long, T1 *, T2)"],
        ["void step<__half>(__half const*, __half*)", "void cudnn::cnn::mystery_conv<__half>(T1)"],
        unless=PRODUCT_WORD,
    ),
    rule(
        "tc.no-product-word",
        "no",
        "cxx",
        r"^.",
        "A C++ kernel with a telling name, no word for a matrix product, convolution, attention or recurrence in its name or "
        "template arguments, and no type that Tensor Cores multiply (measured: see docs/classification.md).",
        ["void heat_step<float>(float*, int)"],
        ["void mystery_gemm<float>(float*)", "void kernel<float>(float*)", "void step(__half const*, __half*, int)"],
        unless=PRODUCT_WORD + "|" + TENSOR_CORE_TYPE,
    ),
    rule(
        "tc.unknown",
        "unknown",
        "text",
        r"",
        "The name does not decide: a bare or user-given name, or a product whose instruction is not named.",
        ["", "Kernel2", "my_kernel", "void mystery_gemm<float>(float*)"],
        ["ampere_sgemm_128x64_nn"],
    ),
)
