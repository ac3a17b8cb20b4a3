"""The presentation in a real browser: every slide is whole on the screen, and keys, a clicker and a pointer turn it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import at_rest

pytestmark = pytest.mark.browser
SCREENSHOTS = os.environ.get("SCREENSHOTS")
PAIR = "before=torch-fp16-eager-b8&after=trt86-fp16-stream-b8"
# Texts that do not fit their box, and whether the window has a bar to scroll; texts that are turned have a box of their own.
OVERFLOWS = """() => {
  const root = [...document.querySelectorAll("*")].map((e) => e.shadowRoot).find((s) => s && s.querySelector(".stage"));
  const slide = root.querySelector(".slide:not([hidden])"), box = slide.getBoundingClientRect(), page = document.documentElement;
  const texts = [...slide.querySelectorAll("h1, p")].filter(
    (e) => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1);
  const found = texts.map((e) => e.textContent);
  if (box.width > innerWidth + 1 || box.height > innerHeight + 1) found.push(`slide of ${box.width} × ${box.height}`);
  if (box.width < innerWidth - 1 && box.height < innerHeight - 1) found.push("the slide does not fill the screen");
  if (page.scrollHeight > innerHeight || page.scrollWidth > innerWidth) found.push("scroll bar");
  return found;
}"""


# sizes and keys do not depend on the theme; test_accessibility.py shows every slide in both
THEMES = ("light", "dark") if SCREENSHOTS else ("dark",)


@pytest.fixture(params=THEMES)
def context(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    made = browser.new_context(color_scheme=request.param)
    made.theme = request.param
    yield made
    made.close()


def present(context: Any, address: str, query: str, size: tuple[int, int]) -> Any:
    page = context.new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{address}/fusion?{query}&present=1")
    page.locator(".slide:not([hidden])").wait_for(timeout=60_000)
    at_rest(page)
    return page


def shown(page: Any, place: int) -> None:
    """Wait until a slide is shown, by its number."""
    page.locator(f'.stage[data-slide="{place}"]').wait_for(timeout=10_000)


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (1024, 768)], ids="{0[0]}x{0[1]}".format)
def test_every_slide_is_whole_on_the_screen(context: Any, address: str, size: tuple[int, int]) -> None:
    page = present(context, address, PAIR, size)
    slides = page.locator(".slide")
    assert slides.count() == 6
    for place in range(1, 7):
        shown(page, place)
        assert page.evaluate(OVERFLOWS) == []
        assert page.locator(".slide:not([hidden]) h1").inner_text()
        for chrome in ("stSidebar", "stHeader", "stToolbar"):
            assert not page.locator(f'[data-testid="{chrome}"]').first.is_visible()
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"slide_{place}_{size[0]}_{context.theme}.png")
        page.keyboard.press("PageDown")


def test_keys_turn_the_slides_and_the_address_remembers(context: Any, address: str) -> None:
    page = present(context, address, PAIR, (1280, 720))
    for key, place in (
        ("ArrowRight", 2), ("PageDown", 3), (" ", 4), ("ArrowLeft", 3), ("PageUp", 2), ("End", 6), ("ArrowRight", 6), ("Home", 1),
        ("PageUp", 1), ("ArrowDown", 2),
    ):  # fmt: skip
        page.keyboard.press(key)
        shown(page, place)
    assert "slide=2" in page.url and "before=torch-fp16-eager-b8" in page.url
    page.reload()
    page.locator(".slide:not([hidden])").wait_for(timeout=60_000)
    shown(page, 2)
    page.mouse.click(1000, 300)
    shown(page, 3)
    page.mouse.click(100, 300)
    shown(page, 2)
    page.get_by_role("button", name="Next slide").click()  # the pointer's move has shown it
    shown(page, 3)
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Fusion", level=1).wait_for(timeout=30_000)
    page.wait_for_function("!location.search.includes('present') && !location.search.includes('slide')", timeout=30_000)
    assert "after=trt86-fp16-stream-b8" in page.url
    page.locator('[data-testid="stSidebar"]').first.wait_for(state="visible", timeout=30_000)


@pytest.mark.parametrize(
    ("query", "title", "slides"),
    [
        ("before=torch-fp16-eager-b8&after=none", "282 kernels per inference", 3),
        ("before=torch-fp16-eager-b8&after=mobilenet_v2-trt-fp16-stream-b8", "These two traces are not compared", 2),
        ("before=none&after=none", "There is nothing to present", 1),
    ],
)
def test_little_evidence_has_a_short_deck(context: Any, address: str, query: str, title: str, slides: int) -> None:
    page = present(context, address, query, (1280, 720))
    assert page.locator(".slide").count() == slides
    assert page.locator(".slide:not([hidden]) h1").inner_text() == title
    for _ in range(slides):
        assert page.evaluate(OVERFLOWS) == []
        page.keyboard.press("ArrowRight")
