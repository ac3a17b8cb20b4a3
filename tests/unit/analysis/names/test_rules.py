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
from profiler.analysis.names.rules import Rule

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


def test_gpu_bounds_apply_only_when_the_gpu_is_known() -> None:
    bounded = [rule for rule in TENSOR_CORE_RULES if rule.sm_min is not None or rule.sm_max is not None]
    assert bounded
    for rule in bounded:
        for name in rule.positive:
            assert classify(name).rule != rule.id


def test_explain_refuses_an_unknown_rule() -> None:
    with pytest.raises(KeyError):
        explain("tc.no-such-rule")
