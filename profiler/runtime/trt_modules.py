"""The two modules of TensorRT, and what TensorRT-RTX cannot do.

Standard library only: the verbs ask before they start anything, and the build asks again.

TensorRT-RTX supports Turing, Ampere, Ada and Blackwell GPUs. 1.6.1 also ran on Hopper (H200), 1.7.1 refuses it ("The engine cannot run on
this GPU, which has compute capability 9.0"). INT8 was tried with 1.6.1: models with Q/DQ pairs end in an internal error of its builder
(``cudnn_impl.cpp: CHECK(dtype == Float || Half || BF16 || FP8E4M3)``), and it has no calibrator.
"""

from __future__ import annotations

import re

MODULES = ("tensorrt", "tensorrt_rtx")
RTX = MODULES[1]
FIRST_SM = 75
HOPPER = 90
NO_FP8 = "TensorRT before 10 reads no FP8 from ONNX models: use TensorRT-RTX, or TensorRT 10 or later."
HOPPER_UNTIL = (1, 7)


def missing_in_rtx(precision: str, sm: int | None, version: str | None) -> str | None:
    """Why TensorRT-RTX cannot build or run this, or None when nothing is known against it.

    Args:
        sm: the GPU's compute capability, 90 for 9.0; None: not known.
        version: of TensorRT-RTX, such as 1.6.1.120; None: not known.
    """
    if precision == "int8":
        return "TensorRT-RTX has no INT8 calibrator and its builder refuses INT8 Q/DQ pairs (tried with 1.6.1): use fp16, fp32 or tf32."
    if sm is not None and sm < FIRST_SM:
        return f"TensorRT-RTX needs compute capability 7.5 (Turing) or later; this GPU has {sm // 10}.{sm % 10}."
    found = re.match(r"(\d+)\.(\d+)", version or "")
    if sm == HOPPER and found and (int(found[1]), int(found[2])) >= HOPPER_UNTIL:
        return f"TensorRT-RTX {version} does not support Hopper (compute capability 9.0); 1.6.1 is the last that ran there."
    return None
