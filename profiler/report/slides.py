"""What the slides about two traces say: four to six of them, made from the evidence alone. Pure data; :mod:`profiler.charts` draws it.

A slide whose evidence is missing is left out, and the last one says so. Texts are plain: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from profiler.analysis.fusion.blocks import Block, block, blocks, most_collapsed
from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.strip import Strip, strip
from profiler.analysis.run.measured import latency_without_profiler
from profiler.analysis.run.run import Run
from profiler.report.evidence import Evidence
from profiler.report.notices import notices
from profiler.report.story import Claim, claims_from, headline, median_latencies, subject
from profiler.report.story_facts import BeforeAfter, StoryFacts, story_facts
from profiler.text import duration, listed, number, plural, signed, with_unit

_MAX_POINTS = 9
_QUESTIONS = {
    "latency": "Latency",
    "origin": "Where the difference comes from",
    "kernels": "Kernels per inference",
    "tensor_cores": "Use of Tensor Cores",
    "memory": "Memory traffic",
}
_VERDICTS = {"yes": "use Tensor Cores", "no": "do not", "unknown": "undetermined from the name"}


@dataclass(frozen=True)
class Figure:
    """A number to be read from the back of a room, and what it is."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Segment:
    """A part of a bar; ``key`` names its colour: a side, a verdict, "less" or "more"."""

    key: str
    value: float
    start: float = 0.0


@dataclass(frozen=True)
class Bar:
    label: str
    text: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Bars:
    """Horizontal bars on one axis from 0; ``legend``: key of a colour → its meaning."""

    bars: tuple[Bar, ...]
    legend: Mapping[str, str]


@dataclass(frozen=True)
class Slide:
    """One slide.

    Attributes:
        id: "count", "block", "time", "tensor_cores", "memory" or "unknown".
        title: its statement.
        points: what stands beside or below the picture, a sentence each.
        picture: what is drawn; None: points alone.
        sources: where the figures are from, for the foot of the slide.
        notes: how we know, for the speaker.
    """

    id: str
    title: str
    points: tuple[str, ...]
    sources: str
    picture: Mapping[str, Strip] | Block | Bars | None = None
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


def slides(evidence: Evidence) -> tuple[Slide, ...]:
    """The slides about two traces; of two that are no pair only why, and what each holds."""
    refusal = evidence.comparison.pair.refusal
    if refusal:
        return _not_a_pair(evidence, refusal)
    facts = story_facts(evidence)
    claims = {claim.id: claim for claim in claims_from(facts)}
    foot = _foot(evidence.sides)
    found = [
        _count(evidence, facts, claims["kernels"], foot),
        _most_collapsed(evidence, foot),
        _time(evidence, facts, claims["origin"], foot),
        _tensor_cores(evidence.sides, facts, claims["tensor_cores"], foot),
        _memory(facts, claims["memory"], foot),
    ]
    return (*(s for s in found if s is not None), _unknown(evidence, facts, claims))


def slides_of_one(name: str, run: Run) -> tuple[Slide, ...]:
    """The slides about one trace alone."""
    foot, cores = _foot({name: run}), run.tensor_cores
    made = strip(run)
    kernels = run.inferences.kernels_per_inference[0] if run.inferences.count else None
    figures = []
    latency = latency_without_profiler(run.facts)
    if latency is not None:
        how = "measured without a profiler" if latency.measured else f"stated: {latency.how}"
        figures.append(Figure(number(latency.p50_ms, "ms"), "latency, median", how))
    if made is not None:
        figures.append(Figure(duration(made.time_ns), "kernel time", "inference of median latency"))
    if kernels is not None:
        title = f"{plural(kernels, 'kernel')} per inference"
    else:
        title = f"{plural(run.trace.kernel_count, 'kernel')} in the trace"
    first = Slide("count", title, (run.facts.title,), foot, {name: made} if made else None, tuple(figures))
    found = [first]
    if run.trace.kernel_count:
        shares = _shares({name: run})
        text = "Kernel time by verdict. The verdicts are inferred from kernel names, not measured."
        head = f"Tensor Cores: {with_unit(cores.share_pct('yes'), '%')} of kernel time, by name"
        found.append(Slide("tensor_cores", head, (text,), foot, shares))
    missing = ["One trace is open, so nothing is compared: open a second trace of the same model."]
    missing += [run.inferences.statement] if not run.inferences.count else []
    missing += [run.trace.no_kernels_reason] if run.trace.no_kernels_reason else []
    missing += [f"Sampled Tensor Active is unknown: {cores.sampled.reason}"] if cores.sampled.reason else []
    return (*found, _closing(missing, {name: run}))


def _not_a_pair(evidence: Evidence, refusal: str) -> tuple[Slide, ...]:
    foot = _foot(evidence.sides)
    held = []
    for name, run in evidence.sides.items():
        per = run.inferences.kernels_per_inference[0] if run.inferences.count else None
        count = (
            f"{plural(run.trace.kernel_count, 'kernel')} in the trace"
            if per is None
            else f"{plural(per, 'kernel')} per inference"
        )
        held.append(f"{name}: {run.facts.title}, {count}.")
    first = Slide("count", "These two traces are not compared", (refusal, *held), foot)
    return first, _closing(["What became of the kernels: compare two runs of the same model."], evidence.sides)


def _count(evidence: Evidence, facts: StoryFacts, claim: Claim, foot: str) -> Slide:
    title, _, rest = headline(facts).partition(". ")
    if evidence.comparison.refusals:  # each side may well know its own
        title, rest = "Kernel counts are not compared", ""
    found, figures = median_latencies(facts), []
    if found is not None:
        text = f"{number(found.before_ms)} → {number(found.after_ms, 'ms')}"
        figures.append(Figure(text, f"latency: {found.verdict}", found.origin))
    time = facts.kernel_time_ms.known
    if time is not None:
        figures.append(
            Figure(_arrow(facts.kernel_time_ms, "ms"), "kernel time per inference", "sum of kernel durations, median")
        )
    if facts.by_name_pct.known is not None:
        figures.append(
            Figure(_arrow(facts.by_name_pct, "%"), "of kernel time uses Tensor Cores", "inferred from kernel names")
        )
    strips = evidence.strips if not evidence.comparison.refusals else {}
    points = [rest.rstrip("."), subject(facts)] if rest else [subject(facts)]
    points += evidence.comparison.refusals
    return Slide("count", title.rstrip("."), tuple(points), foot, strips or None, tuple(figures), claim.how)


def _arrow(figure: BeforeAfter, unit: str) -> str:
    before, after = with_unit(figure.before, unit), with_unit(figure.after, unit)
    value, _, its_unit = before.partition(" ")
    return f"{value if its_unit and after.endswith(f' {its_unit}') else before} → {after}"


def _most_collapsed(evidence: Evidence, foot: str) -> Slide | None:
    ledger = evidence.ledger
    groups = blocks(ledger) if ledger is not None else []
    if ledger is None or not groups or evidence.comparison.refusals:
        return None
    group = most_collapsed(groups)
    if group.before_kernels <= group.after_kernels:
        return None
    made = block(ledger, group)
    first, _, rest = made.sentence.partition(": ")
    points = tuple(part.rstrip(".") for part in rest.split("; ") if part)
    how = (
        f"Before, work is placed {ledger.before_placement.how}; after, {ledger.after_placement.how}.",
        f"The units of both sides were matched {ledger.match.statement}.",
        "Counts are per inference; the picture is the inference of median latency.",
    )
    source = f"Ledger: before from {ledger.before_placement.source}, after from {ledger.after_placement.source}. {foot}"
    return Slide("block", f"{made.label}: {first[0].lower()}{first[1:]}".rstrip("."), points, source, made, (), how)


def _time(evidence: Evidence, facts: StoryFacts, claim: Claim, foot: str) -> Slide | None:
    split = evidence.split
    if not isinstance(split, Decomposition):
        return None
    level, bars = (
        split.before_latency_ns,
        [Bar("before", duration(split.before_latency_ns), (Segment("before", split.before_latency_ns),))],
    )
    for part in split.parts:
        if part.before_ns or part.after_ns:
            low = min(level, level - part.saved_ns)
            key = "less" if part.saved_ns >= 0 else "more"
            text = f"{signed(-part.saved_ns / 1e3)} µs"
            bars.append(Bar(part.label, text, (Segment(key, abs(part.saved_ns), low),)))
            level -= part.saved_ns
    bars.append(Bar("after", duration(split.after_latency_ns), (Segment("after", split.after_latency_ns),)))
    title = f"Where the time went: {duration(split.before_latency_ns)} → {duration(split.after_latency_ns)} under nsys"
    points = list(claim.sentences)
    clean = median_latencies(facts)
    if clean is not None and clean.without_profiler:
        points.append(
            f"nsys slows launches. Without it: {number(clean.before_ms)} → {number(clean.after_ms, 'ms')}, {clean.verdict}."
        )
    else:
        points.append("nsys slows launches, so idle and host time are larger than in production.")
    legend = {"less": "less time", "more": "more time"}
    source = f"Inferences of median latency, {split.before_inference} and {split.after_inference}, split to the nanosecond. {foot}"
    return Slide("time", title, tuple(points), source, Bars(tuple(bars), legend), (), claim.how)


def _tensor_cores(sides: Mapping[str, Run], facts: StoryFacts, claim: Claim, foot: str) -> Slide | None:
    if facts.by_name_pct.known is None:
        return None
    title = f"Tensor Cores: {_arrow(facts.by_name_pct, '%')} of kernel time, by name"
    points = [*claim.sentences[1:], "The counter says how busy the Tensor pipes were, not which kernels used them."]
    return Slide(
        "tensor_cores",
        title,
        tuple(points),
        f"Kernel names by rules; GPU metrics sampled by nsys. {foot}",
        _shares(sides),
        (),
        claim.how,
    )


def _shares(sides: Mapping[str, Run]) -> Bars:
    bars = []
    for name, run in sides.items():
        start, segments = 0.0, []
        for verdict in _VERDICTS:
            share = run.tensor_cores.share_pct(verdict) or 0.0
            segments.append(Segment(verdict, share, start))
            start += share
        uses = with_unit(run.tensor_cores.share_pct("yes"), "%")
        bars.append(Bar(f"{name}: {uses} of the kernel time in kernels that use Tensor Cores", "", tuple(segments)))
    return Bars(
        tuple(bars), {key: f"kernels that {text}" if key != "unknown" else text for key, text in _VERDICTS.items()}
    )


def _memory(facts: StoryFacts, claim: Claim, foot: str) -> Slide | None:
    kinds = [("computed from shapes", facts.minimum_bytes), ("sampled in DRAM", facts.dram_bytes)]
    known = [(label, figure) for label, figure in kinds if figure.before is not None or figure.after is not None]
    if not known:
        return None
    bars = [
        Bar(f"{label}, {side}", with_unit(value, "bytes"), (Segment(side, value),))
        for label, figure in known
        for side, value in (("before", figure.before), ("after", figure.after))
        if value is not None
    ]
    title = f"Memory traffic, {known[0][0].split()[0]}: {_arrow(known[0][1], 'bytes')} per inference"
    source = f"Tensor shapes; DRAM bandwidth counters × peak bandwidth × GPU span. {foot}"
    return Slide("memory", title, claim.sentences, source, Bars(tuple(bars), {}), (), claim.how)


def _unknown(evidence: Evidence, facts: StoryFacts, claims: Mapping[str, Claim]) -> Slide:
    reasons: dict[str, list[str]] = {}
    if evidence.ledger is None:
        reasons[evidence.no_ledger or ""] = ["What became of the modules"]
    for claim in claims.values():
        if not claim.answered and ": " in claim.sentences[0]:
            reasons.setdefault(claim.sentences[0].partition(": ")[2], []).append(_QUESTIONS[claim.id])
    missing = [f"{heads[0]}{_also(heads[1:])}: {reason}" for reason, heads in reasons.items()]
    missing += _unexplained(evidence)
    missing += [s for s in claims["quality"].sentences if s.startswith(("Neither", "Weights"))]
    lacking = [name for name, side in zip(("before", "after"), facts.clean) if side is None]
    if lacking:
        missing.append(f"Latency without the profiler, {listed(lacking)}: measure it with python -m profiler bench.")
    for name, run in evidence.sides.items():
        share = run.tensor_cores.share_pct("unknown") if run.trace.kernel_count else None
        if share:
            missing.append(
                f"Tensor Cores {name}: undetermined from the name for {with_unit(share, '%')} of the kernel time."
            )
    said = {*evidence.comparison.refusals, evidence.comparison.pair.refusal}
    missing += [
        n.sentence for n in notices(w for w in evidence.comparison.warnings if w not in said) if not n.of_tensorrt
    ]
    return _closing(missing, evidence.sides)


def _also(heads: Sequence[str]) -> str:
    lower = [f"{head[0].lower()}{head[1:]}" for head in heads]
    return f"{''.join(f', {head}' for head in lower[:-1])} and {lower[-1]}" if lower else ""


def _unexplained(evidence: Evidence) -> Iterator[str]:
    if evidence.ledger is None:
        return
    for side, run in evidence.sides.items():
        cells = [getattr(row, side) for row in evidence.ledger.unexplained(side)]
        if cells:
            kernels, time = (
                sum(getattr(c, a) for c in cells) / run.inferences.count for a in ("kernels", "gpu_time_ns")
            )
            yield f"Unexplained {side}: {plural(kernels, 'kernel')}, {duration(time)} per inference."
    yield from evidence.ledger.advice


def _closing(missing: Sequence[str], sides: Mapping[str, Run]) -> Slide:
    """What is not known, and in the last place to what every figure of these traces is limited."""
    points = list(dict.fromkeys(m for m in missing if m))
    if len(points) > _MAX_POINTS:
        points = [*points[: _MAX_POINTS - 1], f"{len(points) - _MAX_POINTS + 1} more notes are in the report."]
    where = dict.fromkeys((run.facts.gpu, run.facts.batch) for run in sides.values())
    shown = listed(f"{gpu or 'an unknown GPU'}, batch {batch or 'unknown'}" for gpu, batch in where)
    points.append(f"Other GPUs and batch sizes: these figures hold for {shown}.")
    return Slide("unknown", "What these traces do not show", tuple(points), _foot(sides))


def _foot(sides: Mapping[str, Run]) -> str:
    """Which runs, where, recorded with what."""
    runs = "; ".join(f"{name}: {run.facts.title}" for name, run in sides.items())
    gpus = " and ".join(dict.fromkeys(run.facts.gpu or "unknown GPU" for run in sides.values()))
    versions = " and ".join(
        dict.fromkeys(str(run.trace.session.nsys_version or "of unknown version") for run in sides.values())
    )
    parts = [f"{name}: {run.trace.excerpt.statement}" for name, run in sides.items() if run.trace.excerpt]
    return f"{runs}. {gpus}, nsys {versions}.{' ' if parts else ''}{' '.join(parts)}"
