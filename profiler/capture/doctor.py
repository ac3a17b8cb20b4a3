"""What this machine has of what capturing needs, what is missing, and how to get it. Nothing here raises."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.gpu import Chip, capability, chip_notes, find_gpus
from profiler.capture.interpreters import probe
from profiler.capture.ncu import find_ncu
from profiler.capture.nsys import COUNTERS_HELP, DOWNLOAD, locate, metrics_device
from profiler.errors import ProfilerError
from profiler.files import MIN_FREE_BYTES
from profiler.runtime.trt_modules import MODULES, RTX, missing_in_rtx
from profiler.tools import ask

FOUND, MISSING, WARNING, OPTIONAL = "found", "missing", "warning", "optional, missing"
PARAMETERS = Path("/proc/driver/nvidia/params")
_ASK_TIMEOUT_S = 60


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


@dataclass(frozen=True)
class _Module:
    install: str
    needed_for: str
    required: bool = True


_ENGINES, _SENSORS = "building and running engines", "power, clocks and memory beside the latency"
_MODULES = {
    "PyTorch": {
        "torch": _Module("torch (https://pytorch.org/get-started/locally)", "PyTorch runs and the ONNX export"),
        "torchvision": _Module("torchvision", "models by name"),
        "nvtx": _Module("nvtx", "ranges per inference and per module"),
        "onnx": _Module("onnx", "the ONNX export"),
        "onnxruntime": _Module("onnxruntime", "INT8 calibration"),
        "pynvml": _Module("nvidia-ml-py", _SENSORS, required=False),
    },
    "TensorRT": {
        "tensorrt": _Module(
            "tensorrt==8.6.0 (CPython 3.6 to 3.10), or a newer one from NVIDIA's index (https://developer.nvidia.com/tensorrt)",
            _ENGINES,
        ),
        RTX: _Module(
            "tensorrt-rtx-cu13 (CPython 3.8 and later)",
            f"{_ENGINES} of TensorRT-RTX (--trt-module {RTX})",
            required=False,
        ),
        "numpy": _Module("numpy", "TensorRT runs"),
        "nvtx": _Module("nvtx", "a range per inference"),
        "cuda": _Module("cuda-python", "device memory and streams without PyTorch"),
        "pynvml": _Module("nvidia-ml-py", _SENSORS, required=False),
    },
}


def examine(torch_python: str | None, trt_python: str | None, folder: Path) -> list[Finding]:
    """Look for everything; ``folder`` is where recordings would go."""
    try:
        chips = find_gpus()
        gpus = [finding for chip in chips for finding in _gpu(chip)]
    except ProfilerError as error:
        chips, gpus = (
            [],
            [Finding("GPU", MISSING, error.message, error.hint or "", "every recording and every latency")],
        )
    return [
        Finding("Python", FOUND, platform.python_version()),
        *gpus,
        *_interpreter("PyTorch", "--torch-python", torch_python, chips),
        *_interpreter("TensorRT", "--trt-python", trt_python, chips),
        *_nsys(),
        _ncu(),
        _counters(),
        _space("output folder", folder),
        _space("temporary folder", Path(tempfile.gettempdir())),
    ]


def _gpu(chip: Chip) -> list[Finding]:
    what = f"GPU {chip.index}"
    sm = f"compute capability {capability(chip.sm) if chip.sm else 'unknown'}"
    memory = f", {chip.memory_bytes / 2**30:.0f} GiB" if chip.memory_bytes else ""
    findings = [Finding(what, FOUND, f"{chip.name}, {sm}{memory}, driver {chip.driver}")]
    findings += [Finding(f"{what} notes", FOUND, note) for note in chip_notes(chip.sm)]
    if chip.mig:
        detail, remedy = (
            "MIG is on: nsys cannot sample GPU metrics of a slice.",
            "Turn MIG off, or use --gpu-metrics-frequency 0.",
        )
        findings.append(Finding(f"{what} MIG", WARNING, detail, remedy))
    if chip.memory_used_bytes and chip.memory_bytes and chip.memory_used_bytes > chip.memory_bytes // 20:
        detail = f"Other processes use {chip.memory_used_bytes / 2**30:.1f} GiB: they may disturb the latencies."
        findings.append(Finding(f"{what} in use", WARNING, detail, "Measure on a GPU that nobody else uses."))
    return findings


def _interpreter(label: str, option: str, given: str | None, chips: list[Chip]) -> list[Finding]:
    modules = _MODULES[label]
    try:
        python = process.python_for(given)
        found = probe(python, option, load=modules)
    except ProfilerError as error:
        return [Finding(f"{label} interpreter", MISSING, error.message, error.hint or "", f"{label} runs")]
    versions: dict[str, str] = found["versions"]
    findings = [Finding(f"{label} interpreter", FOUND, f"{python} (Python {found['python']})")]
    for name, module in modules.items():
        if name in versions:
            findings.append(Finding(f"{label}: {name}", FOUND, versions[name]))
        elif name not in MODULES or not versions.keys() & set(MODULES):  # one of TensorRT and TensorRT-RTX is enough
            remedy = f"pip install {module.install}, or name another interpreter with {option}"
            status = MISSING if module.required else OPTIONAL
            findings.append(Finding(f"{label}: {name}", status, found["errors"][name], remedy, module.needed_for))
    if RTX in versions:
        limits = dict.fromkeys(missing_in_rtx("fp16", chip.sm, versions[RTX]) for chip in chips)
        what, remedy = f"{label}: TensorRT-RTX limits", "Use TensorRT itself on this GPU."
        findings += [Finding(what, WARNING, reason, remedy, "TensorRT-RTX") for reason in limits if reason]
    if "torch" in versions and not found.get("gpu"):
        detail = f"built for CUDA {found['cuda']}, and sees no GPU" if found.get("cuda") else "a build without CUDA"
        remedy = "Install the CUDA build of torch that fits the driver (https://pytorch.org/get-started/locally)."
        findings.append(Finding(f"{label}: CUDA", MISSING, detail, remedy, "PyTorch runs"))
    return findings


def _nsys() -> list[Finding]:
    try:
        nsys = locate()
    except ProfilerError as error:
        remedy = error.hint or f"Install it from {DOWNLOAD}."
        return [Finding("nsys", MISSING, error.message, remedy, "recordings")]
    try:
        device, reason = metrics_device(nsys)
    except ProfilerError as error:
        device, reason = None, error.message
    what, remedy = "nsys GPU metrics", "Recordings work without them, but lack Tensor Core activity and DRAM traffic."
    return [
        Finding("nsys", FOUND, f"{nsys.version_text} ({nsys.path})"),
        Finding(what, FOUND, f"GPU {device} can be sampled")
        if device is not None
        else Finding(what, WARNING, reason or "not available", remedy, "sampled Tensor Core activity"),
    ]


def _ncu() -> Finding:
    ncu, needed_for = find_ncu(), "counters of single kernels"
    remedy = "Install Nsight Compute from https://developer.nvidia.com/nsight-compute."
    if ncu is None:
        return Finding("ncu", OPTIONAL, "Nsight Compute was not found", remedy, needed_for)
    try:
        version = re.search(r"Version (.*)", ask([ncu, "--version"], _ASK_TIMEOUT_S).stdout)
    except ProfilerError as error:
        return Finding("ncu", OPTIONAL, error.message, remedy, needed_for)
    return Finding("ncu", FOUND, f"{version[1].strip() if version else 'unknown version'} ({ncu})")


def _counters() -> Finding:
    """The driver's rule about who may read GPU counters."""
    what = "GPU counters permission"
    try:
        text = PARAMETERS.read_text()
    except OSError:
        detail = f"{PARAMETERS} cannot be read, so it is unknown who may read them"
        return Finding(what, OPTIONAL, detail, f"See {COUNTERS_HELP}.", "GPU metrics")
    rule = re.search(r"^RmProfilingAdminOnly:\s*(\S+)", text, re.MULTILINE)
    detail = f"root only (RmProfilingAdminOnly: {rule[1] if rule else 'unknown'})"
    if rule and rule[1] == "0":
        return Finding(what, FOUND, "every user may read them (RmProfilingAdminOnly: 0)")
    if os.geteuid() == 0:
        return Finding(what, FOUND, f"{detail}, and this is root")
    remedy = f"Load the driver with NVreg_RestrictProfilingToAdminUsers=0, or run as root ({COUNTERS_HELP})."
    return Finding(what, WARNING, f"{detail}, and this is not root", remedy, "GPU metrics")


def _space(what: str, folder: Path) -> Finding:
    here = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(here).free
    detail = f"{here}: {free / 2**30:.1f} GiB free"
    if not os.access(here, os.W_OK):
        remedy = "Choose another with -o, or set TMPDIR."
        return Finding(what, MISSING, f"{here}: cannot be written", remedy, "recordings")
    if free < 4 * MIN_FREE_BYTES:
        remedy = f"A recording needs about {MIN_FREE_BYTES / 2**20:.0f} MiB, a study several GiB."
        return Finding(what, WARNING, detail, remedy, "recordings")
    return Finding(what, FOUND, detail)
