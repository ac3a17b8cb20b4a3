"""Imports go one way, and what the viewer needs is all that it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_package_itself_imports_nothing_heavy() -> None:
    """The TensorRT runner imports ``profiler`` where neither pandas nor sqlite-utils is installed."""
    code = "import sys, profiler, profiler.errors; print(sorted({'pandas', 'numpy', 'sqlite_utils', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve() -> None:
    import profiler  # noqa: PLC0415

    assert all(getattr(profiler, name) for name in profiler.__all__)
    assert set(profiler.__all__) == set(profiler._HOMES)
