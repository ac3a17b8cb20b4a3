"""``compare``: before and after side by side."""

from __future__ import annotations

import argparse

from profiler.analysis.compare import compare
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.runs import inference_lines, pair_of
from profiler.cli.verb import add_pair, pick, warn
from profiler.errors import NotComparableError
from profiler.report.documents import comparison_document
from profiler.text import number, printable
from profiler.trace import open_trace

KEPT_BY = ("before", "after")
DESCRIPTION = (
    "Compare two traces per inference. When one side recorded CUDA graphs as single events, kernel counts are refused: the other "
    "figures are still printed, and the exit status is 1."
)

_COLUMNS = ("id", "label", "unit", "before", "after", "ratio", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.before) as before, open_trace(args.after) as after:
        sides = pair_of(args, before, after)
        for side in sides:
            side.compute_and_release()
        result = compare(*sides)
        document = comparison_document(result)
    rows = [pick(m, *_COLUMNS) for m in document["metrics"]]
    shown = [{**row, "ratio": f"{number(row['ratio'])}×" if row["ratio"] else None} for row in rows]
    head = [
        line
        for label, side in (("before", result.before), ("after ", result.after))
        for line in (
            f"{label}: {printable(side.facts.title)}  ({printable(str(side.trace.path))})",
            *(f"        {line}" for line in inference_lines(side)),
        )
    ]
    notes = [
        f"{m.label}: {printable(m.reason, 300)}"
        for m in result.metrics
        if m.reason and not m.reason.startswith("no ratio") and not result.refusals
    ]
    table = render_table(
        shown,
        {
            "label": "per inference",
            "before": "before",
            "after": "after",
            "ratio": "before ÷ after",
            "unit": "unit",
        },
    )
    emit(args, document, "\n".join([*head, "", table, *([""] if notes else []), *notes]), rows)
    warn(w for w in result.warnings if w not in result.refusals)
    if result.refusals:
        raise NotComparableError(
            f"kernel counts were not compared. {' '.join(result.refusals)}",
            "The figures that do not need single kernels were printed.",
        )
