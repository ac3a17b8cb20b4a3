"""The English of what the commands print, with real traces and with one whose every count is 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.cli.main import VERBS
from tests.support.commands import called
from tests.support.language import faults
from tests.support.make_trace import simple
from tests.support.pages import DEMO
from tests.support.traces import bundled

ONE = ("info", "kernels", "tensor-cores")
TWO = ("compare", "fusion", "decompose")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simple(inferences=1, kernels=1).write(tmp_path_factory.mktemp("single") / "one.sqlite")


def said(*args: str) -> str:
    done = called(*args)
    assert "Traceback" not in done.stderr
    return f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    assert not faults(said(verb, "--help"), percent=False)


@pytest.mark.parametrize("verb", ONE)
def test_one_trace(verb: str, single: Path) -> None:
    for path in (bundled(DEMO[0]), single):
        assert not faults(said(verb, str(path)))


@pytest.mark.parametrize("verb", TWO)
def test_two_traces(verb: str, single: Path) -> None:
    for pair in ((bundled(DEMO[0]), bundled(DEMO[1])), (single, single)):
        assert not faults(said(verb, *map(str, pair)))


def test_summary_for_a_pull_request(tmp_path: Path, single: Path) -> None:
    for place, pair in enumerate(((bundled(DEMO[0]), bundled(DEMO[1])), (single, single))):
        target = tmp_path / f"{place}.md"
        done = called("report", *map(str, pair), "--markdown", str(target), "-o", str(tmp_path / f"{place}.html"))
        assert "Traceback" not in done.stderr
        assert not faults(target.read_text("utf-8"))
