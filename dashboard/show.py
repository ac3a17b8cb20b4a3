"""What every page shows in the same way: charts, rows of figures, notes on how we know, links to the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import data, presenting
from dashboard.data import LoadedTrace, Selection
from profiler.charts import labels
from profiler.charts.layout import CONFIG
from profiler.errors import ProfilerError
from profiler.text import markdown, visible

_PAGES = "pages"


def chart(
    figure: go.Figure,
    key: str,
    sides: Mapping[str, LoadedTrace] | None = None,
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
        alt=visible(f"Chart: {title}. {'; '.join(lines)}"),
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


def keep_pages(pages: Mapping[str, st.Page]) -> None:
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


def show_problems(selection: Selection) -> None:
    """What keeps a side from being shown, and what to do about it."""
    for name, side in (("before", selection.before), ("after", selection.after)):
        if side is None:
            st.info(
                f"Nothing is chosen as “{name}”. Choose a trace in the sidebar, or upload one there.",
                icon=":material/info:",
            )
        elif side.error is not None:
            error = side.error
            if side.source.origin == "upload":  # the reader knows the file, not the place where it was put
                error = ProfilerError(error.message.replace(str(side.source.path), side.source.path.name), error.hint)
            show_error(error, f"{name}: {markdown(side.source.title)} cannot be read.")


def show_error(error: ProfilerError, heading: str | None = None) -> None:
    """A message for the reader, with what to do about it."""
    start = f"**{heading}** " if heading else ""
    hint = f"  \n{markdown(error.hint)}" if error.hint else ""
    st.error(f"{start}{markdown(error.message)}{hint}")


def ledger_view(selection: Selection) -> data.LedgerView | None:
    """The fusion ledger of the pair; what keeps it from being made is shown, and None returned."""
    show_problems(selection)
    if selection.before is None or selection.after is None:
        return None
    view = data.ledger(selection.before, selection.after)
    if isinstance(view, ProfilerError):
        show_error(view)
        return None
    return view
