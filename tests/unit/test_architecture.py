"""Imports go one way, and what the viewer needs is all that it imports."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.make_trace import simple
from tests.support.traces import ROOT


def test_import_contracts() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_package_itself_imports_nothing_heavy() -> None:
    """The TensorRT runner imports ``profiler`` where pandas is not installed."""
    code = "import sys, profiler, profiler.errors; print(sorted({'pandas', 'numpy', 'pyarrow', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("given", [None, "3"])
def test_numpy_is_imported_without_threads_and_what_a_verb_starts_does_not_notice(given: str | None) -> None:
    code = (
        "import os; from profiler.cli.main import module_of; module_of('kernels'); import numpy; "
        "print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": given} if given else {}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    threads, left = found.stdout.split()
    assert left == str(given)
    assert given is not None or threads == "1"


def test_help_imports_only_what_it_needs() -> None:
    """The command line answers --help without the libraries that read and draw, and without any verb's module."""
    code = "import sys; from profiler.cli import main; main.build_parser().format_help(); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not {m.split(".")[0] for m in loaded} & {"pandas", "numpy", "pyarrow", "plotly"}
    assert {m for m in loaded if m.startswith("profiler.cli.")} == {
        f"profiler.cli.{m}" for m in ("main", "streams", "verb")
    }


@pytest.mark.parametrize("verb", ["kernels", "compare", "report", "doctor"])
def test_help_of_a_verb_does_not_load_what_it_would_compute_with(verb: str) -> None:
    code = "import sys; from profiler.cli.main import main\ntry: main(sys.argv[1:])\nfinally: print(sorted(sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", code, verb, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert verb in done.stdout
    assert not {"pandas.core", "pyarrow", "plotly"} & set(ast.literal_eval(done.stderr))


@pytest.mark.parametrize("arguments", [["info"], ["kernels"], ["kernels", "--no-inferences"]])
def test_what_reads_one_trace_does_without_pandas(arguments: list[str], tmp_path: Path) -> None:
    trace = simple().write(tmp_path / "trace.sqlite")
    code = "import sys; from profiler.cli.main import main; main(sys.argv[1:]); print(sorted(sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", code, *arguments, str(trace)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    heavy = {"pandas.core", "pyarrow", "plotly", "numpy.ma", "regex", "logging", "profiler.analysis.fusion"}
    assert not heavy & loaded


def test_every_verb_has_a_module_and_every_module_a_verb() -> None:
    from profiler.cli.main import VERBS  # noqa: PLC0415

    shared = {"__init__", "main", "verb", "output", "streams", "capture_options", "runs"}
    modules = {p.stem for p in (ROOT / "profiler" / "cli").glob("*.py")} - shared
    assert modules == {verb.replace("-", "_") for verb in VERBS}


def test_no_file_is_over_500_lines() -> None:
    sizes = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for folder in ("profiler", "dashboard", "tests", "benchmarks", "docs")
        for kind in ("*.py", "*.js", "*.css", "*.html", "*.cpp", "*.cu", "*.h", "*.cuh")
        for path in (ROOT / folder).rglob(kind)
    }
    assert len(sizes) > 250
    assert not {name for name, lines in sizes.items() if lines > 500}


def test_import_contracts_have_no_exceptions() -> None:
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    assert settings.count("[[tool.importlinter.contracts]]") > 4
    assert "ignore_imports" not in settings


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
