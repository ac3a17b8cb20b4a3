"""Run a PyTorch model: ``python -m profiler.workloads.pytorch --output result.json …``.

Precisions: fp32 (TF32 off), tf32, fp16 and bf16 (both channels_last, the layout that Tensor Core kernels want). Modes: eager; graph
(one CUDA graph, replayed); compile (``torch.compile(mode="reduce-overhead")``, which uses CUDA graphs itself).
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from profiler.errors import MissingToolError, ProfilerError, UsageError
from profiler.files import write_json
from profiler.plugins import activation
from profiler.runtime import contract, telemetry
from profiler.runtime.pytorch_model import (
    PRECISIONS,
    LoadedModel,
    import_torch,
    load_model,
    push_ranges,
    record_modules,
)
from profiler.workloads import ranges
from profiler.workloads.ranges import NoRanges, Ranges
from profiler.workloads.session import run_session

MODES = ("eager", "graph", "compile")
_TF32_SM = (8, 0)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.workloads.pytorch",
        description="Run a PyTorch model on the GPU, to be profiled or to be timed. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    contract.add_common_arguments(parser, MODES)
    parser.add_argument(
        "--model",
        default="resnet50",
        help="a torchvision model, or module:function returning (model, input); default: resnet50",
    )
    parser.add_argument(
        "--weights",
        default="random",
        help="random, DEFAULT, a torchvision name such as IMAGENET1K_V2, or a checkpoint's path (default: random)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--activation",
        choices=activation.NAMES,
        help="use this activation in place of every ReLU module (default: leave the model as it is)",
    )
    parser.add_argument(
        "--nvtx-modules",
        action="store_true",
        help="with --profile: a range per module inside each inference; also lists the modules' shapes in the result",
    )
    parser.add_argument(
        "--cudnn-benchmark",
        action="store_true",
        help="let cuDNN time its algorithms first (PyTorch's default is not to)",
    )
    return parser


class TorchEvent:
    """A CUDA event on the current stream."""

    def __init__(self, torch: Any) -> None:
        self._event = torch.cuda.Event(enable_timing=True)

    def record(self) -> None:
        self._event.record()

    def synchronize(self) -> None:
        self._event.synchronize()

    def elapsed_ms(self, end: Any) -> float:
        return float(self._event.elapsed_time(end._event))


class TorchRunner:
    """A model on the GPU, with its input buffer, started eagerly, as a CUDA graph, or compiled."""

    def __init__(self, torch: Any, module: Any, example: Any, mode: str, warmup: int) -> None:
        self._torch = torch
        self.module = module
        self._input = example
        self._output: Any = None
        self._call: Callable[[Any], Any] = module
        self._graph: Any = None
        self.nvtx_modules = False
        if mode == "compile":
            self._call = torch.compile(module, mode="reduce-overhead")
            for _ in range(3):  # compile, record the graph, replay it once
                self.enqueue()
        elif mode == "graph":
            self._capture(warmup)

    def _capture(self, warmup: int) -> None:
        """Capture one inference. Work on a side stream first: libraries allocate on first use, and a capture must not."""
        torch = self._torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(max(3, warmup)):
                self._call(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._call(self._input)
        self._graph = graph

    def enqueue(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        else:
            self._output = self._call(self._input)

    def instrument(self, ranges: Ranges) -> None:
        if self.nvtx_modules:
            push_ranges(self.module, ranges.push, ranges.pop)

    def synchronize(self) -> None:
        self._torch.cuda.synchronize()

    def event(self) -> TorchEvent:
        return TorchEvent(self._torch)

    def load(self, images: np.ndarray[Any, Any]) -> None:
        self._input.copy_(self._torch.from_numpy(images))
        self.synchronize()

    def read(self) -> np.ndarray[Any, Any]:
        output = self._output
        while isinstance(output, (tuple, list)):
            output = output[0]
        if isinstance(output, dict):
            output = next(iter(output.values()))
        array: np.ndarray[Any, Any] = output.float().cpu().numpy()
        return array

    def profiler_start(self) -> None:
        self._torch.cuda.cudart().cudaProfilerStart()

    def profiler_stop(self) -> None:
        self._torch.cuda.cudart().cudaProfilerStop()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the workload that the arguments describe.

    Raises:
        ProfilerError: no GPU, no torch, a model or weights that cannot be had, or a GPU that lacks the precision.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    options = contract.run_options(args)
    contract.check_outputs(options.output, options.save_outputs)
    torch = import_torch()
    device = _device(torch)
    _check_precision(torch, args.precision, device)
    _set_precision(torch, args.precision, args.cudnn_benchmark)
    warnings: list[str] = []
    model = load_model(args.model, args.weights, options.seed)
    if args.activation:
        activation.replace_relus(torch, model.module, args.activation)
    images = _images(model, options)
    with torch.inference_mode():
        try:
            document = _run(torch, args, options, model, images, device, warnings)
        except torch.cuda.OutOfMemoryError as error:
            raise ProfilerError(
                f"the GPU has too little memory for {args.model} at batch {options.batch} ({_first_line(error)}).",
                "Use a smaller --batch, or end other processes on the GPU.",
            ) from error
    write_json(options.output, document)


def _run(
    torch: Any,
    args: argparse.Namespace,
    options: contract.RunOptions,
    model: LoadedModel,
    images: np.ndarray[Any, Any],
    device: Any,
    warnings: list[str],
) -> dict[str, Any]:
    module, dtype, layout = _place(torch, model.module, args.precision)
    example = torch.empty((options.batch, *images.shape[1:]), dtype=dtype, device="cuda")
    if example.ndim == 4:
        example = example.to(memory_format=layout)
    example.copy_(torch.from_numpy(next(contract.batches(images, options.batch))[0]))
    weights_bytes = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    resident = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    modules = None
    if args.nvtx_modules:
        modules = record_modules(torch, module, lambda: module(example))
    runner = TorchRunner(torch, module, example, options.mode, options.warmup)
    if args.nvtx_modules and options.mode == "eager":
        runner.nvtx_modules = True
    elif args.nvtx_modules:
        warnings.append(
            f"no ranges per module in mode {options.mode}: a graph is replayed without running the modules' Python code"
        )
    pushed: Ranges = NoRanges()
    if options.profile:
        nvtx = torch.cuda.nvtx
        pushed = ranges.open_ranges(warnings, (nvtx.range_push, nvtx.range_pop))
    result = run_session(runner, options, images, pushed, _nvml_device(device), warnings)
    document: dict[str, Any] = {
        "format": contract.FORMAT,
        "framework": "PyTorch",
        "framework_version": torch.__version__,
        "model": args.model,
        "activation": args.activation,
        "weights": model.weights,
        "precision": args.precision,
        "mode": options.mode,
        "batch": options.batch,
        "input_shape": [options.batch, *images.shape[1:]],
        "inputs": {"kind": "file" if options.inputs else "random", "seed": options.seed, "n": len(images)},
        "gpu": {
            "name": device.name,
            "sm": device.major * 10 + device.minor,
            "driver": telemetry.driver_version(),
            "cuda": torch.version.cuda,
            "memory_bytes": device.total_memory,
        },
        "settings": {
            "memory_format": "channels_last" if layout is torch.channels_last else "contiguous",
            "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        },
        **result,
        "memory": {
            "weights_bytes": weights_bytes,
            "activations_bytes": torch.cuda.max_memory_allocated() - resident,
            "reserved_bytes": torch.cuda.max_memory_reserved(),
            "how": "weights: parameters and buffers; activations: the peak of PyTorch's allocator above them and the input, "
            "with the workspaces of cuDNN and cuBLAS",
        },
        "recorded": telemetry.timestamp(),
        "warnings": warnings,
        "versions": _versions(torch),
    }
    if modules is not None:
        document["modules"] = modules
    return document


def _device(torch: Any) -> Any:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        raise MissingToolError(
            "this process sees no NVIDIA GPU"
            + ("." if built else f": PyTorch {torch.__version__} was built without CUDA."),
            "Run it on a machine with a GPU and its driver (nvidia-smi shows them), with a CUDA build of PyTorch; "
            "check CUDA_VISIBLE_DEVICES.",
        )
    return torch.cuda.get_device_properties(0)


def _check_precision(torch: Any, precision: str, device: Any) -> None:
    if precision in ("tf32", "bf16") and (device.major, device.minor) < _TF32_SM:
        raise UsageError(
            f"--precision {precision}: {device.name} is SM {device.major}.{device.minor}, and {precision.upper()} needs SM 8.0 (Ampere).",
            "Use fp32 or fp16 on this GPU.",
        )


def _set_precision(torch: Any, precision: str, cudnn_benchmark: bool) -> None:
    # cuDNN uses TF32 for float32 convolutions unless told otherwise; cuBLAS does not
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = cudnn_benchmark


def _place(torch: Any, module: Any, precision: str) -> tuple[Any, Any, Any]:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    layout = torch.contiguous_format if dtype is torch.float32 else torch.channels_last
    return module.to(device="cuda", dtype=dtype).to(memory_format=layout), dtype, layout


def _images(model: LoadedModel, options: contract.RunOptions) -> np.ndarray[Any, Any]:
    """The images to run: from ``--inputs``, else what the model's function returned, else random ones."""
    if options.inputs is not None or model.example is None:
        return contract.load_inputs(options)
    example = model.example.detach().cpu().float().numpy()
    repeats = -(-options.batch // len(example))
    tiled: np.ndarray[Any, Any] = np.concatenate([example] * repeats)[: options.batch]
    return tiled


def _nvml_device(device: Any) -> str | None:
    uuid = getattr(device, "uuid", None)
    if uuid is None:
        return None
    return str(uuid) if str(uuid).startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def _versions(torch: Any) -> dict[str, Any]:
    versions: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "numpy": np.__version__,
    }
    for name in ("torchvision", "triton"):
        loaded = sys.modules.get(name)
        versions[name] = getattr(loaded, "__version__", None)
    return versions


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
