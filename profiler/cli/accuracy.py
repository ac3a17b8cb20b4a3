"""``accuracy``: outputs against labels, or against another run's outputs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.record import run_bench
from profiler.capture.spec import RunSpec
from profiler.cli.capture_options import Progress, add_run, require_gpu, run_spec
from profiler.cli.output import add_output_options, check_target, emit, render_table
from profiler.cli.verb import warn
from profiler.errors import UsageError
from profiler.runtime.accuracy import AGREEMENT_NOTE, Logits, accuracy, agreement, compare_answers, load_outputs
from profiler.runtime.arguments import positive
from profiler.runtime.images import Labels, class_names, image_folder, write_inputs
from profiler.text import number, plural

DESCRIPTION = (
    "With --images, a folder in ImageNet's layout: top-1 and top-5 accuracy of a run. Without: agreement with PyTorch FP32 on the "
    "same inputs (top-1 agreement, cosine, SQNR), which is not accuracy. With --outputs and --reference, saved outputs are compared, "
    "without a GPU; with --study, the labelled runs of a study are listed. --fail-if makes it a gate."
)
_LABELS = {
    "images": ("images", ""),
    "top1_pct": ("top-1 accuracy", "%"),
    "top5_pct": ("top-5 accuracy", "%"),
    "top1_difference_points": ("top-1 against the reference", "points"),
    "top1_difference_low_points": ("its 95 % interval, from", "points"),
    "top1_difference_high_points": ("to", "points"),
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
    parser.add_argument("--study", type=Path, metavar="DIR", help="the labelled runs of a study, instead of one run")
    parser.add_argument(
        "--fail-if", metavar="GATE", action="append", default=[],
        help="FIGURE OP NUMBER, for example 'top1_pct<75', 'top1_difference_points<-0.5' or 'sqnr_db<20'; with --study, of every run but "
        "PyTorch FP32; may be given several times",
    )  # fmt: skip
    add_output_options(parser)


def run(args: argparse.Namespace) -> int | None:
    check_target(args)
    if args.study is not None:
        return _study(args)
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
    return _gates(args.fail_if, {"": {key: document.get(key) for key in _LABELS if key in document}})


def _study(args: argparse.Namespace) -> int | None:
    """The labelled runs of a study, and the gates on each of them."""
    from profiler.report.accuracy import labelled_study, sentences  # noqa: PLC0415 - with pandas, which the other uses do not need

    study = labelled_study(args.study)
    rows = [
        {
            "run": run.name,
            "p50_ms": run.p50_ms,
            "images": run.images,
            "top1_pct": run.top1_pct,
            "top1_difference_points": run.difference.points if run.difference else None,
            "top1_difference_low_points": run.difference.low if run.difference else None,
            "top1_difference_high_points": run.difference.high if run.difference else None,
            "top1_agreement_pct": run.agreement_pct,
            "sqnr_db": run.sqnr_db,
        }
        for run in study.runs
    ]
    headings = {key: f"{label}, {unit}".rstrip(", ") for key, (label, unit) in _LABELS.items() if key in rows[0]}
    shown = render_table(rows, {"run": "run", "p50_ms": "p50, ms", **headings})
    emit(args, {"sentences": sentences(study), "runs": rows}, "\n".join([shown, "", *sentences(study)]), rows)
    held = {run.name: row for run, row in zip(study.runs, rows) if not run.is_reference}
    figures = {name: {key: row[key] for key in headings if key != "images"} for name, row in held.items()}
    return _gates(args.fail_if, figures)


def _gates(texts: list[str], runs: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Hold every gate against every run's figures; the exit status."""
    if not texts:
        return None
    from profiler.cli.report import gate_status  # noqa: PLC0415 - with pandas, which is not needed without gates
    from profiler.report.gates import GateFigure, check_figure, parse_gate  # noqa: PLC0415

    outcomes = []
    for name, figures in runs.items():
        known = {
            key: GateFigure(key, _LABELS[key][1], {"after": value}, "after", "it was not measured")
            for key, value in figures.items()
        }
        for gate in map(parse_gate, texts):
            found = check_figure(gate, known)
            outcomes.append(replace(found, sentence=f"{name}: {found.sentence}" if name else found.sentence))
    return gate_status(outcomes)


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
        return {**accuracy(outputs, labels).as_dict(), **_against(args, outputs, labels, paths)}
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


def _against(args: argparse.Namespace, outputs: Logits, labels: Labels, paths: list[Path]) -> dict[str, Any]:
    """How the answers differ from those of the --reference, on the same images."""
    if args.reference is None:
        return {}
    names = [path.relative_to(args.images).as_posix() for path in paths]
    found = compare_answers(load_outputs(args.reference), outputs, labels, class_names(args.images), names)
    low, high = found["interval_points"]
    return {
        "top1_difference_points": found["difference_points"],
        "top1_difference_low_points": low,
        "top1_difference_high_points": high,
        "against_reference": found,
    }


def _outputs(spec: RunSpec, inputs: Path | None, target: Path, progress: Progress) -> Path:
    progress(f"running {spec.title}")
    run_bench(replace(spec, inputs=inputs), target.with_suffix(".json"), target)
    return target
