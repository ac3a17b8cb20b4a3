"""What runs beside TensorRT 8.5 has to run on CPython 3.9, with nothing but numpy and NVIDIA's packages installed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
PROFILER = REPOSITORY / "profiler"
ROOTS = ("profiler.workloads.tensorrt", "profiler.engine.build")
ALLOWED = {"numpy", "tensorrt", "nvtx", "cuda", "pynvml"}


def imported_modules() -> dict[str, Path]:
    """The project's modules that the TensorRT side imports, followed through their import statements."""
    found: dict[str, Path] = {}
    queue = list(ROOTS)
    while queue:
        name = queue.pop()
        path = REPOSITORY / Path(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        if "." in name:
            queue.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("profiler"):
                if name == "profiler":  # its names are imported when they are first used
                    continue
                queue.append(node.module)
                queue += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


MODULES = imported_modules()


def test_the_modules_are_the_expected_ones() -> None:
    assert {"profiler.errors", "profiler.runtime.contract", "profiler.engine.versions"} <= set(MODULES)
    assert not any(name.startswith(("profiler.analysis", "profiler.trace", "profiler.report")) for name in MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_syntax_and_imports(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text("utf-8"), feature_version=(3, 9))
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    assert future or len(tree.body) == 1, "annotations such as 'X | None' must not be evaluated"
    for node in ast.walk(tree):
        assert type(node).__name__ not in ("Match", "TryStar")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            assert not any(k.arg == "strict" for k in node.keywords)
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
            assert roots <= ALLOWED | set(sys.stdlib_module_names) | {"profiler"}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            root = node.module.split(".")[0]
            assert root in ALLOWED | set(sys.stdlib_module_names) | {"profiler"}


def real_python39() -> str | None:
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/3.9*/bin/python3.9"))
    for candidate in (shutil.which("python3.9"), *map(str, pyenv)):
        if candidate and not subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode:
            return candidate
    return None


@pytest.mark.skipif(real_python39() is None, reason="no CPython 3.9 here")
def test_a_real_3_9_compiles_them_and_imports_what_needs_no_numpy() -> None:
    python = str(real_python39())
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(REPOSITORY)}

    def run(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, "-c", code, *argv], capture_output=True, text=True, check=False, env=environment)

    done = run(
        "import sys; [compile(open(p, encoding='utf-8').read(), p, 'exec') for p in sys.argv[1:]]",
        *map(str, MODULES.values()),
    )
    assert done.returncode == 0, done.stderr
    done = run("import profiler.errors, profiler.engine.versions, profiler.engine.progress, profiler.runtime.telemetry")
    assert done.returncode == 0, done.stderr
    if run("import numpy").returncode == 0:
        done = run("import profiler.workloads.tensorrt, profiler.engine.build")
        assert done.returncode == 0, done.stderr
