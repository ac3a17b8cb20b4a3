"""A command in an environment without the requirements says what is missing."""

from __future__ import annotations

import subprocess
import sys

from tests.support.traces import ROOT, bundled


def test_a_missing_package_is_named_with_the_remedy() -> None:
    """``-S`` leaves site-packages out, as an interpreter has them before the requirements are installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-m", "profiler", "kernels", str(bundled("trt86-fp16-stream-b8"))],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not done.stdout
    assert " has no Python package " in done.stderr and "requirements.txt" in done.stderr
    assert "Traceback" not in done.stderr and "should not have happened" not in done.stderr
