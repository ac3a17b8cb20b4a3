"""One run: latency without a profiler, then the recording under nsys, its checks, and the RUN folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from profiler.capture import process
from profiler.capture.manifest import TRACE_NAME, build_manifest, engine_document, program_document, trace_facts
from profiler.capture.nsys import Nsys, Recording, end_session, metrics_device, metrics_failed, profile_argv
from profiler.capture.sanitise import sanitise
from profiler.capture.spec import RunSpec
from profiler.errors import OutputError, ProfilerError, TraceError
from profiler.files import atomic_folder, check_free_space, compress_xz, write_json, writing
from profiler.trace import Trace, nsys_export, open_trace

MANIFEST_NAME = "manifest.json"
NVTX_DOMAIN = "profiler"
RECORD_TIMEOUT_S = 1800.0
_REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
_SANITISED = ("tables_emptied", "tables_dropped", "rows_dropped", "strings_dropped", "texts_changed")
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
    if spec.plan is not None and not spec.plan.is_file():
        raise ProfilerError(
            f"{spec.plan}: no such file.", "Give --plan FILE of an engine, or --onnx FILE to build one first."
        )
    with _run_folder(target, force) as (folder, work):
        measured = run_bench(spec, work / "bench.json", save_outputs, progress, timeout_s) if bench else None
        program = [spec.python, "-m", spec.module, *spec.profile_arguments(work / "profile.json")]
        under = _UnderNsys(nsys, recording, work, progress, timeout_s)
        done = under.run(program, process.child_environment())
        if not (work / "profile.json").exists() or done.timed_out:
            raise process.child_error(f"the workload under nsys ({spec.name})", done)
        if under.report is None:
            raise _no_report(f"{spec.name}: the workload", done)
        result = read_result(work / "profile.json")
        with under.exported() as trace:
            profiled = check_recording(trace, spec, under.recording)
            facts = trace_facts(trace, under.recording, nsys)
        engine = engine_document(spec, folder)
        manifest = build_manifest(spec, facts, profiled, result, measured, engine, under.warnings)
        under.write(folder, manifest | (extra or {}))
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
    command = _shown(program)
    with _run_folder(target, force) as (folder, work):
        under = _UnderNsys(nsys, recording, work, progress, timeout_s)
        done = under.run(program, os.environ, on_line)
        # with a capture range nsys may end the program when the range ends, so that its status says nothing
        if done.exit_code and (under.report is None or done.timed_out or recording.capture_range == "none"):
            raise process.child_error("the command under nsys", done)
        if under.report is None or done.timed_out:
            raise _no_report("the command", done)
        with under.exported() as trace:
            if not trace.kernel_count and not trace.graph_trace_count:
                raise TraceError(
                    f"the recording of {command[:200]} holds no GPU work: {trace.no_kernels_reason or 'the trace holds no kernels.'}",
                    "Check that the command uses the GPU; with --capture-range cudaProfilerApi also that it calls cudaProfilerStart.",
                )
            facts = trace_facts(trace, under.recording, nsys)
        document = program_document(title or command, command, facts, under.warnings)
        under.write(folder, document)
    return document


@contextlib.contextmanager
def _run_folder(target: Path, force: bool) -> Iterator[tuple[Path, Path]]:
    """The run's folder, and one for raw files in it that is gone at the end; nothing is left when the block fails."""
    check_free_space(target.parent)
    with atomic_folder(target, force) as folder, writing(target):
        work = folder / "work"
        work.mkdir()
        yield folder, work
        shutil.rmtree(work)


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
            f"{path.name}: its format is {str(document)[:80]!r}; expected 'profiler-workload/1'.",
            "The two interpreters must run the same version of this project.",
        )
    return document


@dataclass
class _UnderNsys:
    """One recording, from the program to the trace in the run's folder.

    Attributes:
        recording: as it was made in the end: without a metrics device when GPU metrics cannot be sampled.
        warnings: what the manifest must say.
    """

    nsys: Nsys
    recording: Recording
    work: Path
    progress: Progress
    timeout_s: float | None
    warnings: list[str] = field(default_factory=list)

    def run(
        self, program: Sequence[str], environment: Mapping[str, str], on_line: Progress | None = None
    ) -> process.Finished:
        """Run a program under nsys; once more without GPU metrics when they are what failed."""
        if self.recording.metrics_hz and self.recording.metrics_device is None:
            device, reason = metrics_device(self.nsys)
            self.recording = replace(self.recording, metrics_device=device)
            self._warn([f"recorded without GPU metrics: {reason}"] if reason else [])
        self.progress("recording under nsys")
        done = self._run_once(program, environment, on_line)
        if self.report is None and self._samples_metrics and metrics_failed(done.output):
            said = done.last_lines(3)[-300:]
            self._warn([f"recorded without GPU metrics: nsys could not sample them; it said: {said}"])
            self.recording = replace(self.recording, metrics_device=None)
            self.progress("recording again, without GPU metrics")
            done = self._run_once(program, environment, on_line)
        return done

    def _run_once(
        self, program: Sequence[str], environment: Mapping[str, str], on_line: Progress | None
    ) -> process.Finished:
        session = f"profiler{uuid.uuid4().hex[:12]}"
        argv, notes = profile_argv(self.nsys, self.recording, self.work / "report", program, session)
        self._warn(notes)
        # nsys leaves its raw data in $TMPDIR when it is stopped; the sockets it makes there need a short path, so it is
        # not a folder inside the run's. Compiled kernels, on the other hand, are worth keeping from run to run.
        kernels = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or f"{tempfile.gettempdir()}/torchinductor-{os.getuid()}"
        with tempfile.TemporaryDirectory(prefix="profiler-nsys-", ignore_cleanup_errors=True) as scratch:
            variables = {**environment, "TMPDIR": scratch, "TORCHINDUCTOR_CACHE_DIR": kernels}
            stop = partial(end_session, self.nsys, session)
            return process.run(argv, variables, self.timeout_s, on_line, before_kill=stop)

    @property
    def report(self) -> Path | None:
        """What nsys wrote; None when it wrote nothing."""
        paths = (self.work / f"report{suffix}" for suffix in _REPORT_SUFFIXES)
        return next((p for p in paths if p.exists() and p.stat().st_size), None)

    @property
    def _samples_metrics(self) -> bool:
        return self.recording.metrics_device is not None and self.recording.metrics_hz > 0

    @contextlib.contextmanager
    def exported(self) -> Iterator[Trace]:
        """The report as a trace."""
        self.progress("exporting")
        if self.report is not None:
            nsys_export.export(self.report, self._export)
        with open_trace(self._export) as trace:
            yield trace
            # what the trace says of the environment, sanitising removes
            self._warn(w.message.replace(str(trace.path), TRACE_NAME) for w in trace.warnings if w.id != "environment")
            if self._samples_metrics and trace.gpu_metrics.storage is None:
                self._warn(["GPU metrics were requested, but the trace contains none."])

    def write(self, folder: Path, document: dict[str, Any]) -> None:
        """Put the trace, sanitised, and its manifest into the run's folder."""
        self.progress("sanitising")
        done = sanitise(self._export, self.work / "trace.sqlite").as_dict()
        document["sanitised"] = {key: done[key] for key in _SANITISED}
        compress_xz(self.work / "trace.sqlite", folder / TRACE_NAME)
        write_json(folder / MANIFEST_NAME, document)

    @property
    def _export(self) -> Path:
        return self.work / "export.sqlite"

    def _warn(self, messages: Iterable[str]) -> None:
        self.warnings += [m for m in messages if m not in self.warnings]


def _no_report(what: str, done: process.Finished) -> TraceError:
    return TraceError(
        f"{what} ran, and nsys wrote no report (exit status {done.exit_code}); it said: {done.last_lines()[-800:]}",
        "Either nothing called cudaProfilerStart, or nsys could not write or import its data: look for a full disk "
        "($TMPDIR holds the raw data), and try: nsys profile --trace=cuda,nvtx python -c pass",
    )


def check_recording(trace: Trace, spec: RunSpec, recording: Recording) -> dict[str, Any]:
    """Make sure that the kernels and every inference are really there; returns how many there are.

    ``ms_per_inference`` is the mean length of the ranges, so with nsys and the ranges of the modules at work.

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
            f"{spec.name}: {len(own)} inference ranges were recorded, but {spec.iterations} inferences ran.", hint
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
    return {
        "ms_per_inference": float((own["end_ns"] - own["start_ns"]).mean()) / 1e6,
        "inferences": len(own),
        "kernels": trace.kernel_count,
        "graph_launches": launches,
    }


def check_output_folder(folder: Path) -> None:
    """Fail before minutes of work rather than after.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise OutputError(f"{folder}: is a file; expected a folder.", "Choose another name with -o.")
        with tempfile.TemporaryFile(dir=folder):
            pass
