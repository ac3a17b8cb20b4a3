"""The first-run guide: a line of links under the first screen of the overview, until it is dismissed.

It appears when a session starts at the bare address. A link that somebody shared carries its choice in the address, and a
presentation does not need a guide, so neither shows it. Dismissing it is remembered in the browser by a cookie that says
nothing but "seen"; the server only reads it.
"""

from __future__ import annotations

import streamlit as st

from dashboard.show import link

COOKIE = "evidence_tour"
STEPS = (
    ("fusion", "Fusion"),
    ("tensor-cores", "Tensor Cores"),
    ("timeline", "Timeline"),
    ("capture", "Capture"),
    ("export", "Export"),
    ("help", "Help"),
)
_SHOWN, _REMEMBER = "tour_shown", "tour_remember"
_SCRIPT = f"<script>document.cookie = '{COOKIE}=seen; path=/; max-age=31536000; SameSite=Strict'</script>"


def begin() -> None:
    """Decide, once a session and before the frame writes its choice into the address, whether to show the guide."""
    if _SHOWN not in st.session_state:
        fresh = not st.query_params and not st.context.is_embedded
        st.session_state[_SHOWN] = fresh and st.context.cookies.get(COOKIE) != "seen"


def draw() -> None:
    """The guide, where it is to be shown; after its dismissal, once, what makes the browser remember."""
    if st.session_state.pop(_REMEMBER, False):
        st.html(_SCRIPT, unsafe_allow_javascript=True)
    if not is_shown():
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key="tour"):
        st.markdown("**New here?** Continue with:")
        for number, (url, label) in enumerate(STEPS, 1):
            link(url, f"{number}. {label}")
        st.button("Got it", key="tour_dismiss", on_click=dismiss, help="Not shown again in this browser")


def is_shown() -> bool:
    return bool(st.session_state.get(_SHOWN))


def dismiss() -> None:
    st.session_state[_SHOWN] = False
    st.session_state[_REMEMBER] = True


def show_again() -> None:
    st.session_state[_SHOWN] = True
