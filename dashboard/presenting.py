"""Presentation: slides made from the chosen pair, over the whole window; in the address (``present=1``) and so in a link that is shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import address, data
from dashboard.data import Selection
from profiler.charts.palette import GROUNDS, INK
from profiler.charts.slide_canvas import canvas
from profiler.charts.slide_html import STYLE, slide_element
from profiler.report.slides import Slide, slides, slides_of_one

PARAMETER = "present"
_STATIC = Path(__file__).with_name("static")


def on() -> bool:
    """Whether this session presents."""
    return bool(st.session_state.get(PARAMETER))


def from_address() -> None:
    """Take the mode of a link, once, and keep it in the address on every page."""
    address.keep(PARAMETER, False)


def switch() -> None:
    """Begin or end."""
    st.session_state[PARAMETER] = not on()
    st.query_params.pop("slide", None)


def button() -> None:
    """The control that begins, for the sidebar."""
    st.button(
        "Present",
        key="present_begin",
        icon=":material/slideshow:",
        on_click=switch,
        width="stretch",
        help="Slides made from the two traces. → or PageDown goes on, ← or PageUp back, Esc leaves. Export has them as PDF and PPTX.",
    )


def style() -> None:
    """While presenting: the style. First of all that is drawn, so that what it hides is not seen."""
    if on():
        st.html(_STATIC / "presenting.css")


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    html, css, js = (_STATIC.joinpath(f"slides.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("slides", html=html, css=css + STYLE, js=js)


def slides_of(selection: Selection) -> tuple[Slide, ...]:
    """The slides about what is chosen: two traces, or one alone; none where none can be read."""
    if selection.before is not None and selection.after is not None:
        evidence = data.evidence(selection.before, selection.after)
        if evidence is not None:
            data.ledger(selection.before, selection.after)  # with its progress, where it takes long
            return slides(evidence)
    return next((slides_of_one(name, side.analysis) for name, side in selection.readable.items() if side.analysis), ())


def draw(selection: Selection) -> None:
    """The slides of what is chosen, and the one control that is left on the screen."""
    theme = st.context.theme.type or "light"
    deck = slides_of(selection) or (_nothing(selection),)
    drawn = [slide_element(canvas(slide, place, len(deck), theme)) for place, slide in enumerate(deck, 1)]
    _component()(key="slides", data={"slides": drawn, "ground": GROUNDS[theme], "ink": INK[theme]})
    st.button("Leave", key="present_end", icon=":material/close_fullscreen:", on_click=switch)


def _nothing(selection: Selection) -> Slide:
    errors = [
        side.error.message
        for side in (selection.before, selection.after)
        if side is not None and side.error is not None
    ]
    return Slide("unknown", "There is nothing to present", tuple(errors) or ("Choose a trace in the sidebar.",), "")
