"""Measure the kernels on this GPU: ``python -m profiler.plugins.measure --library L.so --output M.json``.

Agreement with float64 (every FP16 value, every INT8 value, FP32 in random bit patterns and dense sweeps), behaviour at the edges (sizes
that fill no vector, memory that is not aligned, in place, more than 2^31 elements), and bandwidth against a copy of the same tensor.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from profiler.errors import MissingToolError, ProfilerError
from profiler.files import write_json
from profiler.plugins import library
from profiler.plugins.names import ALPHA, COPY, COPY_STREAM, EAGER, KERNEL
from profiler.runtime import arguments, contract, telemetry
from profiler.runtime.pytorch_model import import_torch

FORMAT = "profiler-plugin-measure/2"
BOUNDS = {"fp32": 1e-6, "fp16": 1e-3, "int8": 1.0}
"""Largest error against float64: relative for FP32 and FP16, in steps of the output's scale for INT8."""
_SMALLEST_NORMAL = {"fp32": 2.0**-126, "fp16": 2.0**-14}
_SCALES = ((0.05, 0.05), (0.02, 0.01), (0.1, 0.013), (0.003, 0.0029), (1.0, 1.0), (0.5, 4.0))
_SIZES = (*range(1, 70), 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 1_000_003, 33_554_435)
_GUARD = 64  # elements behind the output that must stay as they were
_MIB = 1 << 20
_SWEEP = 1 << 25
_MANY = (1 << 31) + 37
DEVICE = "cuda"
HUNDRED_PERCENT = (
    "the faster of two copies of the same tensor by PyTorch (Tensor.copy_, device to device): in a CUDA graph, like the kernels, "
    "and without one. In a graph small copies are faster, as launching takes longer than copying; on one H200 copies of 1 GiB "
    "were slower in it, and why is not known."
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.plugins.measure",
        description="Measure the custom layer's kernels. Exit status: 0 within the bounds, 1 failed or out of bounds, 2 wrong usage.",
    )
    add = parser.add_argument
    add(
        "--library",
        type=Path,
        required=True,
        metavar="FILE.so",
        help="a library made by python -m profiler plugin build",
    )
    add("--output", type=Path, required=True, metavar="FILE.json", help="the result document")
    add("--sizes-mib", type=_sizes, default=(4, 16, 64, 256, 1024), metavar="LIST", help="bytes read, in MiB")
    add(
        "--repeats",
        type=arguments.positive,
        default=20,
        metavar="N",
        help="timings per measurement; the median counts",
    )
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(arguments.positive(part) for part in text.split(","))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write the document, and fail when an error is out of bounds.

    Raises:
        ProfilerError: no GPU, no torch, a library that does not load, or a result out of its bounds.
    """
    args = build_parser().parse_args(argv)
    contract.check_outputs(args.output)
    torch = import_torch()
    if not torch.cuda.is_available():
        raise MissingToolError(
            "this process sees no NVIDIA GPU.", "Run it on a machine with a GPU, with a CUDA build of PyTorch."
        )
    kernels = library.Kernels(args.library)
    with torch.inference_mode():
        agreement = [row for precision in BOUNDS for row in _agreement(torch, kernels, precision)]
        edges = [_edges(torch, kernels, precision) for precision in BOUNDS]
        bandwidth = list(_bandwidth(torch, kernels, args.sizes_mib, args.repeats))
    device = torch.cuda.get_device_properties(0)
    document = {
        "format": FORMAT,
        "library": {"name": args.library.name, "tensorrt": library.compiled_for(library.load(args.library))},
        "alpha": float(np.float32(ALPHA)),
        "gpu": {
            "name": device.name,
            "sm": device.major * 10 + device.minor,
            "driver": telemetry.driver_version(),
            "multiprocessors": device.multi_processor_count,
        },
        "agreement": agreement,
        "edges": edges,
        "bandwidth": bandwidth,
        "hundred_percent": HUNDRED_PERCENT,
        "recorded": telemetry.timestamp(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda},
    }
    write_json(args.output, document)
    wrong = [
        f"{r['precision']} ({r['what']}): {_number(r['max_error'])} {r['unit']}" for r in agreement if not r["within"]
    ]
    wrong += [f"{e['precision']}: {text}" for e in edges for text in e["wrong"][:3]]
    if wrong:
        raise ProfilerError(
            f"{args.library}: out of bounds: {'; '.join(wrong[:6])}.", f"{args.output} holds all figures."
        )


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _dtype(torch: Any, precision: str) -> Any:
    return {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8}[precision]


def _run(
    torch: Any,
    kernels: library.Kernels,
    precision: str,
    x: Any,
    y: Any,
    scales: tuple[float, float] = (0.05, 0.05),
) -> None:
    stream = torch.cuda.current_stream().cuda_stream
    kernels.launch(precision, x.data_ptr(), y.data_ptr(), x.numel(), ALPHA, scales, stream)


def _reference(torch: Any, x: Any) -> Any:
    """The function in float64, of values given in float64; alpha is the 32-bit float that the node's attribute is."""
    return x / (1.0 + torch.exp(-float(np.float32(ALPHA)) * x))


def _inputs(torch: Any, precision: str) -> Iterator[tuple[str, Any]]:
    """Named sets of finite input values."""
    if precision == "fp16":
        bits = torch.arange(1 << 16, dtype=torch.int32, device=DEVICE).to(torch.int16)
        values = bits.view(torch.float16)
        yield "all finite values", values[torch.isfinite(values)].contiguous()
        return
    torch.manual_seed(0)
    bits = torch.randint(-(1 << 31), (1 << 31) - 1, (_SWEEP,), dtype=torch.int64, device=DEVICE).to(torch.int32)
    values = bits.view(torch.float32)
    yield f"{_SWEEP:,} random bit patterns, finite", values[torch.isfinite(values)].contiguous()
    yield f"{_SWEEP:,} values from -110 to 110", torch.linspace(-110, 110, _SWEEP, device=DEVICE)
    yield f"{_SWEEP // 2:,} values from -1 to 1", torch.linspace(-1, 1, _SWEEP // 2, device=DEVICE)
    yield f"{_SWEEP // 2:,} standard normal values", torch.randn(_SWEEP // 2, device=DEVICE)


def _agreement(torch: Any, kernels: library.Kernels, precision: str) -> Iterator[dict[str, Any]]:
    if precision == "int8":
        yield from _agreement_int8(torch, kernels)
        return
    for what, x in _inputs(torch, precision):
        y = torch.empty_like(x)
        _run(torch, kernels, precision, x, y)
        for variant, values in ((KERNEL, y), (EAGER, _eager(torch, x))):
            yield {
                "precision": precision,
                "what": what,
                "variant": variant,
                **_errors(torch, precision, x, values, variant),
            }


def _errors(torch: Any, precision: str, x: Any, values: Any, variant: str) -> dict[str, Any]:
    """The largest errors against float64; PyTorch's operators promise no bound, and where they overflow they do not count."""
    reference = _reference(torch, x.double())
    difference = (values.double() - reference).abs()
    # below the smallest normal number a relative error means nothing: there it is relative to that number
    errors = difference / reference.abs().clamp_min(_SMALLEST_NORMAL[precision])
    ours = variant == KERNEL
    errors = torch.nan_to_num(errors, nan=math.inf) if ours else torch.nan_to_num(errors, nan=0.0, posinf=0.0)
    worst = int(torch.argmax(errors))
    error, largest = float(errors[worst]), float(difference.max())
    return {
        "values": x.numel(),
        "max_error": error if math.isfinite(error) else None,
        "max_abs_error": largest if ours and math.isfinite(largest) else None,
        "at": float(x[worst]),
        "unit": "relative",
        "bound": BOUNDS[precision] if ours else None,
        "within": error <= BOUNDS[precision] or not ours,
    }


def _agreement_int8(torch: Any, kernels: library.Kernels) -> Iterator[dict[str, Any]]:
    q = torch.arange(-128, 128, dtype=torch.int32, device=DEVICE).to(torch.int8).repeat(64)
    for scales in _SCALES:
        source, target = (float(np.float32(s)) for s in scales)
        exact = _reference(torch, q.double() * source) / target
        expected = torch.clamp(torch.round(exact), -128, 127)
        y = torch.empty_like(q)
        _run(torch, kernels, "int8", q, y, scales)
        steps = float((y.double() - expected).abs().max())
        yield {
            "precision": "int8",
            "what": f"all values, scales {scales[0]:g} and {scales[1]:g}",
            "variant": KERNEL,
            "values": 256,
            "max_error": steps,
            "max_abs_error": float((y.double() - exact.clamp(-128, 127)).abs().max()) * target,
            "at": None,
            "unit": "steps",
            "bound": BOUNDS["int8"],
            "within": steps <= BOUNDS["int8"],
        }


def _edges(torch: Any, kernels: library.Kernels, precision: str) -> dict[str, Any]:
    """Sizes, alignments and aliasing. What is checked: every element, and that nothing behind the output was touched."""
    wrong: list[str] = []
    skipped: list[str] = []
    cases = 0
    torch.manual_seed(1)
    for size in _SIZES:
        source = _random(torch, precision, size + 16)
        whole = torch.empty_like(source)
        _run(torch, kernels, precision, source, whole)  # aligned; agreement is measured elsewhere
        for offset in (0, 1):
            x, expected = source[offset : offset + size], whole[offset : offset + size]
            memory = torch.full((size + 16 + _GUARD,), 77, dtype=source.dtype, device=DEVICE)
            y = memory[offset : offset + size]
            _run(torch, kernels, precision, x, y)
            cases += 1
            if not torch.equal(y, expected):
                wrong.append(f"{size} elements at offset {offset}: differs")
            if not bool((memory[offset + size :] == 77).all()) or not bool((memory[:offset] == 77).all()):
                wrong.append(f"{size} elements at offset {offset}: wrote outside its output")
        in_place = source.clone()[:size]
        _run(torch, kernels, precision, in_place, in_place)
        cases += 1
        if not torch.equal(in_place, whole[:size]):
            wrong.append(f"{size} elements in place: differs")
    try:
        right = _beyond_31_bits(torch, kernels, precision)
    except torch.cuda.OutOfMemoryError:
        skipped.append("more than 2^31 elements: the GPU has too little memory")
    else:
        cases += 1
        if not right:
            wrong.append("more than 2^31 elements: differs")
    return {"precision": precision, "cases": cases, "wrong": wrong, "skipped": skipped}


def _beyond_31_bits(torch: Any, kernels: library.Kernels, precision: str) -> bool:
    x = torch.zeros(_MANY, dtype=_dtype(torch, precision), device=DEVICE)
    tail = _random(torch, precision, 4096)
    x[-4096:] = tail
    y = torch.full_like(x, 77)
    _run(torch, kernels, precision, x, y)
    expected = torch.empty_like(tail)
    _run(torch, kernels, precision, tail, expected)
    return bool(torch.equal(y[-4096:], expected)) and not bool(y[:-4096].any())


def _random(torch: Any, precision: str, count: int) -> Any:
    if precision == "int8":
        return torch.randint(-128, 128, (count,), dtype=torch.int16, device=DEVICE).to(torch.int8)
    return torch.randn(count, device=DEVICE, dtype=_dtype(torch, precision))


def _eager(torch: Any, x: Any) -> Any:
    return x * torch.sigmoid(ALPHA * x)


def _bandwidth(
    torch: Any, kernels: library.Kernels, sizes_mib: Sequence[int], repeats: int
) -> Iterator[dict[str, Any]]:
    """Median times. Bytes are those of one read and one write of the tensor, for the copy too."""
    for size_mib in sizes_mib:
        for precision in BOUNDS:
            count = size_mib * _MIB // torch.empty((), dtype=_dtype(torch, precision)).element_size()
            x = _random(torch, precision, count)
            y = torch.empty_like(x)
            runs: dict[str, Callable[[], Any]] = {
                COPY: partial(y.copy_, x),
                KERNEL: partial(_run, torch, kernels, precision, x, y),
            }
            if precision != "int8":
                runs[EAGER] = partial(_eager, torch, x)
            times = _time(torch, runs, repeats, size_mib)
            copy = min(times[COPY], times[COPY_STREAM])
            moved = 2 * size_mib * _MIB
            for name, milliseconds in times.items():
                yield {
                    "precision": precision,
                    "size_mib": size_mib,
                    "what": name,
                    "ms": milliseconds,
                    "gb_per_s": moved / milliseconds / 1e6,
                    "pct_of_copy": 100 * copy / milliseconds,
                }


def _time(torch: Any, runs: dict[str, Callable[[], Any]], repeats: int, size_mib: int) -> dict[str, float]:
    """Median milliseconds of each, taken in turns, so that a clock that changes meets all of them.

    Calls are captured into a CUDA graph, as launching small ones takes longer than they run. The copy is timed without one too: graphs are
    not to make it look slow.
    """
    inner = max(2, min(50, 2048 // size_mib))

    def repeated(call: Callable[[], Any]) -> None:
        for _ in range(inner):
            call()

    timed: dict[str, Callable[[], Any]] = {COPY_STREAM: partial(repeated, runs[COPY])}
    for name, call in runs.items():
        call()  # what is loaded on first use must not be loaded in a capture
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            repeated(call)
        timed[name] = graph.replay
    times: dict[str, list[float]] = {name: [] for name in timed}
    for call in timed.values():
        call()
    torch.cuda.synchronize()
    for _ in range(repeats):
        for name, call in timed.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end) / inner)
    return {name: float(np.median(found)) for name, found in times.items()}


if __name__ == "__main__":
    sys.exit(contract.run_process(main))
