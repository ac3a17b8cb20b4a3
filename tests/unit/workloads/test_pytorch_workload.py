from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.errors import MissingToolError, ProfilerError, UsageError
from profiler.runtime import pytorch_model
from profiler.workloads import pytorch

REPOSITORY = Path(__file__).parents[3]
torch = pytest.importorskip("torch", reason="the PyTorch workload needs PyTorch")

from tests.support import small_network  # noqa: E402 - after the check that torch is here
from tests.support.workload import options  # noqa: E402


def process(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run(
        [sys.executable, "-m", *argv],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=variables,
        cwd=REPOSITORY,
    )


def test_without_a_gpu_the_process_says_so(tmp_path: Path) -> None:
    done = process("profiler.workloads.pytorch", "--output", str(tmp_path / "o.json"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: this process sees no NVIDIA GPU")
    assert "\n  Run it on a machine with a GPU" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_and_help() -> None:
    assert process("profiler.workloads.pytorch").returncode == 2
    for module in ("workloads.pytorch", "workloads.tensorrt", "engine.export", "engine.build"):
        done = process(f"profiler.{module}", "--help")
        assert done.returncode == 0 and "Exit status" in done.stdout


def test_leaf_modules_are_recorded_once() -> None:
    network, images = small_network.make()
    rows = pytorch_model.record_modules(torch, network, lambda: network(images))
    by_name = {row["name"]: row for row in rows}
    leaves = {n for n, m in network.named_modules() if n and not list(m.children())}
    assert set(by_name) == leaves
    assert by_name["conv1"] == {
        "name": "conv1",
        "type": "Conv2d",
        "inputs": [[4, 3, 32, 32]],
        "outputs": [[4, 16, 16, 16]],
        "dtype": "float32",
        "parameters_bytes": 3 * 16 * 49 * 4,
        "call": 0,
    }
    assert [r["call"] for r in rows if r["name"] == "layer1.0.relu"] == [0, 1] and by_name["fc"]["outputs"] == [[4, 10]]
    assert not any(m._forward_hooks for m in network.modules())


def test_ranges_nest_and_blocks_have_one_too() -> None:
    network, images = small_network.make()
    events: list[str] = []
    handles = pytorch_model.push_ranges(network, events.append, lambda: events.append(")"))
    network(images)
    open_ranges: list[str] = []
    seen = set()
    for event in events:
        if event == ")":
            open_ranges.pop()
        else:
            assert not open_ranges or event.startswith(f"{open_ranges[-1]}.")
            open_ranges.append(event)
            seen.add(event)
    assert open_ranges == []
    assert seen == {name for name, _ in network.named_modules() if name}
    for handle in handles:
        handle.remove()
    events.clear()
    network(images)
    assert events == []


def test_a_function_gives_model_and_input() -> None:
    loaded = pytorch_model.load_model("tests.support.small_network:make", "random", 0)
    assert tuple(loaded.example.shape) == (4, 3, 32, 32) and loaded.weights["kind"] == "random"
    assert not loaded.module.training


def test_checkpoints(tmp_path: Path) -> None:
    network, _ = small_network.make()
    path = tmp_path / "c.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    loaded = pytorch_model.load_model("tests.support.small_network:make_plain", str(path), 0)
    assert loaded.weights == {"kind": "checkpoint", "label": "c.pth", "seed": None}
    assert torch.equal(loaded.module.bn1.weight, network.bn1.weight)
    torch.save({"fc.weight": torch.zeros(1)}, path)
    with pytest.raises(ProfilerError, match="does not fit the model"):
        pytorch_model.load_model("tests.support.small_network:make", str(path), 0)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ProfilerError, match="not a checkpoint"):
        pytorch_model.load_model("tests.support.small_network:make", str(path), 0)
    with pytest.raises(UsageError, match="no such file"):
        pytorch_model.load_model("tests.support.small_network:make", str(tmp_path / "gone.pth"), 0)


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingToolError, match="torchvision cannot be imported") as caught:
        pytorch_model.load_model("resnet50", "random", 0)
    assert "module:function" in (caught.value.hint or "")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingToolError, match="PyTorch cannot be imported"):
        pytorch_model.import_torch()


@pytest.mark.parametrize(("sm", "precision", "fits"), [((7, 5), "tf32", False), ((7, 5), "bf16", False)])
def test_what_a_turing_gpu_lacks(sm: tuple[int, int], precision: str, fits: bool) -> None:
    class Device:
        name, major, minor = "Tesla T4", *sm

    with pytest.raises(UsageError, match=r"SM 7\.5.*needs SM 8\.0"):
        pytorch._check_precision(torch, precision, Device())
    pytorch._check_precision(torch, "fp16", Device())
    pytorch._check_precision(torch, "fp32", Device())


def test_fp32_turns_tf32_off() -> None:
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    try:
        pytorch._set_precision(torch, "fp32", False)
        assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
        pytorch._set_precision(torch, "tf32", False)
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_images_of_a_function_fill_the_batch(tmp_path: Path) -> None:
    loaded = pytorch_model.load_model("tests.support.small_network:make", "random", 0)
    images: Any = pytorch._images(loaded, options(batch=6))
    assert images.shape == (6, 3, 32, 32) and (images[4] == images[0]).all()
