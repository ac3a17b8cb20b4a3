"""Two lines that give any script's trace what our own recordings have: a range per module, with the shapes of its inputs.

::

    import profiler
    profiler.annotate(model)

PyTorch is imported only when a model is annotated; the ``nvtx`` package is used where it is installed, PyTorch's own ranges else.
"""

from __future__ import annotations

import os
import threading
import warnings
from types import TracebackType
from typing import Any

from profiler.workloads.ranges import NoRanges, Ranges, open_ranges

_PROFILER_VARIABLES = ("NVTX_INJECTION64_PATH", "NSYS_PROFILING_SESSION_ID", "CUDA_INJECTION64_PATH")
_MOST_SHAPES = 4


def annotate(model: Any, always: bool = False, ranges: Ranges | None = None) -> Annotation:
    """Push an NVTX range around the forward of every module of a model, named as ``named_modules()`` names it.

    Call it once before the profiled part, or use it as a context manager, which takes the hooks away at its end. The ranges read
    ``layer1.0.conv1, sizes = [[8, 64, 56, 56]]`` and are in NVTX's domain ``profiler``. A module that several places share is named by
    the place that calls it. Inside a region that torch.compile has compiled no Python runs, so there are no ranges there; at graph
    breaks and in replicas of DataParallel there are.

    Args:
        model: a ``torch.nn.Module``; wrapped ones (torch.compile, DataParallel, DDP) too.
        always: push ranges although no profiler is attached; otherwise a process without one gets no hooks and pays nothing.
        ranges: where to push, for tests.

    Raises:
        TypeError: ``model`` has no modules.
    """
    if not hasattr(model, "named_modules"):
        raise TypeError(f"annotate() takes a torch.nn.Module, and got {type(model).__name__}")
    if ranges is None and not (always or any(os.environ.get(v) for v in _PROFILER_VARIABLES)):
        return Annotation(NoRanges())
    annotation = Annotation(ranges if ranges is not None else _ranges())
    annotation.attach(model)
    return annotation


def _ranges() -> Ranges:
    import torch  # noqa: PLC0415 - only where a model is annotated

    said: list[str] = []
    available = torch.cuda.is_available()
    found = open_ranges(said, (torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop) if available else None)
    for text in said:
        warnings.warn(text, stacklevel=3)
    return found


class Annotation:
    """The hooks of an annotated model; :meth:`remove` (or leaving the ``with`` block) takes them away."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._handles: list[Any] = []
        self._here = threading.local()  # replicas of DataParallel run in threads of their own

    def attach(self, model: Any) -> None:
        """Register the hooks on every module of a model."""
        import torch  # noqa: PLC0415 - only where a model is annotated

        compiler = getattr(torch, "compiler", None)
        is_compiling = getattr(compiler, "is_compiling", None) or torch._dynamo.is_compiling
        paths: dict[int, list[str]] = {}
        modules: dict[int, Any] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            if path:
                modules[id(module)] = module
                paths.setdefault(id(module), []).append(path)
        for key, module in modules.items():
            self._hook(module, tuple(paths[key]), is_compiling)

    def _hook(self, module: Any, paths: tuple[str, ...], is_compiling: Any) -> None:
        def before(_module: Any, inputs: tuple[Any, ...]) -> None:
            if not is_compiling():
                self._enter(paths, inputs)

        def after(_module: Any, _inputs: Any, _output: Any) -> None:
            if not is_compiling():
                self._leave(paths)

        try:
            self._handles.append(module.register_forward_pre_hook(before, prepend=True))
            self._handles.append(module.register_forward_hook(after, always_call=True))
        except (RuntimeError, TypeError) as error:  # a compiled TorchScript module, or PyTorch before 2.0
            warnings.warn(f"no range for {paths[0]}: {error}", stacklevel=4)

    @property
    def _stack(self) -> list[tuple[tuple[str, ...], str]]:
        stack: list[tuple[tuple[str, ...], str]] | None = getattr(self._here, "stack", None)
        if stack is None:
            stack = self._here.stack = []
        return stack

    def _enter(self, paths: tuple[str, ...], inputs: tuple[Any, ...]) -> None:
        around = self._stack[-1][1] if self._stack else ""
        path = paths[0]
        if len(paths) > 1:  # shared: the place inside the module that is running
            path = next((p for p in paths if p.rpartition(".")[0] == around), path)
        shapes = [list(t.shape) for t in inputs[:_MOST_SHAPES] if hasattr(t, "shape") and hasattr(t, "dtype")]
        self._ranges.push(f"{path}, sizes = {shapes}" if shapes else path)
        self._stack.append((paths, path))

    def _leave(self, paths: tuple[str, ...]) -> None:
        stack = self._stack
        if not any(entered is paths for entered, _ in stack):
            return  # entered while compiling
        while stack:
            entered, _ = stack.pop()
            self._ranges.pop()
            if entered is paths:
                return

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> Annotation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
