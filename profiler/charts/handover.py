"""The self-contained HTML report: the profiler's page with the dashboard's figures in it."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from profiler.charts.figures import Drawn, figures
from profiler.report.evidence import Evidence
from profiler.report.gates import GateResult
from profiler.report.html import render
from profiler.report.tables import tables


def html_report(evidence: Evidence, outcomes: Sequence[GateResult] = (), drawn: Sequence[Drawn] | None = None) -> str:
    """One HTML file with everything; ``drawn`` where the figures are made already."""
    shown = figures(evidence) if drawn is None else drawn
    return render(evidence, [d.for_html() for d in shown], tables(evidence), _plotly_js(), outcomes, _version())


def _plotly_js() -> str:
    """What ``plotly.offline.get_plotlyjs`` returns, without importing what stands beside it."""
    source = pkgutil.get_data("plotly", "package_data/plotly.min.js")
    assert source is not None
    return source.decode("utf-8")


def _version() -> str | None:
    try:
        return version("tensorrt-evidence")
    except PackageNotFoundError:  # run from a folder that is on the path, without an install
        return None
