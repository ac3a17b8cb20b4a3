"""The custom layer's kernels on a real GPU, as a user measures them: compile, measure, and be told when it cannot work.

Needs nvcc, and PyTorch in this interpreter or the one that PROFILER_TORCH_PYTHON names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.analysis.custom_layer.measurement import KERNEL, read_measurement
from profiler.errors import MissingToolError
from profiler.plugins import compile as compiling
from tests.support.gpu import TORCH_PYTHON, has_gpu, need, python

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU here")]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(TORCH_PYTHON, "import torch; assert torch.cuda.is_available(), 'no CUDA'")
    try:
        nvcc = compiling.find_nvcc()
    except MissingToolError as error:
        pytest.skip(error.message)
    target = tmp_path_factory.mktemp("kernels") / "kernels.so"
    compiling.compile_library(target, None, nvcc, "native")
    return target


def test_the_kernels_agree_with_float64_and_move_bytes_like_a_copy(kernels: Path, tmp_path: Path) -> None:
    target = tmp_path / "measure.json"
    argv = ("--library", str(kernels), "--output", str(target), "--sizes-mib", "256", "--repeats", "10")
    done = python(TORCH_PYTHON, "-m", "profiler.plugins.measure", *argv)
    assert done.returncode == 0, done.stderr[-3000:]  # it fails when an error is out of its bound
    found = read_measurement(target)
    ours = found.agreement[found.agreement["form"] == KERNEL]
    assert set(ours["precision"]) == {"fp32", "fp16", "int8"} and ours["within"].all()
    assert (found.edges["cases"] > 200).all() and (found.edges["wrong"] == 0).all()
    # timings are reported and not judged: another program may share the GPU
    assert set(found.bandwidth["precision"]) == {"fp32", "fp16", "int8"} and (found.bandwidth["us"] > 0).all()
    assert json.loads(target.read_text("utf-8"))["hundred_percent"]


def test_a_kernel_out_of_bounds_fails(kernels: Path, tmp_path: Path) -> None:
    """The same kernels against bounds that no kernel can meet."""
    code = (
        "import sys; from profiler.plugins import measure; from profiler.runtime import contract\n"
        "measure.BOUNDS = {'fp32': 1e-12, 'fp16': 1e-12, 'int8': 1.0}\n"
        "sys.exit(contract.run_process(measure.main))"
    )
    argv = ("--library", str(kernels), "--output", str(tmp_path / "m.json"), "--sizes-mib", "4", "--repeats", "2")
    done = python(TORCH_PYTHON, "-c", code, *argv)
    assert done.returncode == 1 and "out of bounds" in done.stderr
