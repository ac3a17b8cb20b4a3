"""Gates: the grammar, the figures, the units, and what is said when one cannot be decided."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.run.run import Run
from profiler.errors import UsageError
from profiler.report.evidence import Evidence, gather
from profiler.report.gates import FAILED, PASSED, UNKNOWN, check, gate_figures, parse_gate
from profiler.trace import open_trace
from tests.support.traces import bundled


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    with open_trace(bundled("torch-fp32-b8")) as before, open_trace(bundled("trt-int8-stream-b8")) as after:
        yield gather(Run(before), Run(after))


@pytest.fixture(scope="module")
def hidden() -> Iterator[Evidence]:
    """After is a trace whose kernels are inside graph launches."""
    graph = bundled("trt-int8-badqdq-b8-graphlevel")
    with open_trace(bundled("torch-fp32-b8")) as before, open_trace(graph) as after:
        yield gather(Run(before), Run(after))


def outcome(evidence: Evidence, gate: str) -> str:
    return check([parse_gate(gate)], evidence)[0].outcome


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("kernels_per_inference>60", PASSED),
        ("kernels_per_inference>55", FAILED),
        ("kernels_per_inference>56", PASSED),
        ("kernels_per_inference>=56", FAILED),
        ("before.kernels_per_inference!=174", PASSED),
        ("before.kernels_per_inference == 174", FAILED),
        ("  after . kernels_per_inference>1", None),
        ("ratio.kernels_per_inference<3.1x", PASSED),
        ("ratio.kernels_per_inference<3.2", FAILED),
        ("latency>600us", PASSED),
        ("latency>600µs", PASSED),
        ("latency>0.5ms", FAILED),
        ("latency>500000ns", FAILED),
        ("latency>0.6", PASSED),  # without a unit it is the figure's own
        ("launch_to_start>1us", FAILED),
        ("launch_to_start>1ms", PASSED),
        ("speedup<9", PASSED),
        ("speedup<10x", FAILED),
        ("tensor_cores_yes<97%", PASSED),
        ("before.tensor_cores_yes<1e-3%", FAILED),
        ("kernels.attention>0", PASSED),  # no such kernel on either side: 0, not unknown
        ("unexplained_units>0", PASSED),
        ("kept_units<55", PASSED),
        ("ledger_coverage<100%", PASSED),
        ("minimum_bytes>246MB", FAILED),
        ("minimum_bytes>0.25GB", PASSED),
        ("warnings>1", FAILED),
    ],
)
def test_gates_on_the_bundled_pair(evidence: Evidence, gate: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            parse_gate(gate)
    else:
        assert outcome(evidence, gate) == expected


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("kernels>60", "Did you mean"),
        ("latency>5kB", "Its units: ns, us, ms, s"),
        ("kernels_per_inference>6ms", "it is a count"),
        ("before.speedup>3", "It has: ratio"),
        ("middle.latency>3", "there is no figure"),
        ("ratio.latency>3ms", "cannot be in"),
    ],
)
def test_a_gate_that_does_not_fit_says_what_would(evidence: Evidence, gate: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        check([parse_gate(gate)], evidence)
    assert says in str(raised.value) and gate in str(raised.value)


@pytest.mark.parametrize(
    "gate",
    ["", "latency", "latency>", ">3", "latency>3>2", "latency=3", "latency>nan", "latency>inf", "latency>0x10", "a b>3",
     "__import__('os').system('true')>3", "latency>3;x", "latency>3 ms ms", "LATENCY>3"],
)  # fmt: skip
def test_what_is_no_gate_is_refused(gate: str) -> None:
    with pytest.raises(UsageError, match="not a gate"):
        parse_gate(gate)


def test_a_figure_that_is_unknown_is_neither_passed_nor_failed(hidden: Evidence) -> None:
    (unknown,) = check([parse_gate("kernels_per_inference>60")], hidden)
    assert unknown.outcome == UNKNOWN and unknown.value is None
    assert "--cuda-graph-trace=node" in unknown.sentence  # the reason, as the comparison gives it
    assert outcome(hidden, "unexplained_units>0") == UNKNOWN
    assert outcome(hidden, "kernels.attention>0") == UNKNOWN
    assert outcome(hidden, "latency>0.0001ms") == FAILED


def test_figures_are_those_of_the_comparison(evidence: Evidence) -> None:
    known = gate_figures(evidence)
    for metric in evidence.comparison.metrics:
        assert known[metric.id].sides == {"before": metric.before, "after": metric.after, "ratio": metric.ratio}
        assert known[metric.id].unit == metric.unit


OPERATORS = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@given(st.sampled_from(sorted(OPERATORS)), st.floats(-1e9, 1e9), st.sampled_from(["", " ", "  "]))
def test_a_gate_fails_exactly_when_its_condition_holds(op: str, number: float, space: str) -> None:
    gate = parse_gate(f"latency{space}{op}{space}{number!r}")
    assert (gate.op, gate.number, gate.unit, gate.side) == (op, number, "", None)


@given(st.text(max_size=60))
def test_any_text_is_a_gate_or_a_usage_error(text: str) -> None:
    try:
        gate = parse_gate(text)
    except UsageError:
        return
    assert gate.op in OPERATORS and gate.text == text.strip()


@pytest.mark.parametrize("gate", ["latency>1e400", "latency<-1e400ms", "latency>1e308s", "warnings>1e999"])
def test_a_limit_that_no_figure_reaches_is_refused(evidence: Evidence, gate: str) -> None:
    with pytest.raises(UsageError, match="too large"):
        outcome(evidence, gate)
