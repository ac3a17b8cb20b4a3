"""The command line: a parser of verbs, and the only place that catches :class:`ProfilerError`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from profiler import progress
from profiler.cli import streams
from profiler.cli.verb import terminal_progress
from profiler.errors import EXIT_FAILED, EXIT_OK, ProfilerError
from profiler.files import NO_ROOM

VERBS = {
    "info": "what a trace holds: versions, GPUs, counts, GPU metrics, warnings",
    "kernels": "count and time kernels, per name or per category",
    "tensor-cores": "Tensor Core share of kernel time (by name), and the sampled counter beside it",
    "compare": "compare two traces, per inference",
    "fusion": "the fusion ledger: per module its kernels before, the layer that computes it after, and what vanished",
    "decompose": "split the latency difference of two traces exactly, over measured steps in between if given",
    "fleet": "a folder of traces (ranks, nodes, runs): read in parallel, merged, stragglers found",
    "report": "evidence to hand over: one HTML file, a Markdown summary, tables, figures; gates for CI",
    "tactics": "candidates that TensorRT timed per layer, from a verbose build log",
    "timeline": "one inference of each trace as a timeline for Perfetto or chrome://tracing",
    "classify": "category and Tensor Core verdict of kernel names",
    "sanitize": "a copy without host, user, command line, environment, paths, output, process names, GPU serial numbers",
    "dashboard": "open the dashboard in a browser, on the bundled traces",
    "doctor": "what capturing needs: what is here, what is missing, how to get it",
    "build": "build a TensorRT engine from a model or an ONNX file",
    "bench": "latency, throughput and telemetry of a run, without a profiler",
    "capture": "record a run on this GPU: one of the built-in models, or -- and any command",
    "study": "record the whole matrix: frameworks, precisions, modes, batch sizes",
    "accuracy": "top-1 and top-5 on labelled images, or agreement with PyTorch FP32",
    "plugin": "the custom layer: compile the TensorRT plugin, measure its kernels",
    "verify-tensor-cores": "run a program under Nsight Compute and score the Tensor Core verdicts against its counters",
}
"""What each verb is for. It is the module of :mod:`profiler.cli` of the same name, imported when it is used."""
TRACEBACK_VARIABLE = "PROFILER_TRACEBACK"
_THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"
_SCRIPT = "tensorrt-evidence"


class _VerbParser(streams.Parser):
    """The parser of one verb, which imports the verb and takes its arguments once it has something to parse."""

    def __init__(self, *, verb: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._verb = verb  # None: one of the parts of a verb, as in "plugin build"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._verb is not None:
            verb = module_of(self._verb)
            self._verb = None
            self.description = verb.DESCRIPTION
            verb.add_arguments(self)
            self.set_defaults(run=verb.run)
        return super().parse_known_args(args, namespace)


class _ImportedWhenUsed(ModuleType):
    """Stands for a library until something of it is used: importing pandas takes longer than some verbs do."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        library = importlib.import_module(self.__name__)
        self.__dict__.update(vars(library))
        return getattr(library, name)


def module_of(verb: str) -> ModuleType:
    """The module of a verb.

    NumPy, which most of them import, starts a thread a processor for linear algebra. That takes a quarter of a small verb's CPU time, and
    no verb multiplies matrices.
    """
    with _one_thread_for_linear_algebra():
        return importlib.import_module(f"profiler.cli.{verb.replace('-', '_')}")


@contextlib.contextmanager
def _one_thread_for_linear_algebra() -> Iterator[None]:
    """For what is imported inside: programs that a verb starts, such as one that is recorded, have the variable as it was."""
    if _THREADS_VARIABLE in os.environ:
        yield
        return
    os.environ[_THREADS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS_VARIABLE]


def build_parser() -> argparse.ArgumentParser:
    parser = streams.Parser(
        prog=_SCRIPT if Path(sys.argv[0]).stem == _SCRIPT else "python -m profiler",
        description="Prove what TensorRT did to a model, from NVIDIA Nsight Systems traces. Data goes to standard output, "
        "diagnostics to standard error. Exit status: 0 done, 1 failed or refused, 2 wrong usage; of report also 3 a gate failed, "
        "4 a gate could not be decided.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_VerbParser)
    for verb, purpose in VERBS.items():
        verbs.add_parser(verb, help=purpose, verb=verb)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    streams.prepare()
    sys.modules.setdefault("pandas", _ImportedWhenUsed("pandas"))
    try:
        status = _run(argv)
    except SystemExit as ended:  # of the parser, which has printed its help or what is wrong
        sys.exit(streams.finish(ended.code if isinstance(ended.code, int) else EXIT_OK))
    return streams.finish(status)


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = build_parser().parse_args(argv)
        with progress.listening(terminal_progress()):
            status: int | None = args.run(args)
        return EXIT_OK if status is None else status
    except ProfilerError as error:
        streams.say_error(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe went away, which is its right
        streams.drop_output()
        return EXIT_FAILED
    except KeyboardInterrupt:
        streams.say("interrupted")
        return 130
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in NO_ROOM:
            found = streams.output_error(error)
            streams.say_error(found.message, found.hint)
            return found.exit_code
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name
            and error.name.split(".")[0] not in ("profiler", "dashboard")
        ):
            streams.say_error(
                f"{sys.executable} has no Python package {error.name.split('.')[0]}.",
                "Run this with an environment that pip install -r requirements.txt filled.",
            )
            return EXIT_FAILED
        streams.say_error(
            f"this should not have happened: {type(error).__name__}: {str(error)[:500]}",
            f"Please report it, with the output that {TRACEBACK_VARIABLE}=1 gives.",
        )
        return EXIT_FAILED
