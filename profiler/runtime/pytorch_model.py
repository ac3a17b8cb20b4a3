"""Loading a PyTorch model: from torchvision's registry or an importable function, with weights of a stated origin."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.errors import MissingToolError, ProfilerError, UsageError

RANDOM_LABEL = "random (no trained weights: figures are about speed, not accuracy)"
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
TORCH_HINT = "pip install torch torchvision, for the CUDA version of this machine (see requirements-gpu.txt)"


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on the CPU, float32.

    Attributes:
        name: what it was asked for as.
        weights: the result document's ``weights``: kind, label, seed.
        example: the input that a ``module:function`` returned; None for registry models.
    """

    module: Any
    name: str
    weights: dict[str, Any]
    example: Any = None


def import_torch() -> Any:
    """The torch module.

    Raises:
        MissingToolError: it is not installed, or does not load.
    """
    try:
        import torch  # noqa: PLC0415 - only where it runs
    except (ImportError, OSError) as error:
        raise MissingToolError(
            f"PyTorch cannot be imported in {Path(sys.executable).name} ({error}).", TORCH_HINT
        ) from error
    return torch


def load_model(name: str, weights: str, seed: int) -> LoadedModel:
    """Load ``name``: a torchvision model, or ``module:function`` for a function that returns ``(model, input)``.

    Args:
        weights: ``random`` (seeded), ``DEFAULT`` or a name in torchvision's registry such as ``IMAGENET1K_V2``, or the path of a
            checkpoint (a state dict, or a dict that holds one).
        seed: of random weights.

    Raises:
        MissingToolError: torch or torchvision cannot be imported.
        UsageError: no such model, function or weights.
        ProfilerError: the weights cannot be had or do not fit.
    """
    torch = import_torch()
    torch.manual_seed(seed)
    trained = None
    if ":" in name:
        module, example = _from_function(torch, name)
        known: Any = None
        random_weights = {"kind": "random", "label": f"as {name} made them", "seed": seed}
    else:
        trained = _read_checkpoint(torch, Path(weights)) if weights != "random" and Path(weights).is_file() else None
        module, known = _from_registry(name, weights, _classes(trained))
        example = None
        random_weights = {"kind": "random", "label": RANDOM_LABEL, "seed": seed}
    if known is not None:
        described: dict[str, Any] = {"kind": "registry", "label": f"torchvision {known}", "seed": None}
    elif weights == "random":
        described = random_weights
    else:
        _load_state(module, trained or _read_checkpoint(torch, Path(weights)), Path(weights))
        described = {"kind": "checkpoint", "label": Path(weights).name, "seed": None}
    return LoadedModel(module.eval(), name, described, example)


def _from_function(torch: Any, name: str) -> tuple[Any, Any]:
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise UsageError(
            f"--model {name}: the module {module_name} cannot be imported ({error}).",
            "Run from the folder that holds it, or put that folder on PYTHONPATH.",
        ) from error
    except AttributeError:
        raise UsageError(f"--model {name}: {module_name} has no {function_name}.") from None
    made = function()
    if (
        not isinstance(made, tuple)
        or len(made) != 2
        or not isinstance(made[0], torch.nn.Module)
        or not isinstance(made[1], torch.Tensor)
        or made[1].ndim < 1
    ):
        raise UsageError(
            f"--model {name}: returned {type(made).__name__}; expected a tuple (torch.nn.Module, torch.Tensor)."
        )
    return made


def _from_registry(name: str, weights: str, classes: int | None) -> tuple[Any, Any]:
    try:
        from torchvision import models  # noqa: PLC0415 - only where it runs
    except (ImportError, OSError, RuntimeError) as error:  # a build for another torch raises RuntimeError
        raise MissingToolError(
            f"torchvision cannot be imported ({' '.join(str(error).split())[:300]}), and --model {name} is from its registry.",
            "Install the torchvision that belongs to this torch, or give --model module:function.",
        ) from error
    if name not in models.list_models():
        close = [m for m in models.list_models() if name[:4] in m]
        raise UsageError(
            f"--model {name}: torchvision has no such model.",
            f"It has {', '.join(close[:12])}." if close else "torchvision.models.list_models() lists what it has.",
        )
    wanted = None
    if weights != "random" and not Path(weights).is_file():
        registry = models.get_model_weights(name)
        if weights not in registry.__members__:
            raise UsageError(
                f"--weights {weights}: neither a file nor weights of {name} (it has {', '.join(registry.__members__)}).",
                "Give one of those, the path of a checkpoint, or random.",
            )
        wanted = registry[weights]
    try:
        arguments: dict[str, Any] = (
            {"weights": wanted} if classes is None else {"weights": None, "num_classes": classes}
        )
        if name in ("googlenet", "inception_v3") and wanted is None:
            arguments.update(aux_logits=False, init_weights=True)
        return models.get_model(name, **arguments), wanted
    except OSError as error:  # URLError is one
        raise ProfilerError(
            f"--weights {weights}: torchvision could not fetch them ({error}).",
            "Fetch the checkpoint elsewhere and give its path, or use --weights random.",
        ) from error


def _read_checkpoint(torch: Any, path: Path) -> dict[str, Any]:
    """The state dict of a checkpoint.

    Raises:
        UsageError: no such file.
        ProfilerError: it does not load safely, or holds something else.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"--weights {path}: no such file.", "Give a path, a registry name or random.") from None
    except Exception as error:
        raise ProfilerError(
            f"{path}: not a checkpoint that loads safely ({' '.join(str(error).split())[:300]}).",
            "Save it again with torch.save(model.state_dict(), path).",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise ProfilerError(f"{path}: holds a {type(loaded).__name__}; expected a state dict.")
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def _classes(state: dict[str, Any] | None) -> int | None:
    """How many classes a trained classifier tells apart: the length of its last bias, which torchvision's models end with."""
    last = next(reversed(state.items()), None) if state else None
    return int(last[1].shape[0]) if last and last[0].endswith(".bias") and last[1].ndim == 1 else None


def _load_state(module: Any, state: dict[str, Any], path: Path) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ProfilerError(
            f"{path}: does not fit the model ({' '.join(str(error).split())[:300]}).",
            "Check --model against the checkpoint.",
        ) from error


def record_modules(torch: Any, module: Any, run: Callable[[], Any]) -> list[dict[str, Any]]:
    """Call ``run`` once and note every call of a leaf module with its input and output shapes, in order.

    ``call`` counts the calls of one module (a ReLU that a block uses three times) from 0.
    """
    rows: list[dict[str, Any]] = []
    calls: dict[str, int] = {}

    def shapes(value: Any) -> list[list[int]]:
        if isinstance(value, torch.Tensor):
            return [list(value.shape)]
        if isinstance(value, (tuple, list)):
            return [shape for item in value for shape in shapes(item)]
        if isinstance(value, dict):
            return [shape for item in value.values() for shape in shapes(item)]
        return []

    def hook_for(name: str) -> Callable[..., None]:
        def hook(leaf: Any, inputs: Any, outputs: Any) -> None:
            call = calls.get(name, 0)
            calls[name] = call + 1
            first = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
            row = {
                "name": name,
                "call": call,
                "type": type(leaf).__name__,
                "inputs": shapes(inputs),
                "outputs": shapes(outputs),
                "dtype": str(first.dtype).replace("torch.", "") if isinstance(first, torch.Tensor) else None,
                "parameters_bytes": sum(p.numel() * p.element_size() for p in leaf.parameters()),
            }
            rows.append(row)

        return hook

    handles = [
        leaf.register_forward_hook(hook_for(name))
        for name, leaf in module.named_modules()
        if name and not list(leaf.children())
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return rows


def push_ranges(module: Any, push: Callable[[str], None], pop: Callable[[], None]) -> list[Any]:
    """Push a range around every module but the root, named as ``named_modules()`` names it.

    Containers have ranges too: what runs between leaf modules (a residual add, a flatten) then lies in its block's range.

    Returns:
        the hooks' handles; remove them to stop.
    """

    def before(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any) -> None:
            push(name)

        return hook

    def after(_module: Any, _inputs: Any, _outputs: Any) -> None:
        pop()

    handles: list[Any] = []
    for name, child in module.named_modules():
        if name:
            handles.append(child.register_forward_pre_hook(before(name)))
            handles.append(child.register_forward_hook(after))
    return handles
