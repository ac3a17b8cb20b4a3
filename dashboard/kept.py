"""What a page keeps in the session and in its address, so that it is there again when the reader comes back or shares the link."""

from __future__ import annotations

import streamlit as st


def kept(name: str) -> str:
    """The value of a name: of this session, else of the address; "" without one. Written into the address of the page that asks."""
    if name not in st.session_state:
        st.session_state[name] = st.query_params.get(name, "")
    value = str(st.session_state[name])
    keep(name, value)
    return value


def keep(name: str, value: str) -> None:
    """Set it; "" forgets it."""
    st.session_state[name] = value
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
