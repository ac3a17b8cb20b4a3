"""One run: latency without a profiler, then the recording under nsys, its checks, and the RUN folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.manifest import Checked, build_manifest, engine_document, program_document
from profiler.capture.nsys import Nsys, Recording, end_session, metrics_device, metrics_failed, profile_argv
from profiler.capture.sanitise import SanitiseReport, sanitise
from profiler.capture.spec import RunSpec
from profiler.errors import OutputError, ProfilerError, TraceError
from profiler.files import atomic_folder, check_free_space, compress_xz, write_json, writing
from profiler.trace import Trace, nsys_export, open_trace

TRACE_NAME = "trace.sqlite.xz"
MANIFEST_NAME = "manifest.json"
NVTX_DOMAIN = "profiler"
RECORD_TIMEOUT_S = 1800.0
_REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
_PAYLOAD_CLASH = "payload extension is incompatible"

Progress = Callable[[str], None]


def record_run(
    spec: RunSpec,
    target: Path,
    nsys: Nsys,
    recording: Recording,
    *,
    bench: bool = True,
    force: bool = False,
    save_outputs: Path | None = None,
    progress: Progress = lambda _: None,
    timeout_s: float = RECORD_TIMEOUT_S,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the RUN folder ``target``: manifest.json, trace.sqlite.xz and, for TensorRT, what lies beside the plan.

    Args:
        recording: ``metrics_device`` may be None: then it is asked for when ``metrics_hz`` is not 0.
        bench: measure latency in a process of its own, without a profiler.
        save_outputs: where that process writes the logits.
        extra: more keys for the manifest.

    Returns:
        The manifest.

    Raises:
        ProfilerError: a step failed; nothing is left of the folder.
    """
    warnings: list[str] = []
    check_free_space(target.parent)
    if spec.plan is not None and not spec.plan.is_file():
        raise ProfilerError(
            f"{spec.plan}: no such file.", "Give --plan FILE of an engine, or --onnx FILE to build one first."
        )
    with atomic_folder(target, force) as folder, writing(target):
        work = folder / "work"
        work.mkdir()
        measured = run_bench(spec, work / "bench.json", save_outputs, progress, timeout_s) if bench else None
        program = [spec.python, "-m", spec.module, *spec.profile_arguments(work / "profile.json")]
        done, report, recording = _under_nsys(
            program, process.child_environment(), nsys, recording, work, warnings, progress, timeout_s
        )
        if not (work / "profile.json").exists() or done.timed_out:
            raise process.child_error(f"the workload under nsys ({spec.name})", done)
        if report is None:
            raise _no_report(f"{spec.name}: the workload", done)
        result = read_result(work / "profile.json")
        progress("exporting")
        export = work / "export.sqlite"
        nsys_export.export(report, export)
        with open_trace(export) as trace:
            checked = check_recording(trace, spec, recording)
            warnings += [w for w in _trace_notes(trace) if w not in warnings]
        if recording.metrics_device is not None and recording.metrics_hz and not checked.metrics:
            warnings.append("GPU metrics were asked for, and the trace holds none.")
        progress("sanitising")
        cleaned = sanitise(export, work / "trace.sqlite")
        compress_xz(work / "trace.sqlite", folder / TRACE_NAME)
        engine = engine_document(spec, folder)
        manifest = build_manifest(spec, recording, nsys, checked, result, measured, engine, _facts(cleaned), warnings)
        manifest.update(extra or {})
        shutil.rmtree(work)
        write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def record_program(
    program: Sequence[str],
    target: Path,
    nsys: Nsys,
    recording: Recording,
    *,
    title: str | None = None,
    force: bool = False,
    progress: Progress = lambda _: None,
    on_line: Progress | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Record any command into the folder ``target``: manifest.json and trace.sqlite.xz, sanitised and checked.

    The manifest holds what is known without knowing the program: the command without its paths, the GPU, the options of the recording.

    Args:
        title: what the run is called; None: the command.
        on_line: gets each line that the program prints.

    Raises:
        ProfilerError: the program cannot be started or failed, or the recording holds no GPU work; nothing is left of the folder.
    """
    warnings: list[str] = []
    check_free_space(target.parent)
    command = _shown(program)
    with atomic_folder(target, force) as folder, writing(target):
        work = folder / "work"
        work.mkdir()
        done, report, recording = _under_nsys(
            program, os.environ, nsys, recording, work, warnings, progress, timeout_s, on_line
        )
        # with a capture range nsys may end the program when the range ends, so that its status says nothing
        if done.timed_out or report is None or (done.exit_code and recording.capture_range == "none"):
            raise (
                _no_report("the command", done)
                if not done.exit_code
                else process.child_error("the command under nsys", done)
            )
        progress("exporting")
        export = work / "export.sqlite"
        nsys_export.export(report, export)
        with open_trace(export) as trace:
            if not trace.kernel_count and not trace.graph_trace_count:
                raise TraceError(
                    f"the recording of {command[:200]} holds no GPU work: {trace.no_kernels_reason or 'the trace holds no kernels.'}",
                    "Check that the command uses the GPU; with --capture-range cudaProfilerApi also that it calls cudaProfilerStart.",
                )
            document = program_document(title or command, command, recording, trace)
            warnings += [w for w in _trace_notes(trace) if w not in warnings]
        progress("sanitising")
        document["sanitised"] = _facts(sanitise(export, work / "trace.sqlite"))
        document["warnings"] = warnings
        compress_xz(work / "trace.sqlite", folder / TRACE_NAME)
        shutil.rmtree(work)
        write_json(folder / MANIFEST_NAME, document)
    return document


def _shown(program: Sequence[str]) -> str:
    """A command as its manifest names it: the program and the script, without folders. Arguments may hold secrets and are left out."""
    first = next((i for i, a in enumerate(program[1:], 1) if not a.startswith("-")), 0)
    code = first > 1 and program[first - 1] == "-c"
    parts = [Path(program[0]).name, *([Path(program[first]).name] if first and not code else [])]
    return " ".join([*parts, *(["…"] if len(program) > len(parts) else [])])


def run_bench(
    spec: RunSpec,
    output: Path,
    save_outputs: Path | None = None,
    progress: Progress = lambda _: None,
    timeout_s: float = RECORD_TIMEOUT_S,
) -> dict[str, Any]:
    """Latency, throughput and telemetry in a process without a profiler; returns its result document."""
    progress("measuring latency without a profiler")
    process.run_module(spec.python, spec.module, spec.bench_arguments(output, save_outputs), timeout_s=timeout_s)
    return read_result(output)


def read_result(path: Path) -> dict[str, Any]:
    """The document that a workload wrote.

    Raises:
        ProfilerError: it is missing or not such a document.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ProfilerError(
            f"{path.name}: the workload ended without its result document ({error}).", "Please report this."
        ) from error
    if not isinstance(document, dict) or document.get("format") != "profiler-workload/1":
        raise ProfilerError(
            f"{path.name}: its format is {str(document)[:80]!r}, and 'profiler-workload/1' was expected.",
            "The two interpreters must run the same version of this project.",
        )
    return document


def _with_metrics(nsys: Nsys, recording: Recording, warnings: list[str]) -> Recording:
    if not recording.metrics_hz or recording.metrics_device is not None:
        return recording
    device, reason = metrics_device(nsys)
    if reason:
        warnings.append(f"recorded without GPU metrics: {reason}")
    return replace(recording, metrics_device=device)


def _under_nsys(
    program: Sequence[str],
    environment: Mapping[str, str],
    nsys: Nsys,
    recording: Recording,
    work: Path,
    warnings: list[str],
    progress: Progress,
    timeout_s: float | None,
    on_line: Progress | None = None,
) -> tuple[process.Finished, Path | None, Recording]:
    """Run a program under nsys; once more without GPU metrics when they are what failed.

    Returns:
        How the program ended, nsys's report if there is one, and the options with which it was made.
    """
    recording = _with_metrics(nsys, recording, warnings)
    progress("recording under nsys")
    done = _run_nsys(program, environment, nsys, recording, work, warnings, timeout_s, on_line)
    if (
        _report(work) is None
        and recording.metrics_device is not None
        and recording.metrics_hz
        and metrics_failed(done.output)
    ):
        warnings.append(
            f"recorded without GPU metrics: nsys could not sample them; it said: {done.last_lines(3)[-300:]}"
        )
        recording = replace(recording, metrics_device=None)
        progress("recording again, without GPU metrics")
        done = _run_nsys(program, environment, nsys, recording, work, warnings, timeout_s, on_line)
    return done, _report(work), recording


def _no_report(what: str, done: process.Finished) -> TraceError:
    return TraceError(
        f"{what} ran, and nsys wrote no report (exit status {done.exit_code}); it said: {done.last_lines()[-800:]}",
        "Either nothing called cudaProfilerStart, or nsys could not write or import its data: look for a full disk "
        "($TMPDIR holds the raw data), and try: nsys profile --trace=cuda,nvtx python -c pass",
    )


def _run_nsys(
    program: Sequence[str],
    environment: Mapping[str, str],
    nsys: Nsys,
    recording: Recording,
    work: Path,
    warnings: list[str],
    timeout_s: float | None,
    on_line: Progress | None,
) -> process.Finished:
    session = f"profiler{uuid.uuid4().hex[:12]}"
    argv, notes = profile_argv(nsys, recording, work / "report", program, session)
    warnings += [n for n in notes if n not in warnings]
    # nsys leaves its raw data in $TMPDIR when it is stopped; the sockets it makes there need a short path, so it is
    # not a folder inside the run's. Compiled kernels, on the other hand, are worth keeping from run to run.
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        or str(Path(tempfile.gettempdir()) / f"torchinductor-{os.getuid()}")
    }
    with tempfile.TemporaryDirectory(prefix="profiler-nsys-", ignore_cleanup_errors=True) as scratch:
        variables = {**environment, "TMPDIR": scratch, **caches}
        return process.run(argv, variables, timeout_s, on_line, before_kill=lambda: end_session(nsys, session))


def _report(work: Path) -> Path | None:
    return next((p for s in _REPORT_SUFFIXES if (p := work / f"report{s}").exists() and p.stat().st_size), None)


def check_recording(trace: Trace, spec: RunSpec, recording: Recording) -> Checked:
    """Make sure that the kernels and every inference are really there.

    Raises:
        TraceError: they are not; the message says what is there instead, and why when the trace tells.
    """
    ranges = trace.nvtx_ranges
    named = ranges[ranges["text"].astype(str).str.match(r"inference \d+$")]
    in_domain = named[named["domain"].astype(str) == NVTX_DOMAIN]
    own = in_domain if len(in_domain) else named  # without the nvtx package PyTorch's ranges are in the default domain
    said = " ".join(d.text for d in trace.session.diagnostics)
    if len(own) != spec.iterations:
        hint = "The capture range was cut short, or the program ended early; record again."
        if _PAYLOAD_CLASH in said:
            hint = (
                "This nsys is older than the nvtx package of the interpreter and drops its ranges (payload extension): "
                "update nsys, or install an older nvtx (0.2.10 works)."
            )
        elif not len(ranges):
            hint = "No NVTX range was recorded at all: install the nvtx package in that interpreter, and check that nsys traces nvtx."
        raise TraceError(
            f"{spec.name}: {len(own)} inference ranges were recorded, and {spec.iterations} were run.", hint
        )
    if not own["closed"].all():
        raise TraceError(
            f"{spec.name}: the last inference range is not closed: the capture range ended too early.", "Record again."
        )
    launches = trace.graph_trace_count
    if not trace.kernel_count and not (recording.cuda_graph_trace == "graph" and launches):
        raise TraceError(
            f"{spec.name}: {trace.no_kernels_reason or 'the trace holds no kernels.'}",
            "Run `python -m profiler doctor` to see whether nsys and CUPTI fit the driver.",
        )
    session = trace.session
    return Checked(
        inferences=len(own),
        kernels=trace.kernel_count,
        graph_launches=launches,
        ms_per_inference=float((own["end_ns"] - own["start_ns"]).mean()) / 1e6,
        gpu=session.gpus[0].name if session.gpus else None,
        recorded_utc=session.recorded_utc,
        nsys_version=session.nsys_version,
        driver_version=session.driver_version,
        cuda_version=session.cuda_version,
        metrics=trace.gpu_metrics.storage is not None,
    )


def _trace_notes(trace: Trace) -> list[str]:
    """Warnings about the trace that sanitising does not settle."""
    return [w.message.replace(str(trace.path), TRACE_NAME) for w in trace.warnings if w.id != "environment"]


def _facts(report: SanitiseReport) -> dict[str, Any]:
    """For the manifest: what was left out, without the long lists of what was kept."""
    return {
        "tables_emptied": list(report.tables_emptied),
        "tables_dropped": list(report.tables_dropped),
        "rows_dropped": report.rows_dropped,
        "strings_dropped": report.strings_dropped,
        "texts_changed": report.texts_changed,
    }


def check_output_folder(folder: Path) -> None:
    """Fail before minutes of work rather than after.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise OutputError(f"{folder}: is a file, and a folder was expected.", "Choose another name with -o.")
        with tempfile.TemporaryFile(dir=folder):
            pass
