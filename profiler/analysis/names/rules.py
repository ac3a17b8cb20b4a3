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

from profiler.analysis.names.literals import pieces_of
from profiler.analysis.names.parse import ParsedName
from profiler.lazy import cached_property

GENERIC_LEAF = re.compile(
    r"^_*(?:(?:cuda|gpu|device|global|my|the|user|test|main|custom|fused|generic)_?)*"
    r"(?:kernel|main|entry|func|function|run|launch|launcher|execute|compute|apply|op|impl|invoke|call|f|g|k)"
    r"(?:_?(?:kernel|impl|launcher|entry|fn|func|v)?_?\d*)*$",
    re.IGNORECASE,
)
"""Names that say nothing about the work: a rule that judges by absence must not speak for them."""

_HEAD, _FEW_NAMES = 3, 200
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
    pattern: str
    reason: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    unless: str | None = None
    sm_min: int | None = None
    sm_max: int | None = None
    example_sm: int | None = None

    @cached_property
    def _compiled(self) -> tuple[Pattern[str], Pattern[str] | None]:
        return re.compile(self.pattern), re.compile(self.unless) if self.unless else None

    def matches(self, name: ParsedName, sm: int | None) -> bool:
        """Whether this rule applies to a name on a GPU of compute capability ``sm`` (None: not known)."""
        if self.sm_min is not None and (sm is None or sm < self.sm_min):
            return False
        if self.sm_max is not None and (sm is None or sm > self.sm_max):
            return False
        subject = _subject(name, self.where)
        if subject is None:
            return False
        pattern, unless = self._compiled
        return pattern.search(subject) is not None and (unless is None or not unless.search(subject))


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
        pattern=pattern,
        reason=reason,
        positive=tuple(positive),
        negative=tuple(negative),
        unless=unless,
        sm_min=sm_min,
        sm_max=sm_max,
        example_sm=example_sm,
    )


class RuleBook:
    """Ordered lists of rules, to be asked about many names; the last rule of each must match every name.

    A search takes long, and most rules do not apply to most names. So of more than a few names only those rules are asked of whose
    pattern the plain pieces are in the name; which these are is found by their first characters.
    """

    def __init__(self, *lists: Sequence[Rule]) -> None:
        self._lists = lists
        self._names = 0

    @cached_property
    def _rules(self) -> list[tuple[Rule, list[frozenset[str]]]]:
        """The rules of all lists, and the pieces that a name must hold for each."""
        return [(rule, pieces_of(rule.pattern)) for rules in self._lists for rule in rules]

    @cached_property
    def _by_head(self) -> tuple[dict[str, list[tuple[str, int]]], int]:
        """By their first characters the pieces, each with the rules (a bit each) that need it; and the rules to ask about every name.

        Pieces that are too short for that are under "".
        """
        found: dict[str, int] = {}
        always = 0
        for place, (_, needed) in enumerate(self._rules):
            always |= 0 if needed else 1 << place
            for piece in needed[0] if needed else ():
                found[piece] = found.get(piece, 0) | 1 << place
        heads: dict[str, list[tuple[str, int]]] = {}
        for piece, rules in found.items():
            heads.setdefault(piece[:_HEAD] if len(piece) >= _HEAD else "", []).append((piece, rules))
        return heads, always

    def decide(self, name: ParsedName, sm: int | None) -> list[Rule]:
        """Of each list the first rule that matches."""
        self._names += 1
        if self._names <= _FEW_NAMES:  # to take the patterns apart would take longer
            return [next((rule for rule in rules if rule.matches(name, sm)), rules[-1]) for rules in self._lists]
        asked, text = self._to_ask(name)
        found, first = [], 0
        for rules in self._lists:
            left = (asked >> first) & ((1 << len(rules)) - 1)
            while left:
                place = (left & -left).bit_length() - 1
                rule, needed = self._rules[first + place]
                has_all = not text or all(any(piece in text for piece in pieces) for pieces in needed[1:])
                if has_all and rule.matches(name, sm):
                    break
                left &= left - 1
            else:
                rule = rules[-1]
            found.append(rule)
            first += len(rules)
        return found

    def _to_ask(self, name: ParsedName) -> tuple[int, str]:
        """The rules that could match, and the text in which further pieces are looked for ("": all rules, without looking)."""
        text = f"{name.text}\n{name.base}".lower()
        heads, asked = self._by_head
        if not text.isascii():  # letters of other alphabets can be upper case of Latin ones
            return -1, ""
        for head in heads.keys() & {"", *(text[at : at + _HEAD] for at in range(len(text) - _HEAD + 1))}:
            for piece, rules in heads[head]:
                if piece in text:
                    asked |= rules
        return asked, text
