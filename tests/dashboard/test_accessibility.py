"""What a browser shows: axe finds nothing serious, nothing is wider than the screen, and the presentation can be left."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.views import PAGES
from profiler.charts.palette import contrast
from tests.support.serving import at_rest

pytestmark = pytest.mark.browser
WIDTHS = (390, 1024, 1920)  # a phone, a small laptop, a projector
# Findings in Streamlit's own elements that no setting of ours changes: (rule, part of the element's HTML, why).
NOT_OURS: tuple[tuple[str, str, str], ...] = ()


@pytest.fixture(scope="module")
def axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-playwright-python, which brings axe-core, is not installed (requirements-test.txt)")
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture(params=["light", "dark"])
def opened(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page in either theme that fails the test on an error of a script, or a message of one."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    page = context.new_page()
    page.theme = request.param
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    # at a page's own address Streamlit asks below it first, which Chromium reports as 404
    looks = "Failed to load resource: the server responded with a status of 404"
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" and looks not in m.text else None)
    yield page
    context.close()
    assert not problems


def settled(page: Any) -> None:
    page.locator("h1").first.wait_for(timeout=60_000)
    at_rest(page)


def violations(page: Any, axe: str) -> list[str]:
    """Serious and critical findings, one text an element."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{v['id']} ({v['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
        if not any(rule == v["id"] and part in node["html"] for rule, part, _ in NOT_OURS)
    ]


def too_wide(page: Any) -> int:
    """Pixels by which the page's content reaches over its right edge."""
    wide = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('[data-testid=stMain]'))"
    return int(page.evaluate(wide))


def test_every_page_is_accessible_and_fits_every_width(opened: Any, address: str, axe: str) -> None:
    problems = []
    for view in PAGES:
        opened.set_viewport_size({"width": 1280, "height": 900})
        opened.goto(f"{address}/{view.URL if view is not PAGES[0] else ''}")
        settled(opened)
        problems += [f"{view.TITLE}: {v}" for v in violations(opened, axe)]
        for width in WIDTHS if opened.theme == "light" else ():  # both themes have the same measures
            opened.set_viewport_size({"width": width, "height": 900})
            for _ in range(20):  # charts follow the window after a moment
                at_rest(opened)
                if (over := too_wide(opened)) <= 1:
                    break
            else:
                problems.append(f"{view.TITLE}: {over} pixels too wide at {width}")
    assert not problems, "\n".join(problems)


def test_presentation_is_accessible_and_can_be_left(opened: Any, address: str, axe: str) -> None:
    opened.goto(f"{address}/fusion?present=1")
    opened.locator(".slide:not([hidden])").wait_for(timeout=60_000)
    opened.locator('[data-testid="stSidebar"]').first.wait_for(state="hidden", timeout=10_000)
    for _ in range(opened.locator(".slide").count()):
        assert not violations(opened, axe)
        opened.keyboard.press("ArrowRight")
    leave = opened.get_by_role("button", name="Leave")
    leave.focus()
    opened.keyboard.press("Enter")
    opened.get_by_role("button", name="Present", exact=True).wait_for(timeout=30_000)
    settled(opened)
    assert "present" not in opened.url and "before=" in opened.url
    assert opened.locator('[data-testid="stSidebar"]').is_visible()


def test_what_is_chosen_keeps_aa(opened: Any, address: str) -> None:
    opened.goto(f"{address}/fusion")
    settled(opened)
    chosen = opened.get_by_role("radio", name="module", exact=True)
    colour, ground = chosen.evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(document.querySelector('.stApp')).backgroundColor]"
    )
    ink, page = ("#" + "".join(f"{int(n):02X}" for n in re.findall(r"\d+", found)[:3]) for found in (colour, ground))
    assert contrast(ink, page) >= 7  # its own ground is a tenth of the theme's blue, which takes some of it


def test_the_note_on_how_we_know_opens_by_keyboard(opened: Any, address: str) -> None:
    opened.goto(address)
    settled(opened)
    note = opened.locator(".st-key-how_latency").get_by_role("button", name="How we know")
    note.focus()
    opened.keyboard.press("Enter")
    opened.get_by_text("Faster = median before ÷ median after.").wait_for(timeout=10_000)
    opened.keyboard.press("Escape")
    link = opened.get_by_role("link", name="Every part, to the nanosecond")
    link.focus()
    opened.keyboard.press("Enter")
    opened.get_by_role("heading", name="Speedup", level=1).wait_for(timeout=30_000)
