"""``dashboard``: starts the Streamlit app."""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import sys
from pathlib import Path

from profiler.errors import MissingToolError, UsageError
from profiler.resources import IMPORT_ROOT

DESCRIPTION = (
    "Open the dashboard in a browser, with the bundled traces. It listens on this machine only. Options after -- go to Streamlit, for "
    "example: dashboard -- --server.port 8600 --server.headless true. Stop it with Ctrl-C."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--traces", metavar="DIR", type=Path, help="folder of your traces; opens its newest pair")
    parser.add_argument(
        "--capture", action="store_true", help="allow the Capture page to start recordings on this machine"
    )
    parser.add_argument("options", metavar="-- OPTION", nargs="*", help="options of streamlit run")


def run(args: argparse.Namespace) -> None:
    if args.traces is not None:
        if not args.traces.is_dir():
            raise UsageError(f"{args.traces}: is not a folder.", "Give a folder that holds traces.")
        os.environ["PROFILER_TRACES"] = str(args.traces.resolve())
    if args.capture:
        os.environ["PROFILER_CAPTURE"] = "1"
    app = IMPORT_ROOT / "dashboard"
    if not app.is_dir() or importlib.util.find_spec("streamlit") is None:
        raise MissingToolError(
            "the dashboard is not installed in this environment.",
            "Install the project with its dependencies: pip install -e . in a clone, or pip install its wheel.",
        )
    # in this process, so that signals and the exit status are Streamlit's own
    sys.argv = ["streamlit", "run", str(app), *args.options]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
