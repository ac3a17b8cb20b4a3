"""The GPU of this machine and what its chip can do."""

from __future__ import annotations

import csv
import io
import os
import shutil
from dataclasses import asdict, dataclass
from typing import Any

from profiler.errors import MissingToolError
from profiler.tools import ask

_FIELDS = ("index", "name", "driver_version", "compute_cap", "memory.total", "memory.used", "mig.mode.current")


@dataclass(frozen=True)
class Chip:
    """One GPU. ``sm`` is the compute capability as nvcc writes it (75, 80, 90); None: the driver is too old to say."""

    index: int
    name: str
    driver: str
    sm: int | None
    memory_bytes: int | None
    memory_used_bytes: int | None
    mig: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_gpus() -> list[Chip]:
    """The GPUs that nvidia-smi lists.

    Raises:
        MissingToolError: no nvidia-smi, no driver, or no GPU; the message says which.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise MissingToolError(
            "no NVIDIA GPU was found: nvidia-smi is not on the PATH.",
            "Run on a machine with an NVIDIA GPU and its driver (https://www.nvidia.com/drivers); start a container with --gpus all.",
        )
    for fields in (_FIELDS, _FIELDS[:3]):  # drivers before 510 do not know compute_cap
        done = ask([tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"], 60)
        if done.returncode == 0 and done.stdout.strip():
            chips = [
                _chip(dict(zip(fields, map(str.strip, row)))) for row in csv.reader(io.StringIO(done.stdout)) if row
            ]
            if chips:
                return chips
    said = " ".join((done.stdout + done.stderr).split())[:300] or "nothing"
    raise MissingToolError(
        f"no NVIDIA GPU can be used: nvidia-smi failed with exit status {done.returncode}: {said}",
        "Check that the driver is loaded and matches the kernel, and that the container has access to the GPU.",
    )


def current_gpu() -> Chip:
    """The first GPU that CUDA will use, by ``CUDA_VISIBLE_DEVICES``.

    Raises:
        MissingToolError: there is none, or the variable hides them all.
    """
    chips = find_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return chips[0]
    first = visible.split(",")[0].strip()
    if first in ("", "-1"):
        raise MissingToolError("CUDA_VISIBLE_DEVICES hides every GPU.", "Unset it, or set it to the index of a GPU.")
    if first.isdigit():
        chosen = next((c for c in chips if c.index == int(first)), None)
        if chosen is None:
            raise MissingToolError(
                f"CUDA_VISIBLE_DEVICES is {visible!r}, but this machine has GPU {', '.join(str(c.index) for c in chips)}.",
                "Set it to one of these.",
            )
        return chosen
    return chips[0]  # a UUID: the chips of one machine are nearly always alike


def _chip(row: dict[str, str]) -> Chip:
    major, dot, minor = row.get("compute_cap", "").partition(".")
    return Chip(
        index=int(row["index"]),
        name=row["name"],
        driver=row["driver_version"],
        sm=int(major) * 10 + int(minor) if dot and major.isdigit() and minor.isdigit() else None,
        memory_bytes=_mebibytes(row.get("memory.total")),
        memory_used_bytes=_mebibytes(row.get("memory.used")),
        mig=row.get("mig.mode.current") == "Enabled",
    )


def _mebibytes(text: str | None) -> int | None:
    return int(text) << 20 if text and text.isdigit() else None


def capability(sm: int) -> str:
    """A compute capability as people write it: 9.0."""
    return f"{sm // 10}.{sm % 10}"


def missing_precision(sm: int | None, framework: str, precision: str) -> str | None:
    """Why a chip cannot run a precision as meant, or None when it can (or when ``sm`` is not known).

    Compute capabilities: CUDA C++ Programming Guide, "Compute Capabilities" (Tensor Cores from 7.0; TF32 and BF16 from 8.0;
    DP4A from 6.1, not in 6.2; FP8 from 8.9), and TensorRT's support matrix (INT8 on Volta runs without Tensor Cores).
    """
    what, needed = {
        "tf32": ("TF32", 80), "bf16": ("BF16", 80), "fp16": ("FP16 arithmetic", 53), "int8": ("INT8 (DP4A)", 61),
        "fp8": ("FP8", 89),
    }.get(precision, ("", 0))  # fmt: skip
    if precision == "int8" and sm == 62:
        return "INT8 (DP4A) is not available in compute capability 6.2."
    return None if precision == "int8" and framework != "tensorrt" else _too_old(sm, what, needed)


def missing_mode(sm: int | None, mode: str) -> str | None:
    """Why a chip cannot run a mode, or None. torch.compile's Triton kernels need compute capability 7.0."""
    return _too_old(sm, "torch.compile (Triton)", 70) if mode == "compile" else None


def _too_old(sm: int | None, what: str, needed: int) -> str | None:
    if sm is None or sm >= needed:
        return None
    return f"{what} needs compute capability {capability(needed)}; this GPU has {capability(sm)}."


def chip_notes(sm: int | None) -> list[str]:
    """What a reader of the figures should know about this chip."""
    if sm is None:
        return [
            "The driver (older than 510) does not report the compute capability, so no run is left out of the matrix."
        ]
    if sm >= 80:
        return []
    if sm < 70:
        note = "no Tensor Cores in any precision."
    elif sm < 72:
        note = "Tensor Cores for FP16 only; INT8 runs without them."
    else:
        note = "no TF32 or BF16; one GPU metric counts Tensor Cores and FP16 together (Tensor Active / FP16 Active)."
    return [f"Compute capability {capability(sm)}: {note}"]
