"""The main path in a real browser: the default opens, pages are walked, two traces are uploaded."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.views import PAGES
from profiler.analysis.run.run import Run
from profiler.charts.handover import html_report
from profiler.report.evidence import gather
from profiler.trace import open_trace
from tests.support.hostile import hostile_pair
from tests.support.pages import DEMO, counts, kernels
from tests.support.serving import at_rest, settled
from tests.support.traces import bundled

pytestmark = pytest.mark.browser
OVERVIEW = f"{counts()} kernels per inference. Same model, same precision."
WHOLE = re.compile(r"^before: ([\d,]+) of \1 GPU operations")
SCREENSHOTS = os.environ.get("PROFILER_SCREENSHOTS")  # a folder to keep pictures in, for looking at
# what is done here does not depend on the theme; test_accessibility.py opens every page in both
THEMES = ("light", "dark") if SCREENSHOTS else ("light",)


@pytest.fixture(params=THEMES)
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


def _picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": 1440, "height": min(max(900, height + 20), 4000)})
        page.wait_for_timeout(700)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}_{page.theme}.png")
        page.set_viewport_size({"width": 1440, "height": 900})


def test_default_comparison_and_every_page(page: Any) -> None:
    settled(page, OVERVIEW)
    _picture(page, "overview")
    for view in PAGES[1:]:
        link = view.TITLE
        heading = "Memory traffic" if link == "Memory" else link
        page.get_by_role("link", name=link, exact=True).click()
        settled(page, heading)
        _picture(page, link.lower().replace(" ", "_"))


@pytest.mark.parametrize("query", ["", "?before=trt86-fp32-stream-b8&after=trt86-fp16-stream-b8"])
def test_the_first_page_opens_at_its_name_too(browser: Any, address: str, query: str) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{address}/overview{query}")
    settled(page, "90 → 58 kernels per inference." if query else OVERVIEW)
    assert urlsplit(page.url).path == "/" and page.get_by_text("Page not found").count() == 0
    assert page.get_by_role("link", name="Overview", exact=True).count() == 1
    if query:
        assert parse_qs(urlsplit(page.url).query)["after"] == ["trt86-fp16-stream-b8"]
    page.context.close()


def test_timeline_is_as_large_as_the_type_that_the_reader_chose(browser: Any, address: str) -> None:
    heights = []
    for size in (16, 22):
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(f"{address}/timeline")
        settled(page, "Timeline")
        page.add_style_tag(content=f":root {{ font-size: {size}px !important; }}")
        canvas = page.get_by_role("application")
        canvas.focus()
        page.keyboard.press("w")  # a pointer still finds the bars that it sees
        page.wait_for_timeout(500)
        box = canvas.bounding_box()
        heights.append(box["height"])
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 86 * heights[-1] / heights[0])
        page.get_by_text("The same module, ").first.wait_for(timeout=30_000)
        page.get_by_role("button", name="Chosen").and_(page.locator(":not([disabled])")).wait_for(timeout=30_000)
        page.context.close()
    assert heights[1] == pytest.approx(heights[0] * 22 / 16, rel=0.01)


def test_timeline_zooms_pans_and_tells_of_a_chosen_bar(page: Any) -> None:
    settled(page, OVERVIEW)
    page.get_by_role("link", name="Timeline", exact=True).click()
    settled(page, "Timeline")
    canvas = page.get_by_role("application").and_(page.locator("[data-view]"))  # once it is drawn
    start, length = (int(n) for n in canvas.get_attribute("data-view").split(":"))
    assert start == 0 and length > 1_000_000
    page.get_by_text(WHOLE).wait_for()
    whole = page.get_by_text("GPU operations").first.inner_text()
    canvas.focus()
    for key in ("w", "w", "w", "a", "."):  # zoom in, to the left, and choose the first kernel in view
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    low, high = (int(n) for n in canvas.get_attribute("data-view").split(":"))
    assert high - low == pytest.approx(length / 8, rel=0.01) and low > 0
    page.get_by_text("The same module, after").wait_for(timeout=30_000)
    settled(page, "Timeline")
    page.get_by_text("GPU operations").first.filter(has_not_text=whole).wait_for(
        timeout=30_000
    )  # the window was queried
    _picture(page, "timeline_chosen")
    assert page.locator(".js-plotly-plot").filter(has_text="The same modules before and after").count() == 1
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 20, box["y"] + 60)  # where there is no bar: lets go of the choice
    page.get_by_text("The same module, after").wait_for(state="hidden", timeout=30_000)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_text(whole.partition(" GPU")[0]).wait_for()
    page.wait_for_timeout(
        1500
    )  # the canvas tells its window once it rests; a file asked for before that answer is of no page any more
    settled(page, "Timeline")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this part for Perfetto").click()
    events = json.loads(gzip.decompress(Path(download.value.path()).read_bytes()))["traceEvents"]
    assert sum("rule" in e.get("args", {}) for e in events) == sum(int(kernels(run)) for run in DEMO)


def test_report_is_exported_and_opens_offline(page: Any, browser: Any, tmp_path: Path) -> None:
    settled(page, OVERVIEW)
    page.get_by_role("link", name="Export", exact=True).click()
    settled(page, "Export")
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="HTML report").click()
    report = tmp_path / download.value.suggested_filename
    download.value.save_as(report)
    before, after = (parse_qs(urlsplit(page.url).query)[side][0] for side in ("before", "after"))
    assert report.name == f"{before}_to_{after}.html"
    _look_at_report(browser, report, page.theme)


def test_report_of_hostile_names_runs_nothing(browser: Any, tmp_path: Path) -> None:
    before, after = hostile_pair(tmp_path)
    report = tmp_path / "report.html"
    with open_trace(before) as b, open_trace(after) as a:
        report.write_text(html_report(gather(Run(b), Run(a))), "utf-8")
    _look_at_report(browser, report, "dark")


def _look_at_report(browser: Any, report: Path, theme: str) -> None:
    """Open a report as a file, without a network: every figure is drawn, tables sort and are saved, nothing complains."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme, offline=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    opened.on("console", lambda m: problems.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    opened.on("dialog", lambda d: problems.append(f"dialog: {d.message}"))
    opened.on(
        "request",
        lambda r: problems.append(f"request to {r.url}") if not r.url.startswith(("file:", "data:", "blob:")) else None,
    )
    opened.goto(report.as_uri())
    opened.wait_for_selector("html[data-drawn]", timeout=30_000)
    figures = opened.locator(".plot")
    assert figures.count() == int(opened.locator("html").get_attribute("data-drawn")) > 0
    assert opened.locator(".plot .main-svg").count() >= figures.count()
    text, ground = opened.evaluate(
        "[getComputedStyle(document.querySelector('.plot text')).fill, getComputedStyle(document.body).backgroundColor]"
    )
    assert _contrast(text, ground) >= 4.5
    names = opened.locator("#table-kernels_before th").all_inner_texts()
    place = names.index("total_ns") + 1
    column = opened.locator(f"#table-kernels_before tbody td.number:nth-child({place})")
    head = opened.locator(f"#table-kernels_before th:nth-child({place}) button")
    head.click()
    numbers = [float(c.get_attribute("data-v")) for c in column.all()]
    assert len(numbers) > 5
    head.click()
    assert [float(c.get_attribute("data-v")) for c in column.all()] == sorted(numbers) == numbers[::-1]
    with opened.expect_download() as download:
        opened.locator("button.save[data-name=kernels_before]").click()
    lines = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert len(lines) == 1 + len(numbers) and not [c for line in lines for c in line if c.startswith("=")]
    for width in (390, 1280):
        opened.set_viewport_size({"width": width, "height": 900})
        # wide things scroll in their own box; figures are drawn anew for the width
        opened.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width, timeout=15_000)
        shrunk = "[...document.querySelectorAll('.js-plotly-plot')].filter((p) => p._fullLayout.height < 250).length"
        assert opened.evaluate(shrunk) == 0  # a figure keeps its height
    if SCREENSHOTS:
        opened.screenshot(path=Path(SCREENSHOTS) / f"report_{report.stem[:20]}_{theme}.png", full_page=True)
    context.close()
    assert not problems


def _contrast(first: str, second: str) -> float:
    """Contrast of two CSS colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_upload_two_traces(page: Any) -> None:
    settled(page, OVERVIEW)
    page.get_by_text("Open your own traces").click()
    files = [
        {"name": f"{run}.sqlite.xz", "mimeType": "application/x-xz", "buffer": bundled(run).read_bytes()}
        for run in ("trt-fp32-b8", "trt-fp16-b8")
    ]
    page.locator('input[type="file"]').set_input_files(files)
    settled(page, "57 → 58 kernels per inference.")
    assert "before=upload" in page.url
    _picture(page, "uploaded")


def test_first_run_guide_by_keyboard_and_remembered(page: Any, address: str) -> None:
    settled(page, OVERVIEW)
    page.get_by_role("button", name="Got it").wait_for()
    page.locator(".js-plotly-plot").last.wait_for()  # what is still being drawn can take the focus away
    at_rest(page)
    _picture(page, "guide")
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Got it":
            break
    else:
        pytest.fail("Tab never reached the button")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Got it").wait_for(state="hidden")
    page.wait_for_function("document.cookie.includes('evidence_tour=seen')")
    page.goto(address)  # a new session at the bare address
    settled(page, OVERVIEW)
    assert page.get_by_role("button", name="Got it").count() == 0


def test_first_run_guide_leads_to_pages_with_the_choice(page: Any) -> None:
    settled(page, OVERVIEW)
    page.get_by_role("link", name="1. Fusion").click()
    settled(page, "Fusion")
    assert "before=" in page.url and "/fusion" in page.url
    page.get_by_role("link", name="Help", exact=True).click()
    settled(page, "Help")
    page.get_by_role("tab", name="Glossary").click()
    page.get_by_text("Tensor Core instructions in machine code").wait_for()
    _picture(page, "help_glossary")
