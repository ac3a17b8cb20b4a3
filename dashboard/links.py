"""Links from one page to another. Page objects are made anew in every run, so the session holds those of the current one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

_PAGES = "pages"


def remember(pages: Mapping[str, Any]) -> None:
    """Make the pages of this run known, by ``URL``."""
    st.session_state[_PAGES] = dict(pages)


def link(url: str, label: str) -> None:
    """Draw a link to a page, with the page's icon. The choice of traces goes along.

    Raises:
        KeyError: there is no such page.
    """
    page = st.session_state[_PAGES][url]
    st.page_link(page, label=label, icon=page.icon)
