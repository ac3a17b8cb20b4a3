"""Which layer's quantisation costs most: ``python -m profiler.workloads.sensitivity --onnx M-int8.onnx --images test -o sensitivity.json``.

Every layer that reads quantised tensors is quantised alone, and left alone in float while all others are quantised, with the scales
of the model's own Q/DQ pairs. The arithmetic is simulated in float32 (PyTorch, on the GPU if there is one): it says what rounding to
INT8 costs, and not what an engine that fuses layers does on top of it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import onnx_graph
from profiler.engine.build import export_record
from profiler.errors import ProfilerError
from profiler.files import write_json
from profiler.runtime import arguments, contract, telemetry
from profiler.runtime.accuracy import accuracy, agreement
from profiler.runtime.images import image_folder, write_inputs
from profiler.runtime.pytorch_model import import_torch
from profiler.workloads.fake_quantisation import FakeQuantised

FORMAT = "profiler-sensitivity/1"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.workloads.sensitivity",
        description="Quantise one layer at a time, and all but one, by fake quantisation in PyTorch: top-1, agreement and SQNR of each.",
    )
    add = parser.add_argument
    add("--onnx", type=Path, nargs="+", required=True, metavar="FILE", help="models with Q/DQ pairs, such as a study's "
        "engines/resnet50-int8.onnx; layer by layer for the first, as a whole for all")  # fmt: skip
    add("--images", type=Path, required=True, metavar="DIR", help="labelled images, one folder per class")
    add("--images-limit", type=arguments.positive, default=5000, metavar="N", help="at most so many (default: 5000)")
    add("--batch", type=arguments.positive, default=250, metavar="N", help="images at once (default: 250)")
    add("--whole-only", action="store_true", help="no layer by layer")
    add("-o", "--output", type=Path, required=True, metavar="FILE.json", help="where to write the figures")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the arguments describe.

    Raises:
        ProfilerError: PyTorch is missing, a model cannot be simulated, or the images cannot be read.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    contract.check_outputs(args.output)
    torch, onnx = import_torch(), onnx_graph.import_onnx()
    started = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    models, left_out = [], []
    for path in args.onnx:
        contract.check_file(path, "an ONNX model, written by python -m profiler.engine.export --int8")
        try:
            models.append((path, FakeQuantised(torch, onnx.load(str(path)), device)))
        except ProfilerError as error:
            if path == args.onnx[0]:
                raise
            left_out.append({"onnx": path.name, "reason": error.message})
            print(f"{path.name}: left out: {error.message}", file=sys.stderr)
    record = export_record(args.onnx[0]) or {}
    paths, labels = image_folder(args.images, args.images_limit)
    size = (record.get("input_shape") or [3, 224, 224])[-1]
    images = _read(torch, paths, size, device, args.output)
    measure = _Measure(torch, images, labels, args.batch)
    exact = measure.outputs(models[0][1], ())
    document: dict[str, Any] = {
        "format": FORMAT,
        "model": record.get("model") or args.onnx[0].name,
        "weights": (record.get("weights") or {}).get("label"),
        "images": len(paths),
        "data": args.images.name,
        "float": accuracy(exact, labels).as_dict(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": str(torch.__version__),
        "recorded": telemetry.timestamp(),
        "command": f"{parser.prog} {' '.join(sys.argv[1:] if argv is None else argv)}",
        "how": "simulated in float32 with the scales of the model's Q/DQ pairs",
        "left_out": left_out,
        "models": [],
        "layers": [],
    }
    for path, model in models:
        document["models"].append(
            {
                "onnx": path.name,
                "onnx_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "quantisation": (export_record(path) or {}).get("quantisation"),
                **measure.figures(model, model.units, exact),
            }
        )
    if not args.whole_only:
        first = models[0][1]
        for number, unit in enumerate(first.units, 1):
            others = [name for name in first.units if name != unit]
            found = {"alone": measure.figures(first, [unit], exact), "all_but": measure.figures(first, others, exact)}
            document["layers"].append({"layer": unit, "operator": first.operator(unit), **found})
            print(
                f"{number} of {len(first.units)}: {unit}: SQNR {found['alone']['sqnr_db'] or 0:.1f} dB alone",
                file=sys.stderr,
            )
    document["seconds"] = round(time.monotonic() - started, 1)
    write_json(args.output, document)


class _Measure:
    """Outputs and figures on one set of images."""

    def __init__(self, torch: Any, images: Any, labels: np.ndarray[Any, Any], batch: int) -> None:
        self._torch, self._images, self._labels, self._batch = torch, images, labels, batch

    def outputs(self, model: FakeQuantised, quantised: Iterable[str]) -> np.ndarray[Any, Any]:
        chosen = frozenset(quantised)
        with self._torch.inference_mode():
            parts = [model.run(part.float(), chosen) for part in self._images.split(self._batch)]
            found: np.ndarray[Any, Any] = self._torch.cat(parts).cpu().numpy()
        return found

    def figures(self, model: FakeQuantised, quantised: Iterable[str], exact: np.ndarray[Any, Any]) -> dict[str, Any]:
        found = self.outputs(model, quantised)
        agrees = agreement(exact, found)
        return {
            "top1_pct": accuracy(found, self._labels).top1_pct,
            "top1_agreement_pct": agrees.top1_agreement_pct,
            "sqnr_db": agrees.sqnr_db,
        }


def _read(torch: Any, paths: Sequence[Path], size: int, device: str, beside: Path) -> Any:
    """The images on the device, float32 [N, 3, size, size]; through a file, as there may be more than fit beside the model."""
    target = beside.with_name(f".{beside.name}.images.npy")
    try:
        write_inputs(paths, target, size, round(size * 256 / 224))
        return torch.from_numpy(np.load(target)).to(device)
    except OSError as error:
        raise ProfilerError(
            f"{target}: cannot be written ({error}).", "Free some space, or lower --images-limit."
        ) from error
    finally:
        target.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
