"""What this machine has of what capturing needs, what is missing, and how to get it. Nothing here raises."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.gpu import chip_notes, find_gpus
from profiler.capture.nsys import COUNTERS_HELP, DOWNLOAD, Nsys, locate, metrics_device
from profiler.errors import ProfilerError
from profiler.files import MIN_FREE_BYTES
from profiler.runtime.trt_modules import MODULES, RTX, missing_in_rtx

FOUND, MISSING, WARNING, OPTIONAL = "found", "missing", "warning", "optional, missing"
PARAMETERS = Path("/proc/driver/nvidia/params")
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_NCU_PATTERNS = ("/usr/local/cuda*/bin/ncu", "/opt/nvidia/nsight-compute/*/ncu")
_ASK_TIMEOUT_S = 120

# One program for both interpreters: imports what it is told to and prints versions as JSON. It must run on Python 3.6.
_PROBE = """
import json, sys
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
for name in sys.argv[1:]:
    try:
        module = __import__(name)
        found[name] = str(getattr(module, "__version__", "found"))
    except BaseException as error:
        found[name] = None
        found[name + " error"] = (type(error).__name__ + ": " + str(error))[:300]
if found.get("torch"):
    import torch
    found["torch cuda"] = torch.version.cuda
    try:
        found["torch gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except BaseException as error:
        found["torch gpu"] = None
print("PROBE" + json.dumps(found))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: the thing looked for.
        status: "found", "missing", "warning" or "optional, missing".
        detail: version or place, or why it does not work.
        remedy: how to get it; empty when there is nothing to do.
        needed_for: what cannot be done without it.
    """

    what: str
    status: str
    detail: str
    remedy: str = ""
    needed_for: str = ""

    @property
    def is_a_fault(self) -> bool:
        """What ``doctor --strict`` fails on."""
        return self.status in (MISSING, WARNING)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(torch_python: str | None, trt_python: str | None, folder: Path) -> list[Finding]:
    """Look for everything; ``folder`` is where recordings would go."""
    findings = [Finding("Python", FOUND, platform.python_version())]
    findings += _gpus()
    findings += _interpreter("PyTorch", torch_python, _TORCH_MODULES)
    findings += _interpreter("TensorRT", trt_python, _TRT_MODULES)
    findings += _profilers()
    findings += [_counters(), *_space(folder)]
    return findings


_TORCH_MODULES = {
    "torch": ("pip install torch (https://pytorch.org/get-started/locally)", "PyTorch runs and the ONNX export", True),
    "torchvision": ("pip install torchvision", "models by name", True),
    "nvtx": ("pip install nvtx", "ranges per inference and per module", True),
    "onnx": ("pip install onnx", "the ONNX export", True),
    "onnxruntime": ("pip install onnxruntime", "INT8 calibration", True),
    "pynvml": ("pip install nvidia-ml-py", "power, clocks and memory beside the latency", False),
}
_TRT_MODULES = {
    "tensorrt": (
        "pip install tensorrt==8.6.0 (CPython 3.6 to 3.10), or a newer one from NVIDIA's index (https://developer.nvidia.com/tensorrt)",
        "building and running engines",
        True,
    ),
    RTX: (
        "pip install tensorrt-rtx-cu13 (CPython 3.8 and later)",
        "building and running engines of TensorRT-RTX (--trt-module tensorrt_rtx)",
        False,
    ),
    "numpy": ("pip install numpy", "TensorRT runs", True),
    "nvtx": ("pip install nvtx", "a range per inference", True),
    "cuda": ("pip install cuda-python", "device memory and streams without PyTorch", True),
    "pynvml": ("pip install nvidia-ml-py", "power, clocks and memory beside the latency", False),
}


def _gpus() -> list[Finding]:
    try:
        chips = find_gpus()
    except ProfilerError as error:
        return [Finding("GPU", MISSING, error.message, error.hint or "", "every recording and every latency")]
    findings = []
    for chip in chips:
        sm = f"compute capability {chip.sm // 10}.{chip.sm % 10}" if chip.sm else "compute capability not told"
        memory = f", {chip.memory_bytes / 2**30:.0f} GiB" if chip.memory_bytes else ""
        findings.append(Finding(f"GPU {chip.index}", FOUND, f"{chip.name}, {sm}{memory}, driver {chip.driver}"))
        findings += [Finding(f"GPU {chip.index} notes", FOUND, note) for note in chip_notes(chip.sm)]
        if chip.mig:
            findings.append(
                Finding(
                    f"GPU {chip.index} MIG",
                    WARNING,
                    "MIG is on: nsys cannot sample GPU metrics of a slice.",
                    "Turn MIG off, or record with --gpu-metrics-frequency 0.",
                )
            )
        if chip.memory_used_bytes and chip.memory_bytes and chip.memory_used_bytes > chip.memory_bytes // 20:
            findings.append(
                Finding(
                    f"GPU {chip.index} in use",
                    WARNING,
                    f"{chip.memory_used_bytes / 2**30:.1f} GiB are in use by others: latencies may be disturbed.",
                    "Measure on a GPU that nobody else uses.",
                )
            )
    return findings


def _interpreter(label: str, given: str | None, modules: dict[str, tuple[str, str, bool]]) -> list[Finding]:
    option = "--torch-python" if label == "PyTorch" else "--trt-python"
    try:
        python = process.python_for(given)
        done = subprocess.run(
            [python, "-c", _PROBE, *modules],
            capture_output=True, text=True, errors="replace", check=False, timeout=_ASK_TIMEOUT_S,
            stdin=subprocess.DEVNULL, env=process.child_environment(),
        )  # fmt: skip
    except ProfilerError as error:
        return [Finding(f"{label} interpreter", MISSING, error.message, error.hint or "", f"{label} runs")]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [
            Finding(
                f"{label} interpreter",
                MISSING,
                f"{given}: cannot be run ({error})",
                f"Correct {option}.",
                f"{label} runs",
            )
        ]
    line = next((part for part in done.stdout.splitlines() if part.startswith("PROBE{")), None)
    if line is None:
        return [
            Finding(
                f"{label} interpreter",
                MISSING,
                f"{python}: not a Python that runs: {' '.join(done.stderr.split())[-300:]}",
                f"Correct {option}.",
                f"{label} runs",
            )
        ]
    found: dict[str, str | None] = json.loads(line[len("PROBE") :])
    findings = [Finding(f"{label} interpreter", FOUND, f"{python} (Python {found['python']})")]
    for name, other in (MODULES, MODULES[::-1]) if label == "TensorRT" else ():
        if found.get(other) and not found.get(name):
            modules = {key: value for key, value in modules.items() if key != name}  # one of the two is enough
    for name, (remedy, needed_for, required) in modules.items():
        version = found.get(name)
        if version:
            findings.append(Finding(f"{label}: {name}", FOUND, version))
        else:
            detail = found.get(f"{name} error") or "not there"
            findings.append(
                Finding(
                    f"{label}: {name}",
                    MISSING if required else OPTIONAL,
                    detail,
                    f"{remedy}, or name another interpreter with {option}",
                    needed_for,
                )
            )
    if label == "TensorRT" and found.get(RTX):
        reasons = (missing_in_rtx("fp16", chip.sm, found[RTX]) for chip in _quietly(find_gpus, []))
        findings += [
            Finding(
                f"{label}: TensorRT-RTX limits", WARNING, reason, "Use TensorRT itself on this GPU.", "TensorRT-RTX"
            )
            for reason in dict.fromkeys(reasons)
            if reason
        ]
    if found.get("torch") and not found.get("torch gpu"):
        cuda = found.get("torch cuda")
        detail = f"built for CUDA {cuda}, and sees no GPU" if cuda else "a build without CUDA"
        findings.append(
            Finding(
                f"{label}: CUDA",
                MISSING,
                detail,
                "Install the CUDA build of torch that fits the driver (https://pytorch.org/get-started/locally).",
                "PyTorch runs",
            )
        )
    return findings


def _profilers() -> list[Finding]:
    findings = []
    nsys: Nsys | None = None
    try:
        nsys = locate()
        findings.append(Finding("nsys", FOUND, f"{nsys.version_text} ({nsys.path})"))
    except ProfilerError as error:
        findings.append(
            Finding("nsys", MISSING, error.message, error.hint or f"Install it from {DOWNLOAD}.", "recordings")
        )
    if nsys is not None:
        device, reason = _quietly(lambda: metrics_device(nsys), (None, "nsys did not answer"))
        if device is not None:
            findings.append(Finding("nsys GPU metrics", FOUND, f"GPU {device} can be sampled"))
        else:
            findings.append(
                Finding(
                    "nsys GPU metrics",
                    WARNING,
                    reason or "not available",
                    "Recordings work without them; Tensor Core activity and DRAM traffic are then missing.",
                    "sampled Tensor Core activity",
                )
            )
    ncu = shutil.which("ncu") or next(
        (str(p) for pattern in _NCU_PATTERNS for p in sorted(Path("/").glob(pattern[1:]), reverse=True)), None
    )
    if ncu is None:
        findings.append(
            Finding(
                "ncu",
                OPTIONAL,
                "Nsight Compute was not found",
                "Install it from https://developer.nvidia.com/nsight-compute.",
                "counters of single kernels",
            )
        )
    else:
        said = _quietly(
            lambda: (
                subprocess.run(
                    [ncu, "--version"],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=60,
                    stdin=subprocess.DEVNULL,
                ).stdout
            ),
            "",
        )
        version = next(
            (part.split("Version", 1)[1].strip() for part in said.splitlines() if "Version" in part), "version not told"
        )
        findings.append(Finding("ncu", FOUND, f"{version} ({ncu})"))
    return findings


def _counters() -> Finding:
    """The driver's rule about who may read GPU counters."""
    what = "GPU counters permission"
    try:
        text = PARAMETERS.read_text()
    except OSError:
        return Finding(
            what,
            OPTIONAL,
            f"{PARAMETERS} cannot be read, so the driver's rule is not known",
            f"See {COUNTERS_HELP}.",
            "GPU metrics",
        )
    rule = next(
        (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("RmProfilingAdminOnly")), None
    )
    if rule == "0":
        return Finding(what, FOUND, "every user may read them (RmProfilingAdminOnly: 0)")
    if os.geteuid() == 0:
        return Finding(what, FOUND, f"root only (RmProfilingAdminOnly: {rule or 'not told'}), and this is root")
    return Finding(
        what,
        WARNING,
        f"root only (RmProfilingAdminOnly: {rule or 'not told'}), and this is not root",
        f"Load the driver with NVreg_RestrictProfilingToAdminUsers=0, or run as root ({COUNTERS_HELP}).",
        "GPU metrics",
    )


def _space(folder: Path) -> list[Finding]:
    findings = []
    for what, place in (("output folder", folder), ("temporary folder", Path(tempfile.gettempdir()))):
        here = next(p for p in (place, *place.absolute().parents) if p.is_dir())
        free = shutil.disk_usage(here).free
        detail = f"{here}: {free / 2**30:.1f} GiB free"
        if not os.access(here, os.W_OK):
            findings.append(
                Finding(
                    what, MISSING, f"{here}: cannot be written", "Choose another with -o, or set TMPDIR.", "recordings"
                )
            )
        elif free < 4 * MIN_FREE_BYTES:
            findings.append(
                Finding(
                    what,
                    WARNING,
                    detail,
                    f"A recording needs about {MIN_FREE_BYTES / 2**20:.0f} MiB, a study several GiB.",
                    "recordings",
                )
            )
        else:
            findings.append(Finding(what, FOUND, detail))
    if _PARANOID.is_file():
        findings.append(
            Finding("CPU sampling", FOUND, "not used by this project, so perf_event_paranoid does not matter")
        )
    return findings


def _quietly(ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return ask()
    except (ProfilerError, OSError, subprocess.SubprocessError):
        return otherwise
