"""The argument in plain sentences: what it says of real traces, and what it never says, whatever the figures."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.run.measured import Latency, Quality, latency_without_profiler, quality
from profiler.analysis.run.run import Run
from profiler.report.evidence import Evidence, gather
from profiler.report.story import (
    Claim,
    claims_from,
    different_work,
    headline,
    median_latencies,
    sentences,
    story,
    subject,
)
from profiler.report.story_facts import BeforeAfter, RunIdentity, StoryFacts, TracedLatency, story_facts
from profiler.text import number
from profiler.trace import open_trace
from profiler.trace.manifest import parse_manifest
from tests.support.pages import GRAPH_LEVEL
from tests.support.traces import bundled

CONCLUSIONS = re.compile(r"faster|slower|× lower|× higher|the same within")


def evidence(before: str, after: str) -> Evidence:
    return gather(Run(open_trace(bundled(before))), Run(open_trace(bundled(after))))


def claims(told: tuple[Claim, ...]) -> dict[str, Claim]:
    return {c.id: c for c in told}


@pytest.fixture(scope="module")
def default() -> Evidence:
    return evidence("torch-fp32-eager-b8", "trt-int8-stream-b8")


def test_the_argument_of_the_default_pair(default: Evidence) -> None:
    told = claims(story(default))
    assert list(told) == ["latency", "origin", "kernels", "tensor_cores", "memory", "quality"]
    assert all(c.answered and c.how for c in told.values())
    before, after = (latency_without_profiler(side.facts) for side in default.sides.values())
    assert before is not None and after is not None
    assert told["latency"].sentences[0] == (
        f"Without a profiler, the median inference went from {number(before.p50_ms)} ms to {number(after.p50_ms)} ms: "
        f"{number(before.p50_ms / after.p50_ms)}× faster."
    )
    assert (
        told["latency"].sentences[1].startswith("Minimum to p99: ")
        and f"n = {before.n:,}" in told["latency"].sentences[1]
    )
    assert not any("nsys" in s for s in told["latency"].sentences)  # one latency a statement
    counts = [side.inferences.kernels_per_inference[0] for side in default.sides.values()]
    assert (
        told["kernels"].sentences[0] == f"One inference went from {number(counts[0])} kernels to {number(counts[1])}."
    )
    statuses = default.ledger.by_status if default.ledger else {}
    fates = f"{statuses['kept']} still have kernels of their own, {statuses['fused']} are fused into another layer"
    assert fates in told["kernels"].sentences[2]
    shares = [side.tensor_cores.share_pct("yes") for side in default.sides.values()]
    assert (
        told["tensor_cores"]
        .sentences[0]
        .endswith(f"took {number(shares[0])} % of the kernel time before and {number(shares[1])} % after.")
    )
    assert told["tensor_cores"].sentences[1].startswith("The sampled Tensor Active counter averaged ")
    assert told["memory"].sentences[-1].startswith("It is below the computed sum where tensors stay in the L2 cache")
    assert "agreement, not accuracy" in told["quality"].sentences[0]
    assert sentences(default)[0].endswith("TensorRT INT8, stream, batch 8 on NVIDIA H200.")  # said of each: not again
    assert sentences(default) == sentences(evidence("torch-fp32-eager-b8", "trt-int8-stream-b8"))


def test_the_parts_of_the_origin_sum_to_the_difference(default: Evidence) -> None:
    facts = story_facts(default)
    assert isinstance(default.split, Decomposition) and facts.split_ns is not None and not isinstance(facts.split, str)
    assert sum(ns for _, ns in facts.split) == facts.split_ns[0] - facts.split_ns[1]


def test_slower_than_before_is_said() -> None:
    found = evidence("trt-int8-graph-b8", "trt-fp16-stream-b8")
    told = claims(story(found))
    assert "1.48× slower" in told["latency"].sentences[0] and "faster" not in " ".join(sentences(found))
    assert re.search(r"took [\d.]+ [mµ]s more: ", told["origin"].sentences[0])


def test_the_same_run_twice_is_the_same() -> None:
    found = evidence("trt-fp16-b8", "trt-fp16-b8")
    told = claims(story(found))
    assert "the same within 0.5 %" in told["latency"].sentences[0]
    assert told["origin"].sentences == ("In the traces, with nsys attached, the median inference took equally long.",)
    assert not told["quality"].answered


def test_a_side_whose_kernels_are_hidden_in_graphs() -> None:
    found = evidence("torch-fp32-eager-b8", "trt-int8-badqdq-b8-graphlevel")
    told = claims(story(found))
    for claim in ("origin", "kernels"):
        assert not told[claim].answered
        assert "unknown" in told[claim].sentences[0] and "cuda-graph-trace" in told[claim].sentences[0]
    assert told["tensor_cores"].answered and told["tensor_cores"].sentences[0].startswith("The sampled")
    assert "by name, is unknown" in told["tensor_cores"].sentences[1]
    said = " ".join(sentences(found))
    assert "kernels to" not in said and "unknown" not in said


def test_other_work_gets_no_ratio() -> None:
    found = evidence("torch-fp16-compile-b8", "mobilenet_v2-trt-fp16-graph-b8")
    assert story(found) == ()
    assert (
        "different models, resnet50 before and mobilenet_v2 after" in sentences(found)[-1]
        and len(sentences(found)) == 2
    )
    sizes = [RunIdentity("a", batch=8), RunIdentity("b", batch=1)]
    other = StoryFacts(*sizes, clean=(Latency(2.0, 1.9, 2.2, 50, True, ""), Latency(0.5, 0.4, 0.6, 50, True, "")))
    latency = claims(claims_from(other))["latency"].sentences[0]
    assert "not the same work: different batch (8 before, 1 after)" in latency and "faster" not in latency


def test_spreads_that_overlap_are_doubted() -> None:
    near = StoryFacts(
        RunIdentity("a"),
        RunIdentity("b"),
        clean=(Latency(1.0, 0.9, 1.2, 50, True, ""), Latency(0.95, 0.9, 1.1, 50, True, "")),
    )
    assert claims(claims_from(near))["latency"].sentences[-1] == "The two spreads overlap: the difference may be noise."
    apart = StoryFacts(
        RunIdentity("a"),
        RunIdentity("b"),
        clean=(Latency(1.0, 0.9, 1.2, 5, True, ""), Latency(0.5, 0.4, 0.6, 5, True, "")),
    )
    assert not any("noise" in s for s in claims(claims_from(apart))["latency"].sentences)


def test_without_a_bench_the_trace_speaks_and_says_so() -> None:
    traced = StoryFacts(
        RunIdentity("a"),
        RunIdentity("b"),
        clean=(Latency(1.0, 0.9, 1.2, 5, True, ""), None),
        traced=(TracedLatency(4.0, 3.9, 4.2, 10), TracedLatency(2.0, 1.9, 2.1, 10)),
    )
    said = claims(claims_from(traced))["latency"].sentences
    assert said[0].startswith("With nsys attached, which slows launches") and said[0].endswith("2× faster.")
    assert said[1] == "No latency without a profiler is recorded for after."
    found = median_latencies(traced)
    assert found is not None and (found.before_ms, found.after_ms, found.verdict) == (4.0, 2.0, "2× faster")
    assert not found.without_profiler and "nsys attached" in found.origin


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("torch-fp16-eager-b8", "trt86-fp16-stream-b8", "{} → {} kernels per inference. Same model, same precision."),
        (
            "torch-fp32-eager-b8",
            "trt86-int8-stream-b8",
            "{} → {} kernels per inference. Same model, FP32 before and INT8 after.",
        ),
        ("torch-fp16-eager-b8", "torch-fp16-compile-b8", "{} → {} kernels per inference. Same model, same precision."),
        ("trt86-fp16-stream-b8", "torch-fp16-eager-b8", "TensorRT before, PyTorch after: swap the two traces."),
        ("torch-fp32-eager-b8", GRAPH_LEVEL, "The number of kernels per inference is not known on either side."),
    ],
)
def test_the_headline_says_what_the_evidence_supports(before: str, after: str, expected: str) -> None:
    found = evidence(before, after)
    counts = [side.inferences.kernels_per_inference[0] for side in found.sides.values()]
    assert headline(story_facts(found)) == expected.format(*(number(c) for c in counts))


def test_the_headline_claims_nothing_that_is_not_known() -> None:
    counts = BeforeAfter(3.0, 1.0)

    def said(before: RunIdentity, after: RunIdentity, codes: frozenset[str] = frozenset()) -> str:
        return headline(StoryFacts(before, after, kernels=counts, pair_codes=codes))

    known = RunIdentity("a", "m", "fp16", 8)
    assert said(known, known) == "3 → 1 kernel per inference. Same model, same precision."
    assert "precision is not known" in said(known, RunIdentity("b", "m", None, 8))
    assert "different batch (8 before, 1 after)" in said(known, RunIdentity("b", "m", "fp16", 1))
    unknown = said(RunIdentity("a"), RunIdentity("b"), frozenset({"unknown_model"}))
    assert unknown.endswith("Whether both run the same model is not known.")


figures = st.none() | st.floats(min_value=1e-6, max_value=1e9)
texts = st.none() | st.sampled_from(("resnet50", "NVIDIA H200", "x"))


@st.composite
def _latency(draw: Any) -> Latency | None:
    p50 = draw(st.floats(min_value=1e-5, max_value=1e6))
    spread = draw(st.booleans())
    low, high = (p50 * draw(st.floats(0.5, 1.0)), p50 * draw(st.floats(1.0, 2.0))) if spread else (None, None)
    return draw(
        st.none()
        | st.just(Latency(p50, low, high, draw(st.none() | st.integers(1, 10**6)), draw(st.booleans()), "how"))
    )


@st.composite
def _traced(draw: Any) -> TracedLatency | None:
    median = draw(st.floats(min_value=1e-5, max_value=1e6))
    return draw(st.none() | st.just(TracedLatency(median, median * 0.9, median * 1.1, draw(st.integers(1, 1000)))))


@st.composite
def _run(draw: Any) -> RunIdentity:
    batch = draw(st.none() | st.integers(1, 512))
    return RunIdentity(
        "a run", draw(texts), None, batch, draw(st.none() | st.just((1, 3, 224, 224))), draw(texts), draw(texts)
    )


@st.composite
def _pair(draw: Any) -> BeforeAfter:
    return BeforeAfter(draw(figures), draw(figures), "a reason")


@st.composite
def _quality(draw: Any) -> Quality | None:
    kind = draw(st.sampled_from(("accuracy", "agreement")))
    found = Quality(
        kind, draw(st.floats(0, 100)), 64, draw(figures), None, draw(st.none() | st.just("all outputs are 0"))
    )
    return draw(st.none() | st.just(found))


@st.composite
def _facts(draw: Any) -> StoryFacts:
    parts = draw(st.lists(st.tuples(st.sampled_from(("same", "idle", "other")), st.integers(-(10**9), 10**9))))
    after = draw(st.integers(1, 10**9))
    split = draw(st.sampled_from((parts, "no ledger")))
    return StoryFacts(
        draw(_run()),
        draw(_run()),
        (draw(_latency()), draw(_latency())),
        (draw(_traced()), draw(_traced())),
        "a reason",
        split,
        None if isinstance(split, str) else (after + sum(ns for _, ns in parts), after),
        draw(_pair()),
        draw(_pair()),
        draw(st.just("a reason") | st.just({"kept": 3, "fused": 1})),
        draw(_pair()),
        draw(_pair()),
        draw(_pair()),
        (draw(st.integers(0, 9)), 0),
        draw(_pair()),
        (draw(_quality()), draw(_quality())),
    )


@given(_facts())
def test_what_is_not_known_is_never_stated(facts: StoryFacts) -> None:
    told = claims(claims_from(facts))
    text = {i: " ".join(c.sentences) for i, c in told.items()}
    assert claims_from(facts) == claims_from(facts)
    for claim in told.values():
        assert claim.sentences and all(claim.sentences) and claim.how
        assert not re.search(r"\b(None|nan|inf)\b|—", " ".join(claim.sentences))
    kernels_known = facts.kernels.known is not None
    assert told["kernels"].answered == kernels_known == ("went from" in text["kernels"])
    latency_known = all(facts.clean) or all(facts.traced)
    assert told["latency"].answered == latency_known == (median_latencies(facts) is not None)
    if not latency_known or different_work(facts):
        assert not CONCLUSIONS.search(text["latency"])
    if facts.by_name_pct.known is None:
        assert "of the kernel time before" not in text["tensor_cores"] and "unknown" in text["tensor_cores"]
    if facts.sampled_pct.before is None and facts.sampled_pct.after is None:
        assert "counter averaged" not in text["tensor_cores"]
    if facts.minimum_bytes.known is None or sum(facts.minimum_unknown):
        assert not CONCLUSIONS.search(text["memory"])  # a sum that leaves rows out gives no ratio
    if isinstance(facts.split, str):
        assert not told["origin"].answered and "attached" not in text["origin"]
    for name, found in zip(("Before", "After"), facts.quality, strict=True):
        says = f"{name}: top-1 accuracy" in text["quality"] or f"{name}: the same top-1" in text["quality"]
        assert says == (found is not None and found.doubt is None)
        if found is not None and found.kind == "agreement" and says:
            assert "agreement, not accuracy" in text["quality"]


@given(_facts())
def test_the_direction_is_that_of_the_figures(facts: StoryFacts) -> None:
    said = claims(claims_from(facts))["latency"].sentences[0]
    found = facts.clean if all(facts.clean) else facts.traced
    if not all(found) or different_work(facts):
        return
    b, a = (x.p50_ms if isinstance(x, Latency) else x.median_ms for x in found if x is not None)
    expected = "the same within 0.5 %" if abs(b / a - 1) < 0.005 else "faster" if b > a else "slower"
    assert said.endswith(f"{expected}.")


@given(_facts())
def test_the_subject_says_of_both_only_what_both_share(facts: StoryFacts) -> None:
    said = subject(facts)
    assert ("batch" in said) == (facts.before.batch is not None and facts.before.batch == facts.after.batch)


BAD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.just(float("nan")), st.just(float("inf")), st.just(-1)
)


@given(BAD, BAD)
def test_figures_of_a_manifest_that_are_none_are_absent(bad: Any, other: Any) -> None:
    document = {
        "format": "profiler-run/1",
        "trace": "t.sqlite",
        "bench": {"latency_ms": {"p50": bad, "n": other}},
        "latency_without_profiler": {"value_ms": bad},
        "accuracy": {"agreement": {"top1_agreement_pct": bad}, "accuracy": other},
    }
    facts = _FakeFacts(parse_manifest(document, "x"))
    assert latency_without_profiler(facts) is None  # type: ignore[arg-type]
    assert quality(facts) is None  # type: ignore[arg-type]


class _FakeFacts:
    def __init__(self, manifest: Any) -> None:
        self.manifest = manifest
