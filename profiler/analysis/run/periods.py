"""Inferences where no range marks them: the shortest sequence of kernels, or of CUDA graphs, that a program launches again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiler.trace.arrays import IntArray

_MAX_SYMBOLS = 32
_MAX_PERIODS = 64
_MIN_COVERAGE = 0.5
_NEARLY_BEST = 0.95
_CLEAR_GAP = 2.0
_WIDE_GAP = 5.0


@dataclass(frozen=True)
class Period:
    """A repetition in a sequence.

    Attributes:
        first: where it begins.
        length: how many launches make one repetition.
        repeats: how many whole repetitions there are.
        coverage: share of the weight that lies in them.
        is_whole: it is the sequence from its first launch to its last.
        gap_ratio: the usual pause before a repetition over the longest usual pause inside one; None where pauses are not known.
    """

    first: int
    length: int
    repeats: int
    coverage: float
    is_whole: bool
    gap_ratio: float | None

    @property
    def is_clear(self) -> bool:
        """Whether it is more than the equal layers of one inference: nothing is left over, or a pause parts the repetitions."""
        return self.is_whole or (self.gap_ratio is not None and self.gap_ratio >= _CLEAR_GAP)


def find_period(
    symbols: IntArray,
    weights: IntArray,
    times: IntArray,
    count: int | None = None,
    shortest: int = 3,
) -> Period | None:
    """The shortest period that explains a sequence.

    Args:
        symbols: what was launched, a code each, in order of launch.
        weights: GPU time of each.
        times: when each was launched.
        count: how many repetitions there have to be; None: 3 or more, and clear ones (:attr:`Period.is_clear`).
        shortest: the shortest period that is considered, in launches.
    """
    n, total = len(symbols), int(weights.sum())
    if n < 2 or not total or (count is not None and count > n):
        return None
    cumulated = np.concatenate(([0], np.cumsum(weights, dtype=np.int64)))
    found: list[Period] = []
    lengths = _lengths(symbols, count)
    if count is None:
        lengths = sorted({*lengths, *_lengths_between_pauses(times)})
    for length in lengths:
        if length < (shortest if count is None else 1) or length > n:
            continue
        period = _repetition(symbols, cumulated, times, length)
        if period is None or period.coverage < _MIN_COVERAGE:
            continue
        if (count is None and period.repeats >= 3) or (count is not None and period.repeats == count):
            found.append(period)
        elif count is not None and period.repeats % count == 0 and period.is_whole:
            k = period.repeats // count
            found.append(Period(period.first, length * k, count, period.coverage, True, period.gap_ratio))
    best = max((p.coverage for p in found), default=0.0)
    good = [p for p in found if p.coverage >= _NEARLY_BEST * best and (count is not None or p.is_clear)]
    shortest_one = min(good, key=lambda p: p.length, default=None)
    if shortest_one is None or (shortest_one.gap_ratio or 0.0) >= _CLEAR_GAP or count is not None:
        return shortest_one
    # equal layers repeat without a pause; where longer groups of them are parted by a wide one, those are what the program repeats
    parted = [p for p in good if (p.gap_ratio or 0.0) >= _WIDE_GAP]
    return min(parted, key=lambda p: p.length, default=shortest_one)


def _lengths_between_pauses(times: IntArray) -> set[int]:
    """The usual number of launches between two pauses that are far longer than most."""
    pauses = np.diff(times)
    if len(pauses) < 2:
        return set()
    wide = np.flatnonzero(pauses > _WIDE_GAP * max(float(np.percentile(pauses, 75)), 1.0))
    lengths, often = np.unique(np.diff(wide), return_counts=True)
    return {int(v) for v in lengths[np.argsort(-often, kind="stable")[:3]]}


def _lengths(symbols: IntArray, count: int | None) -> list[int]:
    """Candidates: the usual distances of a launch to the next one of the same name; a name that occurs once gives the period itself."""
    _, inverse, counts = np.unique(symbols, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)))
    found = {len(symbols) // count} if count else set()
    if count == 1:
        return [len(symbols)]
    rare = [c for c in np.argsort(counts, kind="stable") if counts[c] >= 2][:_MAX_SYMBOLS]
    for code in rare:
        gaps = np.diff(order[starts[code] : starts[code + 1]])
        values, often = np.unique(gaps, return_counts=True)
        found.update(int(v) for v in values[np.argsort(-often, kind="stable")[:3]])
        # a name that comes several times in each repetition: the distance to the next but k
        for k in range(2, 5):
            if len(gaps) >= 2 * k:
                sums = np.add.reduceat(gaps[: len(gaps) // k * k], np.arange(0, len(gaps) // k * k, k))
                values, often = np.unique(sums, return_counts=True)
                found.add(int(values[np.argmax(often)]))
    return sorted(found)[:_MAX_PERIODS]


def _repetition(symbols: IntArray, cumulated: IntArray, times: IntArray, length: int) -> Period | None:
    """The longest stretch in which every launch equals the one ``length`` later, cut into whole repetitions."""
    n = len(symbols)
    if length == n:
        return Period(0, n, 1, 1.0, True, None)
    equal = symbols[:-length] == symbols[length:]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], equal.astype(np.int8), [0]))))
    if not len(edges):
        return None
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    first, last = int(starts[longest]), int(ends[longest]) + length
    phase, ratio = _phase(times[first:last], length)
    first += phase
    repeats = (last - first) // length
    if repeats < 1:
        return None
    last = first + repeats * length
    coverage = float(cumulated[last] - cumulated[first]) / float(cumulated[-1])
    return Period(first, length, repeats, coverage, first == 0 and last == n, ratio)


def _phase(times: IntArray, length: int) -> tuple[int, float | None]:
    """Where a repetition begins: after the longest usual pause, if one stands out; and by how much it does."""
    repeats = (len(times) - 1) // length
    if repeats < 2 or length < 2:
        return 0, None
    pauses = np.diff(times)[: repeats * length].reshape(repeats, length)
    usual = np.median(pauses, axis=0)  # usual[k]: the pause before the launch k + 1
    order = np.argsort(usual)
    longest, second = float(usual[order[-1]]), float(usual[order[-2]])
    if longest <= 0:
        return 0, None
    ratio = longest / second if second > 0 else float("inf")
    return ((int(order[-1]) + 1) % length if ratio >= _CLEAR_GAP else 0), ratio
