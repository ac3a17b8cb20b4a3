"""Finding nsys, and exporting its native reports to SQLite."""

from __future__ import annotations

from pathlib import Path

from profiler.errors import MissingToolError, TraceError
from profiler.tools import ask, find_tool

NSYS_VARIABLE = "PROFILER_NSYS"
NSYS_HINT = f"Correct ${NSYS_VARIABLE} or the PATH."
_INSTALL_PATTERNS = (
    "/opt/nvidia/nsight-systems/*/bin/nsys",
    "/opt/nvidia/nsight-systems/*/target-linux-x64/nsys",
    "/opt/nvidia/nsight-systems-cli/*/bin/nsys",
    "/usr/local/cuda*/bin/nsys",
    "/opt/nvidia/nsight-compute/*/host/target-linux-x64/nsys",
)


def find_nsys() -> Path | None:
    """The nsys to use: ``$PROFILER_NSYS``, then the PATH, then the usual install folders (newest first)."""
    return find_tool("nsys", NSYS_VARIABLE, _INSTALL_PATTERNS)


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
            f"Where nsys is installed, run: nsys export --type sqlite --output {report.stem}.sqlite {report.name}  "
            f"and open the result; or install Nsight Systems (https://developer.nvidia.com/nsight-systems) and put nsys "
            f"on the PATH or in ${NSYS_VARIABLE}.",
        )
    options = ["--type", "sqlite", "--force-overwrite", "true", "--output", str(target)]
    done = ask([nsys, "export", *options, report.absolute()], hint=NSYS_HINT)
    if done.returncode or not target.exists():
        said = " ".join((done.stderr or done.stdout).split())[-800:] or "nothing"
        raise TraceError(
            f"{report}: nsys could not export it (exit status {done.returncode}); it said: {said}",
            f"A report needs an nsys of its own version or newer; used here: {nsys}. A damaged report must be recorded again.",
        )
