"""The GPU of this machine and what its chip can do."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from profiler.errors import MissingToolError

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
            "Run on a machine with an NVIDIA GPU and its driver (https://www.nvidia.com/drivers); in a container, "
            "start it with --gpus all.",
        )
    for fields in (_FIELDS, _FIELDS[:3]):  # drivers before 510 do not know compute_cap
        done = _query(tool, fields)
        if done.returncode == 0 and done.stdout.strip():
            chips = [
                _chip(dict(zip(fields, map(str.strip, row)))) for row in csv.reader(io.StringIO(done.stdout)) if row
            ]
            if chips:
                return chips
    said = " ".join((done.stdout + done.stderr).split())[:300] or "nothing"
    raise MissingToolError(
        f"no NVIDIA GPU can be used: nvidia-smi ended with status {done.returncode} and said: {said}",
        "Check that the driver is loaded (and fits the kernel), and that the container was given the GPU.",
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
                f"CUDA_VISIBLE_DEVICES is {visible!r}, and the GPUs are {', '.join(str(c.index) for c in chips)}.",
                "Correct it.",
            )
        return chosen
    return chips[0]  # a UUID: the chips of one machine are nearly always alike


def _query(tool: str, fields: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    argv = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))


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


def missing_precision(sm: int | None, framework: str, precision: str) -> str | None:
    """Why a chip cannot run a precision as meant, or None when it can (or when ``sm`` is not known).

    Compute capabilities: CUDA C++ Programming Guide, "Compute Capabilities" (Tensor Cores from 7.0; TF32 and BF16 from 8.0;
    DP4A from 6.1), and TensorRT's support matrix (INT8 on Volta runs without Tensor Cores).
    """
    if sm is None:
        return None
    if precision in ("tf32", "bf16") and sm < 80:
        return f"{precision.upper()} needs compute capability 8.0 (Ampere); this GPU has {sm // 10}.{sm % 10}."
    if precision == "fp16" and sm < 53:
        return f"FP16 arithmetic needs compute capability 5.3; this GPU has {sm // 10}.{sm % 10}."
    if precision == "int8" and framework == "tensorrt" and sm < 61:
        return f"INT8 (DP4A) needs compute capability 6.1; this GPU has {sm // 10}.{sm % 10}."
    if precision == "int8" and sm == 62:
        return "INT8 (DP4A) is not in compute capability 6.2."
    return None


def missing_mode(sm: int | None, mode: str) -> str | None:
    """Why a chip cannot run a mode, or None. torch.compile's Triton kernels need compute capability 7.0."""
    if sm is not None and mode == "compile" and sm < 70:
        return f"torch.compile (Triton) needs compute capability 7.0; this GPU has {sm // 10}.{sm % 10}."
    return None


def chip_notes(sm: int | None) -> list[str]:
    """What a reader of the figures should know about this chip."""
    if sm is None:
        return [
            "The driver does not tell the compute capability (it is older than 510), so nothing is left out of the matrix."
        ]
    notes = []
    if sm < 70:
        notes.append(
            f"Compute capability {sm // 10}.{sm % 10}: no Tensor Cores, so no kernel can use them in any precision."
        )
    elif sm < 72:
        notes.append(f"Compute capability {sm // 10}.{sm % 10}: Tensor Cores for FP16 only; INT8 runs without them.")
    elif sm < 80:
        notes.append(
            f"Compute capability {sm // 10}.{sm % 10} (Turing): no TF32 and no BF16; GPU metrics have one counter for Tensor Cores "
            "and FP16 together (Tensor Active / FP16 Active)."
        )
    return notes
