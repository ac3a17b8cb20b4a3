"""The dashboard: ``streamlit run dashboard`` from the repository's root."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import dashboard.views  # noqa: F401
except (
    ModuleNotFoundError
):  # started without the editable install: Streamlit puts only this script's folder on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import streamlit as st

from dashboard import presenting, show, tour
from dashboard import sidebar as frame
from dashboard.views import PAGES
from profiler.charts import labels


def main(first: str = "overview") -> None:
    """Draw the app; ``first`` is the page that opens at the root address."""
    presenting.from_address()
    st.set_page_config(
        page_title="TensorRT evidence",
        page_icon=str(Path(__file__).with_name("icon.png")),
        layout="wide",
        initial_sidebar_state="collapsed" if presenting.on() else "auto",
    )
    st.html(Path(__file__).with_name("style.css"))
    presenting.style(labels.ground(st.context.theme.type))
    holder: list[frame.Pair] = []
    pages = [
        st.Page(
            lambda render=view.render: render(holder[0]),
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
    page = st.navigation([*pages, named], expanded=True)
    if page is named:
        st.switch_page(by_url[first], query_params=st.query_params.to_dict())
    show.remember(by_url)
    holder.append(frame.choose())
    presenting.controls(pages, page)
    if page is by_url["overview"]:
        tour.draw()
    page.run()


if __name__ == "__main__":
    main()
