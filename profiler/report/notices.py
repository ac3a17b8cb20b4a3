"""The warnings of a comparison as people read them: one line each, our own measurement first, the same finding once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from profiler.text import plural, shorten

_SIDE = re.compile(r"^(before|after): (.*)$", re.DOTALL)
# Lines of TensorRT's log: "file.cpp:374: text", and the lines that go on with the message before
_LOGGED = re.compile(r"^\[?[\w./]+\.(?:cpp|cc|h|hpp):\d+[:\]]?\s*")
_CONTINUED = re.compile(r"^(?:- |If this is not the desired behavior|Check verbose logs)")
_OF_WEIGHTS = "TensorRT encountered issues when converting weights"
_AFFECTED = re.compile(r"(\d+) weights? (?:are|is) affected by this issue: Detected (subnormal|values? less)")
_INT64 = re.compile(r"generated with INT64 weights.*cast down to INT32", re.DOTALL)
_WIDTH = 170


@dataclass(frozen=True)
class Notice:
    """One thing to know.

    Attributes:
        sentence: one line; the sides that it is about stand in front.
        details: the whole text where the line leaves something out; "" where it does not.
        of_tensorrt: a message of TensorRT's log, not a finding about the measurement.
    """

    sentence: str
    details: str
    of_tensorrt: bool


def notices(warnings: Iterable[str]) -> list[Notice]:
    """The warnings of a :class:`profiler.analysis.compare.Comparison`, grouped and ordered."""
    sides: dict[tuple[str, str, bool], list[str]] = {}
    for side, lines in _messages(warnings):
        sides.setdefault(_summary(lines), []).append(side)
    found = []
    for (sentence, details, logged), named in sides.items():
        where = " and ".join(dict.fromkeys(name for name in named if name))
        found.append(Notice(f"{where}: {sentence}" if where else sentence, details, logged))
    return sorted(found, key=lambda notice: notice.of_tensorrt)


def _messages(warnings: Iterable[str]) -> list[tuple[str, list[str]]]:
    """(side, lines): a message of several lines is one, as TensorRT logs each line for itself."""
    found: list[tuple[str, list[str]]] = []
    for warning in warnings:
        match = _SIDE.match(warning)
        side, text = match.groups() if match else ("", warning)
        if _CONTINUED.match(text) and found and found[-1][0] == side:
            found[-1][1].append(text)
        else:
            found.append((side, [text]))
    return found


def _summary(lines: list[str]) -> tuple[str, str, bool]:
    """Sentence, details, and whether TensorRT's log says it."""
    whole = "\n".join(lines)
    if lines[0].startswith(_OF_WEIGHTS):
        kinds = {"subnormal": "subnormal in FP16", "values less": "too small for FP16"}
        counts = [
            f"{plural(int(n), 'weight')} {kinds[kind.replace('value ', 'values ')]}"
            for n, kind in _AFFECTED.findall(whole)
        ]
        return f"TensorRT's log: {', '.join(counts) or 'weights changed when they were converted'}", whole, True
    if _INT64.search(whole):
        return "TensorRT's log: INT64 weights of the ONNX model were cast to INT32", whole, True
    logged = bool(_LOGGED.match(lines[0]))
    text = _LOGGED.sub("", " ".join(whole.split()))
    short = shorten(text, _WIDTH)
    return f"TensorRT's log: {short}" if logged else short, whole if short != whole else "", logged
