"""``info``: what a trace holds."""

from __future__ import annotations

import argparse
from typing import Any

from profiler.cli.output import add_output_options, check_target, emit
from profiler.cli.verb import add_trace
from profiler.report.documents import info_document
from profiler.text import number, plural, visible
from profiler.trace import open_trace

DESCRIPTION = "Show what a trace contains and what is wrong with it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trace(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the integrity of a large database file too (about 3 s per GB; small files are always checked)",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    with open_trace(args.trace) as trace:
        if args.check:
            trace.database.check_structure()
        document = info_document(trace)
    rows = [{"fact": key, "value": _text(value)} for key, value in document.items()]
    width = max(len(r["fact"]) for r in rows)
    emit(args, document, "\n".join(f"{r['fact']:<{width}}  {visible(r['value'])}" for r in rows), rows)


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_per_gpu(v) if isinstance(v, dict) else _text(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(_gpu(v) if isinstance(v, dict) else str(v) for v in value) or "none"
    return str(value)


def _per_gpu(names: dict[str, list[str]]) -> str:
    return ", ".join(f"GPU {gpu}: {plural(len(metrics), 'metric')}" for gpu, metrics in names.items()) or "none"


def _gpu(gpu: dict[str, Any]) -> str:
    chip = f" ({gpu['chip']})" if gpu["chip"] else ""
    sm = f", SM {gpu['sm'] / 10:.1f}" if gpu["sm"] else ""
    return f"{gpu['index']}: {gpu['name'] or 'unknown GPU'}{chip}{sm}"
