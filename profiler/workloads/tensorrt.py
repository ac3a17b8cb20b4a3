"""Run a TensorRT plan: ``python -m profiler.workloads.tensorrt --plan model.plan --output result.json …``.

Device buffers are the workload's own (cuda-python); torch is not needed. Runs on CPython 3.9 with TensorRT 8.5, and by the same calls
on 10.x and 11.x.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import rtx, versions
from profiler.engine.inspector import read_build_record
from profiler.engine.logger import make_logger
from profiler.errors import ProfilerError
from profiler.files import write_json
from profiler.plugins import loading
from profiler.runtime import arguments, contract, telemetry
from profiler.runtime.cuda_runtime import Cuda, CudaEvent
from profiler.runtime.trt_modules import MODULES
from profiler.workloads import ranges
from profiler.workloads.lanes import Lanes
from profiler.workloads.ranges import NoRanges, Ranges
from profiler.workloads.session import run_session

MODES = ("stream", "graph")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.workloads.tensorrt",
        description="Run a TensorRT plan on the GPU, to be profiled or to be timed. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    contract.add_common_arguments(parser, MODES)
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="the serialised engine")
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.so",
        help="a plugin library to load first (repeatable)",
    )
    parser.add_argument(
        "--trt-module", choices=MODULES, help="default: the one that built the plan, or that is installed"
    )
    parser.add_argument(
        "--streams",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="measure throughput on N streams at once, each with a context of its own (default: 1); latency always on one",
    )
    return parser


class TensorRTRunner:
    """An execution context with device buffers for every input and output, on one stream.

    Args:
        beside: another runner of the same plan, whose engine is shared: the weights are on the GPU once.

    Raises:
        ProfilerError: the plan is of another TensorRT or GPU, takes several inputs, or does not accept the shape.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        plan: Path,
        shape: tuple[int, ...],
        logger: Any,
        beside: TensorRTRunner | None = None,
    ) -> None:
        self._cuda = cuda
        self._plan = plan
        self._logger = logger
        # the runtime and the engine must outlive the context
        self._runtime: Any = beside._runtime if beside else trt.Runtime(logger)
        self.engine: Any = beside.engine if beside else versions.deserialise(trt, self._runtime, plan, logger)
        self.jit: rtx.Jit | None = None
        if versions.is_rtx(trt):
            self.jit = beside.jit if beside else rtx.Jit(trt, self.engine, plan)
        self.context = self.jit.context() if self.jit else self.engine.create_execution_context()
        if self.context is None:
            raise ProfilerError(
                f"{plan}: no execution context could be made ({logger.last_error() or 'TensorRT gave no reason'}).",
                "Most often the GPU has too little free memory: end other processes on it, or build for a smaller batch.",
            )
        self._input, self._outputs = self._tensors(trt)
        self._set_shape(shape)
        self._host: dict[str, np.ndarray[Any, Any]] = {}
        self._addresses: dict[str, int] = {}
        for name in (self._input, *self._outputs):
            self._allocate(trt, name)
        self._graph: Any = None

    def _tensors(self, trt: Any) -> tuple[str, list[str]]:
        engine = self.engine
        inputs: list[str] = []
        outputs: list[str] = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (inputs if is_input else outputs).append(name)
        if len(inputs) != 1 or not outputs:
            raise ProfilerError(
                f"{self._plan}: has the inputs {', '.join(inputs) or '(none)'} and the outputs {', '.join(outputs) or '(none)'}, "
                "and one input and at least one output were expected.",
                "This workload runs models of one input.",
            )
        return inputs[0], outputs

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        engine, context, name = self.engine, self.context, self._input
        declared = tuple(engine.get_tensor_shape(name))
        if -1 not in declared:
            if declared != shape:
                raise ProfilerError(
                    f"{self._plan}: takes the shape {list(declared)}, and {list(shape)} was asked for.",
                    f"Give --batch {declared[0]}, or build a plan for the other batch.",
                )
            return
        profiles = []
        for index in range(engine.num_optimization_profiles):
            low, _, high = (tuple(dims) for dims in engine.get_tensor_profile_shape(name, index))
            profiles.append(f"{list(low)} to {list(high)}")
            if len(low) == len(shape) and all(a <= b <= c for a, b, c in zip(low, shape, high)):
                if index and not context.set_optimization_profile_async(index, int(self._cuda.stream)):
                    raise ProfilerError(
                        f"{self._plan}: optimisation profile {index} cannot be selected ({self._logger.last_error()})."
                    )
                self._cuda.synchronize()
                if not context.set_input_shape(name, shape):
                    raise ProfilerError(f"{self._plan}: refuses the shape {list(shape)} ({self._logger.last_error()}).")
                return
        raise ProfilerError(
            f"{self._plan}: was built for the shapes {'; '.join(profiles)}, and {list(shape)} was asked for.",
            "Give a --batch within them, or build a plan with another --profile.",
        )

    def _allocate(self, trt: Any, name: str) -> None:
        engine, context = self.engine, self.context
        if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
            raise ProfilerError(
                f"{self._plan}: {name} is in the layout {engine.get_tensor_format_desc(name)}; expected row-major.",
                "Build the plan without constraints on the formats of inputs and outputs.",
            )
        shape = tuple(context.get_tensor_shape(name))
        if any(d < 0 for d in shape):
            raise ProfilerError(
                f"{self._plan}: the shape of {name}, {list(shape)}, depends on the data.",
                "This workload runs models whose output shapes follow from the input shape.",
            )
        try:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        except TypeError:
            raise ProfilerError(
                f"{self._plan}: {name} is {engine.get_tensor_dtype(name)}, which NumPy does not have.",
                "Build the plan with inputs and outputs in FP32 or FP16.",
            ) from None
        self._host[name] = np.zeros(shape, dtype)
        self._addresses[name] = self._cuda.allocate(self._host[name].nbytes)
        if not context.set_tensor_address(name, self._addresses[name]):
            raise ProfilerError(f"{self._plan}: TensorRT refused the buffer of {name} ({self._logger.last_error()}).")

    def capture(self) -> None:
        """Capture one inference into a CUDA graph. One runs before: TensorRT updates what it resolves lazily then."""
        self.enqueue()
        self._cuda.synchronize()
        self._cuda.begin_capture()
        self.enqueue()
        self._graph = self._cuda.end_capture()

    def enqueue(self) -> None:
        if self._graph is not None:
            self._cuda.launch(self._graph)
        elif not self.context.execute_async_v3(int(self._cuda.stream)):
            raise ProfilerError(f"{self._plan}: an inference failed ({self._logger.last_error()}).")

    def instrument(self, ranges: Ranges) -> None:
        """Nothing to do: TensorRT pushes a range per layer itself, in its own domain."""

    def synchronize(self) -> None:
        self._cuda.synchronize()

    def event(self) -> CudaEvent:
        return self._cuda.event()

    def load(self, images: np.ndarray[Any, Any]) -> None:
        host = self._host[self._input]
        np.copyto(host, images, casting="unsafe")
        self._cuda.to_device(self._addresses[self._input], host)

    def read(self) -> np.ndarray[Any, Any]:
        name = self._outputs[0]
        self._cuda.to_host(self._host[name], self._addresses[name])
        return self._host[name].astype(np.float32)

    def profiler_start(self) -> None:
        self._cuda.profiler_start()

    def profiler_stop(self) -> None:
        self._cuda.profiler_stop()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the workload that the arguments describe.

    Raises:
        ProfilerError: no GPU, no TensorRT, or a plan that does not run here.
    """
    args = build_parser().parse_args(argv)
    options = contract.run_options(args)
    contract.check_outputs(options.output, options.save_outputs)
    contract.check_file(args.plan, "a plan, written by python -m profiler.engine.build")
    record = read_build_record(args.plan)
    images = contract.load_inputs(options)
    trt = versions.import_tensorrt(args.trt_module or (record or {}).get("trt_module"))
    versions.check_plan_version(args.plan, record, trt)
    cuda = Cuda()
    logger = make_logger(trt)
    loading.check_plugins(args.plan, record, args.plugin)
    loading.load_plugins(trt, args.plugin, logger)
    shape = (options.batch, *options.input_shape)
    runner = TensorRTRunner(trt, cuda, args.plan, shape, logger)
    if options.mode == "graph":
        runner.capture()
    warnings: list[str] = []
    pushed: Ranges = ranges.open_ranges(warnings) if options.profile else NoRanges()

    def lanes() -> tuple[Lanes, int]:
        """The runner and its like, with the same images, warmed up."""
        made: list[tuple[TensorRTRunner, Cuda]] = [(runner, cuda)]
        for _ in range(args.streams - 1):
            own = Cuda()
            another = TensorRTRunner(trt, own, args.plan, shape, logger, beside=runner)
            another.load(next(contract.batches(images, options.batch))[0])
            if options.mode == "graph":
                another.capture()
            made.append((another, own))
        together = Lanes(made)
        for _ in range(options.warmup * len(made)):
            together.enqueue()
        together.synchronize()
        return together, len(made)

    several = lanes if args.streams > 1 else None
    if runner.jit is not None:
        runner.enqueue()
        runner.synchronize()
        runner.jit.save()
    result = run_session(runner, options, images, pushed, cuda.pci_bus_id(), warnings, several)
    write_json(options.output, _document(trt, args, options, record, result, runner, cuda, len(images), warnings))


def _document(
    trt: Any,
    args: argparse.Namespace,
    options: contract.RunOptions,
    record: dict[str, Any] | None,
    result: dict[str, Any],
    runner: TensorRTRunner,
    cuda: Cuda,
    images: int,
    warnings: list[str],
) -> dict[str, Any]:
    known = record or {}
    if record is None:
        warnings.append(f"{args.plan.name}.build.json is not beside the plan, so its precision and model are not known")
    source = known.get("onnx_export") or {}
    weights = source.get("weights") or {}
    label = weights.get("label") or "in the plan (their origin is not recorded)"
    scales = (source.get("quantisation") or {}).get("warning")
    if scales:
        warnings.append(scales)
    return {
        "format": contract.FORMAT,
        "framework": "TensorRT",
        "framework_version": versions.label(trt),
        "model": source.get("model") or args.plan.name,
        "activation": source.get("activation"),
        "activation_as": source.get("activation_as"),
        "plugins": [library.name for library in args.plugin],
        "weights": {"kind": "plan", "label": label, "seed": weights.get("seed")},
        "precision": known.get("precision"),
        "mode": options.mode,
        "batch": options.batch,
        "input_shape": [options.batch, *options.input_shape],
        "inputs": {"kind": "file" if options.inputs else "random", "seed": options.seed, "n": images},
        "gpu": {**cuda.device(), "driver": telemetry.driver_version()},
        **result,
        "memory": {
            "weights_bytes": args.plan.stat().st_size,
            "activations_bytes": versions.device_memory_bytes(runner.engine),
            "scratch_bytes": (known.get("memory_bytes") or {}).get("scratch"),
            "how": "weights: the size of the plan, which holds weights and kernels; activations: what the engine asks for one "
            "execution context, scratch memory included",
        },
        "jit": runner.jit.record() if runner.jit else None,
        "recorded": telemetry.timestamp(),
        "warnings": warnings,
        "versions": {
            "python": platform.python_version(),
            versions.module_name(trt): trt.__version__,
            "numpy": np.__version__,
        },
    }


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
