"""``study``: the whole before/after matrix into one folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from profiler.capture import process, summary
from profiler.capture.engines import CALIBRATION_IMAGES, CALIBRATORS, QUANTISATIONS
from profiler.capture.gpu import Chip, chip_notes, current_gpu
from profiler.capture.interpreters import TensorRT, check_torch, find_tensorrt
from profiler.capture.matrix import KINDS, TORCH_PRECISIONS, TRT_PRECISIONS, Matrix, MatrixOptions, build_matrix
from profiler.capture.nsys import Nsys, locate
from profiler.capture.record import check_output_folder
from profiler.capture.spec import FRAMEWORKS, MODES, PRECISIONS, RunSpec
from profiler.capture.study import Study, StudyOptions
from profiler.cli.capture_options import (
    Progress,
    add_activation,
    add_cudnn_benchmark,
    add_engine,
    add_interpreters,
    add_plugins,
    add_recording,
    add_weights,
    batches,
    engine_spec,
    recording,
)
from profiler.cli.output import render_table
from profiler.cli.verb import warn
from profiler.errors import EXIT_FAILED, EXIT_OK, MissingToolError, UsageError
from profiler.runtime.arguments import listed, positive, seconds, words
from profiler.runtime.trt_modules import MODULES
from profiler.text import plural, printable

DESCRIPTION = (
    "Build the engines and run PyTorch and TensorRT in every precision and mode, recording latency, trace and agreement, into one "
    "folder with a summary (summary.json, .csv, .md). Completed steps are skipped, so an interrupted study can be resumed. What the "
    "GPU cannot do is skipped and listed. A failed step is recorded and does not stop the others; the exit status is then 1."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the study's folder")
    matrix = parser.add_argument_group("the matrix")
    matrix.add_argument(
        "--frameworks", type=_choices(FRAMEWORKS), default=FRAMEWORKS, metavar="LIST", help="default: pytorch,tensorrt"
    )
    matrix.add_argument(
        "--models",
        type=words,
        default=("resnet50",),
        metavar="LIST",
        help="torchvision names or module:function (default: resnet50)",
    )
    add_weights(matrix)
    add_activation(matrix)
    matrix.add_argument("--batches", type=batches, default=(1, 8, 64), metavar="LIST", help="default: 1,8,64")
    matrix.add_argument(
        "--trace-batches",
        type=batches,
        metavar="LIST",
        help="record only these under nsys; latency is measured for all (default: record all)",
    )
    for option, known, default, more in (
        ("--torch-precisions", PRECISIONS["pytorch"], TORCH_PRECISIONS, "; also bf16"),
        ("--trt-precisions", PRECISIONS["tensorrt"], TRT_PRECISIONS, "; also fp8 (TensorRT-RTX)"),
        ("--torch-modes", MODES["pytorch"], MODES["pytorch"], ""),
        ("--trt-modes", MODES["tensorrt"], MODES["tensorrt"], ""),
    ):
        text = f"default: {listed(default)}{more}"
        matrix.add_argument(option, type=_choices(known), default=default, metavar="LIST", help=text)
    matrix.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only steps whose names match, such as '*int8*' (repeatable), and the steps they need",
    )
    matrix.add_argument(
        "--steps", type=_choices(KINDS), default=(), metavar="LIST", help=f"only these kinds: {', '.join(KINDS)}"
    )
    matrix.add_argument("--dry-run", action="store_true", help="print the steps and stop")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--images", type=Path, metavar="DIR", help="images in ImageNet's layout, for top-1 and top-5 accuracy"
    )
    data.add_argument(
        "--images-limit", type=positive, default=5000, metavar="N", help="use at most N of them (default: 5000)"
    )
    data.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE",
        help=".npy or .npz of images, for agreement (default: 64 seeded random ones)",
    )
    data.add_argument(
        "--calibration",
        metavar="FILES",
        help="for INT8: a folder of images, .npy or .npz (default: --images, else random: for speed only)",
    )
    int8 = parser.add_argument_group(
        "INT8",
        "The first of each list makes the INT8 engine; each of the others makes one more, which differs in it alone.",
    )
    int8.add_argument(
        "--calibrator", type=_choices(CALIBRATORS), default=CALIBRATORS[:1], metavar="LIST",
        help="entropy (default), max, percentile",
    )  # fmt: skip
    int8.add_argument(
        "--calibration-images", type=batches, default=(CALIBRATION_IMAGES,), metavar="LIST",
        help="at most so many images (default: 512)",
    )  # fmt: skip
    int8.add_argument(
        "--quantisation", type=_choices(QUANTISATIONS), default=QUANTISATIONS[:1], metavar="LIST",
        help="fused: pairs where TensorRT fuses around them (default); modelopt: NVIDIA ModelOpt's; badqdq: badly placed, for comparison",
    )  # fmt: skip
    how = parser.add_argument_group("how")
    add_recording(how)
    add_interpreters(how)
    how.add_argument(
        "--bench-seconds",
        type=seconds,
        default=2.0,
        metavar="S",
        help="minimum time per latency measurement (default: 2)",
    )
    add_engine(how)
    add_plugins(how)
    add_cudnn_benchmark(how)
    how.add_argument("--no-trace", action="store_true", help="measure latency only (needs no nsys)")
    how.add_argument("--time-limit", type=seconds, metavar="S", help="start no new step after S seconds")
    how.add_argument("--redo", action="store_true", help="repeat completed steps")


def run(args: argparse.Namespace) -> int:
    if args.images and args.inputs:
        raise UsageError("--images and --inputs cannot be combined.", "Give images with labels, or an array without.")
    torch_python, trt_python = args.torch_python, args.trt_python
    if not args.dry_run:
        torch_python, trt_python = process.python_for(torch_python), process.python_for(trt_python)
    chip = _chip(args.dry_run)
    found = None
    if not args.dry_run:  # what cannot work is refused before minutes of exporting and building
        check_output_folder(args.output)
        if "tensorrt" in args.frameworks:
            found = find_tensorrt(trt_python, args.trt_module)
        check_torch(torch_python, "tensorrt" in args.frameworks, args.models)
    matrix = build_matrix(
        _options(args, found), chip.sm if chip else None, torch_python or "python", trt_python or "python"
    ).chosen(args.only, args.steps)
    warn(f"left out: {what}: {reason}" for what, reason in matrix.left_out)
    warn(chip_notes(chip.sm) if chip else [])
    if args.dry_run:
        _print_matrix(matrix, chip)
        return EXIT_OK
    nsys: Nsys | None = None if args.no_trace or not any(s.kind == "run" for s in matrix.steps) else locate()
    options = StudyOptions(
        recording=recording(args), torch_python=torch_python, trt_python=trt_python, redo=args.redo, images=args.images,
        images_limit=args.images_limit, deadline_s=args.time_limit,
    )  # fmt: skip
    with process.terminate_as_interrupt():
        outcomes = Study(args.output, matrix, options, chip, nsys, Progress()).run()
    rows = summary.collect(args.output)
    columns = {
        k: h
        for k, h in summary.COLUMNS.items()
        if k not in ("framework", "precision", "mode") and any(r.get(k) is not None for r in rows)
    }
    if rows:
        print(render_table(rows, columns))
    bad = [o for o in outcomes if o.status not in ("done", "kept")]
    done = sum(o.status == "done" for o in outcomes)
    print(
        f"\n{args.output}: {plural(done, 'step')} done, {len(outcomes) - done - len(bad)} done before, {len(bad)} not done"
    )
    for outcome in bad:
        print(f"  {outcome.status}: {outcome.step.name}: {printable(outcome.error or '', 300)}")
    return EXIT_FAILED if bad else EXIT_OK


def _options(args: argparse.Namespace, found: TensorRT | None) -> MatrixOptions:
    engine = engine_spec(
        args,
        precision="fp32",
        batch=1,
        calibration=args.calibration or (str(args.images) if args.images else "random"),
        calibrator=args.calibrator[0],
        calibration_images=args.calibration_images[0],
        quantisation=args.quantisation[0],
        typed_model=found is not None and found.typed_networks,
        trt_module=found.module if found else args.trt_module or MODULES[0],
    )
    shared = {name: getattr(args, name) for name in ("weights", "input_shape", "seed", "activation", "inputs")}
    timing = {name: getattr(args, name) for name in ("iterations", "bench_seconds", "cudnn_benchmark")}
    return MatrixOptions(
        RunSpec("pytorch", "fp32", "eager", **shared, **timing), engine,
        frameworks=args.frameworks, models=args.models, batches=args.batches,
        trace_batches=() if args.no_trace else args.trace_batches,
        torch_precisions=args.torch_precisions, trt_precisions=args.trt_precisions,
        torch_modes=args.torch_modes, trt_modes=args.trt_modes, calibrators=args.calibrator,
        calibration_images=args.calibration_images, quantisations=args.quantisation,
        trt_version=found.version if found else None,
    )  # fmt: skip


def _chip(dry_run: bool) -> Chip | None:
    try:
        return current_gpu()
    except MissingToolError as error:
        if not dry_run:
            raise
        warn([f"{error.message} The matrix is printed as for a GPU that can do everything."])
        return None


def _print_matrix(matrix: Matrix, chip: Chip | None) -> None:
    rows = [
        {
            "step": s.name,
            "kind": s.kind,
            "path": str(s.path),
            "needs": ", ".join(s.needs) if s.kind != "accuracy" else "what there is",
        }
        for s in matrix.steps
    ]
    print(f"{chip.name if chip else 'no GPU here'}: {plural(len(rows), 'step')}\n")
    print(render_table(rows, {"step": "step", "kind": "kind", "path": "makes", "needs": "needs"}))


class _choices:
    """An argparse type: some of the known words, separated by commas."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        given = words(text)
        unknown = [name for name in given if name not in self._known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: {', '.join(self._known)} were expected")
        return given
