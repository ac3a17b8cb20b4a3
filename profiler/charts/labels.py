"""What makes a picture of a chart stand alone: which runs, batch and GPU it shows, and type that is large enough to read."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from profiler.analysis.run.facts import RunFacts
from profiler.charts.chart import Chart
from profiler.charts.palette import INK
from profiler.text import plotly_text

_TITLE_WIDTH, _LINE_WIDTH = 46, 56  # characters that fit a phone at 15 and 12 px
_MAX_LINES = 8
_TITLE_PX, _LINE_PX, _TEXT_PX = 15, 12, 12
_UNKNOWN = "unknown"


def runs(sides: Mapping[str, RunFacts]) -> list[str]:
    """A line a side with its title, and one with batch and GPU; what differs between the sides is said of each."""
    lines = [f"{name}: {facts.title}" for name, facts in sides.items()]
    shared = []
    for label, values in (
        ("batch", [str(f.batch) if f.batch else _UNKNOWN for f in sides.values()]),
        ("GPU", [f.gpu or _UNKNOWN for f in sides.values()]),
    ):
        shared.append(f"{label} {' → '.join(dict.fromkeys(values))}")
    return [*lines, ", ".join(shared)] if sides else lines


def labelled(figure: Chart, lines: Iterable[str] = (), *, theme: str | None = None) -> Chart:
    """A copy of a figure with lines under its title, wrapped so that they fit a phone.

    The title may be escaped already; it is escaped once.

    Args:
        lines: plain text; escaped here. Without any, those that the figure has are kept.
        theme: "light" or "dark" sets the colour of all texts; None leaves it to the template.
    """
    made = figure.copy()
    title, *more = _wrap(html.unescape(made.title), _TITLE_WIDTH) or [""]
    # Plotly lets a title of several lines reach over its upper edge, so what does not fit one goes on below it
    under = [f"<b>{plotly_text(part, 200)}</b>" for part in _wrap(" ".join(more), _LINE_WIDTH)]
    given = [plotly_text(w, 200) for line in lines for w in _wrap(line, _LINE_WIDTH)][:_MAX_LINES]
    layout = made.layout
    kept = layout.get("title", {}).get("subtitle", {}).get("text")
    under += given or (kept.split("<br>") if kept else [])
    ink = {"color": INK[theme]} if theme else {}
    top = round(1.3 * (_TITLE_PX + len(under) * _LINE_PX)) + 22
    annotations = layout.get("annotations", ())
    headings = [a["text"] for a in annotations if a.get("yref") == "paper" and a["y"] > 0.98]  # of subplots
    top += max((24 * (1 + text.count("<br>")) for text in headings), default=0)
    old = layout.get("margin", {}).get("t", 0)
    made.update_layout(
        title={
            "text": plotly_text(title, 200),
            "font": {"size": _TITLE_PX, **ink},
            "subtitle": {"text": "<br>".join(under), "font": {"size": _LINE_PX, **ink}},
            "x": 0,
            "xanchor": "left",
            "xref": "container",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 6, "l": 8},
        },
        font={"size": _TEXT_PX, **ink},
        legend={"font": {"size": _TEXT_PX, **ink}},
        margin={"t": top},
        height=layout.get("height", 400) - old + top,
    )
    axis: dict[str, Any] = {
        "tickfont": {"size": _TEXT_PX, **ink},
        "title": {"font": {"size": _TEXT_PX, **ink}},
        "separatethousands": True,
    }
    made.update_xaxes(**axis).update_yaxes(**axis)
    for annotation in annotations:
        annotation["font"] = {**ink, **annotation.get("font", {})}
    return made


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)
