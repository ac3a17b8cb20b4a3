"""Which of many equal runs are not like the others.

Each figure of a trace is compared with the same figure of the other traces of its group. The measure is the modified z-score of
Iglewicz and Hoaglin, *How to Detect and Handle Outliers* (ASQC Basic References in Quality Control, vol. 16, 1993; also NIST/SEMATECH
e-Handbook of Statistical Methods, section 1.3.5.17)::

    score = 0.6745 · (x − median) / MAD        MAD = median(|x − median|)

A trace is an outlier when |score| > 3.5 *and* its distance from the median is worth speaking of (:class:`OutlierRule`): where all
traces agree to a thousandth, one that is off by a hundredth has a large score and is still no straggler. Where more than half
of the traces have the same value, the MAD is 0; then the mean absolute deviation takes its place, ``(x − median) / (1.253314 ·
mean(|x − median|))``, as IBM SPSS does. Both denominators estimate the standard deviation of a normal distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

THRESHOLD = 3.5
MIN_EFFECT_PCT = 5.0
MIN_TRACES = 5
MIN_INFERENCES_FOR_P99 = 100

MAD, MEAN_AD = "MAD", "mean absolute deviation"
_MAD_TO_SIGMA = 0.6745  # the third quartile of the standard normal distribution, as the authors round it
_MEAN_AD_TO_SIGMA = 1.253314  # sqrt(pi / 2)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OutlierRule:
    """When a trace is called an outlier.

    Attributes:
        threshold: the score beyond which a value is far out.
        min_effect_pct: the smallest difference that is reported: for times in percent of the group's median latency (of its
            median compute time where there are no inferences), for shares in percentage points.
        min_traces: groups of fewer traces are not judged: the median and the MAD of three or four values say little.
    """

    threshold: float = THRESHOLD
    min_effect_pct: float = MIN_EFFECT_PCT
    min_traces: int = MIN_TRACES

    @classmethod
    def of(cls, settings: Any) -> OutlierRule:
        """The rule of a result, from the settings in its document; the default where they do not say."""
        given = settings if isinstance(settings, dict) else {}
        names = ("threshold", "min_effect_pct", "min_traces")
        return cls(**{n: given[n] for n in names if isinstance(given.get(n), (int, float)) and given[n] > 0})


@dataclass(frozen=True)
class ComparedFigure:
    """A figure of a trace that is compared.

    Attributes:
        column: of the table of traces.
        unit: "ns", "%" or "kernels".
        makes_straggler: a high value makes the trace a straggler, not only an outlier.
    """

    column: str
    label: str
    unit: str
    makes_straggler: bool = False


METRICS = (
    ComparedFigure("latency_p50_ns", "latency, median", "ns", True),
    ComparedFigure("latency_p99_ns", "latency, 99th percentile", "ns"),
    # In a collective every rank waits for the slowest, whose own share of that time is the smallest: latencies are then alike,
    # and the time without collectives tells who it is.
    ComparedFigure("compute_time_mean_ns", "kernel time without communication", "ns", True),
    ComparedFigure("communication_time_mean_ns", "time in communication kernels", "ns"),
    ComparedFigure("gpu_idle_mean_ns", "GPU idle", "ns"),
    ComparedFigure("launch_time_mean_ns", "launch call time", "ns"),
    ComparedFigure("kernels_per_inference", "kernels", "kernels"),
    ComparedFigure("tensor_cores_yes_pct", "kernel time using Tensor Cores, by name", "%"),
)


@dataclass(frozen=True)
class Scores:
    """Modified z-scores of some values.

    Attributes:
        score: one a value; all 0 when the values are equal.
        spread: the deviation that they were divided by, before its factor.
        scale: "MAD", or "mean absolute deviation" where the MAD is 0.
    """

    score: Floats
    median: float
    spread: float
    scale: str

    @property
    def sigma(self) -> float:
        """The standard deviation that the spread stands for: a value so far from the median has a score of 1."""
        return self.spread / _MAD_TO_SIGMA if self.scale == MAD else self.spread * _MEAN_AD_TO_SIGMA


def modified_z_scores(values: Floats) -> Scores:
    """The scores of finite values (formula and source: module docstring)."""
    median = float(np.median(values))
    distance = np.abs(values - median)
    mad = float(np.median(distance))
    if mad > 0:
        return Scores(_MAD_TO_SIGMA * (values - median) / mad, median, mad, MAD)
    mean_ad = float(distance.mean())
    if mean_ad > 0:
        return Scores((values - median) / (_MEAN_AD_TO_SIGMA * mean_ad), median, mean_ad, MEAN_AD)
    return Scores(np.zeros(len(values)), median, 0.0, MAD)


@dataclass(frozen=True)
class Judgement:
    """A figure of the traces of one group, judged.

    Attributes:
        traces: those that have the figure.
        values: theirs, in the order of ``traces``.
        smallest: the smallest difference that counts.
        rule: what was asked for.
    """

    traces: pd.DataFrame
    values: Floats
    scores: Scores
    smallest: float
    rule: OutlierRule

    @property
    def reach(self) -> float:
        """How far from the median a value may be without being an outlier."""
        return max(self.rule.threshold * self.scores.sigma, self.smallest)

    @property
    def far(self) -> npt.NDArray[np.bool_]:
        """Which of the traces are outliers."""
        distance = np.abs(self.values - self.scores.median)
        return (np.abs(self.scores.score) > self.rule.threshold) & (distance >= self.smallest) & (distance > 0)


def judge(traces: pd.DataFrame, metric: ComparedFigure, rule: OutlierRule) -> Judgement | None:
    """Judge one figure of the traces of one group; None when too few of them have it."""
    known = traces[traces[metric.column].notna()]
    if metric.column == "latency_p99_ns":
        known = known[known["inferences"] >= MIN_INFERENCES_FOR_P99]
    if len(known) < rule.min_traces:
        return None
    values = known[metric.column].to_numpy(dtype=np.float64)
    return Judgement(known, values, modified_z_scores(values), _smallest_effect(metric, traces, rule), rule)


def find_outliers(traces: pd.DataFrame, rule: OutlierRule) -> list[dict[str, Any]]:
    """Outliers among the traces of one group, stragglers first, then by score.

    Args:
        traces: rows of the table of traces, all of the same group.

    Returns:
        rows of the table of outliers without ``slow_inferences`` and ``because``; none for a group that is too small.
    """
    found: list[dict[str, Any]] = []
    for metric in METRICS:
        judged = judge(traces, metric, rule)
        if judged is None:
            continue
        known, scores = judged.traces, judged.scores
        for at in np.flatnonzero(judged.far):
            value, inferences = float(judged.values[at]), known["inferences"].iloc[at]
            difference = value - scores.median
            found.append(
                {
                    "group": known["group"].iloc[at],
                    "trace": known["trace"].iloc[at],
                    "metric": metric.column,
                    "label": metric.label,
                    "unit": metric.unit,
                    "value": value,
                    "median": scores.median,
                    "spread": scores.spread,
                    "scale": scores.scale,
                    "score": float(scores.score[at]),
                    "difference": difference,
                    "difference_pct": 100.0 * difference / scores.median if scores.median else None,
                    "direction": "high" if difference > 0 else "low",
                    "straggler": difference > 0 and metric.makes_straggler,
                    "traces": len(known),
                    "inferences": None if pd.isna(inferences) else int(inferences),
                }
            )
    return sorted(found, key=lambda row: (not row["straggler"], -abs(row["score"]), row["trace"]))


def _smallest_effect(metric: ComparedFigure, traces: pd.DataFrame, rule: OutlierRule) -> float:
    if metric.unit == "%":
        return rule.min_effect_pct
    if metric.unit == "kernels":  # counts do not scatter: a kernel more or less is a difference of the program
        return 0.5
    bases = [metric.column] if metric.makes_straggler else []
    return rule.min_effect_pct / 100.0 * _first_median(traces, [*bases, "latency_p50_ns", "compute_time_mean_ns"])


def _first_median(traces: pd.DataFrame, columns: Sequence[str]) -> float:
    for column in columns:
        values = traces[column].dropna()
        if len(values):
            return float(values.median())
    return 0.0
