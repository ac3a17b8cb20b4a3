"""The package as it is installed from a wheel, outside the repository: code, bundled traces and documentation."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.serving import serving
from tests.support.traces import BUNDLED, DATA, ROOT


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, an empty folder to stand in, and no way to the repository."""

    environment: Path
    folder: Path

    def variables(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PROFILER"))
        }
        return {**kept, "HOME": str(self.folder)}

    def program(self, name: str) -> str:
        return str(self.environment / "bin" / name)

    def run(self, *command: str) -> str:
        """Run a program of the environment; what it printed."""
        done = subprocess.run(
            [self.program(command[0]), *command[1:]],
            cwd=self.folder, env=self.variables(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of this tree, unpacked, and the wheel that pip builds from it."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(pip, cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in a new environment, which borrows the other libraries of this one but not what is installed as editable."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", built[1]], check=True, capture_output=True)
    (folder / "empty").mkdir()
    return Installed(environment, folder / "empty")


def test_the_sdist_holds_tests_traces_and_documentation(built: tuple[Path, Path]) -> None:
    source, _ = built
    for folder in ("tests", "traces", "docs", "benchmarks", "notebooks", ".ci"):
        mine = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert mine and mine == {p.relative_to(source) for p in (source / folder).rglob("*") if p.is_file()}


def test_the_wheel_holds_what_runs_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[1]).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"profiler", "dashboard"}
    assert sum(n.startswith("profiler/bundled/traces/") and n.endswith("/trace.sqlite.xz") for n in names) == len(
        BUNDLED
    )
    for name in (
        "profiler/py.typed", "profiler/plugins/src/plugin.cpp", "profiler/plugins/src/plugin_v3.h",
        "profiler/report/report.css", "profiler/bundled/docs/glossary.md",
        "dashboard/.streamlit/config.toml", "dashboard/static/timeline.js", "dashboard/static/icon.png",
    ):  # fmt: skip
        assert name in names
    assert not [n for n in names if n.startswith("profiler/bundled/docs/") and n.endswith(".py")]


def test_the_command_line_is_known_by_the_name_that_was_typed(installed: Installed) -> None:
    assert installed.run("tensorrt-evidence", "--help").startswith("usage: tensorrt-evidence ")
    assert installed.run("tensorrt-evidence", "compare", "--help").startswith("usage: tensorrt-evidence compare ")
    assert installed.run("python", "-m", "profiler", "--help").startswith("usage: python -m profiler ")
    assert "-- OPTION" in installed.run("tensorrt-evidence", "dashboard", "--help")


def test_a_bundled_pair_is_compared(installed: Installed) -> None:
    found = installed.run("python", "-c", "from profiler.resources import bundled_traces as b; print(b())").strip()
    assert Path(found).is_relative_to(installed.environment)
    pair = [f"{found}/{run}/trace.sqlite.xz" for run in ("torch-fp32-eager-b8", "trt-int8-stream-b8")]
    line = next(x for x in installed.run("tensorrt-evidence", "compare", *pair).splitlines() if x.startswith("Kernels"))
    assert line.split()[1:3] == ["174", "56"]


def test_the_dashboard_opens_on_the_bundled_pair_and_has_its_texts(installed: Installed) -> None:
    program = [installed.program("tensorrt-evidence"), "dashboard", "--traces", str(DATA), "--"]
    with serving(program, installed.variables(), installed.folder):
        pass  # it answers
    shown = installed.run(
        "python",
        "-c",
        """
from streamlit.testing.v1 import AppTest
for page in ("overview", "help"):
    test = AppTest.from_string(f"from dashboard.app import main; main({page!r})", default_timeout=60).run()
    assert not test.exception and not test.error, (test.exception, test.error)
    print(*(element.value for element in (*test.title, *test.markdown)))
""",
    )
    assert "282 → 58 kernels per inference" in shown and "Tensor Core" in shown
