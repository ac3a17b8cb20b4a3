"""The server: ``streamlit run dashboard`` runs this file, which serves ``app.py`` behind the checks of :mod:`dashboard.guard`."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import dashboard  # noqa: F401
except ModuleNotFoundError:  # not installed: Streamlit puts only this script's folder on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import streamlit as st
from starlette.middleware import Middleware

from dashboard.guard import RequestGuard

app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(RequestGuard)])
