"""``bench``: latency, throughput and telemetry of one run, without a profiler."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.record import run_bench
from profiler.cli.capture_options import Progress, add_run, require_gpu, run_spec, with_engine
from profiler.cli.output import add_output_options, check_target, emit
from profiler.cli.verb import warn
from profiler.runtime.arguments import positive
from profiler.text import number

DESCRIPTION = (
    "Time a model on this GPU with CUDA events, without a profiler, and record memory, power and clocks meanwhile."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--streams",
        type=positive,
        default=1,
        metavar="N",
        help="measure throughput on N concurrent streams (TensorRT; default: 1); latency is always measured on one",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> None:
    check_target(args)
    spec = run_spec(args)
    require_gpu(spec)
    progress = Progress()
    with process.terminate_as_interrupt(), tempfile.TemporaryDirectory(prefix="profiler-bench-") as scratch:
        spec = with_engine(args, spec, Path(scratch), progress)
        result = run_bench(spec, Path(scratch) / "bench.json", progress=progress)
    rows = _rows(result)
    width = max(len(r["figure"]) for r in rows)
    shown = [f"{r['figure']:<{width}}  {_cell(r['value'])} {r['unit']}".rstrip() for r in rows]
    emit(args, result, "\n".join([spec.title, "", *shown]), rows)
    warn(result.get("warnings") or [])


def _cell(value: Any) -> str:
    return "—" if value is None else number(float(value))


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    latency, telemetry = result.get("latency_ms") or {}, result.get("telemetry") or {}
    rows = [
        {"figure": f"latency {key}", "value": latency.get(key), "unit": "ms"}
        for key in ("p50", "p90", "p99", "mean", "min", "max", "stddev")
    ]
    rows.append({"figure": "inferences timed", "value": latency.get("n"), "unit": ""})
    throughput = result.get("throughput") or {}
    rows.append({"figure": "throughput", "value": throughput.get("images_per_s"), "unit": "images/s"})
    rows.append({"figure": "streams of the throughput", "value": throughput.get("streams", 1), "unit": ""})
    memory = telemetry.get("memory_used_bytes_process")
    rows.append({"figure": "GPU memory of the process", "value": memory / 2**20 if memory else None, "unit": "MiB"})
    for key, label, unit in (
        ("power_w", "power", "W"),
        ("sm_clock_mhz", "SM clock", "MHz"),
        ("memory_clock_mhz", "memory clock", "MHz"),
        ("temperature_c", "temperature", "°C"),
    ):
        value = telemetry.get(key)
        rows.append({"figure": label, "value": value.get("mean") if isinstance(value, dict) else value, "unit": unit})
    return rows
