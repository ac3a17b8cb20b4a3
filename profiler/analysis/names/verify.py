"""Tensor Core verdicts against hardware counters: was a kernel that we judge by name right?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from profiler.analysis.names.classify import classify


@dataclass(frozen=True)
class Verified:
    """One kernel name: what its name says, and how many of its executions issued Tensor Core instructions."""

    name: str
    verdict: str
    rule: str
    executions: int
    with_tensor_instructions: int

    @property
    def agrees(self) -> bool | None:
        """None for a verdict of unknown, or when executions of one name differ."""
        if self.verdict == "unknown" or 0 < self.with_tensor_instructions < self.executions:
            return None
        return (self.verdict == "yes") == (self.with_tensor_instructions > 0)


@dataclass(frozen=True)
class Verification:
    """All names of a run, most executed first."""

    names: tuple[Verified, ...]

    def count(self, agrees: bool | None) -> tuple[int, int]:
        """Names and executions that agree (True), disagree (False) or cannot be told (None)."""
        chosen = [n for n in self.names if n.agrees is agrees]
        return len(chosen), sum(n.executions for n in chosen)


def verify(kernels: Iterable[tuple[str, bool]], sm: int | None = None) -> Verification:
    """Compare the verdict of every kernel name with what was counted.

    Args:
        kernels: per execution its name and whether it issued Tensor Core instructions.
        sm: the GPU's compute capability, such as 90.
    """
    counts: dict[str, list[int]] = {}
    for name, used in kernels:
        entry = counts.setdefault(name, [0, 0])
        entry[0] += 1
        entry[1] += used
    found = []
    for name, (executions, with_tensor) in counts.items():
        judged = classify(name, None, sm)
        found.append(Verified(name, judged.tensor_cores, judged.rule, executions, with_tensor))
    return Verification(tuple(sorted(found, key=lambda v: (-v.executions, v.name))))
