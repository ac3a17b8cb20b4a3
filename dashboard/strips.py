"""The network as strips on a page: the component, and where a chosen block leads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import address
from dashboard.show import page_at
from profiler.analysis.fusion.strip import Strip
from profiler.charts.strip import for_browser

_STATIC = Path(__file__).with_name("static")


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    html, css, js = (_STATIC.joinpath(f"strip.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("strip", html=html, css=css, js=js)


def draw(strips: Mapping[str, Strip], key: str = "strips") -> None:
    """Draw the strips; a chosen block opens the page Fusion on it."""
    sent = for_browser(strips)
    links = len(strips) == 2 and bool(sent["blocks"])
    hint = "Point at a block to see it on both sides; select it to open it on Fusion." if links else ""
    result = _component()(key=key, data={**sent, "links": links, "hint": hint}, on_chosen_change=lambda: None)
    chosen = result.get("chosen")
    page = page_at("fusion")
    if links and isinstance(chosen, int) and 0 <= chosen < len(sent["blocks"]) and page is not None:
        block = list(dict.fromkeys(block for strip in strips.values() for block in strip.blocks))[chosen]
        address.put("fusion_block", block)
        # with the parameters of this page: others would first change its own entry of the browser's history
        st.switch_page(page, query_params=address.parameters())
