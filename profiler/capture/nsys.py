"""The nsys on this machine: which one, what it can do, and the argv for a recording.

Options were renamed and traces added between versions, so the program is asked (``nsys profile --help``) rather than
its version looked up; the version only decides whether it is too old to be asked.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiler.capture import process
from profiler.errors import MissingToolError, ProfilerError
from profiler.tools import ask
from profiler.trace.nsys_export import NSYS_HINT, NSYS_VARIABLE, find_nsys

MINIMUM = (2021, 1)
DOWNLOAD = "https://developer.nvidia.com/nsight-systems"
COUNTERS_HELP = "https://developer.nvidia.com/ERR_NVGPUCTRPERM"
WANTED_TRACES = ("cuda", "nvtx", "cudnn", "cublas")
METRIC_LIMITS_HZ = (10, 200_000)
_ASK_TIMEOUT_S = 60
_DENIED = re.compile(
    r"ERR_NVGPUCTRPERM|insufficient (?:privilege|permission)|permission denied|requires? (?:root|admin)", re.IGNORECASE
)
_TRACES = re.compile(r"^\s*-t,\s*--trace=(.*?)(?:Select the API|\n\s*\n\s*-)", re.DOTALL | re.MULTILINE)
_DEVICE = re.compile(r"^\s*(\d+)\s*[:\[|]", re.MULTILINE)


@dataclass(frozen=True)
class Nsys:
    """An nsys that runs.

    Attributes:
        version: the leading numbers, such as (2025, 3, 2).
        version_text: as it prints it.
        options: long options of ``nsys profile``, without dashes.
        traces: values that ``--trace`` takes; empty when its help does not list them.
    """

    path: Path
    version: tuple[int, ...]
    version_text: str
    options: frozenset[str]
    traces: frozenset[str]

    @property
    def metrics_option(self) -> str | None:
        """Renamed in 2024: --gpu-metrics-device became --gpu-metrics-devices."""
        return next((o for o in ("gpu-metrics-devices", "gpu-metrics-device") if o in self.options), None)


@dataclass(frozen=True)
class Recording:
    """Options of one recording.

    Attributes:
        cuda_graph_trace: "node" records the kernels of CUDA graphs, "graph" each launch as one event.
        metrics_hz: sampling rate of the GPU metrics, 0 for none.
        metrics_device: what --gpu-metrics-devices is given; None: none can be sampled.
        capture_range: "cudaProfilerApi" records between cudaProfilerStart and -Stop; "none" records everything.
    """

    cuda_graph_trace: str = "node"
    metrics_hz: int = 20_000
    metrics_device: str | None = None
    capture_range: str = "cudaProfilerApi"


def locate() -> Nsys:
    """Find nsys and ask what it can do.

    Raises:
        MissingToolError: there is none, it does not run, or it is too old.
    """
    path = find_nsys()
    if path is None:
        raise MissingToolError(
            "nsys (NVIDIA Nsight Systems) was not found: it is not on the PATH, nor in the folders of Nsight Systems, the CUDA "
            "toolkit or Nsight Compute.",
            f"Install it ({DOWNLOAD}, or the package nsight-systems-cli of NVIDIA's CUDA repository), or name it in ${NSYS_VARIABLE}.",
        )
    return inspect(path)


def inspect(path: Path) -> Nsys:
    """Version and options of the nsys at ``path``.

    Raises:
        MissingToolError: it does not run, is no nsys, is too old, or is a copy that cannot write reports.
    """
    said = _ask(path, "--version")
    found = re.search(r"version\s+((\d+)(?:\.\d+)*\S*)", said)
    if found is None:
        raise MissingToolError(
            f"{path}: does not answer --version like nsys does; it said: {' '.join(said.split())[:300] or 'nothing'}",
            NSYS_HINT,
        )
    version = tuple(int(n) for n in re.findall(r"\d+", found.group(1).split("-")[0]))
    if version < MINIMUM:
        raise MissingToolError(
            f"{path}: version {found.group(1)}, and {MINIMUM[0]}.{MINIMUM[1]} or newer is needed (capture range, CUDA graph nodes).",
            f"Install a newer one ({DOWNLOAD}).",
        )
    if _lacks_importer(path):
        raise MissingToolError(
            f"{path}: the copy of nsys inside Nsight Compute's folder; its importer (host-linux-x64/QdstrmImporter) is not "
            "beside it, so it records but cannot make a report.",
            f"Install Nsight Systems ({DOWNLOAD}), or put target-linux-x64 and, as host-linux-x64, Nsight Compute's own host folder "
            f"(linux-desktop-*) side by side and name that nsys in ${NSYS_VARIABLE}.",
        )
    text = _ask(path, "profile", "--help")
    options = frozenset(re.findall(r"--([a-z][a-z0-9-]+)", text))
    traces = _TRACES.search(text)
    names = frozenset(re.findall(r"'([a-z0-9-]+)'", traces.group(1) if traces else ""))
    return Nsys(path, version, found.group(1), options, names)


def _lacks_importer(path: Path) -> bool:
    real = path.resolve()
    if "nsight-compute" not in str(real) or real.parent.name != "target-linux-x64":
        return False
    host = real.parent.parent / "host-linux-x64"
    return not any((host / name).exists() for name in ("QdstrmImporter", "libQuadDCommon.so"))


def _ask(path: Path, *arguments: str) -> str:
    done = ask([path, *arguments], _ASK_TIMEOUT_S, NSYS_HINT)
    return done.stdout + done.stderr


def metrics_device(nsys: Nsys) -> tuple[str | None, str | None]:
    """What to give --gpu-metrics-devices, or None and the reason why GPU metrics cannot be sampled."""
    option = nsys.metrics_option
    if option is None:
        return None, f"nsys {nsys.version_text} cannot sample GPU metrics; install a newer one ({DOWNLOAD})."
    said = _ask(nsys.path, "profile", f"--{option}=help")
    plain = " ".join(said.split())
    if _DENIED.search(said):
        return None, metrics_denied()
    ids = _DEVICE.findall(said)
    if not ids and re.search(r"^\s*all\b", said, re.MULTILINE):
        return "all", None
    if not ids:
        reason = plain.partition("values are:")[2].strip() or plain
        return None, f"nsys offers no GPU whose metrics can be sampled; it said: {reason[:300] or 'nothing'}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if not visible.isdigit():
        return ids[0], None
    if visible not in ids:
        return None, f"GPU metrics of GPU {visible} (CUDA_VISIBLE_DEVICES) cannot be sampled, only of {', '.join(ids)}."
    return visible, None


def metrics_denied() -> str:
    return (
        "GPU metrics are not permitted to this user (ERR_NVGPUCTRPERM), so the trace has no Tensor Core activity and no DRAM traffic. "
        f"Run as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0 ({COUNTERS_HELP}); "
        "to record without them on purpose: --gpu-metrics-frequency 0."
    )


def metrics_failed(output: str) -> bool:
    """Whether nsys gave up because of the GPU metrics: then a second try without them is worth it."""
    failed = re.search(r"illegal|fail|error|unable|not supported", output, re.IGNORECASE)
    return bool(_DENIED.search(output) or (failed and re.search(r"gpu[ -]metrics", output, re.IGNORECASE)))


def profile_argv(
    nsys: Nsys, recording: Recording, report: Path, program: Sequence[str], session: str
) -> tuple[list[str], list[str]]:
    """The argv that records ``program`` into ``report`` (without its suffix), and what this nsys cannot do.

    There is no ``--`` before the program: nsys up to 2024 takes it for an ambiguous option.

    Raises:
        ProfilerError: an option that changes what is recorded is not known to this nsys.
    """
    warnings = []
    traces = [t for t in WANTED_TRACES if not nsys.traces or t in nsys.traces]
    left_out = [t for t in WANTED_TRACES if t not in traces]
    if left_out:
        warnings.append(
            f"nsys {nsys.version_text} cannot trace {', '.join(left_out)}; kernels and ranges are not affected."
        )
    argv = [str(nsys.path), "profile", f"--trace={','.join(traces)}"]
    # CPU samples and context switches are not read, need privileges, and make reports large
    argv += [f"--{name}=none" for name in ("sample", "cpuctxsw") if name in nsys.options]
    argv += [f"--capture-range={recording.capture_range}"]
    if recording.capture_range != "none":
        argv += ["--capture-range-end=stop" if "capture-range-end" in nsys.options else "--stop-on-range-end=true"]
    if "cuda-graph-trace" in nsys.options:
        argv += [f"--cuda-graph-trace={recording.cuda_graph_trace}"]
    elif recording.cuda_graph_trace != "node":
        raise ProfilerError(
            f"{nsys.path}: version {nsys.version_text} has no --cuda-graph-trace.",
            f"Use --cuda-graph-trace node, or a newer nsys ({DOWNLOAD}).",
        )
    if recording.metrics_hz and recording.metrics_device is not None:
        argv += [
            f"--{nsys.metrics_option}={recording.metrics_device}",
            f"--gpu-metrics-frequency={recording.metrics_hz}",
        ]
    if "session-new" in nsys.options:
        argv += [f"--session-new={session}"]
    argv += [f"--output={report}", "--force-overwrite=true", *program]
    return argv, warnings


def end_session(nsys: Nsys, session: str) -> None:
    """Make nsys end its recording and the program without writing a report; for interrupts."""
    with contextlib.suppress(MissingToolError):
        process.run([str(nsys.path), "shutdown", f"--session={session}", "--kill=sigkill"], timeout_s=10)
