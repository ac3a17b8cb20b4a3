"""The command line as a process, or in this one; the commands that the documentation tells people to type, and whether it knows them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys

from profiler.cli.main import build_parser, main
from profiler.report.gates import parse_gate

_PROGRAM = re.compile(r"^\s*!?(?:[A-Z_]+=\S+ )?python -m profiler (?P<rest>.+)$")
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What follows ``python -m profiler`` in lines of a script, continued lines joined, remarks cut off."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = []
    for line in joined.splitlines():
        if match := _PROGRAM.match(line):
            bare = re.split(r"\s{2,}|\s#\s", match["rest"].strip())  # a column of remarks, or a comment
            options = [part for part in bare[1:] if part.startswith("-") and not part.startswith("- ")]
            found.append(" ".join([bare[0], *options]))
    return found


def in_blocks(markdown: str) -> list[str]:
    """The commands in the fenced blocks of a document."""
    return [c for block in _BLOCK.findall(markdown) for c in commands(block)]


def check(command: str) -> None:
    """Parse a command as the program would, gates included; of “A|B” the first is taken, and where “…” stands for
    something the verb alone is checked.

    Raises:
        AssertionError: the command line does not know it.
    """
    arguments = [a.partition("|")[0] for a in shlex.split(command)]
    parser = build_parser()
    if "…" in arguments:
        arguments = [arguments[0], *arguments[1 : arguments.index("…")], "--help"]
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as end:
        assert end.code == 0, f"python -m profiler {command}: the command line does not know this"
        return
    for gate in getattr(parsed, "fail_if", []):
        parse_gate(gate)


def profiler(
    *args: str, stdin: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m profiler`` with these arguments, and variables beside those of this process."""
    return subprocess.run(
        [sys.executable, "-m", "profiler", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )


def called(*args: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, in a tenth of the time: for tests of what a verb says, not of how it starts and ends."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(args)
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())
