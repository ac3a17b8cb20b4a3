"""Figures of a run that no trace holds, from its manifest: latency without a profiler, and how well the run computes.

A manifest is written by people and machines elsewhere: what is not a finite number of the right sign is treated as absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiler.analysis.run.facts import RunFacts


@dataclass(frozen=True)
class Latency:
    """Latency of one inference without a profiler, in ms.

    Attributes:
        p50_ms: the median when ``measured``; else the value that the manifest states.
        low_ms, high_ms: smallest and 99th percentile; None when not recorded.
        n: inferences measured.
        measured: by ``profiler bench`` or ``capture``; else stated in words.
        how: how it came to be.
    """

    p50_ms: float
    low_ms: float | None
    high_ms: float | None
    n: int | None
    measured: bool
    how: str


@dataclass(frozen=True)
class Quality:
    """How well a run computes: accuracy against labels, or agreement with a reference; never one for the other.

    Attributes:
        kind: "accuracy" or "agreement".
        top1_pct: top-1 accuracy, or rows whose largest output is the reference's.
        images: on how many.
        sqnr_db: signal to quantisation noise ratio against the reference; None for accuracy, and where it was infinite.
        note: what the figure is, in the words of the document.
        doubt: why it says nothing; None when it does.
    """

    kind: str
    top1_pct: float
    images: int | None
    sqnr_db: float | None
    note: str | None
    doubt: str | None


def latency_without_profiler(facts: RunFacts) -> Latency | None:
    """A run's latency as its manifest holds it: measured, else stated, else None."""
    document = facts.manifest.extra if facts.manifest else {}
    found = _mapping(_mapping(document.get("bench")).get("latency_ms"))
    median = _number(found.get("p50"), above=0.0)
    if median is not None:
        low, high, n = (_number(found.get(k), above=0.0) for k in ("min", "p99", "n"))
        count = int(n) if n is not None else None
        return Latency(median, low, high, count, True, "CUDA events around each inference, no profiler attached")
    stated = _mapping(document.get("latency_without_profiler"))
    value = _number(stated.get("value_ms"), above=0.0)
    if value is None:
        return None
    how = stated.get("how")
    return Latency(value, None, None, None, False, how if isinstance(how, str) and how else "no word on how")


def quality(facts: RunFacts) -> Quality | None:
    """Accuracy where it was measured, else agreement, else None."""
    document = _mapping((facts.manifest.extra if facts.manifest else {}).get("accuracy"))
    for kind, top1 in (("accuracy", "top1_pct"), ("agreement", "top1_agreement_pct")):
        found = _mapping(document.get(kind))
        share = _number(found.get(top1), above=-1.0)
        if share is not None and 0.0 <= share <= 100.0:
            images = _number(found.get("images"), above=0.0)
            note, doubt = found.get("note"), found.get("warning")
            return Quality(
                kind,
                share,
                int(images) if images is not None else None,
                _number(found.get("sqnr_db")) if kind == "agreement" else None,
                note if isinstance(note, str) else None,
                doubt if isinstance(doubt, str) else None,
            )
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, above: float = -math.inf) -> float | None:
    """A finite number above a bound; JSON may also hold NaN, Infinity, and integers that no float holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found > above else None
