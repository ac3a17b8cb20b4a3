"""Kernel names as a table can show them: what tells kernels apart first (kind, type, operation, tile), then the name without its middle."""

from __future__ import annotations

import re

from profiler.analysis.names.classify import classify
from profiler.analysis.names.parse import parse
from profiler.text import shorten, visible

_KINDS = {
    "convolution": "conv",
    "gemm": "GEMM",
    "normalisation": "norm",
    "pooling": "pool",
    "reduction": "reduce",
    "communication": "comm",
    "other": "",
}
# tilesize128x32x16, warptilesize32x32, nvjet's 64x256_, knob_26_128x32x16, sgemm_128x64, tile16x64x64
_TILE = re.compile(
    r"(?:tile_?(?:size)?|knob_\d+_|sm\d+[a-z]?_[a-z]{2,4}_|gemm_|cudnn_|_)(\d{1,3}x\d{1,3}(?:x\d{1,3})?)(?![\dx])"
)
# what an element-wise kernel of PyTorch applies: CUDAFunctor_add, launch_clamp_scalar, MeanOps, GeluCUDAKernelImpl, direct_copy_kernel_cuda
_APPLIED = re.compile(
    r"CUDAFunctor_(\w+)|\b(?:launch_)(\w+?)(?:_scalar)?\b|\b(\w+?)(?:CUDAKernelImpl|KernelImpl|Functor|Ops)\b(?!::)|\b(\w+)_kernel_cuda\b"
)
_GENERIC = re.compile(r"elementwise_kernel|reduce_kernel|index_kernel")
_WIDTH = 34


def short_name(name: str) -> str:
    """“conv FP16 128×32×16 · sm80_xmma_fprop_impl…kernel_trt”. One line; whoever shows it escapes it."""
    found, parsed = classify(name), parse(name)
    words = [_KINDS.get(found.category, found.category), (found.precision or "").upper()]
    if _GENERIC.search(parsed.leaf) and (applied := _APPLIED.search(parsed.text)):
        words.append(next(filter(None, applied.groups())))
    if tile := _TILE.search(parsed.text):
        words.append(tile[1].replace("x", "×"))
    head = " ".join(filter(None, words))
    base = shorten(visible(parsed.leaf or name), _WIDTH)
    return f"{head} · {base}" if head else base
