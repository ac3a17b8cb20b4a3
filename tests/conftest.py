"""What all tests share: the bundled traces, and a guard that no test changes them."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from profiler.trace import Trace, open_trace
from tests.support.machine import Machine, stand_ins
from tests.support.make_trace import TraceMaker
from tests.support.traces import DATA, TRACES

# No test fails because the machine was busy, nor by the luck of the draw: one commit gives one result. New examples are looked for
# with ``pytest --hypothesis-profile=explore -m "not browser"``, whose finds become examples or fixes.
settings.register_profile("project", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("project")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: one more than there are processors, as every other test waits for a browser or a program."""
    return (os.cpu_count() or 1) + 1


def _digests() -> dict[str, str]:
    files = [p for folder in (TRACES, DATA) for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="session", autouse=True)
def unchanged_fixtures() -> Iterator[None]:
    """Fail when a test changes, adds or removes a file among the bundled traces or the test data."""
    before = _digests()
    yield
    assert _digests() == before


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary files go below pytest's own folder: pytest-xdist ends its workers without Python's clean-up at exit."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    yield
    tempfile.tempdir = before[1]
    if before[0] is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before[0]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[TraceMaker], Trace]]:
    """Write a made trace and open it; closed after the test."""
    traces: list[Trace] = []

    def make(maker: TraceMaker) -> Trace:
        traces.append(open_trace(maker.write(tmp_path / f"made{len(traces)}.sqlite")))
        return traces[-1]

    yield make
    for trace in traces:
        trace.close()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Scripts in the place of nvidia-smi, nsys and an interpreter, where the code under test looks for them."""
    made = stand_ins(tmp_path / "machine")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("FAKE_NSYS_FAIL", "FAKE_FAIL", "FAKE_SM", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return made
