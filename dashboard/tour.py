"""The first-run guide: a few steps with links at the top of the overview, until it is dismissed.

It appears when a session starts at the bare address. A link that somebody shared carries its choice in the address, and a
presentation does not need a guide, so neither shows it. Dismissing it is remembered in the browser by a cookie that says
nothing but "seen"; the server only reads it.
"""

from __future__ import annotations

import streamlit as st

from dashboard import presenting
from dashboard.show import link

COOKIE = "evidence_tour"
STEPS = (
    ("fusion", "Fusion", "what became of each module, and which kernels vanished"),
    ("tensor-cores", "Tensor Cores", "by name and by counter: two kinds of evidence, side by side"),
    ("timeline", "Timeline", "one inference of each side, both from zero"),
    ("capture", "Capture", "record your own; or open two traces in the sidebar"),
    ("export", "Export", "the report, figures and tables, to hand over"),
    ("help", "Help", "how to read the pages, every word, methods and limits"),
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
    if not is_shown() or presenting.on():
        return
    with st.container(border=True, key="tour"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        text.markdown(
            "**New here?** This page says what changed: *before → after*, per inference. The question marks say how "
            "we know. Then:"
        )
        button.button(
            "Got it", key="tour_dismiss", on_click=dismiss, width="stretch", help="Not shown again in this browser"
        )
        for start in range(0, len(STEPS), 3):
            for column, (number, (url, label, what)) in zip(
                st.columns(3), enumerate(STEPS[start : start + 3], start + 1)
            ):
                with column:
                    link(url, f"{number}. {label}")
                    st.caption(what)


def is_shown() -> bool:
    return bool(st.session_state.get(_SHOWN))


def dismiss() -> None:
    st.session_state[_SHOWN] = False
    st.session_state[_REMEMBER] = True


def show_again() -> None:
    st.session_state[_SHOWN] = True
