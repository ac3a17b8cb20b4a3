"""``decompose``: where the difference of two latencies came from, exactly."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from profiler.analysis.fusion.decompose import chain
from profiler.analysis.pair import fusion
from profiler.analysis.run.run import Run
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.runs import pair_of
from profiler.cli.verb import add_pair
from profiler.report.documents import chain_document, part_document
from profiler.text import number, printable
from profiler.trace import open_trace

DESCRIPTION = (
    "Split the latency difference between two traces (the median inference of each) into fewer kernels, faster kernels, layout "
    "changes, added kernels, copies, overlap, idle and host time. The parts add up to the difference to the nanosecond. With --via, "
    "the runs in between become measured steps. Latencies are those measured under nsys."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser)
    parser.add_argument(
        "--via",
        metavar="TRACE",
        action="append",
        default=[],
        help="a run in between (repeatable, in order)",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with ExitStack() as stack:
        traces = [stack.enter_context(open_trace(p)) for p in (args.before, *args.via, args.after)]
        first, last = pair_of(args, traces[0], traces[-1])
        steps = chain([first, *(Run(t, args.nvtx, args.inferences) for t in traces[1:-1]), last], fusion)
    document = chain_document(steps)
    text, rows = [], []
    for place, step in enumerate(steps):
        text.append(f"{printable(step.title)}: {number(step.latency_ns / 1e6)} ms")
        if step.reason:
            text.append(f"  no split: {step.reason}")
        if step.split is None:
            continue
        parts = [part_document(p) for p in step.split.parts]
        saved = step.split.before_latency_ns - step.split.after_latency_ns
        rows += [{"step": place, "to": step.title, **p} for p in parts]
        shown = [
            {**p, "before": p["before_ns"] / 1e3, "after": p["after_ns"] / 1e3, "saved": p["saved_ns"] / 1e3}
            for p in parts
        ]
        shown.append(
            {
                "label": "Latency",
                "before": step.split.before_latency_ns / 1e3,
                "after": step.split.after_latency_ns / 1e3,
                "saved": saved / 1e3,
            }
        )
        columns = {"label": "part", "before": "µs before", "after": "µs after", "saved": "µs saved"}
        text += [render_table(shown, columns), ""]
    emit(args, document, "\n".join(text), rows)
