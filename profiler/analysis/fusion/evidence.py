"""Tensor Core evidence per ledger row: what names say, what the engine says, and what was sampled while the row ran.

A sample counts for a row only when its whole period lies inside one kernel of the row, so that no other kernel of the
stream is in it. Rows of short kernels have no such samples at common sampling rates; then there is no figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.operators import HEAVY_CATEGORIES
from profiler.analysis.fusion.placement import Placement
from profiler.analysis.fusion.rows import Cell, Row
from profiler.analysis.run.run import Run
from profiler.analysis.run.tensor_cores import gpu_index
from profiler.analysis.statistics import sum_by_code
from profiler.text import number

MIN_SAMPLES = 5
MIXED = "mixed"
_BUSY_PCT = 3.0  # whole percents are stored, and idle pipes read 0 or 1
_TENSOR_TYPES = ("fp16", "bf16", "int8", "fp8", "fp4", "int4")


@dataclass(frozen=True)
class RowEvidence:
    """Tensor Core evidence of one side of a row.

    Attributes:
        verdict: "yes", "no" or "unknown" of the row's products, and the ``rule`` of the longest; "mixed" where they differ.
        precision, tactic: as the engine's description gives them; None for a framework.
        sampled_pct: mean Tensor Active of the samples inside the row's kernels; None when fewer than :data:`MIN_SAMPLES`.
        disagreement: in words when the evidence contradicts itself; None otherwise.
    """

    row: Row
    side: str
    verdict: str
    rule: str
    precision: str | None
    tactic: str | None
    sampled_pct: float | None
    samples: int
    disagreement: str | None


def tensor_core_evidence(ledger: Ledger, side: str) -> list[RowEvidence]:
    """Evidence for every row of one side ("before" or "after") that has kernels."""
    analysis: Run = getattr(ledger, side)
    placed: Placement = getattr(ledger, f"{side}_placement")
    sampler, verdicts = _Sampler(analysis, placed), _Verdicts(placed)
    found = []
    for row in ledger.rows:
        cell: Cell | None = getattr(row, side)
        if cell is None or not cell.kernels:
            continue
        verdict, rule, alone = verdicts.of(cell)
        layer = cell.layers[0] if cell.layers else None
        mean, samples = sampler.mean(cell)
        precision = layer.precision if layer else None
        disagreement = _disagreement(cell, verdict, precision, mean if alone else None)
        found.append(
            RowEvidence(
                row, side, verdict, rule, precision, layer.tactic if layer else None, mean, samples, disagreement
            )
        )
    return found


class _Verdicts:
    """What the names of a row's kernels say."""

    def __init__(self, placed: Placement) -> None:
        work = placed.work
        self._kernel = (work["kind"] == "kernel").to_numpy()
        self._heavy = work["category"].isin(HEAVY_CATEGORIES).to_numpy()
        self._duration = work["duration_ns"].to_numpy()
        self._verdict, self._rule = (
            (work[c].cat.codes.to_numpy(), [str(label) for label in work[c].cat.categories])
            for c in ("tensor_cores", "rule")
        )

    def of(self, cell: Cell) -> tuple[str, str, bool]:
        """The verdict of the row's products (of all its kernels where it has none), its rule, and whether all its kernels share it.

        Products of which some use Tensor Cores and some do not are "mixed".
        """
        (verdicts, labels), (rules, ids) = self._verdict, self._rule
        rows = cell.rows[self._kernel[cell.rows]]
        is_alone = len(np.unique(verdicts[rows])) == 1
        heavy = self._heavy[rows]
        rows = rows[heavy] if heavy.any() else rows
        pairs, places = np.unique(verdicts[rows].astype(np.int32) * len(ids) + rules[rows], return_inverse=True)
        sums = sum_by_code(places, self._duration[rows], len(pairs))
        times = {(labels[p // len(ids)], ids[p % len(ids)]): int(t) for p, t in zip(pairs.tolist(), sums)}
        verdict, rule = max(times, key=lambda key: (times[key], key))
        if {"yes", "no"} <= {v for v, _ in times}:
            return MIXED, rule, False
        return verdict, rule, is_alone


def _disagreement(cell: Cell, verdict: str, precision: str | None, sampled: float | None) -> str | None:
    is_product = any(c in HEAVY_CATEGORIES for c in cell.categories)
    if verdict == "no" and sampled is not None and sampled >= _BUSY_PCT:
        return f"the name says no, and Tensor Active was {number(sampled)} % while it ran"
    if verdict == "yes" and sampled is not None and sampled == 0:
        return "the name says yes, and Tensor Active was 0 while it ran"
    if verdict == "no" and is_product and precision in _TENSOR_TYPES:
        return f"the name says no, and the layer computes a product in {precision}"
    return None


class _Sampler:
    """Samples whose whole period lies inside a kernel."""

    def __init__(self, analysis: Run, placed: Placement) -> None:
        series = analysis.trace.gpu_metrics.tensor_active(gpu_index(analysis.trace))
        period = series.period_ns if series else None
        n = len(placed.work)
        self._count, self._sum = np.zeros(n, dtype=np.int64), np.zeros(n)
        if series is None or period is None:
            return
        starts = placed.work["start_ns"].to_numpy()
        ends = starts + placed.work["duration_ns"].to_numpy()
        first = np.searchsorted(series.timestamps_ns, starts + int(period), side="left")
        last = np.searchsorted(series.timestamps_ns, ends, side="right")
        total = np.concatenate(([0.0], np.cumsum(series.values)))
        inside = last > first
        self._count = np.where(inside, last - first, 0)
        self._sum = np.where(inside, total[np.maximum(last, first)] - total[first], 0.0)

    def mean(self, cell: Cell) -> tuple[float | None, int]:
        rows = cell.rows
        samples = int(self._count[rows].sum())
        return (float(self._sum[rows].sum()) / samples if samples >= MIN_SAMPLES else None), samples
