"""The main path in a real browser: the default opens, pages are walked, two traces are uploaded."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.views import PAGES
from tests.conftest import ROOT, bundled

pytestmark = pytest.mark.browser
SCREENSHOTS = os.environ.get("PROFILER_SCREENSHOTS")  # a folder to keep pictures in, for looking at
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "dashboard",
        "--server.headless",
        "true",
        "--server.port",
        str(port),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail("the dashboard did not start within a minute")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield found
        found.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that fails the test on a console error, a crash, or a request to anywhere else."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=request.param)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    opened.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
    opened.on(
        "request",
        lambda r: problems.append(f"request to {r.url}") if not r.url.startswith((address, "data:", "blob:")) else None,
    )
    opened.goto(address)
    opened.theme = request.param
    yield opened
    context.close()
    assert not problems


def _settled(page: Any, heading: str) -> None:
    page.get_by_role("heading", name=heading, level=1).wait_for(timeout=30_000)
    page.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden", timeout=30_000)
    page.wait_for_timeout(700)
    assert page.locator('[data-testid="stException"]').count() == 0


def _picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": 1440, "height": min(max(900, height + 20), 4000)})
        page.wait_for_timeout(700)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}_{page.theme}.png")
        page.set_viewport_size({"width": 1440, "height": 900})


def test_default_comparison_and_every_page(page: Any) -> None:
    _settled(page, "What did TensorRT do to the model?")
    page.get_by_text("174 → 56", exact=True).first.wait_for()
    _picture(page, "overview")
    for view in PAGES[1:]:
        link = view.TITLE
        heading = "Memory traffic" if link == "Memory" else link
        page.get_by_role("link", name=link, exact=True).click()
        _settled(page, heading)
        _picture(page, link.lower().replace(" ", "_"))
    page.get_by_role("link", name="Timeline", exact=True).click()
    _settled(page, "Timeline")
    # every kernel and range of the two inferences is a bar, and none is thinner than what is drawn
    assert page.locator(".js-plotly-plot .bars .point").count() >= 174 + 56 + 159


def test_upload_two_traces(page: Any) -> None:
    _settled(page, "What did TensorRT do to the model?")
    page.get_by_text("Open your own traces").click()
    files = [
        {"name": f"{run}.sqlite.xz", "mimeType": "application/x-xz", "buffer": bundled(run).read_bytes()}
        for run in ("trt-fp32-b8", "trt-fp16-b8")
    ]
    page.locator('input[type="file"]').set_input_files(files)
    page.get_by_text("57 → 58", exact=True).first.wait_for(timeout=30_000)
    _settled(page, "What did TensorRT do to the model?")
    assert "before=upload" in page.url
    _picture(page, "uploaded")
