"""The command line: a parser of verbs, and the only place that catches :class:`ProfilerError`."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence

from profiler import progress
from profiler.cli import (
    accuracy,
    bench,
    build,
    cache,
    capture,
    classify,
    compare,
    decompose,
    doctor,
    fleet,
    fusion,
    info,
    kernels,
    plugin,
    remember,
    report,
    sanitize,
    study,
    tactics,
    tensor_cores,
    timeline,
    verify_tensor_cores,
)
from profiler.cli.verb import terminal_progress
from profiler.errors import EXIT_FAILED, EXIT_OK, ProfilerError

VERBS = (
    info,
    kernels,
    tensor_cores,
    compare,
    fusion,
    decompose,
    fleet,
    report,
    tactics,
    timeline,
    classify,
    cache,
    sanitize,
    doctor,
    build,
    bench,
    capture,
    study,
    accuracy,
    plugin,
    verify_tensor_cores,
)
TRACEBACK_VARIABLE = "PROFILER_TRACEBACK"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler",
        description="Prove what TensorRT did to a model, from NVIDIA Nsight Systems traces. Data goes to standard output, "
        "diagnostics to standard error. Exit status: 0 done, 1 failed or refused, 2 wrong usage; of report also 3 a gate failed, "
        "4 a gate could not be decided.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        sub = verbs.add_parser(verb.NAME, help=verb.HELP, description=verb.DESCRIPTION)
        verb.add_arguments(sub)
        traces = getattr(verb, "KEPT_BY", ())
        if traces:
            sub.add_argument(
                "--no-cache", action="store_true", help="compute anew, and keep nothing (see the verb cache)"
            )
        sub.set_defaults(run=functools.partial(remember.run, traces=traces, verb=verb.run) if traces else verb.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    args = build_parser().parse_args(argv)
    try:
        with progress.listening(terminal_progress()):
            status: int | None = args.run(args)
        sys.stdout.flush()
        return EXIT_OK if status is None else status
    except ProfilerError as error:
        print(f"error: {_one_line(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"  {_one_line(error.hint)}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe went away, which is its right
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(
            f"error: this should not have happened: {type(error).__name__}: {_one_line(str(error))[:500]}\n"
            f"  Please report it, with the output that {TRACEBACK_VARIABLE}=1 gives.",
            file=sys.stderr,
        )
        return EXIT_FAILED


def _one_line(text: str) -> str:
    """Without control characters: file names and trace contents reach the terminal here."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
