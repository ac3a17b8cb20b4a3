"""Slides as elements for the dashboard, and as HTML without scripts for the PDF that a Chromium prints of them.

Names come from untrusted traces: the dashboard sets every text as text, and HTML has it escaped. Lengths are multiples of ``--u``, the
width of the slide ÷ 1280, so that a slide fills any screen of its shape and stands between bars on others.
"""

from __future__ import annotations

import contextlib
import html
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import TypedDict

from profiler.charts import images
from profiler.charts.slide_canvas import HEIGHT, LINE, WIDTH, Canvas, Shape, Text, canvas
from profiler.errors import OutputError
from profiler.files import private_folder
from profiler.report.slides import Slide

STYLE = f"""
.slide {{ position: relative; overflow: hidden; width: calc({WIDTH} * var(--u)); height: calc({HEIGHT} * var(--u));
  font-family: Arial, "Liberation Sans", Helvetica, sans-serif; }}
.slide svg {{ position: absolute; inset: 0; width: 100%; height: 100%; }}
.slide :is(h1, p) {{ position: absolute; margin: 0; padding: 0; line-height: {LINE}; letter-spacing: normal; overflow-wrap: anywhere;
  overflow: hidden; }}
"""
_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{title}}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>@page {{{{ size: {WIDTH}px {HEIGHT}px; margin: 0 }}}} :root {{{{ --u: 1px }}}} body {{{{ margin: 0 }}}}
.slide {{{{ break-after: page; print-color-adjust: exact }}}} .slide:last-child {{{{ break-after: auto }}}}
{{style}}</style></head><body>{{slides}}</body></html>"""
_FLAGS = (
    "--headless",
    "--no-sandbox",  # as Kaleido does; the page is ours, has no script and may fetch nothing
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-pdf-header-footer",
)
_TIMEOUT_S = 120


class Element(TypedDict):
    """An element of a slide, as JSON; ``text`` is not escaped."""

    tag: str
    attributes: dict[str, str]
    text: str
    children: list[Element]


def slide_element(drawn: Canvas) -> Element:
    """One slide as a ``section``; its style is :data:`STYLE`."""
    children = [_text(text) for text in drawn.texts]
    if drawn.shapes:
        seen = ". ".join(s.label for s in drawn.shapes if s.label)[:2000]
        attributes = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": seen}
        children.insert(0, _element("svg", attributes, children=[_shape(shape) for shape in drawn.shapes]))
    return _element("section", {"class": "slide", "style": f"background: {drawn.ground}"}, children=children)


def _element(tag: str, attributes: dict[str, str], text: str = "", children: list[Element] | None = None) -> Element:
    return {"tag": tag, "attributes": attributes, "text": text, "children": children or []}


def _shape(shape: Shape) -> Element:
    path = "".join(f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in polygon)}Z" for polygon in shape.polygons)
    return _element("path", {"fill": shape.colour, "d": path})


def _text(text: Text) -> Element:
    lengths = {
        "left": text.x,
        "top": text.y,
        "width": text.width,
        "height": text.height,
        "font-size": text.size,
    }
    style = "; ".join(f"{name}: calc({value:.2f} * var(--u))" for name, value in lengths.items())
    style += f"; color: {text.colour}; font-weight: {700 if text.bold else 400}; text-align: {text.align}"
    style += f"; transform: rotate({text.rotated:.0f}deg)" if text.rotated else ""
    return _element("h1" if text.role == "title" else "p", {"style": style}, text.text)


def _html(element: Element) -> str:
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in element["attributes"].items())
    content = html.escape(element["text"]) + "".join(map(_html, element["children"]))
    return f"<{element['tag']}{attributes}>{content}</{element['tag']}>"


def deck_html(slides: Sequence[Slide], theme: str = "light") -> str:
    """All slides as one page, to be printed: a sheet a slide."""
    drawn = [canvas(slide, place, len(slides), theme) for place, slide in enumerate(slides, 1)]
    return _PAGE.format(
        title=html.escape(drawn[0].title), style=STYLE, slides="".join(_html(slide_element(d)) for d in drawn)
    )


def deck_pdf(slides: Sequence[Slide], theme: str = "light") -> bytes:
    """The slides as a PDF of vectors and text, printed by a Chromium of this machine; nothing is fetched.

    Raises:
        MissingToolError: no Chromium is here; the message says how to get one.
        OutputError: the browser failed.
    """
    absent = images.missing_browser()
    if absent is not None:
        raise absent
    browser = str(images.browser())
    with private_folder("slides") as folder:
        page, made = folder / "slides.html", folder / "slides.pdf"
        page.write_text(deck_html(slides, theme), "utf-8")
        said = _printed(
            [browser, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={made}", page.as_uri()]
        )
        content = made.read_bytes() if made.is_file() else b""
    if not content.startswith(b"%PDF"):
        raise OutputError(
            f"The slides could not be printed with {browser} ({said[-300:] or 'it wrote no PDF'}).",
            f"Try another browser with {images.BROWSER_VARIABLE}, or write the slides as PPTX, which needs none.",
        )
    return content


def _printed(command: list[str]) -> str:
    """Run the browser, and end it with all its processes when it takes too long; what it said."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            said = process.communicate(timeout=_TIMEOUT_S)[1].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            said = f"it took more than {_TIMEOUT_S} s"
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    return " ".join(said.split())
