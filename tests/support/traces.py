"""Where the bundled traces and the test data lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACES = ROOT / "traces"
RUNS = sorted(p.parent.name for p in TRACES.glob("*/trace.sqlite.xz"))
DATA = ROOT / "tests" / "data"


def bundled(run: str) -> Path:
    """The trace file of a bundled run."""
    return TRACES / run / "trace.sqlite.xz"


def case(name: str) -> Path:
    """A small trace of a kind that others record: "08-trtexec/trtexec"."""
    return DATA / "cases" / f"{name}.sqlite.xz"
