"""What a text for readers must not say: phrases that are not plain English, wrong plurals, hyphens as minus signs, “5%”."""

from __future__ import annotations

import re

PHRASES = (
    r"\bagainst each other\b",
    r"\bheld? against\b",
    r"\bhold (?:two|both) traces\b",
    r"is not done again",
    r"\bdecides nothing\b",
    r"\bnothing is left to compute\b",
    r"\bserves? no unit\b",
    r"× (?:less|more)\b",
    r"\bExplained, (?:before|after)\b",
    r"\bmoved unknown\b",
    r"\blives? in the address\b",
    r"\bnames what must not be\b",
    r"\bpieces? of GPU work\b",
    r"\bthat (?:is|are) not here\b",
    r"\bcannot be told apart\b",
    r"\bcan be told apart\b",
    r"\bthe name does not tell\b",
    r"\bno trace tells\b",
    r"\bwhat (?:it|they) (?:is|are) about decides\b",
    r"\bto the eye\b",
    r"\bin the place of\b",
    r"\bfrom anywhere\b",
    r"\ba (?:line|row|file|page) a (?:run|side|kernel|unit|line|verb|figure)\b",
)
_NOUNS = (
    "kernels inferences rows layers modules traces runs samples names files calls copies sets executions weights candidates ranges units "
    "messages notes warnings gates parts operations activations inputs images streams blocks groups figures tables"
)
_PLURAL = re.compile(rf"(?<![\d.,×x/–-])(?<!\d )\b1 ({'|'.join(_NOUNS.split())})\b")
_HYPHEN_MINUS = re.compile(r"(?<![\w.\-–(\[/{])-\d+(?:\.\d+)? ?(?:µs|ms|ns|s|%|points|kB|MB|GB|kernels?)\b")
_PERCENT = re.compile(r"(?<![\w%])\d+(?:\.\d+)?%(?![\w.,])")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_PHRASES = [re.compile(p, re.IGNORECASE | re.MULTILINE) for p in PHRASES]


def faults(text: str, percent: bool = True) -> list[str]:
    """What is wrong with a text as a reader sees it, with some words around it. Code, in backticks, is left out.

    Args:
        percent: whether “5%” is a fault; in a format string it is none.
    """
    found, text = [], _CODE.sub("`", text)
    for pattern in (*_PHRASES, _PLURAL, _HYPHEN_MINUS, *([_PERCENT] if percent else [])):
        for match in pattern.finditer(text):
            around = " ".join(text[max(0, match.start() - 40) : match.end() + 30].split())
            found.append(f"“{match.group()}” in “{around}”")
    return found
