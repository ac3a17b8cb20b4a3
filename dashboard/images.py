"""Figures as files: PDF and SVG with vectors, PNG. Kaleido draws them in a Chromium of this machine; nothing is sent anywhere."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go

from dashboard.figures import Drawn
from profiler.errors import MissingToolError, OutputError

FORMATS = ("pdf", "png", "svg")
BROWSER_VARIABLE = "BROWSER_PATH"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_WIDTH, _PNG_SCALE = 1200, 2
_TIMEOUT_S, _TIMEOUT_EACH_S = 60, 60


def browser() -> str | None:
    """The Chromium that draws: the one that BROWSER_PATH names, else the first on the PATH."""
    named = os.environ.get(BROWSER_VARIABLE)
    if named:
        return named
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def missing() -> MissingToolError | None:
    """What is not here that drawing needs, and how to get it; None when all is."""
    if find_spec("kaleido") is None:
        return MissingToolError(
            "Figures as PDF, PNG or SVG files need Kaleido, which is not installed.", "pip install kaleido"
        )
    if browser() is None:
        return MissingToolError(
            "Figures as PDF, PNG or SVG files are drawn by a Chromium or Chrome, and none is on the PATH.",
            f"Install one (apt install chromium), or name it in {BROWSER_VARIABLE}. The HTML report needs none.",
        )
    return None


def render(drawn: Sequence[Drawn], kinds: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """(id, kind) → the file's content. Figures get a white ground and their title, so that each stands alone.

    Raises:
        MissingToolError: Kaleido or a Chromium is not here; the message says which and how to get it.
        OutputError: the browser failed.
    """
    absent = missing()
    if absent is not None:
        raise absent
    path = str(browser())
    try:
        return asyncio.run(asyncio.wait_for(_render(drawn, kinds, path), _TIMEOUT_S + _TIMEOUT_EACH_S * len(drawn)))
    except Exception as error:  # Kaleido and what drives the browser raise errors of many kinds
        said = " ".join(map(str, error.args))[:300]
        raise OutputError(
            f"The figures could not be drawn with {path} ({type(error).__name__}: {said}).",
            f"Try another browser with {BROWSER_VARIABLE}, or save figures as PNG from the HTML report.",
        ) from error


async def _render(drawn: Sequence[Drawn], kinds: Sequence[str], path: str) -> dict[tuple[str, str], bytes]:
    import kaleido  # noqa: PLC0415 - optional, and slow to import

    found: dict[tuple[str, str], bytes] = {}
    # without mathjax=False it fetches MathJax from elsewhere
    async with kaleido.Kaleido(n=1, timeout=_TIMEOUT_EACH_S, mathjax=False, path=path) as drawer:
        for figure in drawn:
            ready = _alone(figure)
            for kind in kinds:
                size = {"width": _WIDTH, "height": ready.layout.height}
                options = {"format": kind, "scale": _PNG_SCALE if kind == "png" else 1, **size}
                found[figure.id, kind] = await drawer.calc_fig(ready, opts=options)
    return found


def _alone(drawn: Drawn) -> go.Figure:
    """A figure for a page of its own: white, with its title."""
    figure = go.Figure(drawn.figure)
    title = figure.layout.title.text
    shown = f"{drawn.title}: {title}" if title else drawn.title
    figure.update_layout(
        template="plotly_white",
        title={"text": shown, "x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top"},
        margin_t=(figure.layout.margin.t or 48) + 30,
        height=(figure.layout.height or 450) + 30,
    )
    return figure


def write(drawn: Sequence[Drawn], folder: Path, kinds: Sequence[str], force: bool) -> list[Path]:
    """Write ``ID.pdf`` and so on into a folder, which is made if it is not there.

    Raises:
        OutputError: a file exists and ``force`` is false, or one cannot be written.
        MissingToolError: see :func:`render`.
    """
    targets = {(d.id, kind): folder / f"{d.id}.{kind}" for d in drawn for kind in kinds}
    present = [path for path in targets.values() if path.exists()]
    if present and not force:
        raise OutputError(f"{present[0]}: exists already.", "Name another folder, or give --force to replace files.")
    made = render(drawn, kinds)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for key, path in targets.items():
            path.write_bytes(made[key])
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror or error}).") from error
    return list(targets.values())
