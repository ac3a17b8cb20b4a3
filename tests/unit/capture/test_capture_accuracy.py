"""Accuracy and agreement against values worked out by hand, and the layout of image folders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from profiler.errors import ProfilerError
from profiler.runtime.accuracy import (
    accuracy,
    agreement,
    classes,
    compare_answers,
    load_outputs,
    top_k,
    wilson_interval_pct,
)
from profiler.runtime.images import image_folder, preprocess, write_inputs


def logits(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_top_k() -> None:
    values = logits([3, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4])
    assert top_k(values, np.array([0, 0, 5]), 1) == pytest.approx(100 / 3)
    assert top_k(values, np.array([1, 5, 5]), 5) == pytest.approx(200 / 3)
    assert accuracy(values, np.array([0, 5, 0])).top1_pct == 100


def test_equal_outputs_earn_nothing_by_chance() -> None:
    assert top_k(np.zeros((10, 10), dtype=np.float32), np.arange(10), 1) == 10


def test_fewer_than_five_classes() -> None:
    assert accuracy(logits([1, 2], [2, 1]), np.array([0, 0])).top5_pct == 100


def test_agreement_by_hand() -> None:
    found = agreement(logits([3, 4]), logits([3, 3]))
    assert found.top1_agreement_pct == 0  # 4 > 3, and equal outputs rank by index
    assert found.cosine == pytest.approx((9 + 12) / (5 * math.sqrt(18)))
    assert found.sqnr_db == pytest.approx(10 * math.log10(25 / 1))
    assert found.max_abs_difference == 1


def test_identical_outputs() -> None:
    same = agreement(logits([1, 2], [0, 0]), logits([1, 2], [0, 0]))
    assert (same.cosine, same.sqnr_db, same.top1_agreement_pct) == (pytest.approx(1), None, 100)
    assert "not accuracy" in same.as_dict()["note"] and same.as_dict()["kind"] == "agreement"


@given(st.integers(1, 8), st.integers(2, 30), st.floats(1e-4, 0.5), st.integers(0, 1000))
def test_sqnr_is_scale_free_and_follows_the_noise(n: int, classes: int, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(n, classes)).astype(np.float32)
    outputs = (reference + noise * rng.normal(size=(n, classes))).astype(np.float32)
    one, ten = agreement(reference, outputs), agreement(reference * 8, outputs * 8)
    assert one.sqnr_db == pytest.approx(ten.sqnr_db, abs=1e-6)
    assert -1 <= one.cosine <= 1 and 0 <= one.top1_agreement_pct <= 100


def test_vanished_outputs_are_no_disagreement() -> None:
    reference = np.full((2, 3), 3.5e-9, dtype=np.float32)
    found = agreement(reference, np.zeros((2, 3), dtype=np.float32))
    assert found.warning is not None and "3.5e-09" in found.warning and found.as_dict()["warning"] == found.warning
    varied = np.asarray([[3.5e-9, 0, 0], [0, 3.5e-9, 0]], dtype=np.float32)
    assert agreement(varied, varied).warning is None
    assert (
        agreement(np.ones((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=np.float32)).warning is None
    )  # simply wrong


def test_outputs_that_do_not_depend_on_the_images_agree_without_saying_anything() -> None:
    rng = np.random.default_rng(0)
    bias = rng.normal(size=(1, 50))
    reference = (bias + 1e-4 * rng.normal(size=(8, 50))).astype(np.float32)
    found = agreement(reference, reference * np.float32(1 + 2**-11))
    assert found.sqnr_db is not None and found.sqnr_db > 60  # and yet
    assert found.warning is not None and "differ between images by 0.01 %" in found.warning
    assert agreement(reference, -reference).warning is None  # simply wrong
    assert agreement(reference[:1], reference[:1]).warning is None  # of one image nothing is known
    assert agreement((bias + 0.1 * rng.normal(size=(8, 50))).astype(np.float32), reference).warning is None


@pytest.mark.parametrize(
    ("reference", "outputs", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "cannot be compared with"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "6 of 6 outputs are not finite"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "[images, classes] was expected"),
    ],
)
def test_what_cannot_be_compared(reference: np.ndarray, outputs: np.ndarray, message: str) -> None:
    with pytest.raises(ProfilerError) as caught:
        agreement(reference.astype(np.float32), outputs.astype(np.float32))
    assert message in caught.value.message


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(ProfilerError, match="the model has 2 outputs"):
        accuracy(logits([1, 2]), np.array([2]))
    with pytest.raises(ProfilerError, match="3 labels were given for 1"):
        accuracy(logits([1, 2]), np.array([0, 0, 0]))


def images(root: Path) -> Path:
    for name, colours in {"n02": ["red", "green"], "n01": ["blue"], "n10": ["white", "black", "grey"]}.items():
        (root / name).mkdir(parents=True)
        for i, colour in enumerate(colours):
            Image.new("RGB", (300, 260), colour).save(root / name / f"{i}.JPEG")
    (root / "n01" / "notes.txt").write_text("no image")
    (root / "readme.md").write_text("no class")
    return root


def test_classes_are_numbered_by_name(tmp_path: Path) -> None:
    paths, labels = image_folder(images(tmp_path))
    assert labels.tolist() == [0, 1, 1, 2, 2, 2] and paths[0].parent.name == "n01"
    some, few = image_folder(tmp_path, limit=3)
    assert len(some) == 3 and few.tolist() == [0, 1, 2]


def test_preprocessing(tmp_path: Path) -> None:
    Image.new("RGB", (300, 260), (255, 0, 128)).save(tmp_path / "a.png")
    pixels = preprocess(tmp_path / "a.png")
    assert pixels.shape == (3, 224, 224) and pixels.dtype == np.float32
    assert pixels[:, 0, 0] == pytest.approx(
        [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225], abs=1e-5
    )
    write_inputs([tmp_path / "a.png"] * 3, tmp_path / "x.npy", size=32, resize=40)
    assert np.load(tmp_path / "x.npy").shape == (3, 3, 32, 32)


def test_the_crop_is_in_the_middle(tmp_path: Path) -> None:
    image = Image.new("L", (400, 200), 0)
    image.paste(255, (100, 0, 300, 200))
    image.save(tmp_path / "a.png")
    pixels = preprocess(tmp_path / "a.png", size=200, resize=200)
    assert pixels[0].min() > 2  # nothing of the black border


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(ProfilerError, match="no such folder"):
        image_folder(tmp_path / "none")
    with pytest.raises(ProfilerError, match="holds no folders"):
        image_folder(tmp_path)
    (tmp_path / "n01").mkdir()
    with pytest.raises(ProfilerError, match="1 class folders and no image"):
        image_folder(tmp_path)
    (tmp_path / "n01" / "a.jpg").write_text("broken")
    with pytest.raises(ProfilerError, match="not a readable image"):
        preprocess(tmp_path / "n01" / "a.jpg")


def test_saved_outputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 10, 1), dtype=np.float16))
    assert load_outputs(tmp_path / "a.npy").shape == (2, 10)
    (tmp_path / "b.npy").write_text("no")
    for name in ("b.npy", "none.npy"):
        with pytest.raises(ProfilerError, match="cannot be read"):
            load_outputs(tmp_path / name)
    np.save(tmp_path / "c.npy", np.array(["a"]))
    with pytest.raises(ProfilerError, match="array of numbers"):
        load_outputs(tmp_path / "c.npy")


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (0, 10, 0.0, 27.7533),
        (10, 10, 72.2467, 100.0),
        (81, 263, 25.5275, 36.6247),
    ],  # the last is Newcombe 1998, table I
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval_pct(100 * right / n, n) == pytest.approx((low, high), abs=0.03)


def test_answers_by_class_and_where_two_runs_differ() -> None:
    labels, names = np.array([0, 0, 1, 1]), ["cat", "dog"]
    before = logits([2, 1], [1, 2], [1, 2], [1, 2])  # 3 of 4 right
    after = logits([2, 1], [2, 1], [2, 1], [0, 0])  # wins the second, loses the third and the fourth
    assert classes(after, labels, names) == [
        {"class": "cat", "images": 2, "right": 2}, {"class": "dog", "images": 2, "right": 0},
    ]  # fmt: skip
    found = compare_answers(before, after, labels, names, ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"])
    assert (found["only_reference_right"], found["only_this_right"], found["disagree"]) == (2, 1, 3)
    assert found["difference_points"] == -25
    assert found["images"][1] == {"image": "dog/1.png", "label": "dog", "reference": "dog", "this": "cat"}
    low, high = found["interval_points"]
    assert low < -25 < high


def test_the_interval_of_a_difference_by_hand() -> None:
    """Agresti and Min 2005: half a count is added to both, and two images."""
    n = 998
    labels = np.zeros(n, dtype=np.int64)
    before = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (n, 1))
    after = before.copy()
    after[:4] = [0, 1]  # four lost, none won
    found = compare_answers(before, after, labels, ["a"], [str(i) for i in range(n)])
    half = 1.959964 * math.sqrt(5 - 16 / 1000) / 1000
    assert found["interval_points"] == pytest.approx([100 * (-0.004 - half), 100 * (-0.004 + half)])
    assert found["images"][0]["this"] == "class 1"  # the model knows more classes than there are folders
