"""``-o FILE --force`` of every verb that reads traces: an input, a link or a device is never replaced."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from profiler.cli import main
from tests.support.make_trace import simple

_TRACES = ("trace", "before", "after")


def _reading_verbs() -> dict[str, list[str]]:
    """The verbs that read traces and write a file, with the names of their arguments that are traces."""
    found = {}
    for verb in main.VERBS:
        parser = argparse.ArgumentParser()
        main.module_of(verb).add_arguments(parser)
        actions = {action.dest: action for action in parser._actions}
        traces = [name for name in _TRACES if name in actions]
        if traces and {"output", "force"} <= actions.keys():
            found[verb] = traces
    return found


def test_the_verbs_are_found() -> None:
    assert {"info", "kernels", "compare", "fusion", "report", "timeline", "sanitize"} <= _reading_verbs().keys()


@pytest.mark.parametrize("verb", sorted(_reading_verbs()))
@pytest.mark.parametrize("target", ["input", "hard link", "link to it", "dangling link", "pipe", "device"])
def test_what_is_no_file_of_its_own_is_not_replaced(
    verb: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = [simple().write(tmp_path / f"{name}.sqlite") for name in _reading_verbs()[verb]]
    before = [trace.read_bytes() for trace in traces]
    output = tmp_path / "output.sqlite"
    if target == "input":
        output = traces[-1]
    elif target == "hard link":
        output.hardlink_to(traces[0])
    elif target == "pipe":
        os.mkfifo(output)
    elif target == "device":
        output = Path("/dev/null")
    else:
        output.symlink_to(traces[0] if target == "link to it" else tmp_path / "nothing")
    state = os.lstat(output)
    assert main.main([verb, *map(str, traces), "-o", str(output), "--force"]) == 2
    said = capsys.readouterr().err
    assert any(
        text in said for text in ("never replaced", "only a regular file is replaced", "expected a name that ends in")
    )
    assert [trace.read_bytes() for trace in traces] == before and os.lstat(output).st_ino == state.st_ino
    assert {p.name for p in tmp_path.iterdir()} <= {*(t.name for t in traces), "output.sqlite"}


def test_the_markdown_of_a_report_is_no_input_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = simple().write(tmp_path / "a.sqlite")
    content = trace.read_bytes()
    assert main.main(["report", str(trace), str(trace), "--markdown", str(trace), "--force"]) == 2
    assert "never replaced" in capsys.readouterr().err and trace.read_bytes() == content
