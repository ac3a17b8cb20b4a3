"""Help: how to read the pages, the field's words, methods and limits. The texts are those of ``docs/``."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from dashboard import tour
from dashboard.data import Selection
from dashboard.documents import document, glossary
from dashboard.show import link, show_error
from profiler.errors import ProfilerError
from profiler.text import markdown

TITLE = "Help"
ICON = ":material/help:"
URL = "help"

_TABS = ("How to read the pages", "Glossary", "Methods and limits", "How the figures are made")


def render(selection: Selection) -> None:
    del selection
    st.title("Help")
    for tab, draw in zip(st.tabs(_TABS), (_reading, _glossary, _limits, _methods)):
        with tab:
            try:
                draw()
            except ProfilerError as error:
                show_error(error)


def _reading() -> None:
    st.markdown(document("reading"))
    st.button("Show the first-run guide again", on_click=tour.show_again, key="tour_again")
    if tour.is_shown():
        link("overview", "The guide is on the overview")


def _glossary() -> None:
    wanted = st.text_input("Search the glossary", key="glossary_search", placeholder="part of a word or meaning")
    needle = wanted.strip().lower()
    entries = [e for e in glossary() if needle in e.word.lower() or needle in e.meaning.lower()]
    if not entries:
        st.info(f"No entry holds “{markdown(wanted)}”.", icon=":material/search_off:")
    for group, members in groupby(entries, key=lambda e: e.group):
        st.subheader(group)
        st.markdown("\n".join(f"- **{e.word}**: {e.meaning}" for e in members))


def _limits() -> None:
    st.markdown(document("limits"))


def _methods() -> None:
    st.markdown(document("methods"))
