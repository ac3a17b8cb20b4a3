"""How well a run computes: accuracy against labels, or agreement with a reference where there are no labels.

The two are never mixed up: agreement says how closely a run follows PyTorch FP32 on the given inputs, and says nothing
about whether either is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.errors import ProfilerError
from profiler.runtime.images import Labels

Logits = npt.NDArray[np.float32]

MOST_DISAGREEMENTS = 100
SMALLEST_VARIATION = 1e-3
"""Outputs that differ less between images (standard deviation over images ÷ root mean square) are called constant."""
SMALLEST_FP16 = 2.0**-24  # the smallest subnormal number (IEEE 754-2019, binary16)
AGREEMENT_NOTE = "agreement with PyTorch FP32 on the same inputs, not accuracy"


@dataclass(frozen=True)
class Accuracy:
    """Shares of the images, in percent.

    Attributes:
        top1_interval_pct: 95 % confidence interval of ``top1_pct``, by Wilson's score (Wilson 1927; Brown, Cai and DasGupta 2001):
            what another sample of as many images of the same kind could have given.
    """

    images: int
    top1_pct: float
    top5_pct: float
    top1_interval_pct: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "top1_interval_pct", wilson_interval_pct(self.top1_pct, self.images))

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "accuracy", **asdict(self)}


@dataclass(frozen=True)
class Agreement:
    """How closely one set of outputs follows another.

    Attributes:
        images: rows compared.
        top1_agreement_pct: rows whose largest output is at the same place, in percent.
        cosine: mean over the rows of the cosine of the angle between the two vectors (1: same direction).
        sqnr_db: signal to quantisation noise ratio in decibels; None: the outputs are identical, so it is infinite.
        max_abs_difference: largest difference of two outputs.
        warning: why the figures say nothing, if so.
    """

    images: int
    top1_agreement_pct: float
    cosine: float
    sqnr_db: float | None
    max_abs_difference: float
    warning: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "agreement", "note": AGREEMENT_NOTE, **asdict(self)}


def top_k(logits: Logits, labels: Labels, k: int) -> float:
    """Percent of the rows whose label is among the k largest outputs.

    The definition of the ILSVRC challenge (Russakovsky et al., 2015, section 4.1: an image counts as right when the true
    class is among the k guesses). Equal outputs are ranked by index, so that a constant output earns nothing by chance.

    Args:
        logits: [N, classes], finite.
        labels: [N], indexes of classes.
    """
    _check(logits)
    if labels.shape != (len(logits),):
        raise ProfilerError(f"{len(labels)} labels were given for {len(logits)} outputs.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ProfilerError(
            f"labels from {labels.min()} to {labels.max()} were given, and the model has {logits.shape[1]} outputs.",
            "The folder of images must have the classes that the model was trained on.",
        )
    own = logits[np.arange(len(logits)), labels][:, None]
    index = np.arange(logits.shape[1])
    ahead = (logits > own) | ((logits == own) & (index < labels[:, None]))
    return float(np.mean(ahead.sum(axis=1) < k) * 100)


def wilson_interval_pct(share_pct: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share of ``n`` trials, in percent; ``z`` is the normal quantile (1.96: 95 %)."""
    share = share_pct / 100
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half) * 100, min(1.0, middle + half) * 100


def classes(logits: Logits, labels: Labels, names: Sequence[str]) -> list[dict[str, Any]]:
    """Per class with images: its name, how many images it has, and how many of them were told right."""
    right = logits.argmax(axis=1) == labels
    return [
        {"class": names[label], "images": int((labels == label).sum()), "right": int(right[labels == label].sum())}
        for label in np.unique(labels)
    ]


def compare_answers(
    reference: Logits, outputs: Logits, labels: Labels, names: Sequence[str], images: Sequence[str]
) -> dict[str, Any]:
    """On the same labelled images: how two runs' answers differ, and the images on which they do, at most :data:`MOST_DISAGREEMENTS`.

    The interval is that of a difference of paired shares (Agresti and Min 2005, "Wald+2"): both runs saw the same images, so it is
    much narrower than the difference of two intervals.

    Returns:
        ``difference_points`` (percentage points of top-1, this run minus the reference) with its 95 % ``interval_points``; how many
        images ``only_reference_right`` and ``only_this_right``; how many are answered differently, ``disagree``, and which.
    """
    _check_alike(reference, outputs)
    before, after, n = reference.argmax(axis=1), outputs.argmax(axis=1), len(labels)
    lost = int(((before == labels) & (after != labels)).sum())
    won = int(((before != labels) & (after == labels)).sum())
    b, c, m = lost + 0.5, won + 0.5, n + 2
    middle, half = (c - b) / m, 1.959964 * math.sqrt(b + c - (b - c) ** 2 / m) / m
    differ = np.flatnonzero(before != after)
    return {
        "difference_points": 100 * (won - lost) / n,
        "interval_points": [100 * (middle - half), 100 * (middle + half)],
        "only_reference_right": lost,
        "only_this_right": won,
        "disagree": len(differ),
        "images": [
            {
                "image": images[i],
                "label": names[labels[i]],
                "reference": _name(names, before[i]),
                "this": _name(names, after[i]),
            }
            for i in differ[:MOST_DISAGREEMENTS]
        ],
    }


def _name(names: Sequence[str], index: Any) -> str:
    """A class by its folder's name; the model may know more classes than there are folders."""
    return names[index] if index < len(names) else f"class {index}"


def accuracy(logits: Logits, labels: Labels) -> Accuracy:
    """Top-1 and top-5 accuracy of outputs [N, classes] against labels [N]."""
    return Accuracy(len(logits), top_k(logits, labels, 1), top_k(logits, labels, min(5, logits.shape[1])))


def agreement(reference: Logits, outputs: Logits) -> Agreement:
    """Compare two sets of outputs [N, classes] for the same inputs.

    SQNR is 10·log10(Σ reference² / Σ (reference − outputs)²) over all values, the usual definition (Jacob et al. 2018 and
    Wu et al. 2020, arXiv:2004.09602, compare quantised networks by it); the cosine is the mean of
    r·o / (|r|·|o|) over the rows.

    Raises:
        ProfilerError: other shapes, or values that are not finite.
    """
    _check_alike(reference, outputs)
    _check(reference)
    _check(outputs)
    r, o = reference.astype(np.float64), outputs.astype(np.float64)
    lengths = np.linalg.norm(r, axis=1) * np.linalg.norm(o, axis=1)
    cosines = np.divide((r * o).sum(axis=1), lengths, out=np.zeros(len(r)), where=lengths > 0)
    cosines[(np.linalg.norm(r, axis=1) == 0) & (np.linalg.norm(o, axis=1) == 0)] = 1.0
    noise, signal = float(((r - o) ** 2).sum()), float((r**2).sum())
    return Agreement(
        images=len(r),
        top1_agreement_pct=float(np.mean(r.argmax(axis=1) == o.argmax(axis=1)) * 100),
        cosine=float(np.clip(cosines, -1, 1).mean()),
        sqnr_db=None if noise == 0 else (10 * math.log10(signal / noise) if signal > 0 else -math.inf),
        max_abs_difference=float(np.abs(r - o).max()),
        warning=_vanished(r, o) or _constant(r, noise),
    )


def _check_alike(reference: Logits, outputs: Logits) -> None:
    if reference.shape != outputs.shape:
        raise ProfilerError(
            f"outputs of shape {list(outputs.shape)} cannot be compared with a reference of shape {list(reference.shape)}.",
            "Both runs must have had the same inputs (--inputs, --seed, --batch).",
        )


def _vanished(reference: npt.NDArray[np.float64], outputs: npt.NDArray[np.float64]) -> str | None:
    largest = float(np.abs(reference).max())
    if outputs.any() or largest >= SMALLEST_FP16:
        return None
    return (
        f"every output is 0; the reference's largest is {largest:.2g}, below FP16's smallest number ({SMALLEST_FP16:.2g}): with these "
        "weights the model's outputs vanish, and agreement says nothing"
    )


def _constant(reference: npt.NDArray[np.float64], noise: float) -> str | None:
    """Outputs that are (nearly) the same for every image agree whatever the layers compute: only the last bias is compared.

    Outputs that do not agree (``noise``, the summed squared difference, above 1 % of the reference's) are simply wrong.
    """
    size = float(np.sqrt((reference**2).mean()))
    if len(reference) < 2 or size == 0 or noise > 0.01 * float((reference**2).sum()):
        return None
    share = float(np.sqrt(((reference - reference.mean(axis=0)) ** 2).mean())) / size
    if share >= SMALLEST_VARIATION:
        return None
    return (
        f"the reference's outputs differ between images by {100 * share:.2g} % of their size only: with these weights the images hardly "
        "reach the outputs, and agreement says nothing"
    )


def _check(values: Logits) -> None:
    if values.ndim != 2 or not values.size:
        raise ProfilerError(f"outputs of shape {list(values.shape)} were found, and [images, classes] was expected.")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ProfilerError(
            f"{bad:,} of {values.size:,} outputs are not finite.",
            "The run computes nonsense: FP16 may overflow, or INT8 scales may be wrong.",
        )


def load_outputs(path: Path) -> Logits:
    """The outputs that a workload saved with --save-outputs.

    Raises:
        ProfilerError: not there, or not a .npy of numbers.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ProfilerError(
            f"{path}: cannot be read as .npy ({error}).", "Expected the file of --save-outputs."
        ) from error
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.number):
        raise ProfilerError(f"{path}: does not hold an array of numbers.", "Expected the file of --save-outputs.")
    return values.reshape(len(values), -1).astype(np.float32) if values.ndim else values.astype(np.float32)
