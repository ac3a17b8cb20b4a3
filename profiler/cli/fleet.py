"""``fleet``: a folder of traces, read in parallel and compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from profiler.capture.process import terminate_as_interrupt
from profiler.cli import streams
from profiler.cli.output import FORMATS, emit, render_table
from profiler.cli.verb import add_nvtx, warn
from profiler.errors import EXIT_FAILED, EXIT_OK, UsageError
from profiler.fleet import cluster
from profiler.fleet.assemble import CLOCKS, Settings
from profiler.fleet.discover import Found
from profiler.fleet.identity import ALL, PLACE_KEYS, PROGRAM_KEYS
from profiler.fleet.measure import Broken
from profiler.fleet.outliers import MIN_EFFECT_PCT, MIN_TRACES, THRESHOLD, OutlierRule
from profiler.fleet.results import FleetResult, check_target, write
from profiler.fleet.run import Outcome, run_fleet
from profiler.runtime.arguments import positive, positive_number, words
from profiler.text import number, plural, printable, signed

DESCRIPTION = (
    "Read every trace in DIR and its subfolders in parallel with Dask, and write figures per trace, merged figures and outliers to "
    "Parquet files in RESULT. Traces are compared only within a group: the same program, precision, batch and GPU. A trace that "
    "cannot be read is reported and does not stop the others. Exit status: 0 when results were written, even if some traces could not "
    "be read (1 with --strict); 1 when none could be read; 2 for wrong usage."
)
_MS = 1e-6
_SHOWN_SKIPPED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder of traces, searched with its subfolders")
    parser.add_argument(
        "-o", "--output", dest="result", metavar="RESULT", type=Path, required=True, help="folder to write"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace RESULT if it is a fleet result")
    parser.add_argument("--format", choices=FORMATS, default="table", help="what to print (default: table)")
    parser.set_defaults(output=None)  # what is printed goes to standard output
    add_nvtx(parser)
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if any trace could not be read")
    groups = parser.add_argument_group("grouping")
    groups.add_argument(
        "--identity",
        metavar="REGEX",
        help="named groups that find run, node and rank in the path relative to DIR, such as '(?P<node>n\\d+)/p(?P<rank>\\d+)' "
        "(default: the manifest, then what nsys recorded, then names such as rank3, _r12_, node03.7)",
    )
    groups.add_argument(
        "--group-by",
        metavar="LIST",
        type=words,
        help=f"what traces must share to be compared: {','.join((*PROGRAM_KEYS, *PLACE_KEYS))}, named groups of "
        f"--identity, or {ALL} (default: the program; without a manifest the run as well)",
    )
    judging = parser.add_argument_group("outliers")
    judging.add_argument(
        "--threshold",
        type=positive_number,
        default=THRESHOLD,
        metavar="Z",
        help=f"modified z-score from which a trace is an outlier (default: {THRESHOLD})",
    )
    judging.add_argument(
        "--min-effect",
        type=positive_number,
        default=MIN_EFFECT_PCT,
        metavar="PCT",
        help=f"smallest difference to report, in percent (default: {MIN_EFFECT_PCT:g})",
    )
    judging.add_argument(
        "--min-traces",
        type=positive,
        default=MIN_TRACES,
        metavar="N",
        help=f"smallest group to judge (default: {MIN_TRACES})",
    )
    how = parser.add_argument_group("execution")
    how.add_argument(
        "--workers", type=positive, metavar="N", help="worker processes on this machine (default: one per CPU)"
    )
    how.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="memory per worker, such as 4GB; a worker that needs more is ended and its trace reported (default: an equal "
        "share of 80 %% of this machine's)",
    )
    how.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="an existing Dask cluster: tcp://HOST:PORT, tls://HOST:PORT or a scheduler file; its workers must see the same paths",
    )


def run(args: argparse.Namespace) -> int:
    if args.scheduler and (args.workers or args.memory_limit):
        raise UsageError(
            "--workers and --memory-limit cannot be combined with --scheduler, which uses an existing cluster."
        )
    check_target(args.result, args.force)
    rule = OutlierRule(args.threshold, args.min_effect, args.min_traces)
    with terminate_as_interrupt():
        result = run_fleet(
            args.folder,
            Settings(args.nvtx, args.identity, args.group_by, rule),
            args.workers,
            cluster.parse_bytes(args.memory_limit) if args.memory_limit else None,
            args.scheduler,
            on_found=_say_skipped,
            on_notes=warn,
            on_outcome=_say_progress,
        )
    write(args.result, result, args.force)
    traces = result.tables["traces"].to_pylist()
    emit(
        args,
        result.document,
        _text(args.result, result),
        [{**t, "warnings": "; ".join(t["warnings"] or [])} for t in traces],
    )
    broken = result.document["broken"]
    if broken:
        warn(
            [
                f"{broken} of {plural(broken + len(traces), 'trace')} could not be read; see {args.result / 'errors.parquet'}."
            ]
        )
    return EXIT_FAILED if not traces or (broken and args.strict) else EXIT_OK


def _say_progress(outcome: Outcome, done: int, of: int) -> None:
    streams.say(f"[{done}/{of}] {_progress(outcome)}")


def _progress(outcome: Outcome) -> str:
    if isinstance(outcome, Broken):
        return f"not read: {printable(' '.join(outcome.message.split()), 300)}"
    row = outcome.row
    kernels = "no kernels" if row["kernels"] is None else plural(row["kernels"], "kernel")
    inferences = plural(row["inferences"], "inference") if row["inferences"] else "no inferences"
    return f"{printable(outcome.name)}: {kernels}, {inferences}, {row['read_s']:.1f} s"


def _say_skipped(found: Found) -> None:
    listed = [f"{printable(name)}: {printable(reason, 300)}" for name, reason in found.skipped.items()]
    more = len(listed) - _SHOWN_SKIPPED
    warn([*listed[:_SHOWN_SKIPPED], *([f"{more} more files are not read; fleet.json lists them."] if more > 0 else [])])


def _text(folder: Path, result: FleetResult) -> str:
    document, traces = result.document, {t["trace"]: t for t in result.tables["traces"].to_pylist()}
    groups = [
        {
            **g,
            **{s: _scaled(g[f"latency_p50_ns_{s}"]) for s in ("median", "min", "max")},
            "cv": g["latency_p50_ns_cv_pct"],
            "compute": _scaled(g["compute_time_mean_ns_median"]),
            "found": g["stragglers"] if g["judged"] else "not judged",
        }
        for g in document["groups"]
    ]
    columns = {
        "group": "group", "traces": "traces", "inferences": "inferences", "median": "latency ms", "min": "min", "max": "max", "cv": "CV %",
        "compute": "kernel time ms", "found": "stragglers",
    }  # fmt: skip
    lines = [
        f"{plural(document['traces'], 'trace')} read, {document['broken']} could not be read, "
        f"{plural(len(document['skipped']), 'file')} skipped",
        "",
        render_table(groups, columns),
        "",
        "Latency and kernel time: per inference, the median of the traces; min and max are those of single traces. Kernel time is without "
        "communication. " + CLOCKS,
    ]
    small = [g for g in document["groups"] if not g["judged"]]
    if small:
        lines.append(
            f"{len(small)} of {len(groups)} groups are too small to call a trace an outlier: {result.document['settings']['min_traces']} "
            "traces are needed (--min-traces)."
        )
    stragglers = [o for o in document["outliers"] if o["straggler"]]
    for title, rows in (
        ("Stragglers", stragglers),
        ("Other outliers", [o for o in document["outliers"] if not o["straggler"]]),
    ):
        if rows:
            lines += ["", title]
            lines += [f"  {_outlier(o, traces[o['trace']])}" for o in rows]
    if document["errors"]:
        lines += ["", "Not read", *(f"  {printable(e['message'], 300)}" for e in document["errors"])]
    lines += [
        "",
        f"Written to {folder}. To look at it: PROFILER_TRACES={printable(str(folder), 300)} streamlit run dashboard",
    ]
    return "\n".join(lines)


def _outlier(row: dict[str, Any], trace: dict[str, Any]) -> str:
    scale, unit = (_MS, "ms") if row["unit"] == "ns" else (1.0, row["unit"])
    place = ", ".join(f"{k} {trace[k]}" for k in ("node", "rank") if trace[k] is not None)
    where = f"{printable(row['trace'])} ({printable(place)})" if place else printable(row["trace"])
    slow = ""
    if row["straggler"] and row["slow_inferences"] is not None:
        slow = f"; {row['slow_inferences']} of {plural(row['inferences'], 'inference')} are slow"
    because = f". {printable(row['because'], 600)}" if row["because"] else ""
    return (
        f"{where}: {row['label']} {number(row['value'] * scale)} {unit}, median {number(row['median'] * scale)} {unit} of "
        f"{plural(row['traces'], 'trace')}, score {signed(row['score'])}{slow}{because}"
    )


def _scaled(value: float | None) -> float | None:
    return None if value is None else value * _MS
