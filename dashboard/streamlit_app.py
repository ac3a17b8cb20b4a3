"""The server: ``streamlit run dashboard`` runs this file, which serves ``app.py`` behind the checks of :mod:`dashboard.guard`."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

try:
    import dashboard  # noqa: F401
except ModuleNotFoundError:  # not installed: Streamlit puts only this script's folder on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import streamlit as st
from starlette.middleware import Middleware

from dashboard.guard import RequestGuard
from profiler.files import remove_own_folders


def _prepare() -> None:
    from dashboard.first_page import prepare  # noqa: PLC0415 - the server answers before all this is imported

    prepare()


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Make what the first page needs while the browser opens, so that it does not wait for it.

    Uploads and what was unpacked are removed when the server ends: a signal ends the process without Python's clean-up at exit.
    """
    threading.Thread(target=_prepare, daemon=True).start()
    yield
    remove_own_folders()


app = st.App(Path(__file__).with_name("app.py"), lifespan=lifespan, middleware=[Middleware(RequestGuard)])
