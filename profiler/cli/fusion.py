"""``fusion``: the ledger from the modules of the model to the kernels that compute them now."""

from __future__ import annotations

import argparse
from typing import Any

from profiler.analysis.fusion.ledger import grouped
from profiler.analysis.fusion.rows import Row
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
        document = ledger_document(ledger)
    rows = [flat_row(row, entry) for row, entry in zip(ledger.rows, document["rows"])]
    n_before, n_after = ledger.before_placement.inferences, ledger.after_placement.inferences
    if args.by == "module":
        shown = [
            {
                **row,
                "before_us": _us(entry["before"]),
                "after_us": _us(entry["after"]),
                "became": _became(row, entry),
            }
            for row, entry in zip(rows, document["rows"])
        ]
    else:
        rows = shown = [
            {
                "module": g.label,
                "before_kernels": g.before_kernels / n_before,
                "before_us": g.before_time_ns / n_before / 1e3,
                "after_kernels": g.after_kernels / n_after,
                "after_us": g.after_time_ns / n_after / 1e3,
                "became": ", ".join(f"{n} {s}" for s, n in _statuses(g.rows).items()),
            }
            for g in grouped(ledger.rows, args.by)
        ]
    lines = [
        *(_source_line(document, side) for side in ("before", "after")),
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


def _us(cell: dict[str, Any] | None) -> float | None:
    return None if cell is None else cell["gpu_time_ns"] / 1e3


def _became(row: dict[str, Any], entry: dict[str, Any]) -> str:
    found = f"{row['status']} into {row['into']}" if row["into"] else str(row["status"])
    return f"{found} ({entry['change']})" if entry["change"] else found


def _statuses(rows: tuple[Row, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    return counts


def _source_line(document: dict[str, Any], side: str) -> str:
    coverage, left = document["coverage"][side], document["unexplained"][side]
    explained = (
        f"{coverage['kernels_explained']:,} of {plural(coverage['kernels'], 'kernel')} and "
        f"{number(coverage['time_pct'] or 0.0)} % of the time explained"
    )
    shown = ", ".join(f"{printable(u['module'])[:60]} {number(u['time_ns'] / 1e3)} µs" for u in left[:_MOST_SHOWN])
    more = f" and {len(left) - _MOST_SHOWN} more" if len(left) > _MOST_SHOWN else ""
    return f"{side}: {explained}, from {printable(document['source'][side])}" + (
        f"; unexplained: {shown}{more}" if left else ""
    )
