"""Gates for CI: ``kernels_per_inference>60`` fails a run when the figure says so.

The grammar, whole: ``[before.|after.|ratio.]FIGURE OP NUMBER[UNIT]``, with OP one of ``> >= < <= == !=``. A gate names what
must not be: it fails when the condition holds. Figures and their units are those of the ``compare`` document, and a few
more (:func:`gate_figures`). Nothing is evaluated as code.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from profiler.analysis.fusion.rows import STATUSES
from profiler.analysis.names.classify import CATEGORIES
from profiler.errors import UsageError
from profiler.report.evidence import Evidence
from profiler.text import at_most

_GATE = re.compile(
    r"\s*(?:(?P<side>before|after|ratio)\.)?(?P<figure>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\s*"
    r"(?P<op>>=|<=|==|!=|>|<)\s*(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*(?P<unit>[A-Za-zµμ%×]*)\s*"
)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_SIZES = {"B": 1.0, "bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DIMENSIONS: tuple[Mapping[str, float], ...] = (_TIMES, _SIZES, {"%": 1.0}, {"x": 1.0})
PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"


@dataclass(frozen=True)
class GateFigure:
    """A figure that a gate can name.

    Attributes:
        unit: of every value but the ratio, which is a plain number (before ÷ after).
        sides: the values that there are, among "before", "after" and "ratio"; None where one is unknown.
        default: the side that the name alone means.
        reason: why a value is None.
    """

    name: str
    unit: str
    sides: Mapping[str, float | None]
    default: str
    reason: str | None = None


@dataclass(frozen=True)
class Gate:
    """One parsed condition. ``text`` is as it was written."""

    text: str
    side: str | None
    figure: str
    op: str
    number: float
    unit: str


@dataclass(frozen=True)
class GateResult:
    """What a gate said. ``value`` is in ``unit``, the figure's own; None when the outcome is unknown."""

    gate: Gate
    outcome: str
    value: float | None
    unit: str
    sentence: str


def parse_gate(text: str) -> Gate:
    """Read one gate.

    Raises:
        UsageError: it does not follow the grammar.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--fail-if {text[:200]!r}: not a gate.",
            "Expected FIGURE OP NUMBER[UNIT], for example kernels_per_inference>60, latency>0.6ms, ratio.latency<5 or "
            "before.tensor_cores_yes<50%. OP is one of > >= < <= == !=; quote it, as the shell takes > for itself.",
        )
    unit = found["unit"].replace("µ", "u").replace("μ", "u").replace("×", "x")
    return Gate(text.strip(), found["side"], found["figure"], found["op"], float(found["number"]), unit)


def gate_figures(evidence: Evidence) -> dict[str, GateFigure]:
    """Every figure that a gate can name, in the order in which they are listed."""
    comparison = evidence.comparison
    found: dict[str, GateFigure] = {}

    def add(name: str, unit: str, sides: Mapping[str, float | None], default: str, reason: str | None = None) -> None:
        found[name] = GateFigure(name, unit, sides, default, reason)

    for m in comparison.metrics:
        add(m.id, m.unit, {"before": m.before, "after": m.after, "ratio": m.ratio}, "after", m.reason)
    kernels = comparison.metric("kernels_per_inference")
    for category in CATEGORIES:  # a kind without a kernel on either side is no line of the comparison, but it is 0
        none = {s: None if getattr(kernels, s) is None else 0.0 for s in ("before", "after")} | {"ratio": None}
        for name, unit in ((f"kernels.{category}", "kernels"), (f"time.{category}", "ms")):
            if name not in found:
                add(name, unit, none, "after", kernels.reason or "no ratio: both are 0")
    latency = comparison.metric("latency")
    add("speedup", "x", {"ratio": latency.ratio}, "ratio", latency.reason)
    ledger, traffic, why = evidence.ledger, evidence.traffic, evidence.no_ledger
    for status in STATUSES:
        add(f"{status}_units", "", {"after": float(ledger.by_status[status]) if ledger else None}, "after", why)
    add(
        "ledger_coverage",
        "%",
        {s: ledger.coverage(s).time_pct if ledger else None for s in ("before", "after")},
        "after",
        why,
    )
    contradictions = evidence.ledger_document["tensor_core_disagreements"] if evidence.ledger_document else None
    add(
        "tensor_core_contradictions",
        "",
        {"after": float(len(contradictions)) if contradictions is not None else None},
        "after",
        why,
    )
    minimum: dict[str, float | None] = {"before": None, "after": None}
    if traffic is not None:
        minimum["before"] = None if traffic.before_unknown else float(traffic.before_bytes)
        minimum["after"] = None if traffic.after_unknown else float(traffic.after_bytes)
        why = f"rows without a computed minimum: {traffic.before_unknown} before, {traffic.after_unknown} after"
    add("minimum_bytes", "bytes", minimum, "after", why)
    add("warnings", "", {"after": float(len(comparison.warnings))}, "after")
    return found


def check(gates: Sequence[Gate], evidence: Evidence) -> list[GateResult]:
    """Hold every gate against the figures.

    Raises:
        UsageError: a gate names a figure, a side or a unit that does not exist; the message lists those that do.
    """
    known = gate_figures(evidence)
    return [check_figure(gate, known) for gate in gates]


def check_figure(gate: Gate, known: Mapping[str, GateFigure]) -> GateResult:
    """Hold one gate against the figures.

    Raises:
        UsageError: it names a figure, a side or a unit that does not exist.
    """
    figure = known.get(gate.figure)
    if figure is None:
        close = difflib.get_close_matches(gate.figure, known, 3, 0.5)
        raise UsageError(
            f"--fail-if {gate.text!r}: there is no figure {gate.figure!r}."
            + (f" Did you mean {' or '.join(close)}?" if close else ""),
            f"Known figures: {', '.join(known)}.",
        )
    side = gate.side or figure.default
    if side not in figure.sides:
        raise UsageError(
            f"--fail-if {gate.text!r}: {gate.figure} has no {side}.", f"It has: {', '.join(figure.sides)}."
        )
    unit = ("x" if side == "ratio" else figure.unit) if figure.unit in _all_units() or side == "ratio" else ""
    limit = gate.number * _factor(gate, unit)
    if not math.isfinite(limit):
        raise UsageError(
            f"--fail-if {gate.text[:200]!r}: its number is too large, so that the gate could never fail or never pass.",
            "Give a number that the figure can reach.",
        )
    value = figure.sides[side]
    name = gate.figure if len(figure.sides) == 1 else f"{side}.{gate.figure}"
    if value is None:
        sentence = f"{name} is unknown in these traces: {figure.reason or 'no reason is known'}"
        return GateResult(gate, UNKNOWN, None, unit, sentence)
    holds = _OPERATORS[gate.op](value, limit)
    shown = f"{name} is {_shown(value, unit)}"
    sentence = f"{shown}, and the gate fails at {gate.op} {_shown(limit, unit)}"
    return GateResult(gate, FAILED if holds else PASSED, value, unit, sentence)


def _all_units() -> set[str]:
    return {unit for dimension in _DIMENSIONS for unit in dimension}


def _factor(gate: Gate, unit: str) -> float:
    """From the gate's unit to the figure's."""
    if not gate.unit or gate.unit == unit:
        return 1.0
    for dimension in _DIMENSIONS:
        if unit in dimension and gate.unit in dimension:
            return dimension[gate.unit] / dimension[unit]
    fitting = next((", ".join(d) for d in _DIMENSIONS if unit in d), "none: it is a count")
    raise UsageError(f"--fail-if {gate.text!r}: {gate.figure} cannot be in {gate.unit!r}.", f"Its units: {fitting}.")


def _shown(value: float, unit: str) -> str:
    printed = {"x": "×", "us": "µs"}.get(unit, unit)
    return at_most(value) + printed if unit == "x" else at_most(value, printed)
