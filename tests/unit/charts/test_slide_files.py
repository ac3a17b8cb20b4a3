"""Slides as shapes, as HTML, as PPTX and as PDF: everything on the canvas, real text, whatever the names are."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pptx import Presentation
from pypdf import PdfReader

from profiler.analysis.run.run import Run
from profiler.charts import images
from profiler.charts.palette import GROUNDS, contrast
from profiler.charts.slide_canvas import HEIGHT, LINE, WIDTH, Canvas, canvas, fit, lines_of, width_of
from profiler.charts.slide_html import deck_html, deck_pdf
from profiler.charts.slide_pptx import deck_pptx
from profiler.errors import MissingToolError, OutputError
from profiler.report.evidence import gather
from profiler.report.slides import Bar, Bars, Figure, Segment, Slide, slides, slides_of_one
from profiler.trace import open_trace
from tests.support.hostile import ATTACKS, MARK, hostile_run
from tests.support.make_trace import TraceMaker, simple
from tests.support.traces import bundled

PAIRS = [
    ("torch-fp16-eager-b8", "trt86-fp16-stream-b8"),
    ("vit_b_16-torch-fp16-eager-b8", "vit_b_16-rtx-fp16-stream-b8"),
    ("torch-fp32-eager-b8", "trt-int8-badqdq-b8-graphlevel"),
    ("torch-fp16-eager-b8", "mobilenet_v2-trt-fp16-stream-b8"),
    ("torch-fp16-eager-b8", "torch-fp16-compile-b8"),
]


def slides_of(before: Path, after: Path) -> tuple[Slide, ...]:
    return slides(gather(Run(open_trace(before)), Run(open_trace(after))))


@pytest.fixture(scope="module")
def deck() -> tuple[Slide, ...]:
    return slides_of(*map(bundled, PAIRS[0]))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Slide, ...]:
    folder = tmp_path_factory.mktemp("hostile")
    made = hostile_run(folder / "one"), hostile_run(folder / "two")
    bars = Bars((Bar(ATTACKS[0], ATTACKS[1], (Segment("yes", 1.0),)),), {"yes": ATTACKS[2]})
    figure = Figure(ATTACKS[3], ATTACKS[16], "\0\ud800\uffff")
    strange = Slide("unknown", ATTACKS[15], ATTACKS[:-1], ATTACKS[20], bars, (figure,), (ATTACKS[15],))
    return (*slides_of(*made), strange)


def check(drawn: Canvas) -> None:
    for text in drawn.texts:
        assert text.text == "".join(c for c in text.text if c.isprintable())
        assert lines_of(text.text, text.width, text.size, text.bold) * text.size * LINE <= text.height + 1, text
        if not text.rotated:
            assert (
                text.x >= 0 and text.x + text.width <= WIDTH + 1 and text.y >= 0 and text.y + text.height <= HEIGHT
            ), text
        assert contrast(text.colour, drawn.ground) >= 4.5
    for shape in drawn.shapes:
        for x, y in (point for polygon in shape.polygons for point in polygon):
            assert -1 <= x <= WIDTH + 1 and -1 <= y <= HEIGHT + 1, shape.label


@pytest.mark.parametrize("theme", GROUNDS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_everything_is_on_the_canvas(pair: tuple[str, str], theme: str) -> None:
    found = slides_of(*map(bundled, pair))
    for place, slide in enumerate(found, 1):
        check(canvas(slide, place, len(found), theme))


def test_traces_that_hold_little_have_slides(tmp_path: Path) -> None:
    bare, ranges = simple(), TraceMaker()
    bare.without_tables = {"NVTX_EVENTS", "TARGET_INFO_GPU", "CUPTI_ACTIVITY_KIND_RUNTIME"}
    ranges.range("forward", 0, 100)
    for name, maker in (("bare", bare), ("nothing", TraceMaker()), ("ranges", ranges), ("simple", simple())):
        maker.write(tmp_path / f"{name}.sqlite")
    held = [Run(open_trace(path)) for path in sorted(tmp_path.iterdir())]
    decks = [slides_of_one("before", run) for run in held]
    decks += [slides(gather(before, after)) for before in held for after in held]
    for found in decks:
        assert 2 <= len(found) <= 6 and found[-1].id == "unknown"
        for place, slide in enumerate(found, 1):
            check(canvas(slide, place, len(found)))


def test_every_kernel_of_the_strip_is_a_tick(deck: tuple[Slide, ...]) -> None:
    drawn = canvas(deck[0], 1, 6)
    for side, kernels in (("before", 282), ("after", 58)):
        ticks = [p for s in drawn.shapes if s.label.startswith(f"{side}: ") for p in s.polygons]
        assert len(ticks) == kernels
    widths = {
        side: sum(p[1][0] - p[0][0] for s in drawn.shapes if s.label.startswith(f"{side}: ") for p in s.polygons)
        for side in ("before", "after")
    }
    times = {side: strip.time_ns for side, strip in deck[0].picture.items()}
    assert widths["after"] / widths["before"] == pytest.approx(times["after"] / times["before"], rel=0.1)  # one scale


def test_hostile_names_stay_text(hostile: tuple[Slide, ...]) -> None:
    for place, slide in enumerate(hostile, 1):
        check(canvas(slide, place, len(hostile)))
    page = deck_html(hostile)
    assert MARK in page and not re.search(r"<(?:script|img|a)\b", page, re.IGNORECASE)
    found = Presentation(io.BytesIO(deck_pptx(hostile)))
    assert any(MARK in text for text in texts_of(found))


def texts_of(deck: Any) -> Iterator[str]:
    for slide in deck.slides:
        for shape in slide.shapes:
            if shape.has_text_frame:
                yield shape.text_frame.text


def test_a_presentation_has_the_slides_and_their_figures_as_text(deck: tuple[Slide, ...]) -> None:
    content = deck_pptx(deck)
    assert content == deck_pptx(deck)  # no time of making is in it
    found = Presentation(io.BytesIO(content))
    assert found.slide_width / found.slide_height == 16 / 9
    assert [slide.shapes.title.text_frame.text for slide in found.slides] == [slide.title for slide in deck]
    first = [shape.text_frame.text for shape in found.slides[0].shapes if shape.has_text_frame]
    for figure in deck[0].figures:
        assert {figure.value, figure.label, figure.note} <= set(first)
    said = list(texts_of(found))
    assert all(point in said for slide in deck for point in slide.points)
    assert "CUPTI_ACTIVITY_KIND_KERNEL" in found.slides[0].notes_slide.notes_text_frame.text
    drawn = [s for s in found.slides[0].shapes if s.name.startswith("Freeform")]
    assert len(drawn) < 60  # hundreds of ticks are a shape a kind, not hundreds of shapes
    assert all(s._element.nvSpPr.cNvPr.get("descr") for s in drawn)
    for slide in found.slides:
        for shape in slide.shapes:
            assert (
                shape.left is not None and shape.left >= -9525 and shape.left + shape.width <= found.slide_width + 9525
            )


@pytest.mark.skipif(images.missing_browser() is not None, reason="no Chromium on this machine")
def test_a_pdf_has_a_page_a_slide_and_real_text(deck: tuple[Slide, ...]) -> None:
    reader = PdfReader(io.BytesIO(deck_pdf(deck)))
    assert len(reader.pages) == len(deck)
    for page, slide in zip(reader.pages, deck, strict=True):
        box = page.mediabox
        assert float(box.width) / float(box.height) == pytest.approx(16 / 9, rel=0.01)
        assert not page.images
        said = " ".join(page.extract_text().split())
        assert slide.title in said
        for figure in slide.figures:
            assert figure.value in said and figure.label in said


def test_without_a_browser_a_pdf_is_refused_and_says_what_helps(
    deck: tuple[Slide, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "browser", lambda: None)
    with pytest.raises(MissingToolError, match="none is on the PATH") as refused:
        deck_pdf(deck)
    assert "PPTX need none" in str(refused.value.hint)


def test_a_browser_that_fails_is_named(deck: tuple[Slide, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "browser", lambda: "/bin/false")
    with pytest.raises(OutputError, match="could not be printed with /bin/false"):
        deck_pdf(deck)


@given(st.text(max_size=400), st.floats(30, 1200), st.floats(16, 300), st.floats(12, 44))
def test_a_text_fits_its_box_or_shows_that_it_is_cut(text: str, width: float, height: float, size: float) -> None:
    shown, fitting = fit(text, width, height, size, 10.0, False)
    assert 10.0 <= fitting <= max(size, 10.0)
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1].rstrip()))
    if len(shown) > 1:
        assert lines_of(shown, width, fitting) * fitting * LINE <= height + 0.5


def test_the_estimate_of_widths_is_not_below_arial() -> None:
    # advance widths of Arial, in thousandths of its size
    arial = {"282 → 58 kernels per inference": 14_900, "Tensor Cores": 6_280, "mmmm": 3_332, "iiii": 888}
    for text, width in arial.items():
        assert width <= width_of(text, 1000) <= 1.35 * width, text
