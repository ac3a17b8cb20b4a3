"""What every page shows in the same way: charts, rows of figures, notes on how we know, links to the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import presenting
from dashboard.data import Side
from profiler.charts import labels
from profiler.charts.layout import CONFIG
from profiler.text import markdown

_PAGES = "pages"


def chart(
    figure: go.Figure,
    key: str,
    sides: Mapping[str, Side] | None = None,
    place: DeltaGenerator | None = None,
    about: Sequence[str] = (),
) -> None:
    """Draw a figure that names what it shows: under its title the runs, batch and GPU of its sides, or what it is ``about``."""
    known = {name: side.analysis.facts for name, side in (sides or {}).items() if side.analysis is not None}
    lines = [*labels.runs(known), *about]
    theme = st.context.theme.type or "light"
    scale = presenting.SCALE if presenting.on() else 1.0
    title = str(figure.layout.title.text or "").replace("<br>", " ")
    (place or st).plotly_chart(
        labels.labelled(figure, lines, scale=scale, theme=theme),
        key=key,
        config=CONFIG,
        alt=f"Chart: {title}. {'; '.join(lines)}",
    )


def cards(name: str) -> DeltaGenerator:
    """A row for figures in frames, which goes on in a new line where the page is narrow; ``name`` is its own on a page."""
    return st.container(
        horizontal=True, gap="small", key=f"cards_{name}"
    )  # style.css says how wide a frame is at least


def card(place: DeltaGenerator, label: str, value: str, note: str | None = None, help_text: str | None = None) -> None:
    """One figure in a frame, in a row of :func:`cards`."""
    place.metric(
        label,
        value,
        note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=help_text,
    )


def remember(pages: Mapping[str, st.Page]) -> None:
    """Keep the pages of this run, by address, so that a page can link to another."""
    st.session_state[_PAGES] = dict(pages)


def link(url: str, label: str, icon: str | None = None) -> None:
    """A link to another page; the chosen pair goes with it."""
    page = st.session_state.get(_PAGES, {}).get(url)
    if page is not None:
        st.page_link(page, label=label, icon=icon)


def how_we_know(lines: Iterable[str], key: str) -> None:
    """A note that opens in place: source tables, rule, formula, sampling."""
    with st.popover("How we know", icon=":material/fact_check:", type="tertiary", key=key):
        for line in lines:
            st.markdown(markdown(line))
