"""Presentation mode: large type, no sidebar and no toolbar, in the address (``present=1``) and so in a link that is shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dashboard import address

PARAMETER = "present"
SCALE = 1.5


def on() -> bool:
    """Whether this session presents."""
    return bool(st.session_state.get(PARAMETER))


def from_address() -> None:
    """Take the mode of a link, once, and keep it in the address on every page."""
    address.keep(PARAMETER, False)


def switch() -> None:
    """Begin or end."""
    st.session_state[PARAMETER] = not on()


def button() -> None:
    """The control that begins, for the sidebar."""
    st.button(
        "Present",
        key="present_begin",
        icon=":material/slideshow:",
        on_click=switch,
        width="stretch",
        help="Large type, no sidebar. The URL can be shared; select “Leave” in the corner to exit.",
    )


def style(ground: str) -> None:
    """While presenting: the style. First of all that is drawn, so that what it hides is not seen."""
    if on():
        text = (
            Path(__file__).with_name("static").joinpath("presenting.css").read_text("utf-8").replace("GROUND", ground)
        )
        st.html(f"<style>{text}</style>")


def controls(pages: Sequence[st.Page], current: st.Page) -> None:
    """While presenting: the one control that is left on the screen, to turn pages and to leave."""
    if not on():
        return
    place = next((i for i, page in enumerate(pages) if page.url_path == current.url_path), 0)
    with st.container(key="presenting", horizontal=True, vertical_alignment="center", gap="small"):
        if place > 0:
            st.page_link(pages[place - 1], label=pages[place - 1].title, icon=":material/chevron_left:")
        if place + 1 < len(pages):
            following = pages[place + 1]
            st.page_link(following, label=following.title, icon=":material/chevron_right:", icon_position="right")
        st.button("Leave", key="present_end", icon=":material/close_fullscreen:", on_click=switch, type="secondary")
