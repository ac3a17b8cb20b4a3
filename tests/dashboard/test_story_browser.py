"""The way through the app in a real browser: the first screen, from a block to its page, and back and forth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.pages import DEMO, counts, kernels
from tests.support.serving import settled

pytestmark = pytest.mark.browser
SIZE = {"width": 1440, "height": 900}


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport=SIZE, color_scheme="dark")
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    opened.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
    opened.goto(address)
    settled(opened, first_screen())
    opened.locator(".strips rect").first.wait_for(timeout=30_000)
    yield opened
    context.close()
    assert not problems


def first_screen(pair: tuple[str, str] = DEMO) -> str:
    return f"{counts(*pair)} kernels per inference. Same model, same precision."


def chosen(page: Any, name: str) -> str | None:
    return parse_qs(urlsplit(page.url).query).get(name, [None])[0]


def holds(page: Any, name: str, value: str) -> None:
    """Wait until the address holds a value: it is written when the page is drawn."""
    given = "(p) => new URLSearchParams(location.search).get(p[0]) === p[1]"
    page.wait_for_function(given, arg=[name, value], timeout=30_000)


def test_the_first_screen_holds_the_count_the_strips_and_four_figures(page: Any) -> None:
    page.locator('.st-key-four_figures [data-testid="stMetric"]').nth(3).wait_for(timeout=30_000)
    ticks = page.locator(".strips rect")
    assert ticks.count() == sum(int(kernels(run)) for run in DEMO)
    parts = [
        page.get_by_role("heading", level=1),
        page.locator(".strips"),
        *page.locator('.st-key-four_figures [data-testid="stMetric"]').all(),
    ]
    for part in parts:
        box = part.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= SIZE["height"], part
        assert box["x"] + box["width"] <= SIZE["width"]
    assert page.locator('[data-testid="stMain"]').evaluate("e => e.scrollTop") == 0
    assert "before: " in page.locator(".strips .picture").get_attribute("aria-label")


def test_a_block_is_lit_on_both_sides_and_leads_to_fusion_and_back(page: Any) -> None:
    tick = page.locator(".strips rect[data-block]").nth(60)
    tick.hover()
    block = tick.get_attribute("data-block")
    assert page.locator(".strips rect.on").count() == page.locator(f'.strips rect[data-block="{block}"]').count() > 20
    said = page.locator(".strips .said").inner_text()
    name = said.partition(":")[0]
    assert "→" in said and "kernels" in said
    entries = page.evaluate("history.length")
    tick.click()
    settled(page, "Fusion")
    holds(page, "fusion_block", name)
    assert (chosen(page, "before"), chosen(page, "after")) == DEMO
    page.get_by_role("heading", name=name).first.wait_for(timeout=30_000)
    assert page.evaluate("history.length") == entries + 1
    page.go_back()
    settled(page, first_screen())
    page.go_forward()
    settled(page, "Fusion")
    holds(page, "fusion_block", name)
    page.get_by_role("link", name="Kernels", exact=True).click()
    settled(page, "Kernels")
    assert page.evaluate("history.length") == entries + 2
    page.get_by_role("link", name="Fusion", exact=True).click()
    settled(page, "Fusion")
    holds(page, "fusion_block", name)  # it survives leaving the page


def test_a_block_is_chosen_by_keyboard(page: Any) -> None:
    page.locator(".strips .picture").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    name = page.locator(".strips .said").inner_text().partition(":")[0]
    page.keyboard.press("Enter")
    settled(page, "Fusion")
    holds(page, "fusion_block", name)


def test_a_chosen_kernel_is_in_the_address_and_survives_leaving_the_page(page: Any) -> None:
    page.get_by_role("link", name="Fusion", exact=True).click()
    settled(page, "Fusion")
    entries = page.evaluate("history.length")
    unit = page.get_by_role("combobox", name="Kernels of a unit")
    unit.click()
    page.get_by_role("option").nth(1).click()
    page.wait_for_function(
        "() => new URLSearchParams(location.search).get('fusion_kernel')?.startsWith('before.kernel.')"
    )
    kernel = chosen(page, "fusion_kernel")
    page.get_by_text("chosen", exact=True).wait_for(timeout=30_000)
    page.get_by_role("tab", name="The same modules in time").click()
    page.locator(".js-plotly-plot").filter(has_text="The same modules before and after").wait_for(timeout=30_000)
    assert chosen(page, "fusion_kernel") == kernel
    page.get_by_role("link", name="Kernels", exact=True).click()
    settled(page, "Kernels")
    page.get_by_role("link", name="Fusion", exact=True).click()
    settled(page, "Fusion")
    holds(page, "fusion_kernel", str(kernel))
    page.get_by_text("chosen", exact=True).wait_for(timeout=30_000)
    assert page.evaluate("history.length") == entries + 2


def test_going_back_brings_back_the_pair(page: Any, address: str) -> None:
    other = ("torch-fp16-eager-b8", "torch-fp16-compile-b8")
    page.get_by_role("link", name="Kernels", exact=True).click()
    settled(page, "Kernels")
    entries = page.evaluate("history.length")
    after = page.get_by_role("combobox", name="After")
    after.click()
    after.press_sequentially("FP16, torch.compile")
    page.get_by_role("option", name="PyTorch FP16, torch.compile").first.click()
    holds(page, "after", other[1])
    settled(page, "Kernels")
    assert page.evaluate("history.length") == entries  # one entry a page
    page.get_by_role("link", name="Overview", exact=True).click()
    settled(page, first_screen(other))
    page.go_back()
    settled(page, "Kernels")
    holds(page, "after", other[1])
    page.go_back()
    settled(page, first_screen())
    holds(page, "after", DEMO[1])
    page.go_forward()
    settled(page, "Kernels")
    holds(page, "after", other[1])
