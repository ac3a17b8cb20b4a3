"""Standard output that is full, closed, or of a locale that lacks characters: one line and the right exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.traces import bundled

TORCH, INT8 = str(bundled("torch-fp32-b8")), str(bundled("trt-int8-stream-b8"))
LOG = str(bundled("trt-int8-stream-b8").with_name("build.log.xz"))
VERBS = [
    ["info", TORCH], ["kernels", INT8, "--format", "csv"], ["tensor-cores", INT8], ["compare", TORCH, INT8], ["fusion", TORCH, INT8],
    ["decompose", TORCH, INT8], ["report", TORCH, INT8], ["report", TORCH, INT8, "--format", "html"], ["tactics", LOG],
    ["doctor"], ["classify", "-"], ["report", "--help"],
]  # fmt: skip
ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
FULL = Path("/dev/full")


def _name(verb: list[str]) -> str:
    return " ".join(argument for argument in verb if os.sep not in argument)


def profiler(*args: str, after: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the program through a shell, which puts its streams where ``after`` says."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {after}', "sh", sys.executable, "-m", "profiler", *args],
        input="void ünïcode(int)\n".encode(),
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **(env or {})},
    )


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", VERBS, ids=_name)
def test_full_standard_output_is_an_error_of_one_line(verb: list[str]) -> None:
    done = profiler(*verb, after="> /dev/full")
    assert done.returncode == 1
    error, remedy = done.stderr.decode().splitlines()[-2:]
    assert error.startswith("error: standard output: cannot be written (No space left") and "disk is full" in remedy
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("verb", VERBS, ids=_name)
def test_a_locale_without_characters_escapes_them(verb: list[str]) -> None:
    done = profiler(*verb, env=ASCII)
    assert (done.returncode, b"error" in done.stderr) == (0, False), done.stderr
    assert done.stdout.isascii() or "html" in verb
    if "html" in verb:  # says itself that it is UTF-8
        assert "→" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&-", "2> /dev/full"])
def test_closed_streams(streams: str, tmp_path: Path) -> None:
    done = profiler("info", TORCH, after=streams)
    assert done.returncode == (1 if ">&-" in streams.replace("2>&-", "") else 0)
    if streams == ">&-":
        assert done.stderr.decode().startswith("error: standard output: cannot be written (it is closed)")
    document = tmp_path / "info.json"  # a file is written all the same
    done = profiler("info", TORCH, "--format", "json", "-o", str(document), after=streams)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert json.loads(document.read_text())["kernels"] > 0


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_an_exit_status_that_says_more_is_kept(variables: dict[str, str]) -> None:
    gate = ["--fail-if", "kernels_per_inference>1"]
    done = profiler("report", TORCH, INT8, *gate, after="2> /dev/full", env=variables)
    assert done.returncode == 3 and b"One inference went from" in done.stdout
    assert profiler("info", "missing.sqlite", after="> /dev/full 2> /dev/full", env=variables).returncode == 1
    assert profiler("info", after="> /dev/full", env=variables).returncode == 2
