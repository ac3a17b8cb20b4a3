"""What kind of thing an NVTX range is, from its text and domain: a user's own, a library's call, or a part of an inference.

Frameworks and libraries annotate themselves. Their ranges around single operations are parts of an inference and never one;
those around a whole call of an engine or a compiled program may be one, where the user has no range of their own.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache


class RangeKind(IntEnum):
    """In order of preference: whose ranges are taken as inferences."""

    USER = 0
    CALL = 1
    """A library's range around one call of a whole engine or compiled program."""
    PART = 2
    """A library's or framework's range around one operation, layer or phase."""


_CALL = re.compile(
    r"ExecutionContext::(enqueue|execute)"  # TensorRT
    r"|(TSL:)?XlaModule:"  # JAX and TensorFlow, domain TSL
    r"|Torch-Compiled Region|(## )?Call CompiledFxGraph"  # torch.compile
    r"|(DistributedDataParallel|FullyShardedDataParallel)\.forward"
    r"|(onnxruntime::)?InferenceSession::Run",
    re.IGNORECASE,
)
_PART = re.compile(
    # PyTorch: operators, the autograd engine, backward nodes, optimizers, loaders, the profiler's and the compiler's own
    r"(aten|prims?|quantized|torchvision|torch|torch_sparse|c10d?|c10d_functional|_c10d_functional|autograd|inductor|triton|xformers|"
    r"flash_attn\w*|vllm|_C\w*|sgl_kernel|tensorrt|mkldnn|onednn|torchao|fbgemm|torch_tensorrt|nvfuser)::"
    r"|\w*Backward\d*(,|$)|Optimizer\.\w+#|enumerate\(DataLoader\)|enumerate\(|ProfilerStep|AccumulateGrad"
    r"|(TorchDynamo|AOTDispatcher|Inductor|Pregraph|CompiledFunction|CompiledFxGraph)|## "
    # names that only their suffix gives away: emit_nvtx and autograd's profiler append the sequence, the id and the shapes
    r"|.*, (seq|op_id|sizes|input_op_ids) = "
    # communication, numerics, TensorRT's and others' insides
    r"|nccl|ncclGroup|(cudnn|cublas|cublasLt|cufft|cusolver|cusparse|curand|cutensor|nvjpeg)[A-Z_:]|cu(DNN|BLAS|FFT|SPARSE)\b"
    r"|cub::|thrust::|nvinfer|myelin|IExecutionContext|Reformatting CopyNode|\{ForeignNode\[|PWN\("
    r"|(Fusion|FusionExecutor|FusionExecutorCache|FusionKernelRuntime|KernelExecutor|GpuLower|TransformReplay|IrContainer|"
    r"SegmentCandidateFinder|ExpressionEvaluator|SchedulerRuntimeInfo|CompiledKernel)\b"  # nvFuser
    r"|\[DALI\]|Thunk:|ThunkExecutor|TSL:|TfOp|CUDA_|cuda[A-Z]\w+$|cuLaunch"
    # dictionaries: hooks that describe one module or operator
    r"|\s*\{\s*['\"]",
    re.IGNORECASE,
)
_PART_DOMAINS = re.compile(
    r"myelin|nccl|cudnn|cublas|cufft|cusolver|cusparse|cutensor|cub\b|cccl|thrust|dali|tensorrt|nvinfer|trt\b|libcudf|libkvikio|nvjpeg|"
    r"nvshmem|ucx|tensorflow-ops|tf-ops|nvfuser|aten\b|torch\.?ops",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_INFERENCE_WORDS = frozenset((
    "iter", "iters", "iteration", "iterations", "infer", "inference", "inferences", "forward", "fwd", "step", "steps", "batch", "batches",
    "predict", "prediction", "request", "requests", "query", "queries", "enqueue", "execute", "generate", "decode", "sample", "frame",
    "frames", "session",
))  # fmt: skip
_LOOP_WORDS = frozenset((
    "epoch", "epochs", "loop", "train", "training", "validate", "validation", "eval", "evaluate", "test", "benchmark", "bench", "profile",
    "profiling", "phase", "main", "measure", "timing", "experiment",
))  # fmt: skip
_PART_WORDS = frozenset((
    "norm", "layer", "layers", "block", "blocks", "backward", "bwd", "loss", "optimizer", "optim", "data", "dataloader", "loader",
    "loading", "load", "preprocess", "postprocess", "augment", "pre", "post", "zero", "grad",
))  # fmt: skip
_LONG = 400
WARM_UP = re.compile(r"warm[\s_-]*up|\bwarming\b|\bdry[\s_-]*run\b", re.IGNORECASE)


def family(text: str) -> str:
    """The text with 0 for a number at its end: what words and patterns say of "inference 12" they say of "inference 0".

    Long texts stay as they are, as copies of many would take much memory.
    """
    if len(text) > _LONG:
        return text
    bare = text.rstrip("0123456789")
    return text if len(bare) == len(text) else f"{bare}0"


def kind_of(text: str, domain: str) -> RangeKind:
    """Whose range it is, see :class:`RangeKind`."""
    return _kind_of(family(text), domain)


@lru_cache(maxsize=65_536)
def _kind_of(text: str, domain: str) -> RangeKind:
    head = text[:_LONG]
    if _CALL.match(head):
        return RangeKind.CALL
    if _PART.match(head) or _PART_DOMAINS.search(domain[:100]):
        return RangeKind.PART
    return RangeKind.USER


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text[:200]))


def names_an_inference(text: str) -> bool:
    """Whether the words of a range's text say that it is one pass: "iter 3", "runInference", "decode step"; "batch_norm" does not."""
    words = _words(text)
    return bool(words & _INFERENCE_WORDS) and not words & _PART_WORDS and not is_a_loop(text)


def is_a_loop(text: str) -> bool:
    """Whether the words say that it holds many passes: "Epoch 1", "benchmark"; "train step" does not."""
    words = _words(text)
    return bool(words & _LOOP_WORDS) and not words & _INFERENCE_WORDS


def names_a_part(text: str) -> bool:
    """Whether the words say that it is a part of a pass: "backward", "layer 3", "data loading"."""
    return bool(_words(text) & _PART_WORDS)
