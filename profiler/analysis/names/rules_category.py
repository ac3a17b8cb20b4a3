"""The ordered rules that say what kind of work a kernel does.

Helpers come first (a split-K sum is a reduction although its name says convolution), then the products, then
the words for ordinary work, from the most telling to the least.
"""

from __future__ import annotations

from profiler.analysis.names.rules import Rule, rule

CATEGORY_LABELS: dict[str, str] = {
    "convolution": "convolution",
    "gemm": "matrix product",
    "attention": "attention",
    "normalisation": "normalisation",
    "pointwise": "activation / pointwise",
    "pooling": "pooling",
    "reduction": "reduction",
    "layout": "layout / copy",
    "softmax": "softmax",
    "embedding": "embedding / gather",
    "random": "random / dropout",
    "communication": "communication",
    "plugin": "custom plugin",
    "other": "other",
}
CATEGORIES: tuple[str, ...] = tuple(CATEGORY_LABELS)

_CONV = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tensor16x8x16_execute_kernel_trt"
_GEMM = "ampere_sgemm_128x64_nn"
_ADD = "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float> >(int, T2, T3)"
_COPY = (
    "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase &)"
    "::[lambda() (instance 3)]>(int)"
)
_BN = "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, (bool)1, (int)1>(T2, T2)"
_MEAN = (
    "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::MeanOps<float, "
    "float, float, float>, unsigned int, float, (int)4, (int)4>>(T3)"
)

CATEGORY_RULES: tuple[Rule, ...] = (
    rule(
        "category.communication",
        "communication",
        "base",
        r"(?i)^nccl|nvshmem|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|^(?:one|two)shot",
        "Collectives are named after the operation (published source of NCCL).",
        ["ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"],
        [_GEMM],
    ),
    rule(
        "category.plugin",
        "plugin",
        "base",
        r"(?i)plugin::|(?:^|_)plugin(?:_|$)|plugin_?kernel|(?<!cask_)plugin\w{0,20}(?:kernel|<)",
        "The name or its namespace says that a plugin launches it.",
        ["void nvinfer1::plugin::normalize_kernel<float>(float*)", "fused_bias_relu_plugin_kernel"],
        [_GEMM],
        unless=r"xmma|fmha|cask_plugin|gemm|conv",
    ),
    rule(
        "category.tensor-reduction",
        "reduction",
        "base",
        r"cutensor\w{0,40}::.{0,60}?reduction",
        "cuTENSOR's reductions share a namespace with its contractions (names in cuTENSOR 2).",
        ["void cutensor_internal_namespace::reduction_kernel<cutensor_internal_namespace::reduction_params_t>(T1)"],
        [_GEMM],
    ),
    rule(
        "category.split-k-sum",
        "reduction",
        "base",
        r"(?i)split_k_kernel|split_?k_?reduc|reduce_?split_?k|segment_k_reduc|splitkv_combine|FwdCombine",
        "The sum of a split product is a reduction of its own, whatever the product was.",
        [
            "void cublasLt::splitKreduce_kernel<(int)32, (int)16, int, float>(T1)",
            _CONV.replace("execute_kernel", "execute_split_k_kernel"),
        ],
        [_CONV],
    ),
    rule(
        "category.layout-of-operands",
        "layout",
        "leaf",
        r"(?i)n(?:c?d?hw|hwc|dhwc|cdhw)c?\d?\w{0,12}to\w{0,8}n(?:c?d?hw|hwc)|nhwcto|nchwto|reorder|repack|prepack|"
        r"transform_?filter|permut|re_?format|transpos|padBias|add_?padding|(?:un)?fold(?:ed)?N|RSKC_to|metadata_?copy|"
        r"tensorTransform|convertTensor|im2col|col2im|vol2col|rearrang|interleave",
        "Format changes around a product only move data.",
        [
            "void cudnn::engines_precompiled::nchwToNhwcKernel<float, float, float, (bool)0>(T1)",
            "void cuInt8::nhwcTonchw<float, (int)1, (int)128, (int)2>(const __half *, T1 *, int)",
            "void nvinfer1::rt::cuda::padBiasWeights<float, (int)32>(T1)",
        ],
        [_CONV],
        unless=r"_xmma_(?:fprop|dgrad|wgrad|gemm|conv)|tensorop",
    ),
    rule(
        "category.layout-reformat",
        "layout",
        "text",
        r"genericReformat::|permutationKernel|direct_copy_kernel|CatArrayBatchedCopy|copy_device_to_device|"
        r"float8_copy|bfloat16_copy_kernel|float16_copy_kernel|(?:loadpack|copyPacked|copyVectorized)",
        "Copies and reformatting, by the functor or namespace in the name (published source of PyTorch; TensorRT "
        "traces).",
        [_COPY, "void genericReformat::copyPackedKernel<__half, __half, (bool)1, (bool)1>(unsigned int)"],
        [_ADD],
    ),
    rule(
        "category.pooling",
        "pooling",
        "base",
        r"(?i)(?:^|_|::|[a-z])(?:max_?|avg_?|average_?|adaptive_?|fractional_?|global_?)?pool(?:ing|_|\d|$|fw|bw|[A-Z])|"
        r"^cudnn_generated_resample",
        "The function is named after pooling, which cuDNN's graph API calls resampling.",
        [
            "sm50_xmma_pooling_coalescedC_NHWC_kMAX_3_False_execute_kernel_trt",
            "void at::native::<unnamed>::max_pool_forward_nchw<float, int>(T2, const T1 *)",
        ],
        [_CONV],
        unless=r"(?i)conv",
    ),
    rule(
        "category.attention",
        "attention",
        "text",
        r"(?i)(?:^|[ :<,_])(?:flash_?(?:fwd|bwd|fprop|bprop|attn|attention)|flashattn)|fmha|fused_multihead|_mha_|"
        r"sdpa|paged_attention|multihead_attention|flashinfer::\w{0,30}(?:prefill|decode|mla|attention)|xqa_?kernel|_attn_?(?:kernel|buf|fwd|bwd)|attend_|"
        r"kernel_mha|(?:^|[_: ])(?:self_|cross_)?attention_(?:fwd|bwd|forward|backward|kernel|inner)|mla_(?:fwd|decode)",
        "The function is named after attention.",
        [
            "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64> >(Flash_fwd_params)",
            "fmha_v2_flash_attention_fp16_S_64_sm80_kernel",
        ],
        [_CONV, _GEMM],
    ),
    rule(
        "category.softmax",
        "softmax",
        "text",
        r"(?i)softmax|soft_max",
        "The function or its functor is named after softmax.",
        ["void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, false, false>(float*)"],
        [_MEAN],
    ),
    rule(
        "category.normalisation",
        "normalisation",
        "text",
        r"(?i)batch_?norm|layer_?norm|group_?norm|rms_?norm|instance_?norm|(?:^|[_:<])d?bn_|l2_?norm|"
        r"::norm::|InstanceNorm|(?:^|[_: ])(?:ln|rms)_(?:fwd|bwd)|weight_norm|lrn_|local_response|RowwiseMoments|"
        r"GammaBeta|vectorized_layer|(?<!de)normali[sz]e|(?:^|[_: ])norm_?kernel",
        "The function or its functor is named after a normalisation.",
        [
            _BN,
            "void at::native::batch_norm_transform_input_channels_last_kernel<c10::Half, float, c10::Half, (int)4>(T1)",
        ],
        [_GEMM],
        unless=r"(?i)xmma::ext::batchnorm::kernel_matmul|_xmma_",
    ),
    rule(
        "category.convolution",
        "convolution",
        "text",
        r"(?i)fprop|[dw]grad(?![a-z])|conv(?!er|ex|_?expert)(?!olution_(?:relu|add|bias))|winograd|_trt_dep_sep|Dep_Sep|"
        r"first_layer|implicitGemm\d|scudnn|hcudnn|icudnn|\d(?:cudnn)|fft2d_|DSE::|cudnn::gnn|^res2_|depthwise|dgrad_",
        "The function is named after a convolution or one of its gradients.",
        [
            _CONV,
            "void implicit_convolve_sgemm<float, float, (int)1024, (int)5>(int, int, int, const T1 *)",
            "sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_116_execute_kernel_trt",
        ],
        [_GEMM, "triton_poi_fused_convolution_relu_0"],
        unless=r"^triton_(?:poi|red|per)_|^at::native::(?!\w{0,12}::?conv)|precision_conv|convert",
    ),
    rule(
        "category.gemm",
        "gemm",
        "text",
        r"(?i)gemm|nvjet|mat_?mul|(?<![a-z])b?mm(?![a-z])|gemv|gemk|marlin|machete|matvec|mul_mat|"
        r"(?<![a-z])(?:dot|syrk|syr2k|herk|symm|hemm|trmm|trsm|trsv|trmv|symv|hemv|gbmv|ger)(?:_|$|[a-z]*kernel)|syhe|"
        r"trsm|trmm|_xmma_|tensorop|simt_|GemmUniversal|tinygemm|linear_kernel|cublas",
        "The function is named after a matrix product or a BLAS routine.",
        [_GEMM, "nvjet_sm90_hsh_128x192_64x5_2x1_v_bz_coopB_TNN"],
        [_CONV, _ADD],
        unless=r"^triton_(?:poi|red|per)_",
    ),
    rule(
        "category.gemm-recurrent",
        "gemm",
        "base",
        r"RNN_|LSTM|lstm_|(?:^|_)gru_|persistRNN",
        "Recurrent cells are matrix products with a gate, counted with the products.",
        ["void RNN_persist_fp<float, float, float, (cudnnRNNMode_t)2, true, 512, 8>(persistArgs)"],
        [_ADD],
        unless=r"(?i)element_?wise",
    ),
    rule(
        "category.random",
        "random",
        "text",
        r"(?i)dropout|philox|(?:^|[_: ])rand(?:om|n|int|perm)?(?:_|$|[A-Z])|distribution_|bernoulli|multinomial|"
        r"curand|normal_and_transform|uniform_and_transform",
        "The function is named after random numbers or dropout.",
        ["void at::native::<unnamed>::fused_dropout_kernel_vec<float, float, unsigned int, 1, 4>(T1)"],
        [_ADD],
    ),
    rule(
        "category.embedding",
        "embedding",
        "text",
        r"(?i)embedding|indexSelect|index_select|(?:^|[_: ])gather|scatter|index_put|indexing_backward|index_kernel|"
        r"one_?hot|lookup|index_elementwise|indexFunc|take_along",
        "The function is named after look-up by index.",
        ["void at::native::<unnamed>::indexSelectLargeIndex<float, long, unsigned int, 2, 2, -2, true>(T1)"],
        [_ADD],
    ),
    rule(
        "category.reduction",
        "reduction",
        "text",
        r"(?i)reduc(?!ed_?div|tion_?div)|(?:^|[_: ])(?:sum|mean|argmax|argmin|amax|nrm2|asum|i?amax|i?amin)(?:_|$)|"
        r"cumsum|cumprod|(?:^|[_:a-z])scan(?:_|$|[A-Z])|"
        r"top_?k|sort|radix|histogram|DeviceScan|unique|count_nonzero|(?:^|[_: ])loss|nll_|entropy|triton_(?:red|per)_|"
        r"multi_tensor_apply_kernel.{0,200}norm|bitonic|kthvalue|median|prolog_amax",
        "The function or its functor reduces, scans or sorts.",
        [_MEAN, "triton_red_fused_native_layer_sum_3"],
        [_ADD],
    ),
    rule(
        "category.layout",
        "layout",
        "text",
        r"(?i)(?:^|[_: ])(?:copy|memcpy|memset|transpose|concat|cat|split|slice|pad|flip|roll|tile|repeat|stack|fill|set|arange)"
        r"(?:_|$|[A-Z]|\d|kernel)|copy_?kernel|setTensor|FillFunctor|fill_|layout|shuffle|reshape|triu|tril|Strided(?:Copy|To)|Contiguous|Slice|Stack|wrapped_(?:transpose|concat)|"
        r"reflection_pad|replication_pad|constant_pad|expand|broadcast_kernel|swap_kernel|chunk|pack",
        "The function copies, fills or rearranges.",
        ["void at::native::reflection_pad2d_out_kernel<float>(float*)"],
        [_ADD],
    ),
    rule(
        "category.pointwise",
        "pointwise",
        "text",
        r"(?i)elem(?:ent)?_?wise|point_?wise|relu|gelu|silu|swish|sigmoid|tanh|activation|act_and_mul|clamp|"
        r"(?:^|[_: ])(?:add|mul|sub|div|scale|scal|axpy|copy|abs|exp|sqrt|bias|where|compare|cast|convert|quant|dequant)(?:_|$|[A-Z])|"
        r"triton_poi_|loop_\w{0,80}fusion|^__myl_|op_(?:generic_)?tensor|quantize|dequant|upsample|interpolat|rotary|rope|"
        r"multi_tensor_apply|adam|optimi[sz]er|sgd|lamb|foreach|Functor|DeviceFor|EigenMetaKernel|parallel_for|for_each|transform_kernel|"
        r"cast_|unary|binary|ternary|grid_sampl|resize|affine",
        "The function maps each element on its own.",
        [_ADD, "generatedNativePointwise", "triton_poi_fused_convolution_relu_0"],
        [_GEMM, _MEAN],
    ),
    rule(
        "category.other",
        "other",
        "text",
        r"",
        "No word in the name tells what the kernel does.",
        ["", "Kernel2", "my_kernel"],
        [_GEMM],
    ),
)
