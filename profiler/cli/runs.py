"""The runs that a verb analyses, and what it prints of their inferences."""

from __future__ import annotations

import argparse

from profiler.analysis.run.run import Run
from profiler.text import visible
from profiler.trace import Trace


def pair_of(args: argparse.Namespace, before: Trace, after: Trace) -> tuple[Run, Run]:
    """The two runs of a verb with :func:`add_pair`, with what was said of their inferences."""
    return (
        Run(before, args.nvtx_before or args.nvtx, args.inferences_before or args.inferences),
        Run(after, args.nvtx_after or args.nvtx, args.inferences_after or args.inferences),
    )


def inference_lines(run: Run) -> list[str]:
    """Which ranges were taken, and what lies outside of them."""
    inferences = run.inferences
    if not inferences.count:
        return [f"inferences: none. {visible(inferences.statement)}"]
    return [
        f"inferences: {visible(inferences.statement)}",
        f"outside of them: {visible(inferences.outside.sentence)}",
    ]
