"""How well a run computes: accuracy against labels, or agreement with a reference where there are no labels.

The two are never mixed up: agreement says how closely a run follows PyTorch FP32 on the given inputs, and says nothing
about whether either is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.errors import MissingToolError, ProfilerError

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".ppm",
    ".bmp",
    ".pgm",
    ".tif",
    ".tiff",
    ".webp",
)  # torchvision's IMG_EXTENSIONS
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STDDEV = np.array([0.229, 0.224, 0.225], dtype=np.float32)
SMALLEST_VARIATION = 1e-3
"""Outputs that differ less between images (standard deviation over images ÷ root mean square) are called constant."""
SMALLEST_FP16 = 2.0**-24  # the smallest subnormal number (IEEE 754-2019, binary16)
AGREEMENT_NOTE = "agreement with PyTorch FP32 on the same inputs, not accuracy"


@dataclass(frozen=True)
class Accuracy:
    """Shares of the images, in percent."""

    images: int
    top1_pct: float
    top5_pct: float

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
    if reference.shape != outputs.shape:
        raise ProfilerError(
            f"outputs of shape {list(outputs.shape)} cannot be held against a reference of shape {list(reference.shape)}.",
            "Both runs must have had the same inputs (--inputs, --seed, --batch).",
        )
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


def image_folder(root: Path, limit: int | None = None) -> tuple[list[Path], Labels]:
    """Images and labels of a folder in ImageNet's layout: one folder a class, sorted by name, numbered from 0.

    The numbering and the accepted endings are torchvision's (``ImageFolder``: ``find_classes`` and ``IMG_EXTENSIONS``).
    With a ``limit`` images are taken evenly from all of them, in that order, so that every class keeps its share.

    Raises:
        ProfilerError: no such folder, no class folders, or no images.
    """
    if not root.is_dir():
        raise ProfilerError(f"{root}: no such folder.", "Expected one folder a class, with images in it.")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    if not classes:
        raise ProfilerError(
            f"{root}: holds no folders.", "Expected one folder a class (ImageNet's layout: val/n01440764/….JPEG)."
        )
    images: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        found = (p for p in (root / name).rglob("*") if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES)
        images += [(path, label) for path in sorted(found)]
    if not images:
        raise ProfilerError(
            f"{root}: {len(classes)} class folders and no image in them.",
            f"Expected {', '.join(IMAGE_SUFFIXES[:3])}, ….",
        )
    if limit is not None and limit < len(images):
        images = [images[i] for i in np.linspace(0, len(images) - 1, limit).round().astype(int)]
    return [path for path, _ in images], np.array([label for _, label in images], dtype=np.int64)


def preprocess(path: Path, size: int = 224, resize: int = 256) -> npt.NDArray[np.float32]:
    """One image as [3, size, size]: shorter side to ``resize``, centre crop, ImageNet's mean and deviation.

    torchvision's ``ImageClassification`` preset with its defaults (bilinear, 256 → 224), which the IMAGENET1K_V1 weights
    of ResNet were evaluated with; the V2 weights use ``resize`` 232.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - only where images are read
    except ImportError as error:
        raise MissingToolError(
            "Pillow is needed to read images, and is not installed.", "pip install pillow"
        ) from error
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise ProfilerError(f"{path}: not a readable image ({error}).", "Remove it, or replace it.") from error
    width, height = image.size
    new = (max(resize, int(resize * width / height)), max(resize, int(resize * height / width)))
    image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    return np.ascontiguousarray(((pixels - _MEAN) / _STDDEV).transpose(2, 0, 1), dtype=np.float32)


def write_inputs(paths: Sequence[Path], target: Path, size: int = 224, resize: int = 256) -> None:
    """Preprocess images into one .npy [N, 3, size, size], one image in memory at a time.

    Raises:
        ProfilerError: an image cannot be read.
    """
    shape = (len(paths), 3, size, size)
    array = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
    for i, image in enumerate(_images(paths, size, resize)):
        array[i] = image
    array.flush()


def _images(paths: Sequence[Path], size: int, resize: int) -> Iterator[npt.NDArray[np.float32]]:
    for path in paths:
        yield preprocess(path, size, resize)
