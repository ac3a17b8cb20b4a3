"""Figures and names as people read them: the only formatter of the project.

Kernel and range names come from an untrusted file. A terminal obeys control characters, Streamlit renders Markdown in most of its
labels, and Plotly a small HTML in hover texts and axis labels, so names pass through :func:`visible`, :func:`markdown` or
:func:`plotly_text` on their way. Standard library only.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

COUNTS = ("kernels", "calls", "copies", "sets")
_SHORT_MS = 0.1
_SMALL = 1e-6  # below, decimals would show a 0 that the figure is not
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")
_MADE_LATER = re.compile(
    r":(?=material/|streamlit:)|https?:(?=//)|www(?=\.)|@(?=[-\w])|(?<!\S)[-<>~](?=(?:[-=>]|->)(?!\S))", re.IGNORECASE
)
_WORD_JOINER = "\u2060"


def visible(text: str) -> str:
    """Control, direction and other unprintable characters as ``\\uXXXX``: elsewhere they would do more than be shown."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def printable(text: str, width: int = 100) -> str:
    """One line for a terminal: unprintable characters escaped, long names cut at the end."""
    shown = visible(text[: 4 * width])
    return shown if len(shown) <= width and len(text) <= 4 * width else f"{shown[: width - 1]}…"


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a long name: both ends tell kernels apart."""
    if len(text) <= width:
        return text
    head = (width - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


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


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with ``digits`` significant digits, grouped thousands and a minus sign, and its unit; an em dash for what is unknown."""
    if value is None or not math.isfinite(value):
        return "—"
    if value == int(value) and abs(value) < 1e15:
        shown = f"{int(value):,}"
    elif abs(value) < _SMALL:
        shown = f"{value:.{digits}g}"
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        shown = f"{value:,.{min(decimals, 6)}f}"
    return f"{shown.replace('-', '−')} {unit}".rstrip()


def at_most(value: float, unit: str = "", digits: int = 6) -> str:
    """A number with at most ``digits`` significant digits: one that somebody stated gets no zeros added."""
    shown = number(value, "", digits)
    return f"{shown.rstrip('0').rstrip('.') if '.' in shown else shown} {unit}".rstrip()


def signed(value: float, unit: str = "") -> str:
    """A difference with its sign: “+97.8”, “−0.5”, “0”."""
    return f"{'+' if value > 0 else ''}{number(value, unit)}"


def plural(n: float, one: str, many: str | None = None) -> str:
    """“1 kernel”, “2 kernels”, “3 copies”."""
    return f"{number(n)} {one if n == 1 else many or f'{one}s'}"


def listed(words: Iterable[str]) -> str:
    """“a”, “a and b”, “a, b and c”."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def ordinal(n: int) -> str:
    """“1st”, “2nd”, “11th”."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def duration(nanoseconds: float | None) -> str:
    """A duration in the unit that reads best."""
    if nanoseconds is None or math.isnan(nanoseconds):
        return "—"
    for limit, factor, unit in ((1e3, 1.0, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if abs(nanoseconds) < limit:
            return number(nanoseconds / factor, unit)
    return number(nanoseconds / 1e9, "s")


def signed_duration(nanoseconds: float) -> str:
    """A difference of durations with its sign: “+1.20 µs”."""
    return f"{'+' if nanoseconds > 0 else ''}{duration(nanoseconds)}"


def number_of_bytes(value: float) -> str:
    """Bytes in decimal units, as memory bandwidth is quoted."""
    for limit, factor, unit in ((1e3, 1.0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if abs(value) < limit:
            return number(value / factor, unit)
    return number(value / 1e9, "GB")


def times(ratio: float | None) -> str:
    """A ratio as people say it: 3.11×."""
    return "—" if ratio is None else f"{number(ratio)}×"


def with_unit(value: float | None, unit: str) -> str:
    """A figure and its unit; counts go without, bytes and short times in the unit that reads best."""
    if value is None or math.isnan(value) or unit in COUNTS:
        return number(value)
    if unit == "ms" and 0 < abs(value) < _SHORT_MS:
        value, unit = value * 1e3, "us"
    return number_of_bytes(value) if unit == "bytes" else number(value, "µs" if unit == "us" else unit)
