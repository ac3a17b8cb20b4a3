"""Everything that is handed over about two traces, in one place: for the report, the summary, the gates and the tables."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.analysis.compare import Comparison, compare
from profiler.analysis.fusion.decompose import Decomposition, decompose
from profiler.analysis.fusion.ledger import Ledger, read_ahead
from profiler.analysis.fusion.strip import Strip, strip
from profiler.analysis.fusion.traffic import Traffic, memory_traffic
from profiler.analysis.pair import fusion
from profiler.analysis.run.autotuning import Autotuning, autotuning, build_log_of
from profiler.analysis.run.measured import Latency, latency_without_profiler
from profiler.analysis.run.run import Run
from profiler.analysis.run.together import for_each_run
from profiler.errors import ProfilerError
from profiler.files import sha256_of
from profiler.lazy import cached_property
from profiler.report.accuracy import AccuracyStudy
from profiler.report.documents import ledger_document
from profiler.text import at_most, number, plural, visible
from profiler.trace.build_log import read_build_log
from profiler.trace.manifest import Manifest

SIDES = ("before", "after")


@dataclass(frozen=True)
class Evidence:
    """A comparison and what hangs on it; each part is computed on first use.

    Attributes:
        engines: engine inspector JSON files of before and after; None: those that the manifests name.
        accuracy: a study with labelled images to hand over beside the two traces.
    """

    comparison: Comparison
    engines: tuple[Path | None, Path | None] = (None, None)
    accuracy: AccuracyStudy | None = None

    @property
    def sides(self) -> dict[str, Run]:
        return {"before": self.comparison.before, "after": self.comparison.after}

    @cached_property
    def built(self) -> Ledger | ProfilerError:
        """The fusion ledger, or what is wrong with it."""
        try:
            return fusion(self.comparison.before, self.comparison.after, *self.engines)
        except ProfilerError as error:
            return error

    @property
    def ledger(self) -> Ledger | None:
        """The fusion ledger; None when these traces have none, and then :attr:`no_ledger` says why."""
        return self.built if isinstance(self.built, Ledger) else None

    @property
    def no_ledger(self) -> str | None:
        return self.built.message if isinstance(self.built, ProfilerError) else None

    @cached_property
    def ledger_document(self) -> dict[str, Any] | None:
        return ledger_document(self.ledger) if self.ledger else None

    @cached_property
    def traffic(self) -> Traffic | None:
        return memory_traffic(self.ledger) if self.ledger else None

    @cached_property
    def split(self) -> Decomposition | str:
        """The exact split of the latency difference, or why there is none."""
        if self.ledger is None:
            return self.no_ledger or ""
        try:
            return decompose(self.ledger)
        except ProfilerError as error:
            return error.message

    @cached_property
    def strips(self) -> dict[str, Strip]:
        """The kernels of the median inference of each side that has any."""
        found = {name: strip(side, self.ledger, name) for name, side in self.sides.items()}
        return {name: made for name, made in found.items() if made is not None}

    @cached_property
    def tuning(self) -> dict[str, Autotuning]:
        """Auto-tuning of the sides that have a readable build log beside their trace."""
        found = {}
        for name, side in self.sides.items():
            path = build_log_of(side)
            try:
                if path is not None:
                    found[name] = autotuning(read_build_log(path))
            except ProfilerError:
                continue  # a log that cannot be read is no evidence; the Engine page of the dashboard says what is wrong with it
        return found

    @cached_property
    def provenance(self) -> dict[str, dict[str, str]]:
        """Where each side's figures come from: fact → text; "unknown" where neither trace nor manifest says it."""
        return {name: _provenance(side, self.digests[name].result()) for name, side in self.sides.items()}

    @cached_property
    def digests(self) -> dict[str, Future[str]]:
        """SHA-256 of each side's file, which a thread begins to compute when they are first asked for: gigabytes take seconds."""
        found: dict[str, Future[str]] = {name: Future() for name in self.sides}

        def compute() -> None:
            for name, side in self.sides.items():
                try:
                    found[name].set_result(sha256_of(side.trace.path))
                except OSError as error:
                    found[name].set_exception(error)

        threading.Thread(target=compute, daemon=True).start()
        return found


def gather(
    before: Run,
    after: Run,
    engines: tuple[Path | None, Path | None] = (None, None),
    accuracy: AccuracyStudy | None = None,
    also: Callable[[Run], object] | None = None,
) -> Evidence:
    """Compare two traces for a hand-over.

    Args:
        also: of each run, what reads single events and keeps what it made of them: called before a large trace is released.
    """

    def read(run: Run, engine: Path | None) -> None:
        if not run.trace.is_large:  # of a large one the samples are read when they are needed, and not kept
            run.read_samples()
        read_ahead(run, engine, whole=True, also=also)

    for_each_run(read, (before, after), engines)
    evidence = Evidence(compare(before, after), engines, accuracy)
    _ = evidence.digests  # computed beside what follows
    return evidence


def _provenance(side: Run, digest: str) -> dict[str, str]:
    trace, facts, session = side.trace, side.facts, side.trace.session
    manifest = facts.manifest or Manifest(trace.path.name)
    used = next((g for g in session.gpus if g.name == facts.gpu), None)
    shown: dict[str, Any] = {
        "title": facts.title,
        "file": trace.label,
        "file size, bytes": f"{trace.path.stat().st_size:,}",
        "SHA-256 of the file": digest,
        "opened": trace.how_opened or "as it is",
        "read": trace.excerpt.statement if trace.excerpt else "the whole trace",
        "recorded (UTC)": session.recorded_utc,
        "nsys": session.nsys_version,
        "schema of the export": session.schema_version,
        "graph trace mode": session.graph_trace_mode,
        "GPU": facts.gpu,
        "compute capability": f"{facts.sm / 10:.1f}" if facts.sm else None,
        "SMs": used.sm_count if used else None,
        "peak memory bandwidth, GB/s": at_most(used.memory_bandwidth_bytes_per_s / 1e9)
        if used and used.memory_bandwidth_bytes_per_s
        else None,
        "driver": session.driver_version or manifest.driver_version,
        "CUDA": session.cuda_version or manifest.cuda_version,
        "framework": _joined(facts.framework, manifest.framework_version),
        "versions": ", ".join(f"{k} {v}" for k, v in manifest.versions.items()) or None,
        "model": facts.model,
        "weights": manifest.weights,
        "precision": facts.precision,
        "mode": facts.mode,
        "batch": facts.batch,
        "input shape": "×".join(map(str, facts.input_shape)) if facts.input_shape else None,
        "inferences": f"{number(side.inferences.count)}: {side.inferences.statement}"
        if side.inferences.count
        else side.inferences.statement,
        "kernels read": number(trace.kernel_count),
        "latency without nsys": _without_nsys(latency_without_profiler(facts)),
        "how it was recorded": manifest.source,
    }
    for key, origin in facts.origin.items():
        name = {"gpu": "GPU", "sm": "compute capability", "input_shape": "input shape"}.get(key, key)
        if shown.get(name) is not None:
            shown[name] = f"{shown[name]} (from the {origin})"
    return {name: visible(str(value)) if value not in (None, "") else "unknown" for name, value in shown.items()}


def _joined(first: Any, second: Any) -> str | None:
    return f"{first} {second}" if first and second else first


def _without_nsys(found: Latency | None) -> str | None:
    """The latency that a manifest holds, measured or stated, and which of the two."""
    if found is None:
        return None
    if not found.measured:
        return f"{at_most(found.p50_ms, 'ms')}, as the manifest states it: {found.how}"
    spread = [(k, v) for k, v in (("smallest", found.low_ms), ("p99", found.high_ms)) if v is not None]
    shown = f" ({', '.join(f'{k} {number(v, digits=4)}' for k, v in spread)} ms)" if spread else ""
    of = f" of {plural(found.n, 'inference')}" if found.n else ""
    return f"median {number(found.p50_ms, 'ms', 4)}{of}{shown}: {found.how}"
