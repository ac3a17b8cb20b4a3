"""Kernel names as tables show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.report.kernel_names import short_name
from tests.support.hostile import ATTACKS


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (
            "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x32x16_stage1_warpsize4x1x1_g1_tensor16x8x16_"
            "execute_kernel_trt",
            "conv FP16 128×32×16",
        ),
        ("nvjet_sm90_hsh_64x256_64x5_1x4_h_bz_TNN", "GEMM FP16 64×256"),
        ("cudnn_generated_fort_native_sm90_convFwd_pointwise_knob_34_256x32x32_8_0", "conv 256×32×32"),
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128_32x3_nn_align4>(T1::Params)",
            "GEMM TF32 128×128",
        ),
        (
            "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float>, std::array<char *, 3>>(int, T2)",
            "pointwise FP32 add",
        ),
        ("void cudnn::bn_fw_inf_1C11_kernel_NCHW<float, float, (bool)1, (int)1>(T2, T2)", "norm FP32"),
    ],
)
def test_what_tells_kernels_apart_comes_first(name: str, head: str) -> None:
    first, _, rest = short_name(name).partition(" · ")
    assert first == head and rest and len(rest) <= 34


@given(st.text(max_size=300) | st.sampled_from(ATTACKS))
def test_any_name_is_one_short_printable_line(name: str) -> None:
    shown = short_name(name)
    assert shown.isprintable() and len(shown) < 120
