"""NVIDIA's programs on this machine (nsys, ncu, nvidia-smi, nvcc): where they are, and what they answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiler.errors import MissingToolError


def find_tool(name: str, variable: str, patterns: Sequence[str]) -> Path | None:
    """A program: the one that the environment ``variable`` names, else that on the PATH, else the newest installed.

    Args:
        patterns: absolute shell patterns of the usual install folders, the first that match win.
    """
    named = os.environ.get(variable) or shutil.which(name)
    if named:
        return Path(named)
    for pattern in patterns:
        found = [p for p in Path("/").glob(pattern.lstrip("/")) if os.access(p, os.X_OK)]
        if found:
            return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))])
    return None


def ask(
    argv: Sequence[str | Path],
    timeout_s: float | None = None,
    hint: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and take what it prints.

    Args:
        hint: what to do when it does not run.

    Raises:
        MissingToolError: it cannot be run, or is still running after ``timeout_s``.
    """
    try:
        return subprocess.run(
            [str(a) for a in argv], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            check=False, timeout=timeout_s, env=None if environment is None else dict(environment),
        )  # fmt: skip
    except OSError as error:
        raise MissingToolError(f"{argv[0]}: cannot be run ({error.strerror or error}).", hint) from error
    except subprocess.TimeoutExpired:
        raise MissingToolError(f"{argv[0]}: still running after {timeout_s:g} s.", hint) from None
