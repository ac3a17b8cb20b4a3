"""``compare``: before and after side by side."""

from __future__ import annotations

import argparse
from functools import partial

from profiler.analysis.compare import NO_INFERENCES, compare
from profiler.analysis.run.run import Run
from profiler.analysis.run.together import for_each_run
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.runs import inference_lines, pair_of
from profiler.cli.verb import add_pair, pick, warn
from profiler.errors import NotComparableError
from profiler.report.documents import comparison_document
from profiler.report.notices import notices
from profiler.text import number, printable
from profiler.trace import open_trace

DESCRIPTION = (
    "Compare two traces per inference, or as a whole if no inferences are found. If one trace recorded CUDA graphs as single events, "
    "kernel counts are not compared, and runs of different models get no ratios; the other figures are still printed, and the exit "
    "status is 1."
)

_COLUMNS = ("id", "label", "unit", "before", "after", "ratio", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.before) as before, open_trace(args.after) as after:
        sides = pair_of(args, before, after)
        for_each_run(partial(Run.compute_and_release, summary=False), sides)
        result = compare(*sides)
        document = comparison_document(result)
    rows = [pick(m, *_COLUMNS) for m in document["metrics"]]
    known = [row for row in rows if row["before"] is not None or row["after"] is not None]
    shown = [{**row, "ratio": f"{number(row['ratio'])}×" if row["ratio"] else None} for row in known]
    head = [
        line
        for label, side in (("before", result.before), ("after ", result.after))
        for line in (
            f"{label}: {printable(side.facts.title)}  ({printable(str(side.trace.path))})",
            *(f"        {line}" for line in inference_lines(side)),
        )
    ]
    reasons = [
        f"{m.label}: {printable(m.reason, 400)}"
        for m in result.metrics
        if m.reason and not m.reason.startswith("no ratio") and not result.refusals and NO_INFERENCES not in m.reason
    ]
    notes = [*result.pair.notes, *reasons]
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
    warn(n.sentence for n in notices(w for w in result.warnings if w not in (*result.refusals, result.pair.refusal)))
    if result.pair.refusal:
        raise NotComparableError(result.pair.refusal, "The figures of each side were printed, without ratios.")
    if result.refusals:
        raise NotComparableError(
            f"kernel counts were not compared. {' '.join(result.refusals)}",
            "The figures that do not need single kernels were printed.",
        )
