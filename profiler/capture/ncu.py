"""NVIDIA Nsight Compute: count the Tensor Core instructions that each kernel of a program really executes."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import MissingToolError, ProfilerError, TraceError
from profiler.tools import ask, find_tool

NCU_VARIABLE = "PROFILER_NCU"
TOTAL = "sm__inst_executed_pipe_tensor"
NOT_MATRIX = "sm__inst_executed_pipe_tensor_op_hmma_type_hfma2"
TENSOR_METRIC = re.compile(r"^sm__inst_executed_pipe_tensor\w*$")
_INSTALL_PATTERNS = ("/opt/nvidia/nsight-compute/*/ncu", "/usr/local/cuda*/bin/ncu")
_QUERY_TIMEOUT_S = 120


@dataclass(frozen=True)
class KernelCount:
    """One kernel execution under ncu.

    Attributes:
        counters: sums of the Tensor pipes' counters by metric name; warp instructions.
    """

    name: str
    counters: dict[str, float]

    @property
    def matrix_instructions(self) -> float:
        """Instructions of the Tensor pipes without HFMA2.MMA.

        HFMA2.MMA is a packed FP16 multiply-add that multiplies no matrices; compilers also use it to move constants. It runs
        on the same pipe, so the pipe's total, and nsys's sampled Tensor Active with it, is above zero for many kernels that
        use no Tensor Core in the usual sense.
        """
        return self.counters.get(TOTAL, 0.0) - self.counters.get(NOT_MATRIX, 0.0)

    @property
    def uses_tensor_cores(self) -> bool:
        return self.matrix_instructions > 0


def find_ncu() -> Path | None:
    """``$PROFILER_NCU``, then the PATH, then the usual install folders (newest first)."""
    return find_tool("ncu", NCU_VARIABLE, _INSTALL_PATTERNS)


def tensor_metrics(ncu: Path) -> list[str]:
    """The counters of the Tensor pipes that this GPU has.

    Raises:
        ProfilerError: ncu cannot list them, or there are none.
    """
    done = _run([str(ncu), "--query-metrics"], _QUERY_TIMEOUT_S)
    names = sorted({w for line in done.splitlines() for w in line.split()[:1] if TENSOR_METRIC.match(w)})
    if not names:
        raise ProfilerError(
            f"{ncu}: lists no counter sm__inst_executed_pipe_tensor*.",
            "This needs a GPU with Tensor Cores (SM 7.0 or newer).",
        )
    return names


def count_tensor_instructions(command: Sequence[str], timeout_s: float, all_processes: bool = False) -> str:
    """Run a program under ncu and return its CSV: every kernel between cudaProfilerStart and Stop, with the Tensor pipes' counters.

    Args:
        command: the program and its arguments.
        timeout_s: for the whole run.
        all_processes: also profile what the program starts. Without it ncu sees nothing of a program behind a wrapper
            script; with it ncu can wait for children for ever.

    Raises:
        MissingToolError: no ncu.
        ProfilerError: ncu or the program failed or took too long; what it printed is in the message.
    """
    ncu = find_ncu()
    if ncu is None:
        raise MissingToolError(
            "ncu (NVIDIA Nsight Compute) was not found.",
            f"Install it with the CUDA toolkit, or name it in ${NCU_VARIABLE}.",
        )
    metrics = ",".join(f"{name}.sum" for name in tensor_metrics(ncu))
    target = "all" if all_processes else "application-only"
    argv = [
        str(ncu), "--csv", "--page", "raw", "--metrics", metrics, "--target-processes", target, "--profile-from-start", "off",
        "--clock-control", "none",  # counts do not depend on clocks, and the GPU's settings stay as they are
        "--print-units", "base", "--print-kernel-base", "demangled", *command,
    ]  # fmt: skip
    text = _run(argv, timeout_s)
    if "No kernels were profiled" in text:
        raise ProfilerError(
            f"{ncu}: no kernel was profiled in: {' '.join(command)[:300]}",
            "Name the program itself and not a script that starts it, or give --target-processes all; and the program must call "
            "cudaProfilerStart and cudaProfilerStop around what is counted (the workloads do with --profile).",
        )
    return text


def _run(argv: list[str], timeout_s: float) -> str:
    done = ask(
        argv, timeout_s, f"Correct ${NCU_VARIABLE} or the PATH, give a larger --timeout, or count fewer iterations."
    )
    if done.returncode:
        said = " ".join((done.stderr + " " + done.stdout).split())[-800:]
        raise ProfilerError(
            f"{argv[0]}: exit status {done.returncode}; it said: {said}",
            "ERR_NVGPUCTRPERM means that counters are restricted: run as root, or set NVreg_RestrictProfilingToAdminUsers=0.",
        )
    print(done.stderr, end="", file=sys.stderr)
    return done.stdout


def parse_ncu_csv(text: str, label: str) -> list[KernelCount]:
    """Read ncu's CSV, of ``--page raw`` (a column a metric) or of ``--page details`` (a row a metric).

    Raises:
        TraceError: no kernel, or no Tensor pipe counter, is in it.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise TraceError(
            f"{label}: holds no ncu table.",
            "Expected the output of ncu --csv with sm__inst_executed_pipe_tensor* metrics.",
        )
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[start:]))))
    kernels: dict[str, KernelCount] = {}
    for row in rows:
        key, name = row.get("ID") or "", row.get("Kernel Name") or ""
        if not key.isdigit():
            continue  # the row of units
        found = kernels.setdefault(key, KernelCount(name, {}))
        pairs = [(row["Metric Name"], row.get("Metric Value"))] if "Metric Name" in row else list(row.items())
        for metric, value in pairs:
            number = _number(value)
            if metric is None or number is None:
                continue
            base, _, statistic = metric.partition(".")
            if TENSOR_METRIC.match(base) and statistic in ("", "sum"):
                found.counters[base] = number
    counted = [k for k in kernels.values() if TOTAL in k.counters]
    if not counted:
        raise TraceError(
            f"{label}: no kernel with the counter {TOTAL}.", "Profile with the metrics sm__inst_executed_pipe_tensor*."
        )
    return counted


def _number(value: str | None) -> float | None:
    try:
        return float((value or "").replace(",", ""))
    except ValueError:
        return None
