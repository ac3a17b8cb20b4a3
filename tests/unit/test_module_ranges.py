"""Ranges per module in anybody's script: with PyTorch where it is installed, with stand-ins else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import profiler
from profiler.analysis.fusion.range_names import range_name
from profiler.module_ranges import Annotation, annotate

REPOSITORY = Path(__file__).parents[2]


class Recorder:
    """Ranges that are noted: the names in order, and how deep each is."""

    def __init__(self) -> None:
        self.pushed: list[tuple[int, str]] = []
        self.depth = 0

    def push(self, name: str) -> None:
        self.pushed.append((self.depth, name))
        self.depth += 1

    def pop(self) -> None:
        self.depth -= 1

    @property
    def paths(self) -> list[str]:
        return [found.name for _, text in self.pushed if (found := range_name(text)) is not None]


class Tensor:
    dtype = "float32"

    def __init__(self, *shape: int) -> None:
        self.shape = shape


class Module:
    """As much of ``torch.nn.Module`` as hooks need."""

    def __init__(self, forward: Callable[[Any], Any], **children: Module) -> None:
        self.forward, self.children = forward, children
        self.before: dict[int, Any] = {}
        self.after: dict[int, Any] = {}

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.children.items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def register_forward_pre_hook(self, hook: Any, prepend: bool = False) -> Any:
        return self._register(self.before, hook)

    def register_forward_hook(self, hook: Any, always_call: bool = False) -> Any:
        return self._register(self.after, hook)

    @staticmethod
    def _register(hooks: dict[int, Any], hook: Any) -> Any:
        hooks[id(hook)] = hook

        class Handle:
            def remove(self) -> None:
                del hooks[id(hook)]

        return Handle()

    def __call__(self, x: Any) -> Any:
        for hook in list(self.before.values()):
            hook(self, (x,))
        try:
            return self.forward(x)
        finally:
            for hook in list(self.after.values()):
                hook(self, (x,), None)


def small_model() -> Module:
    act = Module(lambda x: x)  # one object in two places
    first = Module(act, act=act)
    second = Module(act, act=act)
    return Module(lambda x: second(first(x)), first=first, second=second)


@pytest.fixture
def fake_torch(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    state = {"compiling": False}
    compiler = type("compiler", (), {"is_compiling": staticmethod(lambda: state["compiling"])})
    monkeypatch.setitem(sys.modules, "torch", type("torch", (), {"compiler": compiler}))
    return state


def test_each_module_has_a_range_with_its_path_and_shapes(fake_torch: dict[str, bool]) -> None:
    recorder, model = Recorder(), small_model()
    with annotate(model, ranges=recorder):
        model(Tensor(8, 3))
    model(Tensor(8, 3))  # without its hooks again
    assert recorder.pushed == [
        (0, "first, sizes = [[8, 3]]"), (1, "first.act, sizes = [[8, 3]]"), (0, "second, sizes = [[8, 3]]"),
        (1, "second.act, sizes = [[8, 3]]"),
    ]  # fmt: skip
    assert recorder.depth == 0
    found = range_name(recorder.pushed[1][1])
    assert found is not None and (found.name, found.shape) == ("first.act", (8, 3))


def test_what_is_compiled_has_no_ranges_and_an_error_closes_them(fake_torch: dict[str, bool]) -> None:
    recorder = Recorder()
    model = small_model()
    annotate(model, ranges=recorder)
    fake_torch["compiling"] = True
    model(Tensor(1))
    assert recorder.pushed == []
    fake_torch["compiling"] = False

    def fails(x: Any) -> Any:
        raise ValueError("out of memory")

    model.children["second"].forward = fails
    with pytest.raises(ValueError, match="out of memory"):
        model(Tensor(1))
    assert recorder.depth == 0 and recorder.paths == ["first", "first.act", "second"]


def test_without_a_profiler_nothing_is_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NVTX_INJECTION64_PATH", "NSYS_PROFILING_SESSION_ID", "CUDA_INJECTION64_PATH"):
        monkeypatch.delenv(name, raising=False)
    model = small_model()
    assert isinstance(profiler.annotate(model), Annotation)
    assert all(not m.before and not m.after for _, m in model.named_modules())
    with pytest.raises(TypeError, match=r"a torch\.nn.Module, and got int"):
        profiler.annotate(3)


def test_the_package_does_not_import_pytorch() -> None:
    code = "import sys, profiler; profiler.annotate; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_with_pytorch_itself() -> None:
    """A shared module, a Sequential, a graph break of torch.compile, DataParallel's wrapper, autocast."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, act: Any) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), act

        def forward(self, x: Any) -> Any:
            return self.act(self.conv(x))

    act = nn.SiLU()
    model = nn.Sequential(Block(act), Block(act), nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    inside = ["0", "0.conv", "0.act", "1", "1.conv", "1.act", "2", "3"]
    image = torch.zeros(2, 3, 8, 8)
    recorder = Recorder()
    with annotate(model, ranges=recorder), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model(image)
    assert [t.partition(",")[0] for _, t in recorder.pushed] == inside
    assert recorder.pushed[0][1].endswith("sizes = [[2, 3, 8, 8]]") and recorder.depth == 0

    wrapped = Recorder()
    with annotate(nn.DataParallel(model), ranges=wrapped), torch.no_grad():
        nn.DataParallel(model)(image)
    assert wrapped.depth == 0 and "module.0.conv" in [t.partition(",")[0] for _, t in wrapped.pushed]

    class Broken(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            torch._dynamo.graph_break()
            return self.second(x)

    compiled = Recorder()
    broken = torch.compile(Broken(), backend="eager")
    with annotate(broken, ranges=compiled), torch.no_grad():
        result = broken(torch.zeros(1, 4))
    assert result.shape == (1, 4) and compiled.depth == 0
