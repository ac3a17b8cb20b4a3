"""The numbers of the story: what is known of two traces, each with the reason where it is not. :mod:`.story` puts them into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from profiler.analysis.compare import Comparison
from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.rows import NEW
from profiler.analysis.run.dram import SampledBytes
from profiler.analysis.run.measured import Latency, Quality, latency_without_profiler, quality
from profiler.analysis.run.run import Run
from profiler.report.evidence import Evidence


@dataclass(frozen=True)
class BeforeAfter:
    """A figure before and after; None where it is not known, and then ``reason`` says why."""

    before: float | None
    after: float | None
    reason: str | None = None

    @property
    def known(self) -> tuple[float, float] | None:
        return None if self.before is None or self.after is None else (self.before, self.after)


@dataclass(frozen=True)
class RunIdentity:
    """Who one side is; what is not known is None."""

    title: str
    model: str | None = None
    precision: str | None = None
    batch: int | None = None
    input_shape: tuple[int, ...] | None = None
    gpu: str | None = None
    weights: str | None = None
    framework: str | None = None


@dataclass(frozen=True)
class TracedLatency:
    """Median, smallest and largest of a figure over the ``n`` inferences of a trace, in ms."""

    median_ms: float
    low_ms: float
    high_ms: float
    n: int


@dataclass(frozen=True)
class StoryFacts:
    """The numbers that the story is made of; sides are (before, after) or a :class:`BeforeAfter`.

    Attributes:
        clean: latency without a profiler.
        traced: latency with nsys attached.
        split: id and nanoseconds saved of each part of the latency difference; text: why there is none.
        split_ns: the two latencies that were split.
        kernels, kernel_time_ms: per inference.
        statuses: rows of the fusion ledger per status; text: why there is no ledger.
        added_kernels: kernels per inference that are only after and belong to no unit of the model.
        by_name_pct: kernel time whose kernels' names say Tensor Cores; ``sampled_pct``: the sampled counter.
        minimum_bytes: computed minimum of memory traffic per inference, of the rows that have one.
        minimum_unknown: rows without a computed minimum.
        dram_bytes: sampled.
    """

    before: RunIdentity
    after: RunIdentity
    clean: tuple[Latency | None, Latency | None] = (None, None)
    traced: tuple[TracedLatency | None, TracedLatency | None] = (None, None)
    traced_reason: str | None = None
    split: Sequence[tuple[str, int]] | str = "not computed"
    split_ns: tuple[int, int] | None = None
    kernels: BeforeAfter = BeforeAfter(None, None)
    kernel_time_ms: BeforeAfter = BeforeAfter(None, None)
    statuses: Mapping[str, int] | str = "not computed"
    by_name_pct: BeforeAfter = BeforeAfter(None, None)
    sampled_pct: BeforeAfter = BeforeAfter(None, None)
    minimum_bytes: BeforeAfter = BeforeAfter(None, None)
    minimum_unknown: tuple[int, int] = (0, 0)
    dram_bytes: BeforeAfter = BeforeAfter(None, None)
    quality: tuple[Quality | None, Quality | None] = (None, None)
    added_kernels: float = 0.0
    pair_codes: frozenset[str] = frozenset()
    """What the check of the pair found (see :class:`profiler.analysis.pair.PairFinding`)."""


def story_facts(evidence: Evidence) -> StoryFacts:
    """The numbers of the story, from the comparison, the ledger and the manifests."""
    comparison, split, traffic = evidence.comparison, evidence.split, evidence.traffic
    before, after = comparison.before, comparison.after
    sampled = before.tensor_cores.sampled, after.tensor_cores.sampled
    if traffic is not None:
        minimum = BeforeAfter(
            traffic.before_bytes or None, traffic.after_bytes or None, "no row has known tensor shapes"
        )
        unknown, dram = (traffic.before_unknown, traffic.after_unknown), (traffic.before_sampled, traffic.after_sampled)
    else:  # sampling needs no ledger
        minimum, unknown, dram = (
            BeforeAfter(None, None, evidence.no_ledger),
            (0, 0),
            (before.sampled_bytes, after.sampled_bytes),
        )
    latency = comparison.metric("latency")
    return StoryFacts(
        before=run_identity(before),
        after=run_identity(after),
        clean=(latency_without_profiler(before.facts), latency_without_profiler(after.facts)),
        traced=(
            _traced(latency.before, latency.before_range, before.inferences.count),
            _traced(latency.after, latency.after_range, after.inferences.count),
        ),
        traced_reason=latency.reason,
        split=[(p.id, p.saved_ns) for p in split.parts] if isinstance(split, Decomposition) else split,
        split_ns=(split.before_latency_ns, split.after_latency_ns) if isinstance(split, Decomposition) else None,
        kernels=_metric(comparison, "kernels_per_inference"),
        kernel_time_ms=_metric(comparison, "kernel_time"),
        statuses=evidence.ledger.by_status if evidence.ledger else evidence.no_ledger or "",
        by_name_pct=_metric(comparison, "tensor_cores_yes"),
        sampled_pct=BeforeAfter(
            sampled[0].value_pct, sampled[1].value_pct, _reasons(sampled[0].reason, sampled[1].reason)
        ),
        minimum_bytes=minimum,
        minimum_unknown=unknown,
        dram_bytes=_dram(*dram),
        quality=(quality(before.facts), quality(after.facts)),
        added_kernels=_added(evidence.ledger) if evidence.ledger else 0.0,
        pair_codes=comparison.pair.codes,
    )


def run_identity(side: Run) -> RunIdentity:
    """Who a run is, as its trace and its manifest say."""
    facts = side.facts
    return RunIdentity(
        facts.title,
        facts.model,
        facts.precision,
        facts.batch,
        facts.input_shape,
        facts.gpu,
        facts.manifest.weights if facts.manifest else None,
        facts.framework,
    )


def _added(ledger: Ledger) -> float:
    new = [row.after.kernels for row in ledger.rows if row.status == NEW and row.after is not None]
    return sum(new) / ledger.after_placement.inferences


def _traced(median: float | None, spread: tuple[float, float] | None, n: int) -> TracedLatency | None:
    return TracedLatency(median, *spread, n) if median is not None and spread is not None else None


def _metric(comparison: Comparison, metric_id: str) -> BeforeAfter:
    metric = comparison.metric(metric_id)
    return BeforeAfter(metric.before, metric.after, metric.reason)


def _dram(before: SampledBytes, after: SampledBytes) -> BeforeAfter:
    def total(side: SampledBytes) -> float | None:
        known = side.read_bytes is not None and side.written_bytes is not None
        return (side.read_bytes or 0.0) + (side.written_bytes or 0.0) if known else None

    return BeforeAfter(total(before), total(after), _reasons(before.reason, after.reason))


def _reasons(before: str | None, after: str | None) -> str | None:
    return "; ".join(f"{name}: {why}" for name, why in (("before", before), ("after", after)) if why) or None
