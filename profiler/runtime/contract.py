"""What every workload process shares: its options, its result document, its input data, and how it fails.

The process writes one JSON document (``--output``), whole or not at all, and ends with status 0 (done), 1 (failed; the
reason is on standard error), 2 (wrong usage) or 130 (interrupted).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profiler.errors import EXIT_FAILED, EXIT_OK, OutputError, ProfilerError
from profiler.files import atomic_file, cannot_write
from profiler.runtime.arguments import image_shape, not_negative, positive, seconds

FORMAT = "profiler-workload/1"
NVTX_DOMAIN = "profiler"
TRACEBACK_VARIABLE = "PROFILER_TRACEBACK"
EXIT_INTERRUPTED = 130
_INPUT_KEYS = ("input", "inputs", "images", "x")


@dataclass(frozen=True)
class RunOptions:
    """The options that both workloads share.

    Attributes:
        input_shape: one image: channels, height, width.
        profile: bracket the measured inferences with cudaProfilerStart and cudaProfilerStop.
        bench: measure latency and throughput, which needs a process without a profiler attached.
    """

    batch: int
    input_shape: tuple[int, int, int]
    mode: str
    warmup: int
    iterations: int
    profile: bool
    bench: bool
    bench_iterations: int
    bench_seconds: float
    inputs: Path | None
    seed: int
    save_outputs: Path | None
    output: Path


def add_common_arguments(parser: argparse.ArgumentParser, modes: Sequence[str]) -> None:
    """Add the options of :class:`RunOptions`; the first of ``modes`` is the default."""
    add = parser.add_argument
    add("--batch", type=positive, default=1, metavar="N", help="images per inference (default: 1)")
    add(
        "--input-shape",
        type=image_shape,
        default=(3, 224, 224),
        metavar="C,H,W",
        help="one image (default: 3,224,224)",
    )
    add("--mode", choices=modes, default=modes[0], help=f"how each inference is started (default: {modes[0]})")
    add("--warmup", type=not_negative, default=20, metavar="N", help="inferences before anything is measured")
    add("--iterations", type=positive, default=10, metavar="N", help="inferences under --profile")
    add(
        "--profile",
        action="store_true",
        help="bracket the inferences with cudaProfilerStart/Stop and push NVTX ranges",
    )
    add("--bench", action="store_true", help="measure latency, throughput and telemetry, without a profiler")
    add("--bench-iterations", type=positive, default=200, metavar="N", help="at least this many inferences")
    add("--bench-seconds", type=seconds, default=2.0, metavar="S", help="at least this long")
    add(
        "--inputs",
        type=Path,
        metavar="FILE",
        help=".npy or .npz of images [N,C,H,W], already normalised; default: random",
    )
    add("--seed", type=int, default=0, help="of random inputs and random weights (default: 0)")
    add("--save-outputs", type=Path, metavar="FILE.npy", help="write the logits of all inputs, float32")
    add("--output", type=Path, required=True, metavar="FILE.json", help="the result document")


def run_options(args: argparse.Namespace) -> RunOptions:
    """The shared part of parsed arguments."""
    names = RunOptions.__dataclass_fields__
    return RunOptions(**{name: getattr(args, name) for name in names})


def load_inputs(options: RunOptions) -> np.ndarray[Any, Any]:
    """The images to run, float32 [N, C, H, W]; one batch of seeded standard-normal values without ``--inputs``.

    Raises:
        ProfilerError: the file is missing, not NumPy's, empty, or its images have another shape.
    """
    if options.inputs is None:
        shape = (options.batch, *options.input_shape)
        return np.random.default_rng(options.seed).standard_normal(shape, dtype=np.float32)
    images = read_array(options.inputs)
    if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != options.input_shape:
        raise ProfilerError(
            f"{options.inputs}: holds an array of shape {list(images.shape)}; "
            f"expected [N, {', '.join(map(str, options.input_shape))}].",
            "Give --input-shape C,H,W to match, or another file.",
        )
    return np.ascontiguousarray(images, dtype=np.float32)


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """One numeric array out of a .npy or .npz file (``input``, ``inputs``, ``images``, ``x``, or the only one).

    Raises:
        ProfilerError: missing, unreadable, not numeric, or several arrays and none of those names.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ProfilerError(f"{path}: no such file.", "Check the path; a .npy or .npz is expected.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProfilerError(
            f"{path}: not a readable NumPy file ({error}).", "Write it with numpy.save or numpy.savez."
        ) from error
    if isinstance(loaded, np.ndarray):
        array = loaded
    else:
        with loaded:
            names = list(loaded.files)
            found = [name for name in _INPUT_KEYS if name in names] or (names if len(names) == 1 else [])
            if not found:
                raise ProfilerError(
                    f"{path}: holds the arrays {', '.join(names) or '(none)'}; expected one named "
                    f"{' or '.join(_INPUT_KEYS)}.",
                    "Save the images under one of those names.",
                )
            array = loaded[found[0]]
    if array.dtype.kind not in "fiu":
        raise ProfilerError(f"{path}: holds {array.dtype}; expected numbers.")
    return array


def batches(images: np.ndarray[Any, Any], batch: int) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
    """Cut images into batches of one size; yields each with how many of its images count.

    The last batch is filled up by repeating its last image, as an engine may accept one batch size only.
    """
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        valid = len(part)
        if valid < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - valid, axis=0)])
        yield np.ascontiguousarray(part), valid


def write_array(target: Path, array: np.ndarray[Any, Any]) -> None:
    """Write a .npy file, whole or not at all."""
    with atomic_file(target) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def check_outputs(*targets: Path | None) -> None:
    """Refuse early what could only fail after minutes of work.

    Raises:
        OutputError: a target's folder is missing or cannot be written to.
    """
    for target in targets:
        if target is None:
            continue
        if target.is_dir():
            raise OutputError(f"{target}: is a folder; expected a file.")
        try:
            with tempfile.TemporaryFile(dir=target.parent or Path()):
                pass
        except OSError as error:
            raise cannot_write(target, error) from error


def check_file(path: Path, what: str) -> None:
    """Refuse a path that is not a file.

    Raises:
        ProfilerError: missing, or a folder.
    """
    if path.is_dir():
        raise ProfilerError(f"{path}: is a folder; expected {what}.")
    if not path.is_file():
        raise ProfilerError(f"{path}: no such file; expected {what}.", "Check the path.")


def run_process(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Call ``main`` as a program does: errors become messages on standard error and an exit status."""
    try:
        main(argv)
    except ProfilerError as error:
        print(f"error: {' '.join(error.message.split())}", file=sys.stderr)
        for line in (error.hint or "").splitlines():
            print(f"  {line.strip()}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        detail = " ".join(str(error).split())[:800]
        print(f"error: {type(error).__name__}: {detail}", file=sys.stderr)
        print(
            f"  This was not foreseen. {TRACEBACK_VARIABLE}=1 in the environment shows where it happened.",
            file=sys.stderr,
        )
        return EXIT_FAILED
    return EXIT_OK
