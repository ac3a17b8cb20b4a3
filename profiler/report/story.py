"""The comparison as an argument: six questions, each answered in plain sentences made from the figures alone.

No model writes here: the same figures give the same text. What is not known is said to be unknown, with the reason, and no
sentence draws a conclusion from it. Texts are plain: whoever shows them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiler.analysis.fusion.rows import ABSORBED, FUSED, KEPT, NEW, UNEXPLAINED
from profiler.analysis.run.measured import Latency
from profiler.analysis.run.tensor_cores import SampledMetric
from profiler.report.evidence import Evidence
from profiler.report.story_facts import StoryFacts, TracedLatency, story_facts
from profiler.text import number, plural, with_unit

_SAME = 0.005  # ratios closer to 1 than this are called the same
_MAX_PARTS = 3
_PARTS = {
    "vanished": "kernels of units that only one side runs on their own",
    "same": "kernels of units that both sides run",
    "layout": "memory layout and type changes",
    "added": "kernels that serve no unit of the model",
    "unexplained": "unexplained kernels",
    "copies": "memory copies and sets",
    "overlap": "overlap of GPU work",
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
    """The summary: who is compared, then the first sentence of every claim that is answered."""
    facts, refusal = story_facts(evidence), evidence.comparison.pair.refusal
    if refusal:
        return [subject(facts), refusal]
    return [subject(facts), *(c.sentences[0] for c in claims_from(facts) if c.answered)]


def claims_from(facts: StoryFacts) -> tuple[Claim, ...]:
    """The six claims, in the order of the argument."""
    return (_latency(facts), _origin(facts), _kernels(facts), _tensor_cores(facts), _memory(facts), _quality(facts))


def subject(facts: StoryFacts) -> str:
    """Who is held against whom; only what both sides share is said of both."""
    b, a = facts.before, facts.after
    model = f"{b.model}: " if b.model and b.model == a.model else ""
    where = f" on {b.gpu}" if b.gpu and b.gpu == a.gpu else ""
    size = f", batch {b.batch}" if b.batch and b.batch == a.batch else ""
    is_titled = bool(size) and all(f"{size}," in f"{title}," for title in (b.title, a.title))
    return f"{model}{b.title} against {a.title}{where}{'' if is_titled else size}."


def different_work(facts: StoryFacts) -> str | None:
    """Why a ratio of the two latencies would be no speedup: what is known to differ; None when nothing is."""
    names = (("model", "model"), ("batch", "batch"), ("input_shape", "input shape"), ("gpu", "GPU"))
    found = []
    for name, label in names:
        b, a = getattr(facts.before, name), getattr(facts.after, name)
        if b is not None and a is not None and b != a:
            found.append(f"{label} ({_shown(b)} before, {_shown(a)} after)")
    return f"not the same work: other {', '.join(found)}" if found else None


def _shown(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def speed(before_ms: float, after_ms: float) -> str:
    """“9.12× faster”, “1.30× slower”, or “the same within 0.5 %”."""
    ratio = before_ms / after_ms
    if abs(ratio - 1) < _SAME:
        return "the same within 0.5 %"
    return f"{number(ratio)}× faster" if ratio > 1 else f"{number(1 / ratio)}× slower"


def speed_of(facts: StoryFacts) -> tuple[str, str] | None:
    """The headline and what it is made of: (“9.12× faster”, “4.23 → 0.464 ms …”); None when the latency is not known."""
    found = _latencies(facts)
    if found is None:
        return None
    (before, after, _), origin = found
    text = f"{number(before)} → {number(after)} ms"
    different = different_work(facts)
    return (text, different) if different else (speed(before, after), f"{text}, {origin}")


def _latencies(facts: StoryFacts) -> tuple[tuple[float, float, str | None], str] | None:
    """Medians of both sides, a doubt about their difference, and where they are from; measured ones before traced ones."""
    b, a = facts.clean
    if b is not None and a is not None:
        stated = " and ".join(name for name, side in (("before", b), ("after", a)) if not side.measured)
        how = f"without a profiler ({stated}: stated, not measured)" if stated else "measured without a profiler"
        return (b.p50_ms, a.p50_ms, _overlap((b.low_ms, b.high_ms), (a.low_ms, a.high_ms))), how
    t, u = facts.traced
    if t is not None and u is not None and t.median_ms > 0 and u.median_ms > 0:
        doubt = _overlap((t.low_ms, t.high_ms), (u.low_ms, u.high_ms))
        return (t.median_ms, u.median_ms, doubt), "with nsys attached, which slows launches"
    return None


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
    found = _latencies(facts)
    question = "How much faster?"
    if found is None:
        why = facts.traced_reason or "no latency was recorded"
        return Claim("latency", question, (f"The latency is unknown on a side: {why}",), tuple(how), False)
    (before, after, doubt), _ = found
    different = different_work(facts)
    verdict = different or speed(before, after)
    b, a = facts.clean
    said = []
    if b is not None and a is not None:
        said.append(f"Without a profiler, one inference went from {_clean(b)} to {_clean(a)}: {verdict}.")
    t, u = facts.traced
    if t is not None and u is not None:
        first = f"With nsys attached, which slows launches, the median went from {_nsys(t)} to {_nsys(u)}"
        said.append(f"{first}." if said else f"{first}: {verdict}.")
    if b is None or a is None:
        missing = " and ".join(name for name, side in (("before", b), ("after", a)) if side is None)
        said.append(f"No latency without a profiler is recorded for {missing}.")
    said += [doubt] if doubt and not different else []
    return Claim("latency", question, tuple(said), tuple(how), True)


def _clean(side: Latency) -> str:
    shown = f"{number(side.p50_ms)} ms"
    if not side.measured:
        return f"{shown} (stated: {side.how})"
    spread = f", {number(side.low_ms)} to {number(side.high_ms)} ms from the smallest to p99" if _spread(side) else ""
    return f"{shown} (p50{spread}{f', n = {side.n:,}' if side.n else ''})"


def _spread(side: Latency) -> bool:
    return side.low_ms is not None and side.high_ms is not None


def _nsys(side: TracedLatency) -> str:
    return f"{number(side.median_ms)} ms ({number(side.low_ms)} to {number(side.high_ms)} ms, n = {side.n:,})"


def _origin(facts: StoryFacts) -> Claim:
    how = (
        "The inference of median latency of each side, in nanoseconds: latency = host + GPU idle + kernels + copies − overlap, "
        "so the parts sum to the difference exactly.",
        "A kernel's part is the status of its row in the fusion ledger; memory layout changes are known by kernel names.",
        "nsys was recording, which makes launches slower: idle and host parts are larger than in production.",
    )
    question = "Where did it come from?"
    if isinstance(facts.split, str) or facts.split_ns is None:
        why = facts.split if isinstance(facts.split, str) else "no latencies to split"
        return Claim("origin", question, (f"Where the difference came from is unknown: {why}",), how, False)
    saved = facts.split_ns[0] - facts.split_ns[1]
    took = f"took {_time(abs(saved))} {_direction(saved)}" if saved else "took equally long"
    ordered = sorted((p for p in facts.split if p[1]), key=lambda p: (-abs(p[1]), p[0]))
    shown = [(f"in {_PARTS.get(part, part)}", ns) for part, ns in ordered[:_MAX_PARTS]]
    rest = sum(ns for _, ns in ordered[_MAX_PARTS:])
    parts = [f"{_time(abs(ns))} {_direction(ns)} {where}" for where, ns in [*shown, ("in all else", rest)] if ns]
    said = f"With nsys attached, the median inference {took}{': ' if parts else ''}{', '.join(parts)}."
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
        "Kinds are inferred from kernel names, by ordered rules; the page Kernels names the rule of each.",
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
            f"Its kernel time went from {with_unit(time[0], 'ms')} to {with_unit(time[1], 'ms')}{_less(*time)}."
        )
    if isinstance(facts.statuses, str):
        said.append(f"What became of them is unknown: {facts.statuses}")
    else:
        s = facts.statuses
        unexplained = plural(s.get(UNEXPLAINED, 0), "is", "are")
        said.append(
            f"Of the model's units, {s.get(KEPT, 0):,} kept kernels of their own, {s.get(FUSED, 0):,} are fused into the layer of "
            f"another, and of {s.get(ABSORBED, 0):,} nothing is left to compute; "
            f"{plural(s.get(NEW, 0), 'new row serves', 'new rows serve')} no unit, {unexplained} unexplained."
        )
    return Claim("kernels", question, tuple(said), how, True)


def _less(before: float, after: float) -> str:
    if not after or not before:
        return ""
    ratio = before / after
    if abs(ratio - 1) < _SAME:
        return ", the same within 0.5 %"
    return f", {number(ratio)}× less" if ratio > 1 else f", {number(1 / ratio)}× more"


def _tensor_cores(facts: StoryFacts) -> Claim:
    how = (
        "By name: kernel time of the inferences whose kernels' demangled names say that they use Tensor Cores, ÷ all kernel time. "
        "Inferred from names by ordered rules; docs/verification.md holds them against hardware counters. "
        "Undecided names are a share of their own.",
        "Sampled: mean of the Tensor Active counter (GPU_METRICS) over the samples inside the GPU spans of the inferences. "
        "nsys stores whole percents. It says how busy the pipes were, not which kernels used them.",
        "Two kinds of evidence for two questions; they are never merged into one number.",
    )
    said, question = [], "Are the Tensor Cores used?"
    name, sampled = facts.by_name_pct, facts.sampled_pct
    if name.known is not None:
        b, a = name.known
        said.append(
            "Kernels whose names say that they use Tensor Cores took "
            f"{with_unit(b, '%')} of the kernel time before, {with_unit(a, '%')} after."
        )
    else:
        said.append(f"How much kernel time uses Tensor Cores, by name, is unknown: {name.reason or 'not recorded'}")
    if sampled.before is None and sampled.after is None:
        said.append(f"Sampled Tensor Active is unknown: {sampled.reason or 'not recorded'}")
    else:
        said.append(
            f"Sampled, the Tensor pipes were active {_or_unknown(sampled.before, '%')} of the GPU time before, "
            f"{_or_unknown(sampled.after, '%')} after."
        )
    answered = name.known is not None or sampled.before is not None or sampled.after is not None
    return Claim("tensor_cores", question, tuple(said if name.known else said[::-1]), how, answered)


def _or_unknown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else with_unit(value, unit)


def _memory(facts: StoryFacts) -> Claim:
    how = (
        "Computed minimum: inputs, weights and outputs of every unit once each, element count × element size, from the tensor "
        "shapes that TensorRT's layer descriptions and the manifest hold. No cache, padding or workspace is in it.",
        "Sampled: mean of nsys's DRAM read and write bandwidth counters (GPU_METRICS, whole percents) inside the GPU spans × "
        "peak bandwidth (TARGET_INFO_GPU.memoryBandwidth) × mean GPU span.",
        "The sampled figure is lower where data stays in the L2 cache. Two figures; never merged.",
    )
    said, question = [], "What happened to memory traffic?"
    known, unknown = facts.minimum_bytes.known, sum(facts.minimum_unknown)
    if known is not None:
        without = f" ({plural(unknown, 'row')} without known shapes not counted)" if unknown else ""
        change = "" if unknown else _less(*known)
        said.append(
            f"One inference must move at least {with_unit(known[0], 'bytes')} before and {with_unit(known[1], 'bytes')} after"
            f"{change}{without}, computed from tensor shapes."
        )
    else:
        said.append(
            f"The computed minimum of memory traffic is unknown: {facts.minimum_bytes.reason or 'not computed'}"
        )
    dram = facts.dram_bytes
    if dram.before is None and dram.after is None:
        said.append(f"Sampled DRAM traffic is unknown: {dram.reason or 'not recorded'}")
    else:
        said.append(
            f"Sampled, DRAM moved {_or_unknown(dram.before, 'bytes')} per inference before, {_or_unknown(dram.after, 'bytes')} after."
        )
    answered = known is not None or dram.before is not None or dram.after is not None
    return Claim("memory", question, tuple(said if known else said[::-1]), how, answered)


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
            said.append(f"{name}: the {found.kind} that was measured says nothing: {found.doubt}.")
        elif found.kind == "accuracy":
            said.append(f"{name}: top-1 accuracy {with_unit(found.top1_pct, '%')} of {images}.")
            answered = True
        else:
            noise = f", SQNR {number(found.sqnr_db)} dB" if found.sqnr_db is not None else ""
            said.append(
                f"{name}: the same top-1 as the reference for {with_unit(found.top1_pct, '%')} of {images}{noise} "
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


def sampling(metric: SampledMetric) -> str | None:
    """“Tensor Active…: 975 samples at 20 kHz”; None without a sample."""
    if metric.value_pct is None:
        return None
    rate = f" at {number(metric.frequency_hz / 1e3)} kHz" if metric.frequency_hz else ""
    return f"{metric.counter}: {plural(metric.samples, 'sample')}{rate}"
