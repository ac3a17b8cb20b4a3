"""The comparison as an argument: six questions, each answered in plain sentences made from the figures alone.

No model writes here: the same figures give the same text. What is not known is said to be unknown, with the reason, and no
sentence draws a conclusion from it. Texts are plain: whoever shows them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiler.analysis.fusion.rows import ABSORBED, FUSED, KEPT, UNEXPLAINED
from profiler.report.evidence import Evidence
from profiler.report.story_facts import BeforeAfter, StoryFacts, story_facts
from profiler.text import number, plural, times, with_unit

_SAME = 0.005  # ratios closer to 1 than this are called the same
_MAX_PARTS = 3
_PARTS = {
    "vanished": "kernels of modules that are fused or folded away",
    "same": "kernels of modules that run on both sides",
    "layout": "layout and type conversions",
    "added": "kernels that belong to no module",
    "unexplained": "unexplained kernels",
    "copies": "memory copies and sets",
    "overlap": "overlapping GPU work",
    "idle": "GPU idle time between kernels",
    "host": "host time before and after the GPU work",
}
"""Parts of a decomposition, in words that hold whether they shrank or grew."""


@dataclass(frozen=True)
class Claim:
    """One step of the argument.

    Attributes:
        id: "latency", "origin", "kernels", "tensor_cores", "memory" or "quality".
        question: its heading.
        sentences: the answer; the first is the one for a summary.
        how: how we know: source tables, rules, formulas, sampling; one text a figure.
        answered: False when the answer is that it is not known.
    """

    id: str
    question: str
    sentences: tuple[str, ...]
    how: tuple[str, ...]
    answered: bool


def story(evidence: Evidence) -> tuple[Claim, ...]:
    """The argument about two traces, in order; none about two that are no pair."""
    return () if evidence.comparison.pair.refusal else claims_from(story_facts(evidence))


def sentences(evidence: Evidence) -> list[str]:
    """The summary: which runs are compared, then the first sentence of every claim that is answered."""
    facts, refusal = story_facts(evidence), evidence.comparison.pair.refusal
    if refusal:
        return [subject(facts), refusal]
    return [subject(facts), *(c.sentences[0] for c in claims_from(facts) if c.answered)]


def claims_from(facts: StoryFacts) -> tuple[Claim, ...]:
    """The six claims, in the order of the argument."""
    return (_latency(facts), _origin(facts), _kernels(facts), _tensor_cores(facts), _memory(facts), _quality(facts))


def headline(facts: StoryFacts) -> str:
    """“282 → 58 kernels per inference. Same model, same precision.”: only what the evidence supports."""
    known = facts.kernels.known
    if "reversed" in facts.pair_codes:
        return "TensorRT before, PyTorch after: swap the two traces."
    if known is None:
        return f"The number of kernels per inference is not known {_missing_sides(facts.kernels)}."
    count = f"{number(known[0])} → {plural(known[1], 'kernel')} per inference."
    return f"{count} {_sameness(facts)}"


def title(evidence: Evidence) -> str:
    """The headline of a hand-over: :func:`headline`, unless the two are no pair."""
    if evidence.comparison.pair.refusal:
        return "Two traces that are not compared"
    return headline(story_facts(evidence))


def _missing_sides(figure: BeforeAfter) -> str:
    missing = [name for name, value in (("before", figure.before), ("after", figure.after)) if value is None]
    return "on either side" if len(missing) == 2 else missing[0]


def _sameness(facts: StoryFacts) -> str:
    """What is the same on both sides besides the framework, in one sentence."""
    if facts.pair_codes & {"unknown_model", "similar_model"}:
        return "Whether both run the same model is not known."
    if different := _differences(facts):
        return f"Same model, different {', '.join(different)}."
    b, a = facts.before.precision, facts.after.precision
    if b is None or a is None:
        return "Same model; the precision is not known on both sides."
    return "Same model, same precision." if b == a else f"Same model, {b.upper()} before and {a.upper()} after."


def subject(facts: StoryFacts) -> str:
    """Which runs are compared; only what both sides share is said of both."""
    b, a = facts.before, facts.after
    model = f"{b.model}: " if b.model and b.model == a.model else ""
    where = f" on {b.gpu}" if b.gpu and b.gpu == a.gpu else ""
    size = f", batch {b.batch}" if b.batch and b.batch == a.batch else ""
    is_titled = bool(size) and all(f"{size}," in f"{title}," for title in (b.title, a.title))
    return f"{model}{b.title} → {a.title}{where}{'' if is_titled else size}."


def different_work(facts: StoryFacts) -> str | None:
    """Why a ratio of the two latencies would be no speedup: what is known to differ; None when nothing is."""
    b, a = facts.before.model, facts.after.model
    found = [f"model ({b} before, {a} after)"] if b is not None and a is not None and b != a else []
    found += _differences(facts)
    return f"not the same work: different {', '.join(found)}" if found else None


def _differences(facts: StoryFacts) -> list[str]:
    found = []
    for name, label in (("batch", "batch"), ("input_shape", "input shape"), ("gpu", "GPU")):
        b, a = getattr(facts.before, name), getattr(facts.after, name)
        if b is not None and a is not None and b != a:
            found.append(f"{label} ({_shown(b)} before, {_shown(a)} after)")
    return found


def _shown(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def speed(before_ms: float, after_ms: float) -> str:
    """“9.12× faster”, “1.30× slower”, or “the same within 0.5 %”."""
    ratio = before_ms / after_ms
    if abs(ratio - 1) < _SAME:
        return "the same within 0.5 %"
    return f"{times(ratio)} faster" if ratio > 1 else f"{times(1 / ratio)} slower"


@dataclass(frozen=True)
class MedianLatencies:
    """The medians of both sides that a speedup is made of.

    Attributes:
        verdict: “9.12× faster”, or why there is no ratio.
        origin: how both were measured.
        doubt: why the difference may be noise; None without one.
        without_profiler: whether both were measured, or stated, without nsys attached.
    """

    before_ms: float
    after_ms: float
    verdict: str
    origin: str
    doubt: str | None
    without_profiler: bool


def median_latencies(facts: StoryFacts) -> MedianLatencies | None:
    """Those without a profiler where both sides have one, else those of the traces; None when neither is known of both."""
    b, a = facts.clean
    different = different_work(facts)
    if b is not None and a is not None:
        stated = " and ".join(name for name, side in (("before", b), ("after", a)) if not side.measured)
        origin = f"no profiler attached; {stated}: stated, not measured" if stated else "measured without a profiler"
        doubt = _overlap((b.low_ms, b.high_ms), (a.low_ms, a.high_ms))
        return MedianLatencies(b.p50_ms, a.p50_ms, different or speed(b.p50_ms, a.p50_ms), origin, doubt, True)
    t, u = facts.traced
    if t is None or u is None or t.median_ms <= 0 or u.median_ms <= 0:
        return None
    doubt = _overlap((t.low_ms, t.high_ms), (u.low_ms, u.high_ms))
    origin = "nsys attached, which slows launches"
    return MedianLatencies(t.median_ms, u.median_ms, different or speed(t.median_ms, u.median_ms), origin, doubt, False)


def _overlap(first: tuple[float | None, float | None], second: tuple[float | None, float | None]) -> str | None:
    (a, b), (c, d) = first, second
    if a is None or b is None or c is None or d is None:
        return None
    return "The two spreads overlap: the difference may be noise." if max(a, c) <= min(b, d) else None


def _latency(facts: StoryFacts) -> Claim:
    how = [
        "Without a profiler: CUDA events around each inference, from the manifest of the run (bench.latency_ms: p50, min, p99, n).",
        "With nsys: NVTX_EVENTS holds the range of an inference, CUPTI_ACTIVITY_KIND_KERNEL, _MEMCPY and _MEMSET its GPU work. "
        "Latency = start of the range to the end of its last GPU work; median over the inferences.",
        "Faster = median before ÷ median after.",
    ]
    found, question = median_latencies(facts), "How much faster?"
    if found is None:
        why = facts.traced_reason or "no latency was recorded"
        return Claim("latency", question, (f"The latency is unknown on at least one side: {why}",), tuple(how), False)
    medians = f"{number(found.before_ms, 'ms')} to {number(found.after_ms, 'ms')}: {found.verdict}."
    if found.without_profiler:
        said = [f"Without a profiler, the median inference went from {medians}", *_spreads(facts)]
    else:
        missing = " and ".join(name for name, side in zip(("before", "after"), facts.clean) if side is None)
        said = [
            f"With nsys attached, which slows launches, the median inference went from {medians}",
            f"No latency without a profiler is recorded for {missing}.",
        ]
    said += [found.doubt] if found.doubt and not different_work(facts) else []
    return Claim("latency", question, tuple(said), tuple(how), True)


def _spreads(facts: StoryFacts) -> list[str]:
    """The ranges behind two medians without a profiler, and where one of them is stated, by whom."""
    said, ranges = [], []
    for name, side in zip(("before", "after"), facts.clean):
        if side is None:
            continue
        if not side.measured:
            said.append(f"The latency {name} is stated, not measured: {side.how}.")
        elif side.low_ms is not None and side.high_ms is not None:
            n = f" (n = {side.n:,})" if side.n else ""
            ranges.append(f"{number(side.low_ms)} to {number(side.high_ms, 'ms')} {name}{n}")
    return [*([f"Minimum to p99: {', '.join(ranges)}."] if ranges else []), *said]


def _origin(facts: StoryFacts) -> Claim:
    how = (
        "The inference of median latency of each side, in nanoseconds: latency = host + GPU idle + kernels + copies − overlap, "
        "so the parts sum to the difference exactly.",
        "A kernel's part is the status of its row in the fusion ledger; layout conversions are recognised by kernel name.",
        "nsys was recording, which makes launches slower: the idle and host parts are larger than in production.",
    )
    question = "Where does the difference come from?"
    if isinstance(facts.split, str) or facts.split_ns is None:
        why = facts.split if isinstance(facts.split, str) else "no latencies to split"
        return Claim("origin", question, (f"Where the difference comes from is unknown: {why}",), how, False)
    saved = facts.split_ns[0] - facts.split_ns[1]
    took = f"took {_time(abs(saved))} {_direction(saved)}" if saved else "took equally long"
    ordered = sorted((p for p in facts.split if p[1]), key=lambda p: (-abs(p[1]), p[0]))
    shown = [(f"in {_PARTS.get(part, part)}", ns) for part, ns in ordered[:_MAX_PARTS]]
    rest = sum(ns for _, ns in ordered[_MAX_PARTS:])
    parts = [f"{_time(abs(ns))} {_direction(ns)} {where}" for where, ns in [*shown, ("in everything else", rest)] if ns]
    said = f"In the traces, with nsys attached, the median inference {took}{': ' if parts else ''}{', '.join(parts)}."
    return Claim("origin", question, (said,), how, True)


def _direction(saved: int) -> str:
    return "less" if saved > 0 else "more"


def _time(ns: int) -> str:
    return with_unit(ns / 1e6, "ms") if ns >= 1e6 else with_unit(ns / 1e3, "µs") if ns >= 1e3 else f"{ns} ns"


def _kernels(facts: StoryFacts) -> Claim:
    how = (
        "Kernels: rows of CUPTI_ACTIVITY_KIND_KERNEL whose launch (same correlationId and process in CUPTI_ACTIVITY_KIND_RUNTIME) "
        "lies inside the NVTX range of an inference, ÷ inferences. Kernel time: sum of their durations, median.",
        "What became of them: every kernel is in one row of the fusion ledger, by the module range that launched it before and "
        "by the layer range (or the engine's description) after.",
        "Kinds are inferred from kernel names by ordered rules; the page Kernels shows the rule behind each.",
    )
    question = "What became of the kernels?"
    known = facts.kernels.known
    if known is None:
        why = facts.kernels.reason or "not recorded"
        return Claim("kernels", question, (f"Kernels per inference are unknown: {why}",), how, False)
    said = [f"One inference went from {plural(known[0], 'kernel')} to {number(known[1])}."]
    time = facts.kernel_time_ms.known
    if time is not None:
        said.append(
            f"Kernel time per inference went from {with_unit(time[0], 'ms')} to {with_unit(time[1], 'ms')}{_change(*time)}."
        )
    said += _fates(facts)
    return Claim("kernels", question, tuple(said), how, True)


def _fates(facts: StoryFacts) -> list[str]:
    """What became of the model's units."""
    if isinstance(facts.statuses, str):
        return [f"What became of the modules is unknown: {facts.statuses}"]
    kept, fused, absorbed, unexplained = (facts.statuses.get(s, 0) for s in (KEPT, FUSED, ABSORBED, UNEXPLAINED))
    said = [
        f"Of the model's {plural(kept + fused + absorbed, 'operation')}, {kept:,} still {_verb(kept, 'has', 'have')} kernels of "
        f"{_verb(kept, 'its', 'their')} own, {fused:,} {_verb(fused, 'is', 'are')} fused into another layer, and {absorbed:,} "
        f"{_verb(absorbed, 'is', 'are')} folded into another layer's weights or removed."
    ]
    if facts.added_kernels:
        by = "TensorRT" if facts.after.framework == "TensorRT" else "The run after"
        said.append(
            f"{by} added {plural(facts.added_kernels, 'kernel')} that {_verb(facts.added_kernels, 'belongs', 'belong')} to no module."
        )
    if unexplained:
        said.append(f"{plural(unexplained, 'row')} of the ledger {_verb(unexplained, 'is', 'are')} unexplained.")
    return said


def _verb(n: float, one: str, many: str) -> str:
    return one if n == 1 else many


def _change(before: float, after: float) -> str:
    if not after or not before:
        return ""
    ratio = before / after
    if abs(ratio - 1) < _SAME:
        return ", the same within 0.5 %"
    return f", {times(ratio)} lower" if ratio > 1 else f", {times(1 / ratio)} higher"


def _tensor_cores(facts: StoryFacts) -> Claim:
    how = (
        "By name: kernel time of the inferences whose kernels' demangled names say that they use Tensor Cores, ÷ all kernel time. "
        "Inferred from names by ordered rules; docs/verification.md compares them with hardware counters. "
        "Names that do not tell have a share of their own.",
        "Sampled: mean of the Tensor Active counter (GPU_METRICS) over the samples inside the GPU spans of the inferences. "
        "nsys stores whole percents. It says how busy the pipes were, not which kernels used them.",
        "Two kinds of evidence for two questions; they are never merged into one number.",
    )
    said, question = [], "Are the Tensor Cores used?"
    name, sampled = facts.by_name_pct, facts.sampled_pct
    if name.known is not None:
        b, a = name.known
        said.append(
            f"Kernels that use Tensor Cores, by name, took {with_unit(b, '%')} of the kernel time before and {with_unit(a, '%')} after."
        )
    said += _each("The sampled Tensor Active counter averaged", sampled, "%")
    answered = bool(said)
    if name.known is None:
        said.append(f"How much kernel time uses Tensor Cores, by name, is unknown: {name.reason or 'not recorded'}")
    if not answered:
        said.append(f"Sampled Tensor Active is unknown: {sampled.reason or 'not recorded'}")
    return Claim("tensor_cores", question, tuple(said), how, answered)


def _each(start: str, figure: BeforeAfter, unit: str) -> list[str]:
    """A sentence with the sides on which a figure is known; none where it is known on neither."""
    b, a = figure.before, figure.after
    if b is not None and a is not None:
        return [f"{start} {with_unit(b, unit)} before and {with_unit(a, unit)} after."]
    known = [(with_unit(value, unit), name) for value, name in ((b, "before"), (a, "after")) if value is not None]
    return [f"{start} {value} {name}; it is not known {_missing_sides(figure)}." for value, name in known]


def _memory(facts: StoryFacts) -> Claim:
    how = (
        "Computed: inputs, weights and outputs of every module once each, element count × element size, from the tensor "
        "shapes that TensorRT's layer descriptions and the manifest hold. No cache, padding or workspace is in it.",
        "Sampled: mean of nsys's DRAM read and write bandwidth counters (GPU_METRICS, whole percents) inside the GPU spans × "
        "peak bandwidth (TARGET_INFO_GPU.memoryBandwidth) × mean GPU span.",
        "The sampled figure is lower where data stays in the L2 cache. Two figures; never merged.",
    )
    said, question = [], "What happened to memory traffic?"
    known, unknown = facts.minimum_bytes.known, sum(facts.minimum_unknown)
    if known is not None:
        without = f" ({plural(unknown, 'row')} of unknown shape not counted)" if unknown else ""
        change = "" if unknown else _change(*known)
        said.append(
            f"Inputs, weights and outputs add up to {with_unit(known[0], 'bytes')} per inference before and "
            f"{with_unit(known[1], 'bytes')} after{change}{without}, computed from tensor shapes."
        )
    dram = facts.dram_bytes
    said += _each("Sampled DRAM traffic per inference was", dram, "bytes")
    if known is not None and any(d is not None and d < k for d, k in zip((dram.before, dram.after), known)):
        said.append("It is below the computed sum where tensors stay in the L2 cache and never reach DRAM.")
    answered = bool(said)
    if not answered:
        said.append(f"Memory traffic is unknown. Computed: {facts.minimum_bytes.reason or 'no tensor shapes'}")
        said.append(f"Sampled: {dram.reason or 'not recorded'}")
    return Claim("memory", question, tuple(said), how, answered)


def _quality(facts: StoryFacts) -> Claim:
    how = (
        "Accuracy: outputs against labels (accuracy.accuracy in the manifest of the run).",
        "Agreement: outputs against those of PyTorch FP32 on the same inputs (accuracy.agreement): rows whose largest output is at "
        "the same place, and SQNR = 10·log10(Σ reference² ÷ Σ (reference − output)²). It says nothing on whether either is right.",
    )
    question = "Does it still compute the same?"
    said, answered = [], False
    for name, found in (("After", facts.quality[1]), ("Before", facts.quality[0])):
        if found is None:
            continue
        images = plural(found.images, "input") if found.images else "its inputs"
        if found.doubt:
            said.append(f"{name}: the measured {found.kind} is not meaningful: {found.doubt}.")
        elif found.kind == "accuracy":
            said.append(f"{name}: top-1 accuracy {with_unit(found.top1_pct, '%')} of {images}.")
            answered = True
        else:
            noise = f", SQNR {number(found.sqnr_db)} dB" if found.sqnr_db is not None else ""
            said.append(
                f"{name}: the same top-1 as PyTorch FP32 for {with_unit(found.top1_pct, '%')} of {images}{noise} "
                "(agreement, not accuracy)."
            )
            answered = True
    missing = [name for name, found in zip(("before", "after"), facts.quality) if found is None]
    if missing:
        said.append(f"Neither accuracy nor agreement is recorded for {' and '.join(missing)}.")
    for name, weights in (("before", facts.before.weights), ("after", facts.after.weights)):
        if weights and not (name == "after" and weights == facts.before.weights):
            both = facts.before.weights == facts.after.weights
            said.append(f"Weights{'' if both else f' {name}'}: {weights}.")
    return Claim("quality", question, tuple(said), how, answered)
