"""The self-contained HTML report: the profiler's page with the dashboard's figures in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from plotly.offline import get_plotlyjs

from profiler.charts.figures import Drawn, figures
from profiler.report.evidence import Evidence
from profiler.report.gates import GateResult
from profiler.report.html import render
from profiler.report.tables import tables


def html_report(evidence: Evidence, outcomes: Sequence[GateResult] = (), drawn: Sequence[Drawn] | None = None) -> str:
    """One HTML file with everything; ``drawn`` where the figures are made already."""
    shown = figures(evidence) if drawn is None else drawn
    return render(evidence, [d.for_html() for d in shown], tables(evidence), str(get_plotlyjs()), outcomes, _version())


def _version() -> str | None:
    try:
        return version("tensorrt-evidence")
    except PackageNotFoundError:  # run from a folder that is on the path, without an install
        return None
