"""``tactics``: what TensorRT timed while it built an engine, and what choosing the fastest saved."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from profiler.analysis.run.autotuning import Autotuning, autotuning
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.verb import warn
from profiler.errors import UsageError
from profiler.report.documents import records, tactics_document
from profiler.trace.build_log import read_build_log

DESCRIPTION = (
    "Read a verbose TensorRT build log (plain or .xz): how many candidates were timed for each layer, which one was chosen, and how "
    "it compares with the median and the slowest candidate that ran. Times are as TensorRT measured them, in milliseconds."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="LOG", type=Path, help="a verbose build log, such as PLAN.build.log.xz")
    parser.add_argument("--layer", metavar="NAME", help="list every candidate of one layer")
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    result = autotuning(read_build_log(args.log))
    warn(result.table.warnings)
    candidates = records(_candidates(result, args.layer)) if args.layer else None
    document = tactics_document(args.log, result, candidates)
    layers = document["layers"]
    if candidates is not None:
        columns = {"time_ms": "ms", "chosen": "chosen", "formats": "formats", "kernel": "kernel", "tactic": "tactic"}
        emit(args, document, render_table(candidates, columns), candidates)
        return
    columns = {
        "candidates": "candidates",
        "chosen_ms": "chosen ms",
        "median_ms": "median ms",
        "slowest_ms": "slowest ms",
        "saved_ms": "saved ms",
        "label": "layer",
    }
    emit(args, document, result.in_words() + "\n" + render_table(layers, columns), layers)


def _candidates(found: Autotuning, name: str) -> pd.DataFrame:
    """The candidates of the layer of that name or label."""
    labelled = found.layers.loc[found.layers["label"] == name, "layer"]
    candidates = found.table.candidates(labelled.iloc[0] if len(labelled) else name)
    if candidates.empty:
        raise UsageError(
            f"the log holds no candidates of a layer {name[:200]!r}.", "tactics LOG lists the layers that were timed."
        )
    return candidates
