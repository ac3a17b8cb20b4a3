"""From a kernel's name to what it does, in which precision, and whether it uses Tensor Cores.

A name is evidence, not proof: the verdict is "yes" or "no" only where the naming convention of the library
decides, and "unknown" where it does not (a bare ``Kernel``, a Triton matrix template, a user's own name). A
measured counter is another kind of evidence and is never mixed with this one.

The rules are data in the modules ``rules_…`` beside this one; ``precision`` states the precision convention.
``docs/classification.md`` gives the scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from profiler.analysis.names.parse import parse, readable
from profiler.analysis.names.precision import precision_of
from profiler.analysis.names.rules import Rule, RuleBook
from profiler.analysis.names.rules_category import CATEGORIES, CATEGORY_LABELS, CATEGORY_RULES
from profiler.analysis.names.rules_tensor_cores import TENSOR_CORE_RULES

__all__ = [
    "CATEGORIES",
    "CATEGORY_LABELS",
    "CATEGORY_RULES",
    "TENSOR_CORE_RULES",
    "Classification",
    "Rule",
    "classify",
    "classify_names",
    "explain",
]

_CACHED_NAMES = 65_536
_RULES = RuleBook(TENSOR_CORE_RULES, CATEGORY_RULES)
_RULES_BY_ID: dict[str, Rule] = {rule.id: rule for rule in (*CATEGORY_RULES, *TENSOR_CORE_RULES)}


@dataclass(frozen=True)
class Classification:
    """What a kernel's name says.

    Attributes:
        category: one of :data:`CATEGORIES`.
        category_rule: id of the rule that decided the category.
        precision: "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8", "int4", "fp64", …: the format in which
            inputs are multiplied, or of the first typed operand; None where the name does not tell.
        tensor_cores: "yes", "no" or "unknown".
        rule: id of the rule that decided the Tensor Core verdict; :func:`explain` gives it.
    """

    category: str
    category_rule: str
    precision: str | None
    tensor_cores: str
    rule: str


def classify(name: str | None, short_name: str | None = None, sm: int | None = None) -> Classification:
    """Classify one kernel.

    Args:
        name: the demangled name as nsys or c++filt prints it; a mangled name or a bare symbol will do.
        short_name: the name without signature, used only when ``name`` is empty.
        sm: compute capability of the GPU as an integer (75, 80, 90, 100), or None when it is not known. Some
            kernels hold Tensor Core instructions on one generation of GPU and none on another.

    Never raises on any string; at most the first 8 KiB and the last 1 KiB of a name are read.
    """
    return _classify(readable(name or short_name or ""), sm)


def classify_names(names: Iterable[str], sm: int | None = None) -> list[Classification]:
    """Classify many names for one GPU, in order."""
    return [classify(name, sm=sm) for name in names]


def explain(rule_id: str) -> Rule:
    """The rule behind a verdict: its reason and examples.

    Raises:
        KeyError: there is no rule of that id.
    """
    return _RULES_BY_ID[rule_id]


@lru_cache(maxsize=_CACHED_NAMES)
def _classify(name: str, sm: int | None) -> Classification:
    parsed = parse(name)
    verdict, category = _RULES.decide(parsed, sm)
    return Classification(
        category=category.verdict,
        category_rule=category.id,
        precision=precision_of(parsed, verdict.verdict),
        tensor_cores=verdict.verdict,
        rule=verdict.id,
    )
