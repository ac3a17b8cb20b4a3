"""What is read and computed of the traces, kept between the runs of the page's script: the only caches of the dashboard."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from dashboard import progress, settings, sources
from dashboard.caching import HASH, Key, forget, kept, opened
from dashboard.labelled import study_beside
from dashboard.patterns import check_pattern
from dashboard.sources import Listing, Source
from dashboard.uploads import Uploads
from profiler.analysis.compare import Comparison, compare
from profiler.analysis.custom_layer.cost import RunCost, activations_of, run_cost
from profiler.analysis.custom_layer.measurement import Measurement, is_measurement, read_measurement
from profiler.analysis.fusion.counterparts import Counterparts
from profiler.analysis.fusion.decompose import ChainStep, chain
from profiler.analysis.fusion.ledger import Ledger, read_ahead
from profiler.analysis.fusion.traffic import Traffic
from profiler.analysis.run.autotuning import Autotuning, autotuning, build_log_of
from profiler.analysis.run.run import Run
from profiler.analysis.run.timeline import Timeline
from profiler.capture.summary import collect
from profiler.charts.figures import Drawn
from profiler.charts.figures import figures as all_figures
from profiler.errors import ProfilerError, UsageError
from profiler.progress import report
from profiler.report.accuracy import AccuracyStudy
from profiler.report.evidence import Evidence
from profiler.report.layers import engine_layers as report_layers
from profiler.report.story import Claim, claims_from
from profiler.report.story_facts import StoryFacts, story_facts
from profiler.report.tables import Table
from profiler.report.tables import tables as report_tables
from profiler.trace import open_trace
from profiler.trace.build_log import read_build_log

_SLOW_TO_DIGEST_BYTES = 1 << 28
_DIGESTED_AFTER_S = 20.0
_LARGE_KERNELS = 2_000_000
"""Kernels of a trace whose frames are forgotten once its figures are there; a page that draws single kernels reads them again."""
_SMALL_FILE_BYTES = 4_000_000  # ten times the largest bundled trace, of which each takes some 2.4 MB of memory
_one_large = threading.Lock()  # the frames of two would not fit into memory
T = TypeVar("T")


# what every run of every page asks for is a resource: of data, each would unpickle a copy with all manifests
@st.cache_resource(ttl=30, max_entries=1, show_spinner=False)
def bundled_sources() -> tuple[Source, ...]:
    """The runs that ship with the project."""
    return tuple(sources.bundled())


@st.cache_resource(ttl=10, max_entries=20, show_spinner=False, hash_funcs=HASH)
def folder_sources(folder: str) -> Listing:
    """The traces of a folder."""
    return sources.in_folder(Path(folder))


@st.cache_resource(scope="session", on_release=Uploads.leave, show_spinner=False)
def _presence(_kept: Uploads) -> Uploads:
    """Streamlit drops what is cached for a session when that disconnects: its only word of a session's end."""
    return _kept


def uploads() -> Uploads:
    """This session's uploads."""
    if "uploads" not in st.session_state:
        st.session_state["uploads"] = Uploads(forget)
    uploaded: Uploads = st.session_state["uploads"]
    _presence(uploaded)
    uploaded.stay()
    return uploaded


def chosen_folder() -> Path | None:
    """The folder that was given in the sidebar, else by the environment; None without one that may be read."""
    given = st.session_state.get("folder")
    folder = Path(given) if given else settings.folder()
    try:
        return folder if folder is not None and settings.is_readable_from(folder) and folder.is_dir() else None
    except (OSError, ValueError):
        return None


def own_sources() -> dict[str, Source]:
    """The traces of the chosen folder and the uploads, by key."""
    folder = chosen_folder()
    found = list(folder_sources(str(folder)).sources) if folder else []
    return sources.by_key([*found, *uploads().sources.values()])


def all_sources() -> dict[str, Source]:
    """Everything that can be named, by key."""
    return sources.by_key(bundled_sources()) | own_sources()


@dataclass(frozen=True)
class LoadedTrace:
    """A trace that was chosen: its source, and its analysis or what is wrong with it.

    ``identity`` (path, time of change, size, NVTX pattern, number of inferences, read whole) stands for the analysis in cache keys.
    """

    source: Source
    analysis: Run | None
    error: ProfilerError | None = None
    identity: tuple[str, int, int, str | None, int | None, bool] | None = None


@dataclass(frozen=True)
class Selection:
    """What the reader chose. A side is None when nothing is chosen for it."""

    before: LoadedTrace | None
    after: LoadedTrace | None

    @property
    def readable(self) -> dict[str, LoadedTrace]:
        """The sides that could be read, by name."""
        named = {"before": self.before, "after": self.after}
        return {name: side for name, side in named.items() if side is not None and side.analysis is not None}

    @property
    def compared(self) -> Comparison | None:
        if self.before is None or self.after is None:
            return None
        return comparison(self.before, self.after)


@dataclass(frozen=True)
class Marks:
    """How the inferences of a trace are told apart: by a shell pattern for NVTX ranges, or by how many there are; by themselves without."""

    nvtx: str | None = None
    count: int | None = None


def load(source: Source, marks: Marks = Marks(), whole: bool = False) -> LoadedTrace:
    """Open and analyse a trace; a bad one becomes an error to show beside the good one. Draws nothing.

    Args:
        whole: also of a very large trace; otherwise its middle (see :mod:`profiler.trace.excerpt`).
    """
    try:
        stat = source.path.stat()
        identity = (str(source.path), stat.st_mtime_ns, stat.st_size, marks.nvtx, marks.count, whole)
        analysis = _analysis(identity)
        if source.origin == "upload":
            opened(source.path, analysis)
        return LoadedTrace(source, analysis, None, identity)
    except OSError as error:
        message = f"{source.title}: the file cannot be read ({error.strerror or error})."
        return LoadedTrace(source, None, ProfilerError(message, "Choose another trace."))
    except ProfilerError as error:
        return LoadedTrace(source, None, error)


def load_all(wanted: Sequence[tuple[Source, Marks]], whole: bool = False) -> list[LoadedTrace]:
    """:func:`load` for several at the same time, with their progress where it takes long."""
    return progress.shown([(source.title, partial(load, source, marks, whole)) for source, marks in wanted])


def _analysis(key: Key) -> Run:
    return _run_of_small_file(key) if key[2] <= _SMALL_FILE_BYTES else _run_of_large_file(key)


@kept(max_entries=32)  # pages show up to eight runs beside the pair, and every page is to come back at once
def _run_of_small_file(key: Key) -> Run:
    return _analysed(key)


@kept(max_entries=8)
def _run_of_large_file(key: Key) -> Run:
    return _analysed(key)


def _analysed(key: Key) -> Run:
    # time of change and size are part of the key: a file that changed is read again
    path, mtime_ns, size, nvtx, count, whole = key
    analysis = Run(open_trace(path, excerpt=not whole), nvtx, count)
    # all of it here, with its progress, not in the middle of a page; a broken table is found here, too
    try:
        if nvtx is not None:
            check_pattern(analysis.trace, nvtx)
        if analysis.trace.kernel_count >= _LARGE_KERNELS:
            with _one_large:
                read_ahead(analysis, whole=True)
        for number_of, name in enumerate(_PARTS):
            report(f"analysing: {name.replace('_', ' ')}", number_of / len(_PARTS))
            getattr(analysis, name)
        _ = analysis.inferences.table
    except UsageError:
        if analysis.trace.excerpt is None:
            raise
        analysis.trace.close()  # the range that is wanted may be longer than the excerpt
        return _analysis((path, mtime_ns, size, nvtx, count, True))
    return analysis


_PARTS = ("facts", "inferences", "launches", "kernels", "tensor_cores", "categories")


def comparison(before: LoadedTrace, after: LoadedTrace) -> Comparison | None:
    """The comparison of two sides that could be read; None otherwise."""
    if before.analysis is None or after.analysis is None:
        return None
    return _comparison((before.identity, after.identity), before.analysis, after.analysis)


@kept(max_entries=16)
def _comparison(key: Key, _before: Run, _after: Run) -> Comparison:
    del key
    return compare(_before, _after)


def timeline(side: LoadedTrace) -> Timeline:
    """The timeline of a side that could be read; its indexes are kept."""
    assert side.analysis is not None
    return _timeline((side.identity,), side.analysis)


@kept(max_entries=8)
def _timeline(key: Key, _analysis: Run) -> Timeline:
    del key
    return Timeline(_analysis)


def counterparts(before: LoadedTrace, after: LoadedTrace) -> Counterparts | ProfilerError | None:
    """From the work of one side to that of the other, by the ledger; what is wrong with the ledger otherwise."""
    view = ledger(before, after)
    return _counterparts((before.identity, after.identity), view.ledger) if isinstance(view, LedgerView) else view


@kept(max_entries=8)
def _counterparts(key: Key, _ledger: Ledger) -> Counterparts:
    del key
    return Counterparts(_ledger)


def evidence(before: LoadedTrace, after: LoadedTrace) -> Evidence | None:
    """What is handed over of two sides; None when one cannot be read."""
    return evidence_with(before, after, study_beside(before.source, after.source, chosen_folder()))


def evidence_with(before: LoadedTrace, after: LoadedTrace, study: AccuracyStudy | None) -> Evidence | None:
    """The same with a study that is known. Works outside of a session."""
    compared = comparison(before, after)
    if compared is None:
        return None
    place = str(study.folder) if study else ""
    return _evidence((before.identity, after.identity, place), compared, study)


@kept(max_entries=4)
def _evidence(key: Key, _comparison: Comparison, _study: AccuracyStudy | None) -> Evidence:
    del key
    made = Evidence(_comparison, accuracy=_study)
    if sum(side.trace.path.stat().st_size for side in made.sides.values()) > _SLOW_TO_DIGEST_BYTES:
        # the digests of gigabytes take seconds, and nobody needs them before the page Export: not while the first page is made
        timer = threading.Timer(_DIGESTED_AFTER_S, _digested, (_evidence_key(made), made))
        timer.daemon = True
        timer.start()
    return made


@kept(max_entries=4)
def _digested(key: Key, _evidence: Evidence) -> None:
    """Have the provenance ready. Who asks while it is being made waits for it: Streamlit makes what it caches once."""
    del key
    with contextlib.suppress(OSError):  # a file that went is named where it is asked for
        _ = _evidence.provenance


def tables(evidence: Evidence) -> list[Table]:
    """Every table of a hand-over."""
    return _tables(_evidence_key(evidence), evidence)


@kept(max_entries=4, spinner="Collecting the tables…")
def _tables(key: Key, _evidence: Evidence) -> list[Table]:
    _digested(key, _evidence)
    return report_tables(_evidence)


def drawn_figures(evidence: Evidence) -> list[Drawn]:
    """Every figure of a hand-over."""
    return _drawn_figures(_evidence_key(evidence), evidence)


@kept(max_entries=4, spinner="Drawing the figures…")
def _drawn_figures(key: Key, _evidence: Evidence) -> list[Drawn]:
    del key
    return all_figures(_evidence)


def _evidence_key(evidence: Evidence) -> tuple[object, ...]:
    study = str(evidence.accuracy.folder) if evidence.accuracy else ""
    sides = evidence.sides.values()
    return (study, *((str(s.trace.path), s.trace.path.stat().st_mtime_ns, s.nvtx, s.trace.excerpt) for s in sides))


@dataclass(frozen=True)
class LedgerView:
    """A ledger with what the pages show of it; or what is wrong with it."""

    ledger: Ledger
    document: dict[str, Any]
    traffic: Traffic


def ledger(before: LoadedTrace, after: LoadedTrace) -> LedgerView | ProfilerError | None:
    """The fusion ledger of two sides; an error that explains itself; None when a side cannot be read."""
    made = evidence(before, after)
    if made is None:
        return None
    built = _with_progress(partial(_built, _evidence_key(made), made))
    return built if isinstance(built, ProfilerError) else _ledger(_evidence_key(made), made)


@kept(max_entries=8)
def _built(key: Key, _evidence: Evidence) -> Ledger | ProfilerError:
    del key
    return _evidence.built


@kept(max_entries=8)
def _ledger(key: Key, _evidence: Evidence) -> LedgerView:
    del key
    assert _evidence.ledger is not None and _evidence.ledger_document is not None and _evidence.traffic is not None
    return LedgerView(_evidence.ledger, _evidence.ledger_document, _evidence.traffic)


def story(evidence: Evidence) -> tuple[StoryFacts, tuple[Claim, ...]]:
    """The argument about two traces, and the numbers that it is made from."""
    return _with_progress(partial(story_of, evidence))


def story_of(evidence: Evidence) -> tuple[StoryFacts, tuple[Claim, ...]]:
    """The same without showing progress. Works outside of a session."""
    return _story(_evidence_key(evidence), evidence)


def _with_progress(task: Callable[[], T]) -> T:
    """Run what compares two traces, which takes long the first time, and show how far it is."""
    return progress.shown([("Comparing the two traces", task)])[0]


@kept(max_entries=8)
def _story(key: Key, _evidence: Evidence) -> tuple[StoryFacts, tuple[Claim, ...]]:
    del key
    facts = story_facts(_evidence)
    return facts, claims_from(facts)


def steps(sides: Sequence[LoadedTrace]) -> list[ChainStep] | ProfilerError:
    """The chain of measured runs, or what is wrong with it."""
    try:
        return _steps(tuple(s.identity for s in sides), [s for s in sides if s.analysis is not None])
    except ProfilerError as error:
        return error


@kept(max_entries=16, spinner="Splitting the difference…")
def _steps(key: Key, _sides: list[LoadedTrace]) -> list[ChainStep]:
    del key
    by_run = {id(side.analysis): side for side in _sides}

    def kept(before: Run, after: Run) -> Ledger:
        """The ledger that the other pages show of the two."""
        made = evidence(by_run[id(before)], by_run[id(after)])
        assert made is not None
        if isinstance(made.built, ProfilerError):
            raise made.built
        return made.built

    return chain([side.analysis for side in _sides if side.analysis is not None], kept)


def tactics(side: LoadedTrace) -> Autotuning | ProfilerError | None:
    """Auto-tuning of the engine of a side, from the build log beside its trace; None without one."""
    path = build_log_of(side.analysis) if side.analysis else None
    if path is None:
        return None
    try:
        stat = path.stat()
        return _tactics((str(path), stat.st_mtime_ns, stat.st_size))
    except ProfilerError as error:
        return error


@kept(max_entries=8, spinner="Reading the build log…")
def _tactics(key: Key) -> Autotuning:
    return autotuning(read_build_log(Path(key[0])))


def engine_layers(side: LoadedTrace) -> pd.DataFrame | ProfilerError | None:
    """A row a layer of the engine behind a side; None when the side describes no layers."""
    if side.analysis is None:
        return None
    try:
        return _engine_layers((side.identity,), side.analysis)
    except ProfilerError as error:
        return error


@kept(max_entries=8)
def _engine_layers(key: Key, _analysis: Run) -> pd.DataFrame | None:
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


def run_costs(sides: Sequence[LoadedTrace], group: Sequence[Source]) -> list[RunCost] | ProfilerError:
    """What the activations of a model cost each of the sides.

    Their shapes are from any run that recorded them: of the group, else of the same model, batch and input in another precision.
    """
    mine = [s.manifest for s in group if s.manifest is not None]
    like = {(m.model_label, m.batch, m.input_shape) for m in mine}
    rest = [s.manifest for s in all_sources().values() if s.manifest is not None]
    activations = activations_of([*mine, *(m for m in rest if (m.model_label, m.batch, m.input_shape) in like)])
    if not activations:
        return ProfilerError(
            "no run of this model lists the modules of the activation.",
            "Record a PyTorch run of the model in the same folder: python -m profiler capture --framework pytorch --activation …",
        )
    try:
        return [_run_cost((s.identity, len(activations)), s.analysis, activations) for s in sides if s.analysis]
    except ProfilerError as error:
        return error


@kept(max_entries=16, spinner="Looking for the activations…")
def _run_cost(key: Key, _analysis: Run, _activations: Any) -> RunCost:
    del key
    return run_cost(_analysis, _activations)


def measurements() -> list[Measurement | ProfilerError]:
    """The measurements of the custom layer's kernels: the bundled one, and those in the chosen folder."""
    folder = chosen_folder()
    found = []
    for place in [sources.BUNDLED / "custom_layer", *([folder] if folder else [])]:
        with contextlib.suppress(OSError):  # a folder that may not be listed, a file that went
            for path in sorted(place.glob("*.json"))[: sources.MAX_LISTED]:
                if settings.is_readable_from(path) or place != folder:
                    with contextlib.suppress(OSError):
                        if is_measurement(path):
                            found.append(_measurement(str(path), path.stat().st_mtime_ns))
    return found


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=HASH)
def _measurement(path: str, mtime_ns: int) -> Measurement | ProfilerError:
    del mtime_ns
    try:
        return read_measurement(Path(path))
    except ProfilerError as error:
        return error


@st.cache_data(ttl=30, max_entries=20, show_spinner=False, hash_funcs=HASH)
def measured_runs(folder: str) -> list[dict[str, Any]]:
    """The figures of all run and bench documents in a folder (see :func:`profiler.capture.summary.collect`)."""
    with contextlib.suppress(OSError):
        return collect(Path(folder))
    return []


@st.cache_data(ttl=30, max_entries=20, show_spinner=False, hash_funcs=HASH)
def study_notes(folder: str) -> list[str]:
    """What a study left out, and why."""
    try:
        document = json.loads((Path(folder) / "summary.json").read_text("utf-8"))
        return [f"Left out: {item['what']}: {item['reason']}" for item in document.get("left_out") or []]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
