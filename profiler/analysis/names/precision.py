"""Which number format a kernel's name states.

The convention: the format in which the inputs are multiplied, or for kernels without a product the format of
the first typed operand. So ``f32f32_tf32f32_f32`` is ``tf32`` (FP32 in memory, TF32 in the product), ``i8i8``
with an FP32 scale is ``int8``, and an FP16 product with FP32 accumulation is ``fp16``. A name that does not say
gives None; nothing is guessed from the GPU.
"""

from __future__ import annotations

import re

from profiler.analysis.names.parse import ParsedName

_XMMA = re.compile(
    r"xmma_[a-z0-9_]{0,60}?_"
    r"((?:t?f\d+|bf16|[iu]\d+|e\dm\d|c\d+|b1)+)_((?:t?f\d+|bf16|[iu]\d+|e\dm\d|c\d+|b1)+)_"
)
_FIRST_CODE = re.compile(r"tf32|bf16|f16|f32|f64|[iu]8|[iu]4|e4m3|e5m2|e2m1|i32|c32|c64|b1")
_CODES = {
    "tf32": "tf32",
    "bf16": "bf16",
    "f16": "fp16",
    "f32": "fp32",
    "f64": "fp64",
    "i8": "int8",
    "u8": "int8",
    "i4": "int4",
    "u4": "int4",
    "e4m3": "fp8",
    "e5m2": "fp8",
    "e2m1": "fp4",
    "i32": "int32",
    "c32": "fp32",
    "c64": "fp64",
    "b1": "int1",
    "s8": "int8",
    "s4": "int4",
}
_NVJET = re.compile(r"^nvjet_(?:sm\d+[a-z]?_)?([a-z]+)")
_NVJET_INPUT = {"h": "fp16", "t": "bf16", "q": "fp8", "o": "fp4", "d": "fp64", "i": "int8", "b": "int8"}
_FP32_PRODUCT = re.compile(r"(?:^|_)(?:g?[sc])(?:gemm|cudnn|syrk|trsm|symm|trmm)(?:_|$)|convolve\w{0,4}_sgemm")
_FP64_PRODUCT = re.compile(
    r"(?:^|_)(?:g?[dz])(?:gemm|cudnn|syrk|trsm|symm|trmm)(?:_|$)|[dz]884|[dz]168\d{1,2}|_dgemm(?:_|$)"
)
_FP16_PRODUCT = re.compile(r"(?:^|_)h(?:gemm|cudnn)(?:_|$)|(?<![a-z0-9])h(?:884|1688|16816|161616)|hhgemm")
_S_MMA = re.compile(
    r"(?<![a-z0-9])s(?:884|1688|161616|168\d\d|64x\d+x\d+)(tf32|bf16|f16|e4m3|e5m2)?(?:gemm|cudnn|fprop|dgrad|wgrad)"
)
_I_MMA = re.compile(r"(?<![a-z0-9])i(?:8816|8832|16816|16832|16864|64x\d+x\d+)|icudnn_int8|dp4a|_idp")
_STATED = re.compile(
    r"(?<![a-z])(?:(tf32)|(bf16|bfloat16)|(e4m3|e5m2|fp8|float8)|(e2m1|fp4|nvf4|mxf4|nvfp4)|(int4|s4|u4)|(int8|s8|i8)|"
    r"(fp16|f16|half)|(fp64|f64)|(fp32|f32))(?![0-9])",
    re.IGNORECASE,
)
_STATED_NAMES = ("tf32", "bf16", "fp8", "fp4", "int4", "int8", "fp16", "fp64", "fp32")
_TRAITS = re.compile(r"_(?:h|i|d|q|f|hf|hg|ig|qg|o)(?:mma|fma2?|ma)_([a-z0-9_]{2,40})_traits")
_LAMBDA = re.compile(r"lambda ?\(([\w:]{1,60})")
_TYPE = re.compile(
    r"(?<![\w:])(?:(__nv_bfloat16|c10::BFloat16|(?:cutlass::)?bfloat16_t|nv_bfloat16)|"
    r"(__nv_fp8_\w+|c10::Float8_\w+|(?:cutlass::)?float_e[45]m[32]_t|float8_\w+)|"
    r"((?:cutlass::)?float_e2m1_t|__nv_fp4_\w+)|"
    r"(__half2?|c10::Half|(?:cutlass::)?half_t|half|half2)|"
    r"((?:cutlass::)?tfloat32_t)|"
    r"(double2?|c10::complex<double>)|(float[24]?|c10::complex<float>)|(signed char|int8_t|char4))(?![\w:])"
)
_TYPE_NAMES = ("bf16", "fp8", "fp4", "fp16", "tf32", "fp64", "fp32", "int8")
_NO_TYPES = re.compile(r"genericReformat::|CUTENSOR_NAMESPACE|permutationKernel")


def precision_of(name: ParsedName, tensor_cores: str) -> str | None:
    """The format that ``name`` states, or None; ``tensor_cores`` tells TF32 from FP32 where both are "float"."""
    if not name.text:
        return None
    stated = _from_symbol(name.base) or _from_symbol_in_template(name.text)
    if stated is None and not _NO_TYPES.search(name.text):
        stated = _from_types(name)
        if stated == "fp32" and tensor_cores == "yes":
            return None if name.base.startswith("RNN_") else "tf32"
    return stated


def _from_symbol(symbol: str) -> str | None:
    """The format in a generated symbol such as xmma, nvjet and cuBLAS names."""
    xmma = _XMMA.search(symbol)
    if xmma:
        product, stored = _codes(xmma.group(2)), _codes(xmma.group(1))
        formats = product if len(product) > 1 else stored or product
        return formats[0] if formats else None
    nvjet = _NVJET.match(symbol)
    if nvjet:
        return _NVJET_INPUT.get(nvjet.group(1)[0])
    return _product_letter(symbol) or _stated(symbol)


def _from_symbol_in_template(text: str) -> str | None:
    """The format in a CUTLASS name or in xmma traits inside template arguments."""
    traits = _TRAITS.search(text)
    if traits:
        if "_hmma_" in traits.group() or "_hgmma_" in traits.group():
            return "bf16" if "bf16" in traits.group() else "fp16" if "fp16" in traits.group() else None
        return _stated(traits.group(1))
    start = text.find("cutlass_")
    if start >= 0 and ("tensorop" in text or "simt" in text):
        end = text.find(">", start)
        symbol = text[start : end if end > 0 else start + 200][:200]
        return _product_letter(symbol) or _stated(symbol)
    return None


def _product_letter(symbol: str) -> str | None:
    if _FP64_PRODUCT.search(symbol):
        return "fp64"
    single = _S_MMA.search(symbol)
    if single:
        explicit = single.group(1) or _stated(symbol)
        if explicit and explicit != "fp32":
            return _CODES.get(explicit, explicit)
        return "tf32" if "1688" in single.group() or "x8gemm" in single.group() else explicit
    if _FP16_PRODUCT.search(symbol):
        return "fp16"
    if _I_MMA.search(symbol):
        return "int4" if "16864" in symbol or "8832" in symbol else "int8"
    if _FP32_PRODUCT.search(symbol):
        return _stated(symbol) or "fp32"
    return None


def _codes(run: str) -> list[str]:
    return [_CODES[code] for code in _FIRST_CODE.findall(run)]


def _stated(symbol: str) -> str | None:
    found = _STATED.search(symbol)
    if not found or found.lastindex is None:
        return None
    return _STATED_NAMES[found.lastindex - 1]


def _from_types(name: ParsedName) -> str | None:
    """The first C++ number type in the template arguments; for PyTorch lambdas, that of the innermost one."""
    lambdas = _LAMBDA.findall(name.text)
    for candidate in reversed(lambdas):
        innermost = _TYPE.match(candidate)
        if innermost and innermost.lastindex:
            return _TYPE_NAMES[innermost.lastindex - 1]
    found = _TYPE.search(name.text)
    if found and found.lastindex:
        return _TYPE_NAMES[found.lastindex - 1]
    return None
