"""Every rule decides its own examples and explains itself."""

from __future__ import annotations

import re

import pytest

from profiler.analysis.names.classify import (
    CATEGORIES,
    CATEGORY_LABELS,
    CATEGORY_RULES,
    TENSOR_CORE_RULES,
    classify,
    explain,
)
from profiler.analysis.names.literals import pieces_of
from profiler.analysis.names.parse import parse
from profiler.analysis.names.rules import Rule, RuleBook

RULES = (*TENSOR_CORE_RULES, *CATEGORY_RULES)
TENSOR_CORE_IDS = {rule.id for rule in TENSOR_CORE_RULES}
VERDICTS = ("yes", "no", "unknown")


def _decided_by(rule: Rule, name: str) -> str:
    found = classify(name, sm=rule.example_sm)
    return found.rule if rule.id in TENSOR_CORE_IDS else found.category_rule


def _ids(rule: Rule) -> str:
    return rule.id


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_every_rule_decides_its_positives(rule: Rule) -> None:
    assert rule.positive
    for name in rule.positive:
        assert _decided_by(rule, name) == rule.id, name


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_no_rule_decides_its_negatives(rule: Rule) -> None:
    assert rule.negative
    for name in rule.negative:
        assert _decided_by(rule, name) != rule.id, name


@pytest.mark.parametrize("rule", RULES, ids=_ids)
def test_every_rule_explains_itself(rule: Rule) -> None:
    assert explain(rule.id) is rule
    assert re.fullmatch(r"(tc|category)\.[a-z0-9-]+", rule.id)
    assert rule.reason.endswith(".")
    assert rule.where in ("text", "base", "leaf", "symbol", "cxx")
    assert rule.verdict in (VERDICTS if rule.id in TENSOR_CORE_IDS else CATEGORIES)


def test_rule_ids_are_unique_and_lists_end_with_a_rule_for_everything() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert TENSOR_CORE_RULES[-1].verdict == "unknown"
    assert CATEGORY_RULES[-1].verdict == "other"
    assert set(CATEGORY_LABELS) == set(CATEGORIES)


def test_looking_for_plain_pieces_first_changes_no_verdict() -> None:
    """Rules are passed over whose pieces a name lacks: the same rules decide as when every pattern is searched."""
    book = RuleBook(TENSOR_CORE_RULES, CATEGORY_RULES)
    names = [name for rule in RULES for name in (*rule.positive, *rule.negative)]
    names += [name.upper() for name in names] + [name.replace("k", "\u212a").replace("s", "\u017f") for name in names]
    for place, name in enumerate(names):
        parsed, sm = parse(name), (None, 70, 80, 90)[place % 4]
        searched = [
            next(rule for rule in rules if rule.matches(parsed, sm)) for rules in (TENSOR_CORE_RULES, CATEGORY_RULES)
        ]
        assert book.decide(parsed, sm) == searched, name


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("(?i)gemm", [{"gemm"}]),
        ("[dD]grad_?x", [{"dgradx", "dgrad_x"}]),
        (r"(?:gemm|conv)\w*kernel", [{"gemm", "conv"}, {"kernel"}]),
        (r"a\d+bc|(?<!x)def$", [{"bc", "def"}]),
        (r"\w+|abc", []),
        (r"(?:abc)?", []),
        (r"(?:abc){2,}x", [{"abc"}, {"x"}]),
    ],
)
def test_plain_pieces_of_a_pattern(pattern: str, pieces: list[set[str]]) -> None:
    assert pieces_of(pattern) == pieces


def test_gpu_bounds_apply_only_when_the_gpu_is_known() -> None:
    bounded = [rule for rule in TENSOR_CORE_RULES if rule.sm_min is not None or rule.sm_max is not None]
    assert bounded
    for rule in bounded:
        for name in rule.positive:
            assert classify(name).rule != rule.id


def test_explain_refuses_an_unknown_rule() -> None:
    with pytest.raises(KeyError):
        explain("tc.no-such-rule")
