"""Figures of a run that no trace holds, from its manifest: latency without a profiler, and how well the run computes."""

from __future__ import annotations

from profiler.analysis.run.facts import RunFacts
from profiler.trace.manifest import Latency, Quality

__all__ = ["Latency", "Quality", "latency_without_profiler", "quality"]


def latency_without_profiler(facts: RunFacts) -> Latency | None:
    """A run's latency as its manifest holds it: measured, else stated, else None."""
    return facts.manifest.latency if facts.manifest else None


def quality(facts: RunFacts) -> Quality | None:
    """Accuracy where it was measured, else agreement, else None."""
    return facts.manifest.quality if facts.manifest else None
