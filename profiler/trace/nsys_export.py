"""Finding nsys, and exporting its native reports to SQLite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from profiler.errors import MissingToolError, TraceError

NSYS_VARIABLE = "PROFILER_NSYS"
_INSTALL_PATTERNS = (
    "/opt/nvidia/nsight-systems/*/bin/nsys",
    "/opt/nvidia/nsight-systems/*/target-linux-x64/nsys",
    "/opt/nvidia/nsight-systems-cli/*/bin/nsys",
    "/usr/local/cuda*/bin/nsys",
    "/opt/nvidia/nsight-compute/*/host/target-linux-x64/nsys",
)


def find_nsys() -> Path | None:
    """The nsys to use: ``$PROFILER_NSYS``, then the PATH, then the usual install folders (newest first)."""
    return next(_candidates(), None)


def _candidates() -> Iterator[Path]:
    named = os.environ.get(NSYS_VARIABLE)
    if named:
        yield Path(named)
        return
    on_path = shutil.which("nsys")
    if on_path:
        yield Path(on_path)
    for pattern in _INSTALL_PATTERNS:
        found = [p for p in Path("/").glob(pattern.lstrip("/")) if os.access(p, os.X_OK)]
        yield from sorted(found, key=_version_key, reverse=True)


def _version_key(path: Path) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", str(path))]


def export(report: Path, target: Path) -> None:
    """Export ``report`` (.nsys-rep or .qdrep) to the SQLite file ``target``.

    Raises:
        MissingToolError: nsys is not here; the hint says where to get it or what to run elsewhere.
        TraceError: nsys refused the report; what it printed is in the message.
    """
    nsys = find_nsys()
    if nsys is None:
        raise MissingToolError(
            f"{report}: a native report, and there is no nsys on this machine to export it.",
            f"Run where nsys is installed: nsys export --type sqlite --output {report.stem}.sqlite {report.name}  "
            f"and open the result; or install Nsight Systems (https://developer.nvidia.com/nsight-systems) and put nsys "
            f"on the PATH or in ${NSYS_VARIABLE}.",
        )
    command = [
        str(nsys),
        "export",
        "--type",
        "sqlite",
        "--force-overwrite",
        "true",
        "--output",
        str(target),
        str(report.absolute()),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        raise MissingToolError(
            f"{nsys}: cannot be run ({error.strerror or error}).", f"Correct ${NSYS_VARIABLE} or the PATH."
        ) from error
    if done.returncode or not target.exists():
        said = " ".join((done.stderr or done.stdout).split())[-800:] or "nothing"
        raise TraceError(
            f"{report}: nsys could not export it (exit status {done.returncode}); it said: {said}",
            f"A report needs an nsys of its own version or newer; used here: {nsys}. A damaged report must be recorded again.",
        )
