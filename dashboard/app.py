"""The app around every page: navigation, the sidebar, the style. Served by ``streamlit_app.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from dashboard import address, data, presenting, show, sidebar, tour
from dashboard.views import GROUPS, PAGES

STATIC = Path(__file__).with_name("static")


def main(first: str = "overview") -> None:
    """Draw the app; ``first`` is the page that opens at the root address."""
    address.begin()
    presenting.from_address()
    st.set_page_config(
        page_title="Kernel fusion evidence",
        page_icon=str(STATIC / "icon.png"),
        layout="wide",
    )
    st.html(STATIC / "style.css")
    presenting.style()
    chosen: list[data.Selection] = []
    pages = [
        st.Page(
            partial(_draw, view.render, chosen),
            title=view.TITLE,
            icon=view.ICON,
            url_path="" if first == view.URL else view.URL,
            default=first == view.URL,
        )
        for view in PAGES
    ]
    by_url = {view.URL: page for view, page in zip(PAGES, pages, strict=True)}
    # Streamlit opens its default page at the root address alone, and people type or keep its name
    named = st.Page(lambda: None, title=by_url[first].title, url_path=first, visibility="hidden")
    tour.begin()
    groups = {heading: [by_url[view.URL] for view in views] for heading, views in GROUPS.items()}
    page = st.navigation([*pages, named], position="hidden")
    if page is named:
        st.switch_page(by_url[first], query_params=st.query_params.to_dict())
    show.keep_pages(by_url)
    with st.sidebar:
        _navigation(groups)
    chosen.append(sidebar.choose())
    address.write_early()
    if presenting.on():
        presenting.draw(chosen[0])
    else:
        page.run()
    address.write()


def _navigation(groups: Mapping[str, Sequence[st.Page]]) -> None:
    """Links to the pages, in groups. Streamlit's own lists of sections are not valid HTML, which screen readers stumble over."""
    with st.container(key="navigation", gap=None):
        for heading, pages in groups.items():
            st.caption(heading)
            for page in pages:
                st.page_link(page, width="stretch")


def _draw(render: Callable[[data.Selection], None], chosen: list[data.Selection]) -> None:
    render(chosen[0])  # chosen after the pages are named


if __name__ == "__main__":
    main()
