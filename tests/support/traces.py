"""Where the bundled traces and the test data lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACES = ROOT / "traces"
DATA = ROOT / "tests" / "data"
RECORDINGS = DATA / "recordings"
"""Earlier recordings of the same kind, which the project no longer ships."""
BUNDLED = sorted(p.parent.name for p in TRACES.glob("*/trace.sqlite.xz"))
RUNS = sorted([*BUNDLED, *(p.parent.name for p in RECORDINGS.glob("*/trace.sqlite.xz"))])


def run_folder(run: str) -> Path:
    """The folder of a recorded run, bundled or kept for the tests alone."""
    return (TRACES if run in BUNDLED else RECORDINGS) / run


def bundled(run: str) -> Path:
    """The trace file of a recorded run."""
    return run_folder(run) / "trace.sqlite.xz"


def case(name: str) -> Path:
    """A small trace of a kind that others record: "08-trtexec/trtexec"."""
    return DATA / "cases" / f"{name}.sqlite.xz"
