"""``fusion``: the ledger from the modules of the model to the kernels that compute them now."""

from __future__ import annotations

import argparse

from profiler.analysis.fusion.ledger import Ledger, grouped
from profiler.analysis.fusion.rows import Cell, Row
from profiler.analysis.pair import fusion
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.runs import pair_of
from profiler.cli.verb import add_engine_files, add_pair, warn
from profiler.report.documents import flat_row, ledger_document
from profiler.report.notices import notices
from profiler.text import number, plural, printable
from profiler.trace import open_trace

_MOST_SHOWN = 4
DESCRIPTION = (
    "For every module of the model: the kernels it ran before, and the layer that computes it after or the reason why no kernel does. "
    "Every kernel of both traces is in exactly one row."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser)
    parser.add_argument(
        "--by",
        choices=("module", "block", "stage"),
        default="module",
        help="one row per module (default), block or stage",
    )
    add_engine_files(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.before) as before, open_trace(args.after) as after:
        sides = pair_of(args, before, after)
        ledger = fusion(*sides, args.before_engine, args.after_engine)
        # only these show sampled counters and bytes, which take longer to read and compute than the rows
        document = (
            ledger_document(ledger) if args.format == "json" or (args.format, args.by) == ("csv", "module") else {}
        )
    n = ledger.before_placement.inferences, ledger.after_placement.inferences
    if args.by == "module":
        rows = [flat_row(row, entry) for row, entry in zip(ledger.rows, document.get("rows", ()))]
        shown = [
            {
                "module": row.label,
                **_side("before", row.before, n[0]),
                **_side("after", row.after, n[1]),
                "became": _became(row),
            }
            for row in ledger.rows
        ]
    else:
        rows = shown = [
            {
                "module": g.label,
                "before_kernels": g.before_kernels / n[0],
                "before_us": g.before_time_ns / n[0] / 1e3,
                "after_kernels": g.after_kernels / n[1],
                "after_us": g.after_time_ns / n[1] / 1e3,
                "became": ", ".join(f"{count} {status}" for status, count in _statuses(g.rows).items()),
            }
            for g in grouped(ledger.rows, args.by)
        ]
    lines = [
        *(_source_line(ledger, side) for side in ("before", "after")),
        f"matched {printable(ledger.match.statement)}",
    ]
    lines += [f"to raise it: {sentence}" for sentence in ledger.advice]
    columns = {
        "module": args.by, "before_kernels": "kernels", "before_us": "µs before", "after_kernels": "kernels", "after_us": "µs after",
        "became": "what became of it",
    }  # fmt: skip
    emit(args, document, "\n".join([*lines, *map(printable, ledger.findings), "", render_table(shown, columns)]), rows)
    found = [f"{name}: {w.message}" for name, side in zip(("before", "after"), sides) for w in side.trace.warnings]
    warn(notice.sentence for notice in notices(found))


def _side(name: str, cell: Cell | None, inferences: int) -> dict[str, float | None]:
    if cell is None:
        return {f"{name}_kernels": None, f"{name}_us": None}
    return {f"{name}_kernels": cell.kernels / inferences, f"{name}_us": cell.gpu_time_ns / inferences / 1e3}


def _became(row: Row) -> str:
    found = f"{row.status} into {row.into}" if row.into else row.status
    return f"{found} ({row.change})" if row.change else found


def _statuses(rows: tuple[Row, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    return counts


def _source_line(ledger: Ledger, side: str) -> str:
    coverage, left, placed = ledger.coverage(side), ledger.unexplained(side), getattr(ledger, f"{side}_placement")
    explained = (
        f"{coverage.kernels_explained:,} of {plural(coverage.kernels, 'kernel')} and "
        f"{number(coverage.time_pct or 0.0)} % of the time explained"
    )
    shown = ", ".join(
        f"{printable(row.label)[:60]} {number(getattr(row, side).gpu_time_ns / placed.inferences / 1e3)} µs"
        for row in left[:_MOST_SHOWN]
    )
    more = f" and {len(left) - _MOST_SHOWN} more" if len(left) > _MOST_SHOWN else ""
    return f"{side}: {explained}, from {printable(placed.source)}" + (f"; unexplained: {shown}{more}" if left else "")
