"""Tests on a real GPU: whether there is one, and the interpreters that have PyTorch and TensorRT."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.traces import ROOT

TORCH_PYTHON = os.environ.get("PROFILER_TORCH_PYTHON", sys.executable)
TRT_PYTHON = os.environ.get("PROFILER_TRT_PYTHON", sys.executable)


def has_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).stdout.startswith(b"GPU")


def python(interpreter: str, *argv: str) -> subprocess.CompletedProcess[str]:
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [interpreter, *argv],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
    )


def module(interpreter: str, name: str, *argv: str) -> None:
    done = python(interpreter, "-m", name, *argv)
    assert done.returncode == 0, done.stderr[-3000:]


def need(interpreter: str, code: str) -> None:
    done = python(interpreter, "-c", code)
    if done.returncode:
        pytest.skip(f"{interpreter}: {done.stderr.strip().splitlines()[-1]}")
