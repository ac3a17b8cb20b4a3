"""``accuracy``: outputs against labels, or against another run's outputs."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.record import run_bench
from profiler.capture.spec import RunSpec
from profiler.cli.capture_options import Progress, add_run, require_gpu, run_spec
from profiler.cli.output import add_output_options, check_target, emit
from profiler.cli.verb import warn
from profiler.errors import UsageError
from profiler.runtime.accuracy import AGREEMENT_NOTE, accuracy, agreement, load_outputs
from profiler.runtime.arguments import positive
from profiler.runtime.images import image_folder, write_inputs
from profiler.text import number, plural

DESCRIPTION = (
    "With --images, a folder in ImageNet's layout: top-1 and top-5 accuracy of a run. Without: agreement with PyTorch FP32 on the "
    "same inputs (top-1 agreement, cosine, SQNR), which is not accuracy. With --outputs and --reference, saved outputs are compared, "
    "without a GPU."
)
_LABELS = {
    "images": ("images", ""),
    "top1_pct": ("top-1 accuracy", "%"),
    "top5_pct": ("top-5 accuracy", "%"),
    "top1_agreement_pct": ("top-1 agreement", "%"),
    "cosine": ("cosine", ""),
    "sqnr_db": ("SQNR", "dB"),
    "max_abs_difference": ("largest difference", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, framework_required=False)
    parser.add_argument("--images", type=Path, metavar="DIR", help="labelled images, one folder per class")
    parser.add_argument(
        "--images-limit", type=positive, default=5000, metavar="N", help="use at most N of them (default: 5000)"
    )
    parser.add_argument(
        "--resize",
        type=positive,
        default=256,
        metavar="N",
        help="shorter side before the crop (default: 256; ResNet's V2 weights: 232)",
    )
    parser.add_argument("--outputs", type=Path, metavar="FILE.npy", help="saved outputs instead of a run")
    parser.add_argument(
        "--reference", type=Path, metavar="FILE.npy", help="saved outputs of PyTorch FP32 instead of running it"
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    if args.outputs is None and args.framework is None:
        raise UsageError("nothing to measure.", "Give --framework and what runs, or saved --outputs.")
    if args.outputs is not None and args.images is None and args.reference is None:
        raise UsageError(
            "--outputs needs something to compare with.", "Give --images (labels) or --reference FILE.npy."
        )
    with process.terminate_as_interrupt(), tempfile.TemporaryDirectory(prefix="profiler-accuracy-") as scratch:
        document = _measure(args, Path(scratch))
    rows = [
        {"figure": label, "value": document[key], "unit": unit}
        for key, (label, unit) in _LABELS.items()
        if key in document
    ]
    width = max(len(r["figure"]) for r in rows)
    lines = [
        f"{r['figure']:<{width}}  {'identical' if r['value'] is None else number(r['value'])} {r['unit']}".rstrip()
        for r in rows
    ]
    if document["kind"] == "accuracy":
        low, high = document["top1_interval_pct"]
        lines += [
            "",
            f"95 % confidence interval of the top-1 accuracy: {number(low)} to {number(high)} % (Wilson's score)",
        ]
    if document["kind"] == "agreement":
        lines += ["", f"This is {AGREEMENT_NOTE}."]
    emit(args, document, "\n".join(lines), rows)
    warn([document["warning"]] if document.get("warning") else [])


def _measure(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    progress = Progress()
    labels = None
    inputs = args.inputs
    if args.images is not None:
        paths, labels = image_folder(args.images, args.images_limit)
        if args.outputs is None:
            progress(f"reading {plural(len(paths), 'image')}")
            inputs = scratch / "images.npy"
            write_inputs(paths, inputs, args.input_shape[-1], args.resize)
    activation = args.activation
    if args.outputs is not None:
        outputs = load_outputs(args.outputs)
    else:
        spec = run_spec(args)
        require_gpu(spec)
        activation = spec.activation
        outputs = load_outputs(_outputs(spec, inputs, scratch / "outputs.npy", progress))
    if labels is not None:
        return accuracy(outputs, labels).as_dict()
    if args.reference is not None:
        expected = load_outputs(args.reference)
    else:
        python = process.python_for(args.torch_python)
        reference = RunSpec(
            "pytorch",
            "fp32",
            "eager",
            args.batch,
            args.model,
            args.weights,
            args.input_shape,
            seed=args.seed,
            python=python,
            activation=activation,
        )
        expected = load_outputs(_outputs(reference, inputs, scratch / "reference.npy", progress))
    return agreement(expected, outputs).as_dict()


def _outputs(spec: RunSpec, inputs: Path | None, target: Path, progress: Progress) -> Path:
    progress(f"running {spec.title}")
    run_bench(replace(spec, inputs=inputs), target.with_suffix(".json"), target)
    return target
