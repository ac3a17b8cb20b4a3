"""``report``: evidence to hand over, and gates for CI."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from profiler.analysis.run.run import Run
from profiler.cli import streams
from profiler.cli.output import check_target
from profiler.cli.runs import pair_of
from profiler.cli.verb import add_engine_files, add_pair, warn
from profiler.errors import EXIT_GATE_FAILED, EXIT_GATE_UNKNOWN, UsageError
from profiler.files import write_file
from profiler.report import tables
from profiler.report.accuracy import labelled_study
from profiler.report.documents import report_document
from profiler.report.evidence import Evidence, gather
from profiler.report.gates import FAILED, UNKNOWN, GateResult, check, parse_gate
from profiler.report.markdown import summary
from profiler.report.notices import notices
from profiler.report.plain import json_text
from profiler.report.slides import slides
from profiler.trace import open_trace

DESCRIPTION = (
    "Write the evidence from two traces. With -o FILE.html: one self-contained HTML report (interactive figures, all tables, "
    "provenance, warnings) that works offline; without -o: a Markdown summary on standard output. --fail-if fails the run when a "
    "figure is out of bounds. Exit status: 0 done and no gate failed, 1 failed or refused, 2 wrong usage, 3 a gate failed, 4 no gate "
    "failed but one could not be decided because its figure is unknown. Output is written in every case."
)
_FORMATS = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json"}
_FIGURE_FORMATS = ("pdf", "png", "svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser)
    add_engine_files(parser)
    parser.add_argument(
        "--accuracy",
        type=Path,
        metavar="DIR",
        help="a study with labelled images, whose accuracy is handed over as well",
    )
    gates = parser.add_argument_group("gates")
    gates.add_argument(
        "--fail-if",
        metavar="GATE",
        action="append",
        default=[],
        help="FIGURE OP NUMBER[UNIT], for example 'kernels_per_inference>60', 'latency>0.6ms', 'ratio.latency<5', "
        "'before.tensor_cores_yes>0%%'; repeatable; docs/report.md lists the figures",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=("html", "markdown", "json"),
        help="format of the output (default: by file extension, else markdown)",
    )
    output.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to FILE instead of standard output")
    output.add_argument(
        "--markdown", metavar="FILE", type=Path, help="also write the Markdown summary, for a pull request"
    )
    output.add_argument("--tables", metavar="DIR", type=Path, help="also write every table into DIR")
    output.add_argument(
        "--table-format",
        metavar="LIST",
        default="csv",
        help="csv, parquet or both, separated by a comma (default: csv)",
    )
    output.add_argument(
        "--figures", metavar="DIR", type=Path, help="also write every figure into DIR (needs kaleido and a Chromium)"
    )
    output.add_argument(
        "--figure-format", metavar="LIST", default="pdf,png", help="of pdf, png, svg, with commas (default: pdf,png)"
    )
    output.add_argument("--pptx", metavar="FILE", type=Path, help="also write slides as a PowerPoint presentation")
    output.add_argument("--pdf", metavar="FILE", type=Path, help="also write the same slides as PDF (needs a Chromium)")
    output.add_argument("-f", "--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int | None:
    check_target(args)
    for other in ("markdown", "pptx", "pdf"):
        check_target(args, other)
    table_formats = _listed(args.table_format, tables.FORMATS, "--table-format")
    figure_formats = _listed(args.figure_format, _FIGURE_FORMATS, "--figure-format")
    chosen = args.format or (_FORMATS.get(args.output.suffix.lower()) if args.output else "markdown")
    if chosen is None:
        raise UsageError(f"{args.output}: its ending names no format.", "Use .html, .md or .json, or give --format.")
    gates = [parse_gate(text) for text in args.fail_if]
    if args.pdf is not None:
        _require_browser()
    with open_trace(args.before) as before, open_trace(args.after) as after:
        evidence = gather(
            *pair_of(args, before, after),
            (args.before_engine, args.after_engine),
            labelled_study(args.accuracy) if args.accuracy else None,
            _read_timeline if chosen == "html" or args.figures is not None else None,
        )
        outcomes = check(gates, evidence)
        content = _WRITERS[chosen](evidence, outcomes)
        if args.output is None:
            streams.write(content, "utf-8" if chosen == "html" else None)
        else:
            write_file(args.output, content)
        if args.markdown is not None:
            write_file(args.markdown, summary(evidence, outcomes))
        if args.tables is not None:
            tables.write_tables(tables.tables(evidence), args.tables, table_formats, args.force)
        if args.figures is not None:
            _figures(evidence, args.figures, figure_formats, args.force)
        if args.pptx is not None or args.pdf is not None:
            _slides(evidence, args.pptx, args.pdf)
        warn(notice.sentence for notice in notices(evidence.comparison.warnings))
    return gate_status(outcomes)


def _listed(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [part for part in found if part not in known]
    if wrong or not found:
        raise UsageError(f"{option} {text}: {wrong[0] if wrong else 'nothing'!r} is none of {', '.join(known)}.")
    return found


def _read_timeline(run: Run) -> None:
    from profiler.charts.figures import read_timeline  # noqa: PLC0415 - as below

    read_timeline(run)


def _html(evidence: Evidence, outcomes: list[GateResult]) -> str:
    # the one place where the command line draws; pyproject.toml says why, and Plotly is loaded for this only
    from profiler.charts.handover import html_report  # noqa: PLC0415

    return html_report(evidence, outcomes)


def _json(evidence: Evidence, outcomes: list[GateResult]) -> str:
    return json_text(report_document(evidence, outcomes))


_WRITERS: dict[str, Callable[[Evidence, list[GateResult]], str]] = {"html": _html, "markdown": summary, "json": _json}


def _figures(evidence: Evidence, folder: Path, kinds: tuple[str, ...], force: bool) -> None:
    from profiler.charts.figures import figures  # noqa: PLC0415 - see _html
    from profiler.charts.images import write  # noqa: PLC0415

    write(figures(evidence), folder, kinds, force)


def _require_browser() -> None:
    """Refuse slides as PDF before any work is done where nothing can print them."""
    from profiler.charts.images import missing_browser  # noqa: PLC0415 - see _html

    absent = missing_browser()
    if absent is not None:
        raise absent


def _slides(evidence: Evidence, pptx: Path | None, pdf: Path | None) -> None:
    from profiler.charts.slide_html import deck_pdf  # noqa: PLC0415 - see _html
    from profiler.charts.slide_pptx import deck_pptx  # noqa: PLC0415

    made = slides(evidence)
    for target, make in ((pptx, deck_pptx), (pdf, deck_pdf)):
        if target is not None:
            write_file(target, make(made))


def gate_status(outcomes: list[GateResult]) -> int | None:
    """Say which gates did not pass; the exit status."""
    for outcome in outcomes:
        if outcome.outcome == FAILED:
            streams.say(f"gate failed: {outcome.gate.text}: {outcome.sentence}")
        elif outcome.outcome == UNKNOWN:
            streams.say(f"gate not decided: {outcome.gate.text}: {outcome.sentence}")
    found = {o.outcome for o in outcomes}
    if FAILED in found:
        return EXIT_GATE_FAILED
    return EXIT_GATE_UNKNOWN if UNKNOWN in found else None
