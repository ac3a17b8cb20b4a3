"""What the names of NVTX ranges around a framework's kernels say, in the dialects that people's traces are in.

==========================================================  =======================================================
``layer1.0.conv1``, ``model.layer1.0.conv1``                 ``named_modules()``, with or without a wrapper's name
``{'Module': 'top.layer1.0.conv1', 'Inputs': [[8, …]]}``     hooks of NVIDIA's examples and of nsys's ``--pytorch`` option
``layer:conv1``, ``module: conv1``, ``nn.Module: Conv2d_0``  hooks of other tools; PyTorch's ``with_modules``
``Conv2d``, ``BatchNorm2d``                                  class names: the kind of module, but not which one
``aten::conv2d, op_id = 12, sizes = [[8, 64, 56, 56]]``      ``torch.autograd.profiler.emit_nvtx``
``aten::conv2d, seq = 900``, ``{'mod': …, 'op': 'conv2d'}``  ``nsys --pytorch autograd-nvtx``; PyProf
==========================================================  =======================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from profiler.analysis.fusion.operators import kind_of

MODULE, CLASS, OPERATOR = "module", "class", "operator"
_PATH = re.compile(r"^[A-Za-z_]\w*(\.\w+)*$")
_HOOK = re.compile(r"^\{.{0,200}?['\"]Module['\"]\s*:\s*['\"]([^'\"]{1,500})['\"]", re.S)
_PYPROF = re.compile(r"^\{.{0,200}?['\"]op['\"]\s*:\s*['\"]([^'\"]{1,100})['\"]", re.S)
_TAGGED = re.compile(r"^(?:layer|module|mod|name|nn\.Module)\s*[:=]\s*(\S.*)$", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"\s*,\s*(?:op_id|seq|sizes|inputs?|stashed|input_op_ids)\s*[:=].*$", re.IGNORECASE | re.S)
_SHAPE = re.compile(r"(?:sizes|Inputs|input_shapes?)['\"]?\s*[:=]\s*\[\s*[\[(]([\d,\s]{1,100})[\])]", re.IGNORECASE)
_OPERATOR = re.compile(r"^(?:aten|torch|prims|autograd|torchvision|c10|xformers|flash_attn)::(\w+)")
_CLASS = re.compile(r"^[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*$|^(?:GELU|ELU|SELU|CELU|LSTM|GRU|GLU)$")
_WRAPPER = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)(?:\.|$)"
)
_PHASE = re.compile(
    r"^(?:forward|fwd|backward|bwd|infer\w*|predict\w*|run\w*|step\w*|iter\w*|batch\w*|epoch\w*|pre_?process\w*|post_?process\w*|h2d|d2h"
    r"|copy\w*|sync\w*|warm_?up\w*|loop\w*|main|model|compute|data\w*|load\w*|optim\w*|loss|train\w*|eval\w*|bench\w*|profil\w*|execute\w*"
    r"|request\w*|query\w*|stream\w*|capture\w*|replay\w*|__\w+|cuda\w*|cudnn\w*|cublas\w*|nccl\w*|autograd\w*)_?\d*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RangeName:
    """What a range's name says.

    Attributes:
        what: "module" (``name`` is its path), "class" (the class of a module) or "operator" (of the framework).
        shape: of the first input, where the name tells it.
        phase: a word for a part of a program ("forward", "step"), so that a range is no module unless others around it are.
    """

    what: str
    name: str
    shape: tuple[int, ...] | None = None
    phase: bool = False


def range_name(text: str) -> RangeName | None:
    """Read a range's name; None when it names nothing of a model."""
    text = text.strip()
    if " " in text and ":" not in text and "=" not in text:
        return None  # "inference 7", of which a recording has a name a range; every dialect above with a space has one of the two
    shaped = _SHAPE.search(text[:2000])
    shape = tuple(int(d) for d in shaped[1].split(",") if d.strip()) if shaped else None
    hook = _HOOK.match(text)
    if hook:
        path = without_wrappers(hook[1].strip())
        return RangeName(MODULE, path, shape) if _PATH.match(path) else None
    pyprof = _PYPROF.match(text)
    if pyprof:
        return RangeName(OPERATOR, pyprof[1].strip("_"), shape)
    bare = _ATTRIBUTES.sub("", text[:2000])
    operator = _OPERATOR.match(bare)
    if operator:
        return RangeName(OPERATOR, operator[1].strip("_"), shape)
    tagged = _TAGGED.match(bare)
    bare = tagged[1] if tagged else bare
    if len(bare) > 500:
        return None
    if _CLASS.match(bare) or (tagged and _CLASS.match(re.sub(r"_\d+$", "", bare))):
        return RangeName(CLASS, re.sub(r"_\d+$", "", bare), shape)
    if bare != text and not tagged and kind_of(bare) and "." not in bare and "seq" in text:
        return RangeName(OPERATOR, bare.strip("_"), shape)
    path = without_wrappers(bare)
    if not path or not _PATH.match(path):
        return None
    return RangeName(MODULE, path, shape, phase=not tagged and "." not in path and bool(_PHASE.match(path)))


def without_wrappers(path: str) -> str:
    """A module's path without the names that torch.compile, FSDP and activation checkpointing put into it."""
    return _WRAPPER.sub("", path).strip(".")
