"""``timeline``: one inference of each trace, or a window of it, for Perfetto and chrome://tracing."""

from __future__ import annotations

import argparse
import re
from contextlib import ExitStack
from pathlib import Path

from profiler.analysis.fusion.counterparts import Counterparts
from profiler.analysis.pair import fusion
from profiler.analysis.run.timeline import Part, Timeline
from profiler.cli.output import check_target
from profiler.cli.runs import run_of
from profiler.cli.verb import add_pair, warn
from profiler.errors import ProfilerError, UsageError
from profiler.files import write_file
from profiler.report.chrome_trace import TimelineWindow, chrome_trace, compressed
from profiler.text import duration
from profiler.trace import open_trace

DESCRIPTION = (
    "Write one inference, or a window of it, of one or two traces in the Trace Event Format (JSON), for ui.perfetto.dev and "
    "chrome://tracing. Before and after are two processes that start at zero; streams and NVTX levels are threads; every kernel "
    "carries its full name, kind, Tensor Core verdict and rule, module and layer."
)
_WINDOW = re.compile(r"(\d+(?:\.\d*)?)?:(\d+(?:\.\d*)?)?")
_WHOLE, _MEDIAN = "whole", "median"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pair(parser, one_is_enough=True)
    parser.add_argument(
        "--inference",
        default=_MEDIAN,
        metavar="N",
        help="inference to write from both traces, from 0; “median” (default): the one of median latency; “whole”: the whole traces",
    )
    parser.add_argument("--inference-after", metavar="N", help="the same for AFTER only")
    parser.add_argument("--window", metavar="A:B", help="only from A to B microseconds; either may be omitted")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="FILE.json, or FILE.json.gz to compress it"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace) -> None:
    check_target(args)
    low, high = _window(args.window)
    with ExitStack() as stack:
        wanted = {"before": (args.before, args.inference)}
        if args.after is not None:
            wanted["after"] = (args.after, args.inference_after or args.inference)
        analyses, sides = {}, {}
        for name, (path, inference) in wanted.items():
            analyses[name] = run_of(args, name, stack.enter_context(open_trace(path)))
            timeline = Timeline(analyses[name])
            part = _part(timeline, inference)
            end = part.length_ns if high is None else min(high, part.length_ns)
            if low >= end:
                raise UsageError(
                    f"--window {args.window}: nothing of {part.label} of {path} is in it.",
                    f"It is {duration(part.length_ns)} long.",
                )
            sides[name] = TimelineWindow(timeline, part, low, end)
        counterparts = None
        if len(analyses) == 2:
            try:
                counterparts = Counterparts(fusion(analyses["before"], analyses["after"]))
            except ProfilerError as error:
                warn([f"kernels are written without their modules and layers: {error.message}"])
        document = chrome_trace(sides, counterparts)
    write_file(args.output, compressed(document) if args.output.name.endswith(".gz") else document)


def _part(timeline: Timeline, inference: str) -> Part:
    if inference == _WHOLE:
        return timeline.whole()
    count = timeline.analysis.inferences.count
    if inference == _MEDIAN:
        return timeline.inference(timeline.analysis.inferences.median_inference())
    if not inference.isascii() or not inference.isdigit() or int(inference) >= count:
        raise UsageError(
            f"--inference {inference}: {timeline.analysis.trace.path} has inferences 0 to {count - 1}."
            if count
            else f"--inference {inference}: {timeline.analysis.inferences.statement}",
            "Give a number, “median” or “whole”.",
        )
    return timeline.inference(int(inference))


def _window(text: str | None) -> tuple[int, int | None]:
    """Nanoseconds from “A:B” in microseconds."""
    if text is None:
        return 0, None
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise UsageError(f"--window {text!r}: not a window.", "Expected A:B in microseconds, for example 100:250.5.")
    low = round(float(found[1] or 0) * 1e3)
    return low, round(float(found[2]) * 1e3) if found[2] else None
