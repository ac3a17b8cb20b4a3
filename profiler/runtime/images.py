"""Labelled images from a folder, as a classifier takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from profiler.errors import MissingToolError, ProfilerError

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
_AT_ONCE = 64
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STDDEV = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def image_folder(root: Path, limit: int | None = None) -> tuple[list[Path], Labels]:
    """Images and labels of a folder in ImageNet's layout: one folder per class, sorted by name, numbered from 0.

    The numbering and the accepted endings are torchvision's (``ImageFolder``: ``find_classes`` and ``IMG_EXTENSIONS``).
    With a ``limit`` images are taken evenly from all of them, in that order, so that every class keeps its share.

    Raises:
        ProfilerError: no such folder, no class folders, or no images.
    """
    if not root.is_dir():
        raise ProfilerError(f"{root}: no such folder.", "Expected one folder per class, with images in it.")
    classes = class_names(root)
    if not classes:
        raise ProfilerError(
            f"{root}: holds no folders.", "Expected one folder per class (ImageNet's layout: val/n01440764/….JPEG)."
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


def class_names(root: Path) -> list[str]:
    """The classes of such a folder, in the order of their numbers."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


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
    """Preprocess images into one .npy [N, 3, size, size], some of them in memory at a time.

    Raises:
        ProfilerError: an image cannot be read.
    """
    shape = (len(paths), 3, size, size)
    array = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
    for i, image in enumerate(_images(paths, size, resize)):
        array[i] = image
    array.flush()


def _images(paths: Sequence[Path], size: int, resize: int) -> Iterator[npt.NDArray[np.float32]]:
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # Pillow and NumPy let other threads run meanwhile
        for start in range(0, len(paths), _AT_ONCE):
            yield from pool.map(lambda path: preprocess(path, size, resize), paths[start : start + _AT_ONCE])
