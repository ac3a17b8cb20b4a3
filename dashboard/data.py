"""Where traces come from, and the only caches of the dashboard."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from dashboard import progress
from dashboard.uploads import Source, Uploads
from profiler.analysis.compare import Comparison, compare
from profiler.analysis.custom_layer.cost import RunCost, activations_of, run_cost
from profiler.analysis.custom_layer.measurement import Measurement, is_measurement, read_measurement
from profiler.analysis.fusion.counterparts import Counterparts
from profiler.analysis.fusion.decompose import ChainStep, chain
from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.traffic import Traffic
from profiler.analysis.run.autotuning import Autotuning, autotuning, build_log_of
from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import Timeline
from profiler.capture.summary import collect
from profiler.charts.figures import Drawn
from profiler.charts.figures import figures as all_figures
from profiler.errors import ProfilerError, UsageError
from profiler.progress import report
from profiler.report.evidence import Evidence
from profiler.report.layers import engine_layers as report_layers
from profiler.report.story import Claim, claims_from
from profiler.report.story_facts import StoryFacts, story_facts
from profiler.report.tables import Table
from profiler.report.tables import tables as report_tables
from profiler.resources import bundled_traces
from profiler.trace import open_trace
from profiler.trace.build_log import read_build_log
from profiler.trace.files import TRACE_SUFFIXES
from profiler.trace.manifest import manifest_of, read_manifest

BUNDLED = bundled_traces()
FOLDER_VARIABLE = "PROFILER_TRACES"
_MAX_LISTED = 500
_SLOW_TO_DIGEST_BYTES = 1 << 28
T = TypeVar("T")


@st.cache_data(ttl=30, max_entries=20, show_spinner=False)
def bundled_sources() -> list[Source]:
    """The runs that ship with the project, those of the default story first."""
    found = []
    for path in sorted(BUNDLED.glob("*/manifest.json")):
        try:
            manifest = read_manifest(path)
        except ProfilerError:
            continue  # one broken folder does not hide the others
        trace = path.parent / manifest.trace
        if trace.is_file():
            found.append(Source(path.parent.name, manifest.title or path.parent.name, trace, "bundled", manifest))
    return found


def default_key(sources: Iterable[Source], side: str) -> str | None:
    """The bundled run whose manifest says that it is the default ``side``."""
    return next((s.key for s in sources if s.manifest and s.manifest.default == side), None)


@st.cache_data(ttl=10, max_entries=20, show_spinner=False)
def folder_sources(folder: str) -> list[Source]:
    """Traces in a folder and its direct subfolders (where a run folder holds ``manifest.json`` and its trace)."""
    root = Path(folder)
    found: list[Source] = []
    for path in sorted([*root.iterdir(), *(p for d in root.iterdir() if d.is_dir() for p in d.iterdir())]):
        if path.name.lower().endswith(TRACE_SUFFIXES) and path.is_file():
            relative = path.relative_to(root)
            try:
                manifest = manifest_of(path)
            except ProfilerError:
                manifest = None
            title = manifest.title if manifest and manifest.title else str(relative)
            found.append(Source(f"folder/{relative.as_posix()}", title, path, "folder", manifest))
        if len(found) >= _MAX_LISTED:
            break
    return found


@st.cache_resource(scope="session", on_release=Uploads.leave, show_spinner=False)
def _presence(_kept: Uploads) -> Uploads:
    """Streamlit drops what is cached for a session when that disconnects: its only word of a session's end."""
    return _kept


def uploads() -> Uploads:
    """This session's uploads."""
    if "uploads" not in st.session_state:
        st.session_state["uploads"] = Uploads()
    kept: Uploads = st.session_state["uploads"]
    _presence(kept)
    kept.stay()
    return kept


def chosen_folder() -> str | None:
    """The folder that was given in the sidebar or by the environment."""
    return st.session_state.get("folder") or os.environ.get(FOLDER_VARIABLE) or None


def all_sources() -> dict[str, Source]:
    """Everything that can be chosen, by key."""
    found = {s.key: s for s in bundled_sources()}
    folder = chosen_folder()
    if folder and Path(folder).is_dir():
        found |= {s.key: s for s in folder_sources(folder)}
    return found | uploads().sources


@dataclass(frozen=True)
class Side:
    """One side of the comparison: a source, and its analysis or what is wrong with it.

    ``identity`` (path, time of change, size, NVTX pattern, read whole) stands for the analysis in cache keys.
    """

    source: Source
    analysis: Run | None
    error: ProfilerError | None = None
    identity: tuple[str, int, int, str | None, bool] | None = None


def load(source: Source, nvtx: str | None, whole: bool = False) -> Side:
    """Open and analyse a trace; a bad one becomes an error to show beside the good one. Draws nothing.

    Args:
        whole: also of a very large trace; otherwise its middle (see :mod:`profiler.trace.excerpt`).
    """
    try:
        stat = source.path.stat()
        identity = (str(source.path), stat.st_mtime_ns, stat.st_size, nvtx or None, whole)
        return Side(source, _analysis(*identity), None, identity)
    except OSError as error:
        message = f"{source.title}: the file cannot be read ({error.strerror or error})."
        return Side(source, None, ProfilerError(message, "Choose another trace."))
    except ProfilerError as error:
        return Side(source, None, error)


def load_all(wanted: Sequence[tuple[Source, str | None]], whole: bool = False) -> list[Side]:
    """:func:`load` for several at the same time, with their progress where it takes long."""
    return progress.shown([(source.title, partial(load, source, nvtx, whole)) for source, nvtx in wanted])


@st.cache_resource(max_entries=8, show_spinner=False)
def _analysis(path: str, mtime_ns: int, size: int, nvtx: str | None, whole: bool) -> Run:
    # time of change and size are part of the cache key: a file that changed is read again
    analysis = Run(open_trace(path, excerpt=not whole), nvtx)
    # all of it here, with its progress, not in the middle of a page; a broken table is found here, too
    try:
        for number_of, name in enumerate(_PARTS):
            report(f"analysing: {name.replace('_', ' ')}", number_of / len(_PARTS))
            getattr(analysis, name)
        _ = analysis.inferences.table
    except UsageError:
        if analysis.trace.excerpt is None:
            raise
        analysis.trace.close()  # the range that is wanted may be longer than the excerpt
        return _analysis(path, mtime_ns, size, nvtx, True)
    return analysis


_PARTS = ("facts", "inferences", "launches", "kernels", "tensor_cores", "categories")


def comparison(before: Side, after: Side) -> Comparison | None:
    """The comparison of two sides that could be read; None otherwise."""
    if before.analysis is None or after.analysis is None:
        return None
    return _comparison(before.identity, after.identity, before.analysis, after.analysis)


@st.cache_resource(max_entries=16, show_spinner=False)
def _comparison(before_key: object, after_key: object, _before: Run, _after: Run) -> Comparison:
    del before_key, after_key  # the analyses themselves are not hashed
    return compare(_before, _after)


def timeline(side: Side) -> Timeline:
    """The timeline of a side that could be read; its indexes are kept."""
    assert side.analysis is not None
    return _timeline(side.identity, side.analysis)


@st.cache_resource(max_entries=8, show_spinner=False)
def _timeline(key: object, _analysis: Run) -> Timeline:
    del key
    return Timeline(_analysis)


def counterparts(before: Side, after: Side) -> Counterparts | ProfilerError | None:
    """From the work of one side to that of the other, by the ledger; what is wrong with the ledger otherwise."""
    view = ledger(before, after)
    return _counterparts(before.identity, after.identity, view.ledger) if isinstance(view, LedgerView) else view


@st.cache_resource(max_entries=8, show_spinner=False)
def _counterparts(before_key: object, after_key: object, _ledger: Ledger) -> Counterparts:
    del before_key, after_key
    return Counterparts(_ledger)


def evidence(before: Side, after: Side) -> Evidence | None:
    """What is handed over of two sides; None when one cannot be read."""
    held = comparison(before, after)
    return _evidence(before.identity, after.identity, held) if held is not None else None


@st.cache_resource(max_entries=4, show_spinner=False)
def _evidence(before_key: object, after_key: object, _comparison: Comparison) -> Evidence:
    del before_key, after_key
    made = Evidence(_comparison)
    if sum(side.trace.path.stat().st_size for side in made.sides.values()) > _SLOW_TO_DIGEST_BYTES:
        # the digests of gigabytes take seconds, and nobody needs them before the page Export
        threading.Thread(target=_digested, args=(_evidence_key(made), made), daemon=True).start()
    return made


@st.cache_resource(max_entries=4, show_spinner=False)
def _digested(key: object, _held: Evidence) -> None:
    """Have the provenance ready. Who asks while it is being made waits for it: Streamlit makes what it caches once."""
    del key
    with contextlib.suppress(OSError):  # a file that went is told of where it is asked for
        _ = _held.provenance


def tables(held: Evidence) -> list[Table]:
    """Every table of a hand-over."""
    return _tables(_evidence_key(held), held)


@st.cache_resource(max_entries=4, show_spinner="Collecting the tables…")
def _tables(key: object, _evidence: Evidence) -> list[Table]:
    _digested(key, _evidence)
    return report_tables(_evidence)


def figures(held: Evidence) -> list[Drawn]:
    """Every figure of a hand-over."""
    return _figures(_evidence_key(held), held)


@st.cache_resource(max_entries=4, show_spinner="Drawing the figures…")
def _figures(key: object, _evidence: Evidence) -> list[Drawn]:
    del key
    return all_figures(_evidence)


def _evidence_key(held: Evidence) -> tuple[object, ...]:
    return tuple(
        (str(s.trace.path), s.trace.path.stat().st_mtime_ns, s.nvtx, s.trace.excerpt) for s in held.sides.values()
    )


@dataclass(frozen=True)
class LedgerView:
    """A ledger with what the pages show of it; or what is wrong with it."""

    ledger: Ledger
    document: dict[str, Any]
    traffic: Traffic


def ledger(before: Side, after: Side) -> LedgerView | ProfilerError | None:
    """The fusion ledger of two sides; an error that explains itself; None when a side cannot be read."""
    held = evidence(before, after)
    if held is None:
        return None
    built = _with_progress(partial(_built, _evidence_key(held), held))
    return built if isinstance(built, ProfilerError) else _ledger(_evidence_key(held), held)


@st.cache_resource(max_entries=8, show_spinner=False)
def _built(key: object, _held: Evidence) -> Ledger | ProfilerError:
    del key
    return _held.built


@st.cache_resource(max_entries=8, show_spinner=False)
def _ledger(key: object, _held: Evidence) -> LedgerView:
    del key
    assert _held.ledger is not None and _held.ledger_document is not None and _held.traffic is not None
    return LedgerView(_held.ledger, _held.ledger_document, _held.traffic)


def told(held: Evidence) -> tuple[StoryFacts, tuple[Claim, ...]]:
    """The argument about two traces, and the numbers that it is made from."""
    return _with_progress(partial(_told, _evidence_key(held), held))


def _with_progress(task: Callable[[], T]) -> T:
    """Run what the first time holds two traces against each other, and show how far it is."""
    return progress.shown([("Holding the two traces against each other", task)])[0]


@st.cache_resource(max_entries=8, show_spinner=False)
def _told(key: object, _held: Evidence) -> tuple[StoryFacts, tuple[Claim, ...]]:
    del key
    facts = story_facts(_held)
    return facts, claims_from(facts)


def steps(sides: Sequence[Side]) -> list[ChainStep] | ProfilerError:
    """The chain of measured runs, or what is wrong with it."""
    try:
        return _steps(tuple(s.identity for s in sides), [s for s in sides if s.analysis is not None])
    except ProfilerError as error:
        return error


@st.cache_resource(max_entries=16, show_spinner="Splitting the difference…")
def _steps(keys: object, _sides: list[Side]) -> list[ChainStep]:
    del keys
    by_run = {id(side.analysis): side for side in _sides}

    def kept(before: Run, after: Run) -> Ledger:
        """The ledger that the other pages show of the two."""
        held = evidence(by_run[id(before)], by_run[id(after)])
        assert held is not None
        if isinstance(held.built, ProfilerError):
            raise held.built
        return held.built

    return chain([side.analysis for side in _sides if side.analysis is not None], kept)


def tactics(side: Side) -> Autotuning | ProfilerError | None:
    """Auto-tuning of the engine of a side, from the build log beside its trace; None without one."""
    path = build_log_of(side.analysis) if side.analysis else None
    if path is None:
        return None
    try:
        stat = path.stat()
        return _tactics(str(path), stat.st_mtime_ns, stat.st_size)
    except ProfilerError as error:
        return error


@st.cache_resource(max_entries=8, show_spinner="Reading the build log…")
def _tactics(path: str, mtime_ns: int, size: int) -> Autotuning:
    del mtime_ns, size
    return autotuning(read_build_log(Path(path)))


def tuning_sentence(tuned: Autotuning) -> str:
    """What auto-tuning of an engine did, in words."""
    return f"From the engine's build log, by TensorRT's own timing: {tuned.in_words()}"


def engine_layers(side: Side) -> pd.DataFrame | ProfilerError | None:
    """A row a layer of the engine behind a side; None when the side describes no layers."""
    if side.analysis is None:
        return None
    try:
        return _engine_layers(side.identity, side.analysis)
    except ProfilerError as error:
        return error


@st.cache_data(max_entries=8, show_spinner=False)
def _engine_layers(key: object, _analysis: Run) -> pd.DataFrame | None:
    del key
    table = report_layers(_analysis)
    if table is None:
        return None
    table["time_ns"], table["min_bytes"] = table["time_ns"] / 1e3, table["min_bytes"] / 1e3
    return table.rename(
        columns={
            "time_ns": "time, µs",
            "min_bytes": "min. kB",
            "formats_in": "formats in",
            "formats_out": "formats out",
        }
    )


def custom_layer_groups() -> dict[str, list[Source]]:
    """Runs of models with a replaced activation that can be held against each other, by what they share; the largest group first."""
    found: dict[str, list[Source]] = {}
    for source in all_sources().values():
        manifest = source.manifest
        if manifest is None or manifest.activation is None:
            continue
        shared = [manifest.model_label, (manifest.precision or "").upper(), f"batch {manifest.batch}", manifest.gpu]
        where = "" if source.origin == "bundled" else " (your folder)"
        found.setdefault(", ".join(str(part) for part in shared if part) + where, []).append(source)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def run_costs(sides: Sequence[Side], group: Sequence[Source]) -> list[RunCost] | ProfilerError:
    """What the activations of a model cost each of the sides.

    Their shapes are from any run that recorded them: of the group, else of the same model, batch and input in another precision.
    """
    mine = [s.manifest for s in group if s.manifest is not None]
    like = {(m.model_label, m.batch, m.input_shape) for m in mine}
    rest = [s.manifest for s in all_sources().values() if s.manifest is not None]
    activations = activations_of([*mine, *(m for m in rest if (m.model_label, m.batch, m.input_shape) in like)])
    if not activations:
        return ProfilerError(
            "no run of this model says which modules are the activation.",
            "Record a PyTorch run of it beside the others: python -m profiler capture --framework pytorch --activation …",
        )
    try:
        return [_run_cost(s.identity, len(activations), s.analysis, activations) for s in sides if s.analysis]
    except ProfilerError as error:
        return error


@st.cache_resource(max_entries=16, show_spinner="Looking for the activations…")
def _run_cost(key: object, count: int, _analysis: Run, _activations: Any) -> RunCost:
    del key, count
    return run_cost(_analysis, _activations)


def measurements() -> list[Measurement | ProfilerError]:
    """The measurements of the custom layer's kernels: the bundled one, and those in the chosen folder."""
    folder = chosen_folder()
    places = [BUNDLED / "custom_layer", *([Path(folder)] if folder else [])]
    paths = [p for place in places if place.is_dir() for p in sorted(place.glob("*.json"))[:_MAX_LISTED]]
    return [_measurement(str(p), p.stat().st_mtime_ns) for p in paths if is_measurement(p)]


@st.cache_data(max_entries=8, show_spinner=False)
def _measurement(path: str, mtime_ns: int) -> Measurement | ProfilerError:
    del mtime_ns
    try:
        return read_measurement(Path(path))
    except ProfilerError as error:
        return error


@st.cache_data(ttl=30, max_entries=20, show_spinner=False)
def measured_runs(folder: str) -> list[dict[str, Any]]:
    """The figures of all run and bench documents in a folder (see :func:`profiler.capture.summary.collect`)."""
    return collect(Path(folder))


@st.cache_data(ttl=30, max_entries=20, show_spinner=False)
def study_notes(folder: str) -> list[str]:
    """What a study left out, and why."""
    try:
        document = json.loads((Path(folder) / "summary.json").read_text("utf-8"))
        return [f"Left out: {item['what']}: {item['reason']}" for item in document.get("left_out") or []]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
