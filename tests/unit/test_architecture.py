"""Imports go one way, and what the viewer needs is all that it imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.support.traces import ROOT


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


def test_no_test_imports_another_or_a_conftest() -> None:
    """What several tests use lies in tests/support."""
    found, wrong = 0, []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            found += any(m.startswith("tests.support") for m in modules)
            wrong += [f"{path.relative_to(ROOT)}: {m}" for m in modules if re.search(r"(^|\.)(test_\w+|conftest)$", m)]
    assert found > 50 and not wrong
