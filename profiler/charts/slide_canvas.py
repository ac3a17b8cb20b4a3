"""Slides as shapes on a canvas of 1280 × 720: every text fits its box by a cautious estimate of its width, nothing is cut silently.

HTML, PDF and PPTX draw the same shapes (:mod:`profiler.charts.slide_html`, :mod:`profiler.charts.slide_pptx`).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from profiler.analysis.fusion.blocks import KERNEL, Block
from profiler.analysis.fusion.strip import Strip
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.charts import collapse
from profiler.charts.palette import CATEGORY_COLOURS, GROUNDS, INK, NEUTRAL, SIDES, STATUS_COLOURS, VERDICT_COLOURS
from profiler.charts.strip import extents, heading
from profiler.charts.timeline import COPY_LABEL
from profiler.report.slides import Bars, Slide
from profiler.text import shorten, visible

WIDTH, HEIGHT = 1280, 720
LINE = 1.25  # height of a line, in sizes of its type
_LEFT, _RIGHT = 48.0, 1232.0
_KEYS = {**VERDICT_COLOURS, **SIDES, "less": VERDICT_COLOURS["yes"], "more": STATUS_COLOURS["unexplained"]}
_MOST_TICKS = 2_000
_LABEL, _MOST_LABEL = 14.0, 20
Point = tuple[float, float]


@dataclass(frozen=True)
class Text:
    """A text in a box; ``x``, ``y`` is the upper left corner. ``role``: "title", "text" or "foot"."""

    x: float
    y: float
    width: float
    height: float
    text: str
    size: float
    colour: str
    bold: bool = False
    align: str = "left"
    rotated: float = 0.0
    role: str = "text"


@dataclass(frozen=True)
class Shape:
    """Polygons of one colour that belong together, and what they show, for those who do not see them."""

    polygons: tuple[tuple[Point, ...], ...]
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Canvas:
    """A slide to be drawn: the ground, then the shapes, then the texts."""

    title: str
    ground: str
    shapes: tuple[Shape, ...]
    texts: tuple[Text, ...]
    notes: str


def canvas(slide: Slide, place: int, of: int, theme: str = "light") -> Canvas:
    """Lay out a slide; ``place`` of ``of`` is its number."""
    pen = _Pen(theme)
    title, width = visible(slide.title), _RIGHT - _LEFT
    high, least = (54, 34) if fit(title, width, 54, 42, 34, True)[0] == title else (110, 26)  # one line, or two
    top = 46.0 + pen.text(_LEFT, 30, width, high, title, 42, bold=True, role="title", least=least)
    picture = slide.picture
    if isinstance(picture, Bars):
        pen.bars(picture, _LEFT, top + 10, 730, 630 - top)
        pen.points(slide.points, 830, top + 10, _RIGHT - 830, 630 - top, 21)
    else:
        is_text = picture is None and not slide.figures
        room, size = (640 - top, 27) if is_text else (112, 20)
        bullet = "" if slide.id == "count" and not is_text else "•"
        top += 8 + pen.points(slide.points, _LEFT, top, _RIGHT - _LEFT, room, size, bullet)
        if slide.figures:
            top += pen.figures(slide, top) + 14
        if isinstance(picture, Block):
            pen.block(picture, top, 640)
        elif picture is not None:
            pen.strips(picture, top, 640)
    pen.text(_LEFT, 662, 1060, 42, slide.sources, 13, role="foot", least=9)
    pen.text(_RIGHT - 90, 678, 90, 24, f"{place} / {of}", 15, align="right", role="foot")
    return Canvas(
        visible(slide.title), GROUNDS[theme], tuple(pen.shapes), tuple(pen.texts), visible(" ".join(slide.notes))
    )


class _Pen:
    """Collects the shapes and texts of one slide."""

    def __init__(self, theme: str) -> None:
        self.ink, self.ground = INK[theme], GROUNDS[theme]
        self.quiet = mixed(self.ink, self.ground, 0.72)
        self.shapes: list[Shape] = []
        self.texts: list[Text] = []

    def text(
        self, x: float, y: float, width: float, height: float, text: str, size: float, *, bold: bool = False, align: str = "left",
        role: str = "text", least: float = 11.0, rotated: float = 0.0, quiet: bool = False,
    ) -> float:  # fmt: skip
        """Write a text as large as fits its box, at most ``size``; what does not fit at ``least`` loses its end, which is seen.

        Returns the height that it takes.
        """
        shown, fitting = fit(visible(text), width, height, size, least, bold)
        colour = self.quiet if role == "foot" or quiet else self.ink
        self.texts.append(Text(x, y, width, height, shown, fitting, colour, bold, align, rotated, role))
        return lines_of(shown, width, fitting, bold) * fitting * LINE

    def shape(self, polygons: Sequence[Sequence[Point]], colour: str, label: str = "", strength: float = 1.0) -> None:
        if polygons:
            self.shapes.append(
                Shape(tuple(tuple(p) for p in polygons), mixed(colour, self.ground, strength), visible(label))
            )

    def points(
        self, points: Sequence[str], x: float, y: float, width: float, height: float, size: float, bullet: str = "•"
    ) -> float:
        """Write sentences one below the other in one size; returns the height that they take."""
        indent = 22.0 if bullet else 0.0
        while size > 12 and self._height(points, width - indent, size) > height:
            size -= 1
        begun = y
        for point in points:
            left = height - (y - begun)
            if left < size * LINE:
                break
            if bullet:
                self.texts.append(Text(x, y, indent, size * LINE, bullet, size, self.quiet))
            room = min(left, lines_of(visible(point), width - indent, size) * size * LINE)
            y += self.text(x + indent, y, width - indent, room, point, size, least=size) + size * 0.4
        return y - begun

    def _height(self, points: Sequence[str], width: float, size: float) -> float:
        return sum(lines_of(visible(p), width, size) * size * LINE + size * 0.4 for p in points)

    def figures(self, slide: Slide, y: float) -> float:
        step = (_RIGHT - _LEFT) / max(len(slide.figures), 3)
        for k, figure in enumerate(slide.figures):
            x, width = _LEFT + k * step, step - 24
            self.text(x, y, width, 44, figure.value, 34, bold=True, least=20)
            self.text(x, y + 46, width, 26, figure.label, 19, least=13)
            self.text(x, y + 72, width, 22, figure.note, 15, least=11, quiet=True)
        return 96

    def strips(self, strips: Mapping[str, Strip], top: float, bottom: float) -> None:
        """The kernels of each side in order, as wide as they take long, on one scale; bands from block to block."""
        self.legend(
            {label: CATEGORY_COLOURS[c] for c, label in CATEGORY_LABELS.items() if _runs(strips, c)}, bottom - 26
        )
        bottom -= 36
        scale = (_RIGHT - _LEFT) / max(1, *(s.time_ns for s in strips.values()))
        high = min(120.0, (bottom - top - 60) / (len(strips) + 0.7))
        places = dict(zip(strips, (top + 32, bottom - high - 32) if len(strips) == 2 else (top + 32,)))
        if len(strips) == 2:
            self._bands(strips, {n: y + (high if n == next(iter(strips)) else 0) for n, y in places.items()}, scale)
        for order, (name, strip) in enumerate(strips.items()):
            y = places[name]
            self.text(
                _LEFT, y - 30 if order == 0 else y + high + 4, 900, 26, heading(name, strip), 19, bold=True, least=13
            )
            for category, ticks in _ticks(strip, scale).items():
                label = f"{name}: {len(ticks)} ticks of kernels of the kind {CATEGORY_LABELS[category]}"
                self.shape([box(_LEFT + a, y, b - a, high) for a, b in ticks], CATEGORY_COLOURS[category], label)

    def _bands(self, strips: Mapping[str, Strip], edges: Mapping[str, float], scale: float) -> None:
        (_, upper), (_, lower) = ((name, extents(strip)) for name, strip in strips.items())
        above, below = edges.values()
        for order, block in enumerate(b for b in upper if b in lower):
            (a, b), (c, d) = (
                (_LEFT + e.low_ns * scale, _LEFT + e.high_ns * scale) for e in (upper[block], lower[block])
            )
            self.shape(
                [((a, above), (b, above), (d, below), (c, below))],
                NEUTRAL,
                f"block {block}",
                0.28 if order % 2 else 0.16,
            )

    def block(self, block: Block, top: float, bottom: float) -> None:
        """Units above, what computes them now below, ribbons in between."""
        where, width = collapse.places(block), (_RIGHT - _LEFT) * 0.92
        kinds = {
            w.category if w.kind == KERNEL else ""
            for boxes in (block.before, block.after)
            for b in boxes
            for w in b.work
        }
        colours = {**CATEGORY_COLOURS, "": NEUTRAL}
        statuses = dict.fromkeys(b.row.status for b in block.before if b.into is not None)
        legend = {f"unit {s}": mixed(STATUS_COLOURS[s], self.ground, 0.5) for s in statuses}
        named = {**CATEGORY_LABELS, "": COPY_LABEL}
        self.legend({**legend, **{named[c]: colours[c] for c in named if c in kinds}}, bottom - 26)
        high = 54.0
        upper = top + 40 + _rise(block, "before")
        lower = bottom - 40 - _rise(block, "after") - high
        for status, polygons in collapse.ribbons(block, where).items():
            shown = [[(_LEFT + x * width, lower + (upper + high - lower) * y) for x, y in p] for p in polygons]
            self.shape(shown, STATUS_COLOURS[status], f"{len(shown)} units that are {status}", 0.5)
        for side, y in (("before", upper), ("after", lower)):
            ticks: dict[str, list[list[Point]]] = {}
            for one, place in zip(getattr(block, side), where[side]):
                for work, (a, b) in zip(one.work, place.ticks):
                    is_kernel = work.kind == KERNEL
                    tall = high if is_kernel else high / 2
                    gap = min(1.0, 0.2 * (b - a) * width)
                    key = work.category if is_kernel else ""
                    ticks.setdefault(key, []).append(box(_LEFT + a * width, y, (b - a) * width - gap, tall))
                self._leaning(
                    place.label_x * width + _LEFT,
                    y - 6 if side == "before" else y + high + 6,
                    one.label,
                    side == "before",
                )
            for key, boxes in ticks.items():
                self.shape(boxes, colours[key], f"{side}: {len(boxes)} of the kind {named[key]}")
        self.text(_LEFT, top + 4, 700, 26, collapse.heading(block, "before"), 19, bold=True, least=13)
        # below on the right, where no label leans
        self.text(
            _RIGHT - 700, bottom - 62, 700, 26, collapse.heading(block, "after"), 19, bold=True, least=13, align="right"
        )

    def _leaning(self, x: float, y: float, label: str, up: bool) -> None:
        """A label at 45 degrees that begins at a point, upwards or downwards to the right."""
        shown, size, high, width = shorten(visible(label), _MOST_LABEL), _LABEL, 18.0, 150.0
        angle = math.radians(-45 if up else 45)
        middle = x + math.cos(angle) * width / 2, y + math.sin(angle) * width / 2
        self.text(
            middle[0] - width / 2, middle[1] - high / 2, width, high, shown, size, rotated=math.degrees(angle), least=10
        )

    def bars(self, bars: Bars, x: float, y: float, width: float, height: float) -> None:
        """Horizontal bars with their labels above, and what each comes to behind."""
        step = min((height - 34) / max(len(bars.bars), 1), 110.0)
        legend = {text: _KEYS[key] for key, text in bars.legend.items()}
        self.legend(legend, y + step * len(bars.bars) + 10, x, width)
        longest = max((s.start + s.value for b in bars.bars for s in b.segments), default=1.0) or 1.0
        room = width - 120
        for k, bar in enumerate(bars.bars):
            top, high = y + k * step, step * 0.42
            size = min(19.0, step * 0.34)
            self.text(x, top + step * 0.46 - size * 1.35, width, size * 1.3, bar.label, size, least=9)
            end = x
            for segment in bar.segments:
                left, long = x + segment.start / longest * room, segment.value / longest * room
                self.shape([box(left, top + step * 0.46, long, high)], _KEYS[segment.key], f"{bar.label}: {bar.text}")
                end = max(end, left + long)
            size = min(19.0, high * 0.78)
            middle = top + step * 0.46 + (high - size * LINE) / 2
            self.text(end + 8, middle, 112, size * LINE, bar.text, size, bold=True, least=8)

    def legend(self, entries: Mapping[str, str], y: float, x: float = _LEFT, width: float = _RIGHT - _LEFT) -> None:
        size = 15.0
        while size > 9 and sum(width_of(t, size) + 2.6 * size for t in entries) > width:
            size -= 0.5
        for text, colour in entries.items():
            self.shape([box(x, y + size * 0.25, size * 0.8, size * 0.8)], colour, text)
            wide = width_of(text, size) + 4
            self.text(x + size * 1.1, y, wide, size * LINE, text, size, least=8)
            x += wide + size * 2


def _rise(block: Block, side: str) -> float:
    """How high the leaning labels of a side reach."""
    labels = [shorten(visible(one.label), _MOST_LABEL) for one in getattr(block, side)]
    return min(150.0, max((width_of(label, _LABEL) for label in labels), default=0.0)) * math.sqrt(0.5) + 12


def _runs(strips: Mapping[str, Strip], category: str) -> bool:
    return any((s.kernels["category"] == category).any() for s in strips.values())


def _ticks(strip: Strip, scale: float) -> dict[str, list[tuple[float, float]]]:
    """Category → from where to where its ticks reach; neighbours of one kind are one tick where there are too many."""
    found: dict[str, list[tuple[float, float]]] = {}
    low, last = 0.0, ""
    is_merged = len(strip.kernels) > _MOST_TICKS
    for category, ns in zip(strip.kernels["category"], strip.kernels["duration_ns"]):
        high = low + ns * scale
        mine = found.setdefault(str(category), [])
        if is_merged and mine and last == category:
            mine[-1] = (mine[-1][0], high)
        else:
            mine.append((low, high - min(0.7, 0.2 * (high - low))))
        low, last = high, category
    return found


def box(x: float, y: float, width: float, height: float) -> list[Point]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def mixed(colour: str, ground: str, strength: float) -> str:
    """A colour laid over a ground, as one that hides what is under it."""
    parts = (
        round(strength * int(colour[i : i + 2], 16) + (1 - strength) * int(ground[i : i + 2], 16)) for i in (1, 3, 5)
    )
    return "#{:02X}{:02X}{:02X}".format(*parts)


# -- how wide a text is, without a font ------------------------------------------------------------------------

_NARROW, _SMALL, _WIDE = frozenset("ijlI.,:;'|!·’"), frozenset('frt()[]{}-/ \\"*“”'), frozenset("mwMW%@—…→")


def width_of(text: str, size: float, bold: bool = False) -> float:
    """Width in the units of ``size``: a tenth more than Arial's, so that wider fonts, which a machine may have instead, fit too."""
    wide = sum(map(_width, text)) * (1.07 if bold else 1.0)
    return wide * size * 1.03


def _width(character: str) -> float:
    if character in _NARROW:
        return 0.29
    if character in _SMALL:
        return 0.36
    if character in _WIDE:
        return 1.0
    if character.isascii():
        return 0.72 if character.isupper() else 0.56
    return (
        0.0 if unicodedata.combining(character) else 1.05 if unicodedata.east_asian_width(character) in "WF" else 0.75
    )


def lines_of(text: str, width: float, size: float, bold: bool = False) -> int:
    """Lines that a text takes in a width; a word that is longer than a line is broken."""
    lines, left = 1, width
    space = width_of(" ", size, bold)
    for word in text.split(" "):
        wide = width_of(word, size, bold)
        if wide > left and left < width:
            lines, left = lines + 1, width
        if wide > width:
            more = math.ceil(wide / width)
            lines, wide = lines + more - 1, wide - (more - 1) * width
        left -= wide + space
    return lines


def fit(text: str, width: float, height: float, size: float, least: float, bold: bool) -> tuple[str, float]:
    """The text and the largest size at which it fits a box; cut at its end where it does not fit even at ``least``."""
    for candidate in _sizes(size, least):
        if lines_of(text, width, candidate, bold) * candidate * LINE <= height + 0.5:
            return text, candidate
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        is_short = lines_of(f"{text[:middle]}…", width, least, bold) * least * LINE <= height + 0.5
        low, high = (middle, high) if is_short else (low, middle - 1)
    return f"{text[:low].rstrip()}…", least


def _sizes(size: float, least: float) -> Iterator[float]:
    while size > least:
        yield size
        size -= 1
    yield least
