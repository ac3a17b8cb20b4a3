"""Export a PyTorch model to ONNX: ``python -m profiler.engine.export --model resnet50 --output M.onnx …``.

Beside the model: ``M.onnx.json``, a record of what it is (weights, precision, calibration), which the build and the runs carry on.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import calibration, custom_node, modelopt, onnx_graph, qdq, torch_export
from profiler.engine.build import ONNX_FORMAT
from profiler.errors import OutputError, ProfilerError, UsageError
from profiler.files import atomic_file, beside, write_json
from profiler.plugins import activation, names
from profiler.runtime import arguments, contract, telemetry
from profiler.runtime.pytorch_model import import_torch, load_model

DEFAULT_OPSET = 17
OPSETS = range(13, 21)
ACTIVATION_FORMS = names.FORMS
QUANTISATIONS = (qdq.FUSED, qdq.BOTH_INPUTS, "modelopt")
_FP8_OPSET = 19


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.engine.export",
        description="Export a PyTorch model to ONNX for TensorRT. Needs no GPU. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    add = parser.add_argument
    add("--model", default="resnet50", help="a torchvision model, or module:function returning (model, input)")
    add("--weights", default="random", help="random, DEFAULT, a torchvision name, or a checkpoint's path")
    add(
        "--output",
        "--onnx",
        dest="output",
        type=Path,
        required=True,
        metavar="FILE.onnx",
        help="where to write it",
    )
    add("--input-shape", type=arguments.image_shape, default=(3, 224, 224), metavar="C,H,W")
    add(
        "--batch", type=arguments.positive, metavar="N", help="fix the batch size (default: dynamic, set at build time)"
    )
    add(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="types in the model: fp16 for TensorRT 10 and later, whose networks are strongly typed",
    )
    add(
        "--activation",
        choices=activation.NAMES,
        help="replace every ReLU module with this activation",
    )
    add(
        "--activation-as",
        choices=ACTIVATION_FORMS,
        default=ACTIVATION_FORMS[0],
        help="with --activation: stock operators (default), or the plugin's custom node",
    )
    add(
        "--activation-in-float",
        action="store_true",
        help="with --int8 and a plugin: it computes in floating point, between DQ and Q",
    )
    add("--io", choices=("fp32", "fp16"), default="fp32", help="with --precision fp16: type of input and output")
    add("--opset", type=int, choices=OPSETS, default=DEFAULT_OPSET, metavar="N", help="TensorRT 8.5 knows 17")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--int8", action="store_true", help="insert Q/DQ pairs; needs --calibration")
    kinds.add_argument(
        "--fp8", action="store_true", help="insert Q/DQ pairs of FP8 (E4M3), which needs --opset 19; TensorRT-RTX"
    )
    add(
        "--quantisation",
        choices=QUANTISATIONS,
        default=qdq.FUSED,
        help="where pairs go: fused (default), badqdq (both inputs of each addition, no poolings: for comparison), or modelopt "
        "(NVIDIA ModelOpt places and calibrates them)",
    )
    add(
        "--calibration",
        metavar="SOURCE",
        help="a folder in ImageNet's layout, a .npy or .npz of normalised images, or: random",
    )
    add("--calibrator", choices=calibration.CALIBRATORS, default="entropy")
    add("--calibration-images", type=arguments.positive, default=512, metavar="N", help="at most (default: 512)")
    add("--calibration-batch", type=arguments.positive, default=8, metavar="N")
    add("--seed", type=int, default=0, help="of random weights and random calibration data")
    add("--force", action="store_true", help="overwrite an existing model")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Export the model that the arguments describe.

    Raises:
        ProfilerError: a library, the model, its weights or the calibration data cannot be had, or the output cannot be written.
    """
    args = build_parser().parse_args(argv)
    record_path = beside(args.output, "json")
    _check_arguments(args)
    if args.output.exists() and not args.force:
        raise OutputError(f"{args.output}: exists already.", "Give --force to overwrite it, or another --output.")
    contract.check_outputs(args.output, record_path)
    data = None
    if args.int8 or args.fp8:
        data = calibration.open_data(args.calibration, args.input_shape, args.calibration_images, args.seed)
    torch = import_torch()
    onnx = onnx_graph.import_onnx()
    loaded = load_model(args.model, args.weights, args.seed)
    example = _example(torch, loaded.example, args)
    replaced = (
        activation.replace_relus(torch, loaded.module, args.activation, as_node=True) if args.activation else None
    )
    folded = torch_export.fold_batch_norms(torch, loaded.module, example)
    module = loaded.module.half() if args.precision == "fp16" else loaded.module
    traced = example.half() if args.precision == "fp16" else example
    model = torch_export.export(
        torch, module, traced, args.opset, args.batch is None, (names.DOMAIN,) if replaced else ()
    )
    identities = onnx_graph.fold_identities(model)
    onnx_graph.remove_unused_initialisers(model)
    if args.precision == "fp16" and args.io == "fp32":
        torch_export.cast_io_to_fp32(model)
    if args.activation and args.activation_as == "operators":
        model = custom_node.to_stock_operators(model)
    warnings = onnx_graph.check_folded(model, args.model)
    if onnx_graph.opset(model) > onnx_graph.MAX_OPSET:
        warnings.append(f"opset {onnx_graph.opset(model)}: TensorRT 8.5 knows {onnx_graph.MAX_OPSET} and below")
    quantisation = None
    if data is not None and args.quantisation == QUANTISATIONS[2]:
        model, quantisation = modelopt.quantise(model, data, args.calibrator, args.calibration_batch)
    elif data is not None:
        to = qdq.FP8 if args.fp8 else qdq.INT8
        style, custom = args.quantisation, not args.activation_in_float
        model, quantisation = quantise(model, data, args.calibrator, args.calibration_batch, custom, style, to)
    if data is not None and data.warning:
        warnings.append(data.warning)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ProfilerError(
            f"{args.model}: the exported graph is not valid ONNX ({error}).", "Please report this."
        ) from error
    content = model.SerializeToString()
    record = {
        "format": ONNX_FORMAT,
        "model": args.model,
        "weights": loaded.weights,
        "precision": "int8" if args.int8 else "fp8" if args.fp8 else args.precision,
        "io": args.io if args.precision == "fp16" else "fp32",
        "opset": onnx_graph.opset(model),
        "batch": args.batch,
        "input_shape": list(example.shape[1:]),
        "activation": args.activation,
        "activation_as": args.activation_as if args.activation else None,
        "relus_replaced": replaced,
        "batch_norms_folded": folded,
        "identities_folded": identities,
        "nodes": len(model.graph.node),
        "bytes": len(content),
        "quantisation": quantisation,
        "warnings": warnings,
        "recorded": telemetry.timestamp(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
        },
    }
    with atomic_file(args.output) as target, atomic_file(record_path) as record_target:
        target.write_bytes(content)
        write_json(record_target, record)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{args.output}: {len(content) / 2**20:.1f} MiB, {len(model.graph.node)} nodes", file=sys.stderr)


def quantise(
    model: Any,
    data: calibration.CalibrationData,
    method: str,
    batch: int,
    custom_in_int8: bool = True,
    style: str = qdq.FUSED,
    to: qdq.Quantised = qdq.INT8,
) -> tuple[Any, dict[str, Any]]:
    """Calibrate a float model and insert Q/DQ pairs.

    Returns:
        the quantised model, and the record's ``quantisation``.

    Raises:
        ProfilerError: nothing to quantise, or the calibration fails.
    """
    placement = qdq.place(model, custom_in_int8, style)
    # ONNX Runtime does not know the custom node; with stock operators in its place the tensors' names are the same
    ranges = calibration.collect_ranges(
        custom_node.to_stock_operators(model), placement.activations, data, method, batch
    )
    quantised = qdq.insert(model, placement, ranges, to)
    return quantised, {
        "placement": style,
        "calibrator": method,
        "data": {"kind": data.kind, "label": data.label, "images": data.images},
        "warning": data.warning,
        "activation_pairs": len(placement.activations),
        "weight_pairs": len(placement.weights),
        "residual_adds": len({add for add, _ in placement.skips}),
        "quantised_activations": len(placement.custom),
        "adds_left_in_float": list(placement.left_alone),
    }


def _check_arguments(args: argparse.Namespace) -> None:
    quantised = "--int8" if args.int8 else "--fp8" if args.fp8 else None
    if quantised and args.calibration is None:
        raise UsageError(
            f"{quantised}: no --calibration was given, and the scales come from it.",
            "Give a folder of images, a .npy file, or --calibration random (for speed only).",
        )
    if args.calibration is not None and not quantised:
        raise UsageError("--calibration: is for INT8 and FP8 only.", "Add --int8, or leave --calibration out.")
    if args.fp8 and (args.opset < _FP8_OPSET or args.quantisation == "modelopt" or args.activation):
        raise UsageError(
            f"--fp8 with --opset {args.opset}, --quantisation {args.quantisation}: FP8 pairs need opset {_FP8_OPSET}, and only our own "
            "placement without --activation has them.",
            f"Give --opset {_FP8_OPSET}.",
        )
    if quantised and args.precision != "fp32":
        raise UsageError(
            f"{quantised} with --precision {args.precision}: Q/DQ pairs are inserted into a float32 model.",
            "Leave --precision out; on TensorRT 8.5 the build sets FP16 and INT8 together.",
        )
    if args.activation_as != ACTIVATION_FORMS[0] and not args.activation:
        raise UsageError(f"--activation-as {args.activation_as}: only with --activation.", "Name the activation.")
    if args.io == "fp16" and args.precision != "fp16":
        raise UsageError(
            "--io fp16: only with --precision fp16.",
            "For TensorRT 8.5 give --io fp16 to profiler.engine.build instead.",
        )


def _example(torch: Any, given: Any, args: argparse.Namespace) -> Any:
    if given is None:
        # random, and not zeros: the folding of batch norms is checked on it
        return torch.randn((args.batch or 1, *args.input_shape))
    example = given.detach().cpu().float()
    if args.batch is not None and len(example) != args.batch:
        example = example[:1].expand(args.batch, *example.shape[1:]).contiguous()
    return example


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
