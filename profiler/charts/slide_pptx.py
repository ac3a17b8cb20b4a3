"""Slides as PPTX: real text, and pictures as native shapes that PowerPoint, Keynote and LibreOffice can edit. No browser is needed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml.ns import qn
from pptx.util import Emu, Pt

from profiler.charts.slide_canvas import HEIGHT, LINE, WIDTH, Canvas, Shape, Text, canvas
from profiler.report.slides import Slide

_EMU = 9525  # of a pixel, 1/96 inch
_POINTS = 0.75  # of a pixel
_TITLE_ONLY = 5  # the layout with a title and nothing else, in the template of python-pptx
_MADE = datetime(1980, 1, 1)  # no time of making is in the file: the same traces give the same bytes
_FONT = "Arial"


def deck_pptx(slides: Sequence[Slide], theme: str = "light") -> bytes:
    """The slides as a presentation of 16:9; how we know stands in the speaker notes."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Emu(WIDTH * _EMU), Emu(HEIGHT * _EMU)
    for place, slide in enumerate(slides, 1):
        _add(deck, canvas(slide, place, len(slides), theme))
    core = deck.core_properties
    core.title, core.author, core.last_modified_by = _xml(slides[0].title), "", ""
    core.created = core.modified = _MADE
    written = io.BytesIO()
    deck.save(written)
    return _without_times(written)


def _add(deck: Any, drawn: Canvas) -> None:
    page = deck.slides.add_slide(deck.slide_layouts[_TITLE_ONLY])
    page.background.fill.solid()
    page.background.fill.fore_color.rgb = _colour(drawn.ground)
    for shape in drawn.shapes:
        _polygons(page, shape)
    for text in drawn.texts:
        box = page.shapes.title if text.role == "title" else page.shapes.add_textbox(0, 0, 0, 0)
        _write(box, text)
    if drawn.notes:
        page.notes_slide.notes_text_frame.text = _xml(drawn.notes)


def _polygons(page: Any, shape: Shape) -> None:
    """All polygons of a colour as one shape: thousands of ticks stay a handful of objects."""
    builder: Any = None
    for polygon in shape.polygons:
        first, *rest = [(round(x * _EMU), round(y * _EMU)) for x, y in polygon]
        if builder is None:
            builder = page.shapes.build_freeform(*first)
        else:
            builder.move_to(*first)
        builder.add_line_segments(rest, close=True)
    made = builder.convert_to_shape()
    made.fill.solid()
    made.fill.fore_color.rgb = _colour(shape.colour)
    made.line.fill.background()
    made._element.remove(made._element.find(qn("p:style")))  # the theme's shadows and outlines
    made._element.nvSpPr.cNvPr.set("descr", _xml(shape.label))


def _write(box: Any, text: Text) -> None:
    box.left, box.top, box.width, box.height = (Emu(round(v * _EMU)) for v in (text.x, text.y, text.width, text.height))
    box.rotation = text.rotated
    frame = box.text_frame
    frame.word_wrap, frame.vertical_anchor = True, MSO_ANCHOR.TOP
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    paragraph = frame.paragraphs[0]
    paragraph.alignment = PP_ALIGN.RIGHT if text.align == "right" else PP_ALIGN.LEFT
    paragraph.line_spacing = Pt(round(text.size * LINE * _POINTS, 1))
    run = paragraph.add_run()
    run.text = _xml(text.text)
    run.font.size, run.font.bold, run.font.name = Pt(round(text.size * _POINTS, 1)), text.bold, _FONT
    run.font.color.rgb = _colour(text.colour)


def _colour(value: str) -> RGBColor:
    return RGBColor(*bytes.fromhex(value.removeprefix("#")))


def _xml(text: str) -> str:
    """Text without what XML cannot hold; ``_x0041_`` would be read as an escaped character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("_x", "_\u2060x")


def _without_times(written: io.BytesIO) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(written) as given, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in given.namelist():
            archive.writestr(zipfile.ZipInfo(name), given.read(name), zipfile.ZIP_DEFLATED)
    return made.getvalue()
