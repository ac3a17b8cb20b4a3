"""The ranges of activations, for INT8 scales: ONNX Runtime's calibrators over images that a user gives."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import onnx_graph
from profiler.errors import MissingToolError, ProfilerError, UsageError
from profiler.runtime.contract import read_array
from profiler.runtime.images import image_folder, preprocess

CALIBRATORS = ("entropy", "max", "percentile")
RANDOM = "random"
RANDOM_WARNING = "calibrated on random data: this engine is about speed, and says nothing about accuracy"
ADVISED_IMAGES = 500
RANDOM_IMAGES = 16
_RESIZE_PER_CROP = 256 / 224


@dataclass(frozen=True)
class CalibrationData:
    """Images to calibrate on.

    Attributes:
        kind: ``folder``, ``file`` or ``random``.
        label: what it was, without its path.
        images: how many.
        warning: what is wrong with scales from it; None when nothing is.
    """

    kind: str
    label: str
    images: int
    warning: str | None
    _source: Any
    _shape: tuple[int, int, int]
    _seed: int

    def batches(self, batch: int) -> Iterator[np.ndarray[Any, Any]]:
        """Float32 images [≤ batch, C, H, W]; one batch is in memory at a time."""
        for start in range(0, self.images, batch):
            stop = min(start + batch, self.images)
            if self.kind == "folder":
                size = self._shape[1]
                resize = round(size * _RESIZE_PER_CROP)
                yield np.stack([preprocess(path, size, resize) for path in self._source[start:stop]])
            elif self.kind == "file":
                yield np.ascontiguousarray(self._source[start:stop], dtype=np.float32)
            else:
                generator = np.random.default_rng(self._seed + start)
                yield generator.standard_normal((stop - start, *self._shape), dtype=np.float32)


def open_data(source: str, shape: tuple[int, int, int], limit: int, seed: int) -> CalibrationData:
    """Find the images: ``random``, a folder in ImageNet's layout, or a .npy/.npz of normalised images [N, C, H, W].

    Args:
        limit: at most so many images, taken evenly from a folder's classes.

    Raises:
        UsageError: no such file or folder.
        ProfilerError: no images in it, or of another shape.
    """
    if source == RANDOM:
        count = min(limit, RANDOM_IMAGES)
        return CalibrationData("random", f"random, seed {seed}", count, RANDOM_WARNING, None, shape, seed)
    path = Path(source)
    if path.is_dir():
        if shape[0] != 3 or shape[1] != shape[2]:
            raise UsageError(
                f"--calibration {source}: a folder of images needs a square input of 3 channels, and it is {list(shape)}.",
                "Preprocess the images yourself and give a .npy file.",
            )
        paths, _ = image_folder(path, limit)
        return CalibrationData("folder", path.name, len(paths), _few(len(paths)), paths, shape, seed)
    if not path.is_file():
        raise UsageError(
            f"--calibration {source}: no such file or folder.",
            "Give a folder in ImageNet's layout, a .npy or .npz, or the word random.",
        )
    array = read_array(path)
    if array.ndim != 4 or array.shape[1:] != shape or not len(array):
        raise ProfilerError(
            f"{path}: holds an array of shape {list(array.shape)}, and [N, {', '.join(map(str, shape))}] was expected.",
            "Give images of the --input-shape, already normalised.",
        )
    array = array[:limit]
    return CalibrationData("file", path.name, len(array), _few(len(array)), array, shape, seed)


def _few(count: int) -> str | None:
    if count >= ADVISED_IMAGES:
        return None
    return f"calibrated on {count} images: at least {ADVISED_IMAGES} are advised"


def collect_ranges(
    model: Any, tensors: Sequence[str], data: CalibrationData, method: str, batch: int
) -> dict[str, tuple[float, float]]:
    """Run the float model on the data, and return each tensor's range.

    Args:
        method: ``max`` (the smallest and largest value seen), ``entropy`` (the range that loses least information when it is cut into
            128 steps) or ``percentile`` (the range that holds 99.999 % of the values, ONNX Runtime's default).

    Raises:
        MissingToolError: onnxruntime is not installed.
        ProfilerError: the model does not run on the data.
    """
    onnx = onnx_graph.import_onnx()
    calibrator_class = _calibrator(method)
    wanted = set(tensors)
    input_name = model.graph.input[0].name

    class Chosen(calibrator_class):  # type: ignore[misc, valid-type]
        """Ranges of the tensors that get a pair, and of no others."""

        def select_tensors_to_calibrate(self, model: Any) -> tuple[set[str], set[str]]:
            _, value_infos = super().select_tensors_to_calibrate(model)
            return wanted, value_infos

    class Reader:
        """One batch, then the end: collected batch by batch, or every activation of every image would stay in memory."""

        def __init__(self, images: np.ndarray[Any, Any]) -> None:
            self._next: dict[str, Any] | None = {input_name: images}

        def get_next(self) -> dict[str, Any] | None:
            current, self._next = self._next, None
            return current

    with tempfile.TemporaryDirectory(prefix="profiler-calibration-") as folder:
        path = Path(folder, "float.onnx")
        onnx.save(model, str(path))
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints on its own account
                calibrator = Chosen(path, augmented_model_path=str(Path(folder, "observed.onnx")), symmetric=True)
                calibrator.augment_graph()
                calibrator.create_inference_session()
                for images in data.batches(batch):
                    calibrator.collect_data(Reader(images))
                computed = calibrator.compute_data()
        except ProfilerError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise ProfilerError(
                f"calibration failed: {' '.join(str(error).split())[:400]}.",
                "Check that the model runs on the calibration data, and its --input-shape.",
            ) from error
    ranges = {}
    for name in tensors:
        low, high = computed[name].range_value
        ranges[name] = (float(np.min(low)), float(np.max(high)))
    return ranges


def _calibrator(method: str) -> Any:
    try:
        from onnxruntime.quantization import calibrate  # noqa: PLC0415 - only where it runs
    except ImportError as error:
        raise MissingToolError(
            f"onnxruntime cannot be imported ({error}), and INT8 calibration needs it.",
            "pip install onnxruntime (see requirements-gpu.txt)",
        ) from error
    classes = {"entropy": "EntropyCalibrater", "max": "MinMaxCalibrater", "percentile": "PercentileCalibrater"}
    return getattr(calibrate, classes[method])
