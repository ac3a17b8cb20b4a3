"""The colours: one per side, category, status and verdict, the same on every page, in both themes and in the hand-over.

All keep a contrast of at least 3:1 against either background (WCAG 2.2, 1.4.11), so their relative luminance lies between
0.12 and 0.30. The two sides are an orange and a blue that people with any colour vision tell apart. Fourteen categories
cannot all be: their segments are in the order of the legend, and named by the pointer. Tests hold all of this.
"""

from __future__ import annotations

from profiler.analysis.names.classify import CATEGORIES

BEFORE, AFTER = "#CC6A1B", "#2E7DD7"
SIDES = {"before": BEFORE, "after": AFTER}
CATEGORY_COLOURS = dict(
    zip(
        CATEGORIES,
        (
            "#3B7DD8", "#0E8FA8", "#7A5CC9", "#A8801A", "#D9604C", "#1C9E77", "#8A8F1E", "#B07AA1", "#C2569A", "#8C6D31",
            "#5E6BB0", "#A05195", "#5B8C1F", "#7F7F7F",
        ),
        strict=True,
    )
)  # fmt: skip
VERDICT_COLOURS = {"yes": "#1C9E77", "no": "#D9604C", "unknown": "#7B8794"}
STATUS_COLOURS = {
    "kept": "#2E7DD7",
    "fused": "#C25D94",
    "absorbed": "#0AA44B",
    "new": "#AA8C16",
    "unexplained": "#B5375E",
}
NEUTRAL = "#7B8794"
NVTX_COLOUR = "#7F8B99"
CHOSEN = "#D6336C"
GROUNDS = {"light": "#FFFFFF", "dark": "#10151C"}
GRID = {"light": "#E6EAF1", "dark": "#31333F"}
INK = {"light": "#0C1219", "dark": "#E8EDF3"}
"""Text on the page's own ground, per theme: of charts, whose texts Streamlit would draw fainter than AA allows."""


def luminance(colour: str) -> float:
    """Relative luminance of ``#RRGGBB``, 0 to 1 (WCAG 2.2; the sRGB transfer function of IEC 61966-2-1)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour; one of them always keeps 4.5:1."""
    return max(("#FFFFFF", "#000000"), key=lambda ink: contrast(ink, colour))
