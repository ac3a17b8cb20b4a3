"""Driving the dashboard's pages on large traces: ``python -m benchmarks.pages BEFORE AFTER`` prints a table."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from dashboard.views import PAGES

_TIMEOUT_S = 900
_BYTES = 1 if sys.platform == "darwin" else 1024


def _page(url: str, before: Path, after: Path, whole: bool = False) -> AppTest:
    os.environ["PROFILER_TRACES"] = str(before.absolute().parent)
    app = AppTest.from_string(f"from dashboard.app import main\nmain({url!r})", default_timeout=_TIMEOUT_S)
    app.query_params["before"], app.query_params["after"] = f"folder/{before.name}", f"folder/{after.name}"
    if whole:
        app.query_params["whole"] = "1"
    app.run()
    if app.exception or app.session_state["before"] != f"folder/{before.name}":
        raise RuntimeError(f"{url}: {[e.value for e in app.exception] or 'the traces were not opened'}")
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--whole", action="store_true", help="read very large traces whole, not their excerpts")
    args = parser.parse_args()
    print(
        "| page | first visit, s | in CPU s | interaction, s | in CPU s | peak MB so far |\n|---|---|---|---|---|---|"
    )
    for view in PAGES:
        begun = _clocks()
        app = _page(view.URL, args.before, args.after, args.whole)
        visited = _clocks()
        app.run()
        taken = [b - a for start, end in ((begun, visited), (visited, _clocks())) for a, b in zip(start, end)]
        print(f"| {view.URL} | {' | '.join(f'{t:.2f}' for t in taken)} | {_peak_mb()} |", flush=True)


def _clocks() -> tuple[float, float]:
    """Wall and CPU time of this process, in s."""
    return time.perf_counter(), time.process_time()


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES / 1e6)


if __name__ == "__main__":
    main()
