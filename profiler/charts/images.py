"""Figures as files: PDF and SVG with vectors, PNG.

Kaleido draws them in a Chromium of this machine, in a process of its own; nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from profiler.charts.figures import Drawn
from profiler.errors import MissingToolError, OutputError
from profiler.files import private_folder, write_file
from profiler.resources import IMPORT_ROOT

FORMATS = ("pdf", "png", "svg")
BROWSER_VARIABLE = "BROWSER_PATH"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_WIDTH, _PNG_SCALE = 1200, 2
_TIMEOUT_S, _TIMEOUT_EACH_S, _TIMEOUT_TO_END_S = 60, 60, 30


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
    return missing_browser()


def missing_browser() -> MissingToolError | None:
    """That there is no Chromium, and how to get one; None when there is."""
    if browser() is not None:
        return None
    return MissingToolError(
        "Figures and slides as PDF, PNG or SVG files are drawn by a Chromium or Chrome, and none is on the PATH.",
        f"Install one (apt install chromium), or name it in {BROWSER_VARIABLE}. The HTML report and slides as PPTX need none.",
    )


def render(drawn: Sequence[Drawn], kinds: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """(id, kind) → the file's content. Figures get a white ground and their title, so that each stands alone.

    Raises:
        MissingToolError: Kaleido or a Chromium is not here; the message says which and how to get it.
        OutputError: the browser failed.
    """
    absent = missing()
    if absent is not None:
        raise absent
    browser_path = str(browser())
    job = {
        "browser": browser_path,
        "figures": [json.loads(str(_alone(figure).to_json())) for figure in drawn],
        "seconds": _TIMEOUT_S + _TIMEOUT_EACH_S * len(drawn),
        "files": {kind: {"width": _WIDTH, "scale": _PNG_SCALE if kind == "png" else 1} for kind in kinds},
    }
    with private_folder("figures") as folder:
        said = _drawn(job, folder)
        found = {
            (figure.id, kind): path.read_bytes()
            for place, figure in enumerate(drawn)
            for kind in kinds
            if (path := folder / f"{place}.{kind}").is_file()
        }
    if said is not None or len(found) < len(drawn) * len(kinds):
        raise OutputError(
            f"The figures could not be drawn with {browser_path} ({(said or 'some are missing')[-300:]}).",
            f"Try another browser with {BROWSER_VARIABLE}, or save figures as PNG from the HTML report.",
        )
    return found


def _drawn(job: dict[str, Any], folder: Path) -> str | None:
    """Have :mod:`profiler.charts.drawing` do it; what it said if it failed."""
    paths = [str(IMPORT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "profiler.charts.drawing", str(folder)],
            input=json.dumps(job).encode(),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            timeout=job["seconds"] + _TIMEOUT_TO_END_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {job['seconds']:g} s, and did not end"
    said = " ".join(done.stderr.decode("utf-8", "replace").split())
    return None if done.returncode == 0 else said or "it said nothing"


def _alone(drawn: Drawn) -> go.Figure:
    """A figure for a page of its own: white, with its title."""
    figure = go.Figure(drawn.figure.to_dict())
    title = drawn.figure.title
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
            write_file(path, made[key])
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror or error}).") from error
    return list(targets.values())
