"""What a naming rule is, and how a list of rules is asked.

Rules are data. Each holds a pattern, the verdict it stands for, one sentence that says why (with its source),
and names that it must and must not decide; the tests run over all of them. Lists are ordered: the first rule
that matches decides, the last one matches everything.

Where a reason says *measured*, the claim was checked against the machine code (SASS) of the libraries named;
where it says *published source*, against the project's own code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from re import Pattern

from profiler.analysis.names.parse import ParsedName

GENERIC_LEAF = re.compile(
    r"^_*(?:(?:cuda|gpu|device|global|my|the|user|test|main|custom|fused|generic)_?)*"
    r"(?:kernel|main|entry|func|function|run|launch|launcher|execute|compute|apply|op|impl|invoke|call|f|g|k)"
    r"(?:_?(?:kernel|impl|launcher|entry|fn|func|v)?_?\d*)*$",
    re.IGNORECASE,
)
"""Names that say nothing about the work: a rule that judges by absence must not speak for them."""

_WORD = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True)
class Rule:
    """One naming rule.

    Attributes:
        id: stable identifier, shown to users and stored in reports.
        verdict: the category, or "yes", "no" or "unknown".
        where: which part of the name the pattern is searched in: "text", "base", "leaf", "symbol" (the base of
            a name without a C++ signature), or "cxx" (the text of a C++ kernel whose own name tells something).
        pattern: searched, not anchored.
        reason: one sentence with its source.
        positive: names that this rule decides (asked with ``example_sm``).
        negative: names that it does not decide.
        unless: if this is found in the same part of the name, the rule does not apply.
        sm_min: the rule applies only when the GPU is known to be at least this compute capability.
        sm_max: the rule applies only when the GPU is known to be at most this compute capability.
        example_sm: the compute capability for ``positive`` and ``negative``.
    """

    id: str
    verdict: str
    where: str
    pattern: Pattern[str]
    reason: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    unless: Pattern[str] | None = None
    sm_min: int | None = None
    sm_max: int | None = None
    example_sm: int | None = None

    def matches(self, name: ParsedName, sm: int | None) -> bool:
        """Whether this rule applies to a name on a GPU of compute capability ``sm`` (None: not known)."""
        if self.sm_min is not None and (sm is None or sm < self.sm_min):
            return False
        if self.sm_max is not None and (sm is None or sm > self.sm_max):
            return False
        subject = _subject(name, self.where)
        if subject is None or not self.pattern.search(subject):
            return False
        return self.unless is None or not self.unless.search(subject)


def _subject(name: ParsedName, where: str) -> str | None:
    if where == "text":
        return name.text
    if where == "base":
        return name.base
    if where == "leaf":
        return name.leaf
    if where == "cxx":
        telling = name.signature and _WORD.search(name.leaf) and not GENERIC_LEAF.search(name.leaf)
        return name.text if telling else None
    return None if name.signature else name.base


def rule(
    id: str,
    verdict: str,
    where: str,
    pattern: str,
    reason: str,
    positive: Iterable[str],
    negative: Iterable[str],
    *,
    unless: str | None = None,
    sm_min: int | None = None,
    sm_max: int | None = None,
    example_sm: int | None = None,
) -> Rule:
    """Build a :class:`Rule` from pattern strings."""
    return Rule(
        id=id,
        verdict=verdict,
        where=where,
        pattern=re.compile(pattern),
        reason=reason,
        positive=tuple(positive),
        negative=tuple(negative),
        unless=re.compile(unless) if unless else None,
        sm_min=sm_min,
        sm_max=sm_max,
        example_sm=example_sm,
    )


def first_match(rules: Sequence[Rule], name: ParsedName, sm: int | None) -> Rule:
    """The rule that decides. ``rules`` must end with one that matches every name."""
    for candidate in rules:
        if candidate.matches(name, sm):
            return candidate
    return rules[-1]
