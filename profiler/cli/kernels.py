"""``kernels``: statistics per kernel name or per category."""

from __future__ import annotations

import argparse

from profiler.analysis.run.kernels import kernel_statistics
from profiler.analysis.run.run import Run
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.runs import inference_lines
from profiler.cli.verb import add_inferences, add_trace, trace_warnings, warn
from profiler.errors import TraceError
from profiler.report.documents import kernel_rows, kernels_document
from profiler.runtime.arguments import positive
from profiler.text import number, plural
from profiler.trace import open_trace

DESCRIPTION = (
    "Count and time all kernels of a trace. Times are nanoseconds; the standard deviation is that of a sample, as in nsys "
    "stats. per_inference counts the kernels launched inside inferences."
)

_HEADINGS = {
    "share_of_kernel_time_pct": "time %", "total_ns": "total ns", "count": "count", "per_inference": "per inf.", "mean_ns": "mean ns",
    "median_ns": "median ns", "min_ns": "min ns", "max_ns": "max ns", "stddev_ns": "stddev ns",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trace(parser)
    add_inferences(parser)
    parser.add_argument(
        "--no-inferences", action="store_true", help="do not look for inferences: much less of a large trace is read"
    )
    parser.add_argument(
        "--by",
        choices=("name", "category"),
        default="name",
        help="a row per kernel name (default) or per category",
    )
    parser.add_argument("--top", type=positive, metavar="N", help="only the N rows with the most time")
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.trace) as trace:
        if trace.no_kernels_reason:
            raise TraceError(trace.no_kernels_reason)
        trace.events.all_at_once = False  # no device, call names or payloads are asked for
        if args.no_inferences:
            inferences, summary, lines = None, kernel_statistics(trace), []
        else:
            found = Run(trace, args.nvtx, args.inferences)
            inferences = found.inferences
            trace.release("nvtx_ranges", "nvtx_index")  # what follows takes memory, too
            summary = found.kernels
            lines = inference_lines(found)
        warn(trace_warnings(trace))
        by_name = args.by == "name"
        document = kernels_document(trace, inferences, summary, args.top) if args.format == "json" else None
        rows = kernel_rows(summary, args.top) if by_name else summary.categories.rows()[: args.top]
    head = f"{plural(summary.count, 'kernel')}, {number(summary.total_ns)} ns"
    columns = _HEADINGS
    if inferences is None:
        columns = {key: heading for key, heading in columns.items() if key != "per_inference"}
    else:
        warn(inferences.notes)
        if inferences.count and summary.per_inference_note:
            warn([summary.per_inference_note])
        per = "kernels unknown" if summary.per_inference is None else plural(summary.per_inference, "kernel")
        counted = plural(summary.inferences, "inference") if summary.inferences else "no inferences"
        head += f"; {counted}, {per} per inference"
    names = {"tensor_cores": "TC", "category": "category", "name": "name"} if by_name else {"category": "category"}
    columns = {**columns, **names}
    emit(args, document, "\n".join([head, *lines, "", render_table(rows, columns)]), rows)
