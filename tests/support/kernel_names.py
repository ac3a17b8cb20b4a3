"""Names of real kernels that several tests use."""

from __future__ import annotations

HMMA = (
    "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x128x32_stage4_warpsize2x2x1_g1_tensor16x8x16"
    "_simple_t1r1s1_execute_kernel_trt"
)
FFMA = (
    "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nchw_tilesize128x32x8_stage3_warpsize2x2x1_g1_ffma_aligna4_alignc4"
    "_execute_kernel__5x_cudnn"
)
