"""Arguments and steps that several verbs share."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler.cli import streams
from profiler.progress import Listener
from profiler.runtime.arguments import positive

if TYPE_CHECKING:
    from profiler.trace import Trace


def add_trace(parser: argparse.ArgumentParser, name: str = "trace") -> None:
    parser.add_argument(
        name,
        metavar=name.upper(),
        help="nsys SQLite export (.sqlite, or compressed: .xz, .zst, .gz); or a .nsys-rep if nsys is installed",
    )


def add_nvtx(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nvtx",
        metavar="PATTERN",
        help="NVTX ranges that mark inferences: a shell pattern such as 'iter*', or a regular expression (default: detected)",
    )


def add_inferences(parser: argparse.ArgumentParser) -> None:
    """Which NVTX ranges are inferences, or how many there are."""
    add_nvtx(parser)
    _add_count(parser, "--inferences", "number of inferences in the trace, if no NVTX range marks them")


def add_pair(parser: argparse.ArgumentParser, one_is_enough: bool = False) -> None:
    """BEFORE and AFTER, and which of their NVTX ranges are inferences."""
    add_trace(parser, "before")
    if one_is_enough:
        parser.add_argument("after", metavar="AFTER", nargs="?", help="the other trace (default: BEFORE only)")
    else:
        add_trace(parser, "after")
    parser.add_argument(
        "--nvtx", metavar="PATTERN", help="NVTX ranges that mark inferences in both traces (see kernels --nvtx)"
    )
    parser.add_argument("--nvtx-before", metavar="PATTERN", help="the same for BEFORE only")
    parser.add_argument("--nvtx-after", metavar="PATTERN", help="the same for AFTER only")
    _add_count(parser, "--inferences", "number of inferences in each trace, if no NVTX range marks them")
    _add_count(parser, "--inferences-before", "the same for BEFORE only")
    _add_count(parser, "--inferences-after", "the same for AFTER only")


def add_engine_files(parser: argparse.ArgumentParser) -> None:
    """Descriptions of engines whose traces have none."""
    what = "engine inspector JSON for BEFORE, if its trace has no layer descriptions"
    parser.add_argument("--before-engine", type=Path, metavar="FILE", help=what)
    parser.add_argument("--after-engine", type=Path, metavar="FILE", help="the same for AFTER")


def _add_count(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    parser.add_argument(name, type=positive, metavar="N", help=what)


def warn(messages: Iterable[str]) -> None:
    for message in messages:
        streams.say(f"warning: {' '.join(message.split())}")


def terminal_progress() -> Listener:
    """Shows on a terminal what is being read, once it takes more than a second; nothing where messages go to a file."""
    terminal, begun = sys.stderr, time.monotonic()

    def show(what: str, share: float) -> None:
        if terminal.isatty() and time.monotonic() - begun > 1:
            terminal.write(f"\r\x1b[Kreading {what}: {share:.0%}" if share < 1 else "\r\x1b[K")
            terminal.flush()

    return show


def trace_warnings(trace: Trace) -> list[str]:
    return [w.message for w in trace.warnings]


def pick(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: row[key] for key in keys}
