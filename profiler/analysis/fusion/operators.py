"""Kinds of operators, from whatever names one: an ONNX type, a PyTorch class, an ATen operator, a layer type, a kernel.

Two traces of one model share few names, but a convolution stays a convolution. Kinds are what units of work are compared by
where names do not meet. A kernel's kind can be wider than an operator's: a linear layer may run as a convolution of 1×1 and the
other way round, so such a kernel stands for either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from profiler.analysis.names.parse import readable

CONVOLUTION, GEMM, ATTENTION = "convolution", "gemm", "attention"
NORMALISATION, ACTIVATION, ADD, POINTWISE, POOLING = "normalisation", "activation", "add", "pointwise", "pooling"
REDUCTION, SOFTMAX, LAYOUT, QUANTISATION, NOTHING = "reduction", "softmax", "layout", "quantisation", "nothing"
EMBEDDING, CONCAT, RESIZE = "embedding", "concat", "resize"
HEAVY_CATEGORIES = (CONVOLUTION, GEMM, ATTENTION)
"""Kinds that most of the time goes to; the fixed points when two sides are aligned. Kernel categories have the same names."""
Kinds = frozenset[str]
UNKNOWN: Kinds = frozenset()

_WORDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"quanti[sz]e|^qdq$|^d?q$", QUANTISATION),
        (r"batch_?norm|layer_?norm|group_?norm|instance_?norm|rms_?norm|native_norm|lrn|normali[sz]ation|^norm$|^ln$|^bn$"
         r"|var_mean|welford", NORMALISATION),
        (r"attention|sdpa|mha|fmha|flash", ATTENTION),
        (r"linear|addmm|gemm|matmul|^b?mm$|baddbmm|mat_?mul|matrix_?multiply|fully_?connected|^fc|dense|einsum|^dot$|lstm|gru$|rnn", GEMM),
        (r"conv(?!ert)|correlation", CONVOLUTION),
        (r"convert|contiguous|reformat|^re?shape|transpose|permut|^tran$|view|flatten|shuffle|squeeze|copy|clone|slice|split|chunk|^pad"
         r"|unfold|fold$|^cast|^to$|^_to|expand|^move|^tile$|^roll$|getitem|select|narrow", LAYOUT),
        (r"softmax", SOFTMAX),
        (r"pool", POOLING),
        (r"relu|gelu|silu|sigmoid|tanh|^s?elu|swish|mish|^erf|softplus|hardtanh|clamp|^clip|^act|glu$", ACTIVATION),
        (r"embed|gather|index|lookup", EMBEDDING),
        (r"cat$|concat|^conc|stack", CONCAT),
        (r"upsampl|resi[sz]e|interpolat", RESIZE),
        (r"^mean|^reduce|^sum$|^arg|^topk|^a?max$|^a?min$|^cumsum", REDUCTION),
        (r"^r?add|^residual|^sum\d", ADD),
        (r"drop|identity|^noop|detach|alias|^constant|dummy", NOTHING),
        (r"mul|sub|div|pow|sqrt|^exp|^log|neg|where|pointwise"
         r"|element|^abs|reciprocal|^pwn|square|scale|^sin|^cos|equal|less|greater|^not$|^and$", POINTWISE),
    )
)  # fmt: skip
_CAMEL = re.compile(r"(?:Max|Avg)Pool|MatMul|SoftMax|(?:Layer|Batch)Norm|LeakyRelu|[A-Z]+(?![a-z])|[A-Z][a-z0-9]*")
_MYELIN = re.compile(r"^__my[el]l?_([A-Z]\w*?)(?:_myl\d+_\d+|_0x[0-9a-f]{8,}|)$")
_TRITON = re.compile(r"^triton_([a-z]{2,5})\w{0,12}?_fused_(\w+?)_?(\d+)?$")
_ATEN_WORDS = (
    "_native_batch_norm_legit_no_training", "native_batch_norm", "native_layer_norm", "native_group_norm", "batch_norm", "layer_norm",
    "rms_norm", "max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "_softmax", "softmax", "_to_copy",
    "scaled_dot_product_attention", "convolution", "constant_pad_nd", "leaky_relu", "hardsigmoid", "hardswish", "hardtanh", "sigmoid",
    "var_mean", "addmm", "bmm",
)  # fmt: skip
_SHORTER = {
    "native_batch_norm_legit_no_training": "batch_norm",
    "native_batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
}
_ATEN = re.compile(
    "|".join(re.escape(w.strip("_")) for w in sorted(_ATEN_WORDS, key=len, reverse=True)) + r"|[a-z0-9]+"
)
_FUNCTOR = re.compile(
    r"(?:CUDAFunctorOnSelf_|CUDAFunctor_|BinaryFunctor<[^>]{0,500}?)(add|sub|mul|div)|(\w{1,64}?)_kernel_cuda|(Mul|Div|Add)Functor"
)
_OTHERS = (
    ("CatArray", "concat"), ("launch_clamp", "relu"), ("relu", "relu"), ("gelu", "gelu"), ("GeluCUDA", "gelu"), ("sigmoid", "sigmoid"),
    ("silu", "silu"), ("tanh", "tanh"), ("softmax", "softmax"), ("upsample", "resize"),
)  # fmt: skip
_USUAL_ORDER = (NORMALISATION, ADD, POINTWISE, ACTIVATION)
_OF_CATEGORY: dict[str, Kinds] = {
    CONVOLUTION: frozenset({CONVOLUTION, GEMM}), GEMM: frozenset({GEMM, CONVOLUTION}), ATTENTION: frozenset({ATTENTION}),
    NORMALISATION: frozenset({NORMALISATION}), POOLING: frozenset({POOLING}), REDUCTION: frozenset({REDUCTION, POOLING}),
    SOFTMAX: frozenset({SOFTMAX}), EMBEDDING: frozenset({EMBEDDING}), LAYOUT: frozenset({LAYOUT}),
    POINTWISE: frozenset({ACTIVATION, ADD, POINTWISE, QUANTISATION}),
}  # fmt: skip


@lru_cache(maxsize=16_384)
def kind_of(word: str) -> str | None:
    """The kind that an operator's name stands for ("Conv", "BatchNorm2d", "aten.relu_.default", "CaskConvolution"), None if none."""
    parts = [p for p in re.split(r"::|\.", word[:200]) if p]
    if len(parts) > 1 and parts[0].lower() in ("aten", "aten_ops", "prims", "torch", "nn", "acc_ops", "functional"):
        parts = parts[1:2]
    name = re.sub(r"(?<=[A-Za-z])_?\d+$", "", parts[-1].strip("_")).lower() if parts else ""
    return next((kind for pattern, kind in _WORDS if pattern.search(name)), None)


def kinds_of(word: str | None) -> Kinds:
    """The same as a set; a mean over positions is a pooling too."""
    kind = kind_of(word) if word else None
    if kind == REDUCTION:
        return frozenset({REDUCTION, POOLING})
    return frozenset({kind}) if kind else UNKNOWN


def are_alike(first: Kinds, second: Kinds) -> bool:
    """Whether two units can be the same operator."""
    return bool(first & second)


def is_heavy(kinds: Kinds) -> bool:
    """Whether it is a convolution, a matrix product or an attention."""
    return bool(kinds) and kinds <= frozenset(HEAVY_CATEGORIES)


@lru_cache(maxsize=65_536)
def fused_operators(kernel: str) -> tuple[str, ...]:
    """The operators that a generated kernel's name lists: of TorchInductor ("triton_poi_fused_add_relu_3") and of TensorRT's
    Myelin ("__myl_FcAddRelu_myl0_26"). Empty for other names.

    Inductor sorts the operators and names each once, so the list says which kinds are inside, not how many nor in what order; they are
    given in the order that models usually have them in (normalise, add, activate, pool).
    """
    triton = _TRITON.match(kernel[:400])
    if triton:
        words = [_SHORTER.get(w, w) for w in _ATEN.findall(triton[2].strip("_")) if kind_of(w)]
        if triton[1] not in ("tem", "mm"):
            # a pointwise or reducing kernel that lists a product runs behind it: the product itself is a library's kernel or a template
            words = [w for w in words if kind_of(w) not in HEAVY_CATEGORIES] or words
        return tuple(sorted(dict.fromkeys(words), key=usual_place))
    myelin = _MYELIN.match(kernel[:400])
    return tuple(_CAMEL.findall(myelin[1])) if myelin else ()


def usual_place(word: str) -> int:
    """Where in a chain behind a product an operator usually stands."""
    kind = kind_of(word)
    return _USUAL_ORDER.index(kind) if kind in _USUAL_ORDER else len(_USUAL_ORDER)


@lru_cache(maxsize=65_536)
def operation_of(kernel: str) -> str:
    """What a framework's own kernel computes, as far as its name tells: "add", "mul", "concat", …, else "operation"."""
    kernel = readable(kernel)
    match = _FUNCTOR.search(kernel)
    if match:
        return next(g for g in match.groups() if g).lower().replace("direct_copy", "copy")
    return next((op for mark, op in _OTHERS if mark in kernel), "operation")


@lru_cache(maxsize=65_536)
def kinds_of_kernel(kernel: str, category: str) -> Kinds:
    """The kinds of operator that a kernel can compute, from its category and what else its name says."""
    if category == POINTWISE:
        kind = kind_of(operation_of(kernel))
        if kind in (ACTIVATION, ADD, POINTWISE):
            return frozenset({kind})
    if "resample" in kernel:  # cuDNN's word for pooling and interpolation
        return frozenset({POOLING, RESIZE})
    return _OF_CATEGORY.get(category, UNKNOWN)


def is_batch_norm(words: Iterable[str]) -> bool:
    """Whether a normalisation can be folded into a convolution's weights: batch norms can, layer, group and RMS norms cannot."""
    text = " ".join(words).lower()
    if re.search(r"layer_?norm|group_?norm|rms_?norm|instance_?norm|layernorm", text):
        return False
    return bool(re.search(r"batch_?norm|bn_fw|\bbn", text))
