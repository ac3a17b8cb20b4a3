"""The runs that a verb analyses, and what it prints of their inferences."""

from __future__ import annotations

import argparse

from profiler.analysis.run.run import Run
from profiler.text import visible
from profiler.trace import Trace


def run_of(args: argparse.Namespace, side: str, trace: Trace) -> Run:
    """The run of a verb with :func:`add_pair` on one side, with what was said of its inferences."""
    count = getattr(args, f"inferences_{side}") or args.inferences
    return Run(trace, getattr(args, f"nvtx_{side}") or args.nvtx, count)


def pair_of(args: argparse.Namespace, before: Trace, after: Trace) -> tuple[Run, Run]:
    """Both runs."""
    return run_of(args, "before", before), run_of(args, "after", after)


def inference_lines(run: Run) -> list[str]:
    """Which ranges were taken, and what lies outside of them."""
    inferences = run.inferences
    if not inferences.count:
        return [f"inferences: none. {visible(inferences.statement)}"]
    return [
        f"inferences: {visible(inferences.statement)}",
        f"outside of them: {visible(inferences.outside.sentence)}",
    ]
