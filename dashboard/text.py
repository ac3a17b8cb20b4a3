"""Numbers with units, and trace text made safe for the place where it is shown.

Kernel and range names come from an untrusted file. Streamlit renders Markdown in most of its labels, and Plotly a small
HTML in its hover texts and axis labels, so names pass through :func:`markdown` or :func:`plotly_text` on their way.
"""

from __future__ import annotations

import html
import math
import re

from profiler.report.words import number as plain_number
from profiler.report.words import number_of_bytes, visible
from profiler.report.words import with_unit as metric_value

__all__ = [
    "duration",
    "markdown",
    "metric_value",
    "number",
    "number_of_bytes",
    "plotly_text",
    "shorten",
    "times",
    "visible",
]

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")
_MADE_LATER = re.compile(
    r":(?=material/|streamlit:)|https?:(?=//)|www(?=\.)|@(?=[-\w])|(?<!\S)[-<>~](?=(?:[-=>]|->)(?!\S))", re.IGNORECASE
)
_WORD_JOINER = "\u2060"


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line, with invisible characters made visible.

    Streamlit makes links, icons and arrows of the finished text, where a backslash no longer helps: there an invisible
    character stands between.
    """
    apart = _MADE_LATER.sub(lambda found: found.group() + _WORD_JOINER, visible(text))
    return _MARKDOWN.sub(r"\\\1", apart)


def plotly_text(text: str, width: int = 90) -> str:
    """Text for Plotly's hover and axis labels: HTML escaped, cut in the middle."""
    return html.escape(shorten(visible(text), width))


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a long name: both ends tell kernels apart."""
    if len(text) <= width:
        return text
    head = (width - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with ``digits`` significant digits and grouped thousands, and its unit; an em dash for None."""
    shown = plain_number(value, digits)
    return shown if value is None or math.isnan(value) else f"{shown} {unit}".rstrip()


def duration(nanoseconds: float | None) -> str:
    """A duration in the unit that reads best."""
    if nanoseconds is None or (isinstance(nanoseconds, float) and math.isnan(nanoseconds)):
        return "—"
    for limit, factor, unit in ((1e3, 1.0, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if abs(nanoseconds) < limit:
            return number(nanoseconds / factor, unit)
    return number(nanoseconds / 1e9, "s")


def times(ratio: float | None) -> str:
    """A ratio as people say it: 3.1×."""
    return "—" if ratio is None else f"{number(ratio)}×"


UNITS = {"us": "µs", "kernels": "", "calls": "", "copies": "", "sets": ""}
