"""``tensor-cores``: how much of the kernel time uses Tensor Cores, by name and by sampled counter."""

from __future__ import annotations

import argparse

from profiler.analysis.run.run import Run
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.verb import add_inferences, add_trace, trace_warnings, warn
from profiler.errors import TraceError
from profiler.report.documents import tensor_cores_document
from profiler.text import number, plural
from profiler.trace import open_trace

DESCRIPTION = (
    "Two kinds of evidence, never merged: kernel time by what the names say (yes, no, unknown), and the mean of nsys's sampled Tensor "
    "Active counter over the same window."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trace(parser)
    add_inferences(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.trace) as trace:
        if trace.no_kernels_reason:
            raise TraceError(trace.no_kernels_reason)
        found = Run(trace, args.nvtx, args.inferences)
        report = found.tensor_cores
        warn([*trace_warnings(trace), *found.inferences.notes])
    sampled, document = report.sampled, tensor_cores_document(trace, report)
    verdicts, eligible, unknown = document["by_name"], document["eligible_not_using"], document["unknown"]
    if sampled.value_pct is None:
        line = f"sampled Tensor Active: unknown. {sampled.reason}"
    else:
        rate = f" at {number(sampled.frequency_hz / 1e3)} kHz" if sampled.frequency_hz else ""
        line = f"sampled “{sampled.counter}”: mean {number(sampled.value_pct)} % of {plural(sampled.samples, 'sample')}{rate}"
    parts = [
        f"window: {report.window}",
        "",
        render_table(
            verdicts,
            {
                "tensor_cores": "Tensor Cores (by name)",
                "share_pct": "kernel time %",
                "time_ns": "time ns",
                "count": "kernels",
            },
        ),
        "",
        line,
    ]
    columns = {
        "share_pct": "kernel time %",
        "time_ns": "time ns",
        "count": "kernels",
        "category": "category",
        "precision": "precision",
        "name": "name",
    }
    for title, rows in (
        ("Could use Tensor Cores and do not, longest first", eligible),
        ("Undetermined from the name", unknown),
    ):
        if rows:
            parts += ["", title, render_table(rows, columns)]
    emit(args, document, "\n".join(parts), verdicts)
