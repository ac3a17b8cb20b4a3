"""A hostile run in a real browser: no script runs, nothing is asked of another host, and what is saved holds no formula."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard import settings
from dashboard.views import PAGES
from tests.support.hostile import MARK, hostile_run
from tests.support.serving import at_rest, serving, settled
from tests.support.traces import bundled

pytestmark = pytest.mark.browser
# uploads leave a second after their browser, and not after three minutes
_SERVER = "from dashboard import uploads; uploads.LEAVE_AFTER_S = 1.0; from streamlit.web.cli import main; main()"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmpdir")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[str]:
    runs = tmp_path_factory.mktemp("runs")
    hostile_run(runs / "run")
    with serving(
        (sys.executable, "-c", _SERVER, "run", "dashboard"),
        {settings.FOLDER_VARIABLE: str(runs), "TMPDIR": str(temporary)},
    ) as started:
        yield started
    left = [p.name for p in temporary.glob("profiler-*")]
    assert left == [], "a dashboard that ends leaves no temporary folder"


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    opened.on("popup", lambda other: problems.append(f"popup: {other.url}"))
    opened.on(
        "request",
        lambda r: problems.append(f"request to {r.url}") if not r.url.startswith((address, "data:", "blob:")) else None,
    )
    yield opened
    context.close()
    assert not problems


def _inert(page: Any) -> None:
    assert MARK not in page.title()
    found = page.evaluate(
        """mark => {
            const inside = [...document.querySelectorAll('a[href], img, script, iframe, object, [role=img], strong, em, del, svg a')];
            const where = e => ['href', 'src', 'xlink:href'].map(name => e.getAttribute(name) || '').join(' ');
            const links = inside.filter(e => /(evil|javascript:)/i.test(where(e).replace(/^#\\S*/, '')));
            const made = inside.filter(e => e.matches('strong, em, del, img') && (e.alt || e.textContent).trim() === mark);
            const icons = inside.filter(e => e.getAttribute('aria-label') === 'delete icon');
            const painted = [...document.querySelectorAll('[class*=colored], .katex')];
            const coloured = painted.filter(e => e.textContent.includes(mark));
            return [...links, ...made, ...icons, ...coloured].map(e => e.outerHTML.slice(0, 200));
        }""",
        MARK,
    )
    assert found == []


def test_every_page_of_a_hostile_run(page: Any, address: str) -> None:
    shown = 0
    for view in PAGES:
        page.goto(f"{address}/{view.URL}?before=folder/run/trace.sqlite&after=folder/run/trace.sqlite")
        page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
        at_rest(page)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        for icon in page.locator('[data-testid="stMain"] [data-testid="stTooltipHoverTarget"]').all()[:4]:
            icon.hover(force=True)
            page.wait_for_timeout(150)
        page.wait_for_timeout(300)
        for drawn in page.locator(".js-plotly-plot .bars .point, .js-plotly-plot .points path").all()[:3]:
            drawn.evaluate("e => e.scrollIntoView({block: 'center'})")
            box = drawn.bounding_box()
            if box:  # the name appears in a text beside the pointer
                page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                page.wait_for_timeout(150)
        _inert(page)
        shown += MARK in page.content()
    assert shown >= 6


def test_tables_saved_from_the_page_hold_no_formula(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/kernels?before=folder/run/trace.sqlite&after=none")
    settled(page, "Kernels")
    table = page.locator('[data-testid="stDataFrame"]').first
    table.hover()
    page.evaluate("delete window.showSaveFilePicker")  # so that it is saved as a download
    with page.expect_download() as download:
        table.get_by_role("button", name="Download as CSV").click()
    saved = tmp_path / "kernels.csv"
    download.value.save_as(saved)
    with saved.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(f"'=cmd|' /C calc'!{MARK}" in cell for cell in cells)
    assert not [c for c in cells if re.match(r"[\s\0]*[=@\uff1d]|[\t\r\n]|[+-](?![\d.,]*$)", c)]


def test_uploads_go_when_the_browser_does(page: Any, address: str, temporary: Path) -> None:
    page.goto(address)
    settled(page, "One trace")
    page.get_by_text("Open your own traces").click()
    upload = {
        "name": "=cmd <b>.sqlite.xz",
        "mimeType": "application/x-xz",
        "buffer": bundled("trt-fp16-b8").read_bytes(),
    }
    page.locator('input[type="file"]').set_input_files([upload])
    page.get_by_text("58", exact=True).first.wait_for(timeout=30_000)
    (folder,) = temporary.glob("profiler-uploads-*")
    assert folder.stat().st_mode & 0o777 == 0o700 and sum(p.is_file() for p in (folder / "files").rglob("*")) == 1
    page.reload()  # the same browser, as after a short loss of the connection: another session
    page.goto("about:blank")
    for _ in range(150):
        if not list(temporary.glob("profiler-uploads-*/files/*")):
            break
        time.sleep(0.2)
    assert not list(temporary.glob("profiler-uploads-*/files/*"))
