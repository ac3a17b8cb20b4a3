"""``cache``: what is kept of earlier runs, and how to be rid of it."""

from __future__ import annotations

import argparse

from profiler.cli.output import add_output_options, check_target, emit
from profiler.report.documents import cache_document
from profiler.store import FOLDER_VARIABLE, LIMIT_VARIABLE, SWITCH_VARIABLE, Store
from profiler.text import plural

DESCRIPTION = (
    "Outputs of kernels, tensor-cores, compare and fusion on large traces are kept in your cache folder, by the content of the traces. "
    f"${FOLDER_VARIABLE} names another folder, ${LIMIT_VARIABLE} another limit; ${SWITCH_VARIABLE}=off or --no-cache keeps nothing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("info", "clear"), help="info: how much is kept, and where; clear: remove it")
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    store = Store()
    removed = store.clear() if args.action == "clear" else None
    usage = store.usage()
    document = cache_document(usage, removed)
    text = f"{usage.folder}: {plural(usage.entries, 'result')}, {usage.used_bytes:,} of {usage.limit_bytes:,} bytes"
    if removed is not None:
        text += f"; {removed:,} removed"
    emit(args, document, text, [document])
