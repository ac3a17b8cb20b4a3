"""The sidebar: which traces are open, and which two of them are before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from dashboard import address, data, presenting, settings, sources
from dashboard.data import LoadedTrace, Marks, Selection
from dashboard.patterns import MAX_PATTERN
from dashboard.show import show_error, swap
from dashboard.sources import SIDES, Candidate, Source
from profiler.text import markdown
from profiler.trace.files import TRACE_SUFFIXES

NONE = "none"
_WHOLE, _BUNDLED = "whole", "bundled"
_MAX_NOTES = 5


def choose() -> Selection:
    """Draw the sidebar and return the choice, which stands in the address."""
    with st.sidebar:
        _add_traces()
        offered = _offered()
        titles = sources.titles(offered)
        for side, key in zip(SIDES, _opening(offered)):
            # an upload may be gone, and a link name what is not here
            address.keep(side, key or NONE, [*offered, NONE], always=True)
            st.selectbox(
                side.capitalize(),
                [*offered, NONE],
                format_func=lambda key: titles.get(key, "(none)"),
                key=side,
                help="Traces from your folder and your uploads. Bundled runs are listed if there are none, or on request.",
            )
        st.button("Swap before and after", on_click=swap, width="stretch")
        _offer_bundled()
        marks = _marks()
        presenting.button()
    chosen = [offered.get(st.session_state[side]) for side in SIDES]
    own = sources.without_demo(chosen)
    if own != chosen:
        st.info(
            "Your own trace is not compared with a bundled run. Upload or select a second trace of your own.",
            icon=":material/info:",
        )
    whole = address.keep(_WHOLE, False)
    wanted = {side: source for side, source in zip(SIDES, own) if source is not None}
    opened = data.load_all([(source, marks[side]) for side, source in wanted.items()], whole)
    traces = dict(zip(wanted, opened))
    _announce_excerpts(traces, whole)
    for side, trace in traces.items():
        _warn_of_environment(side, trace)
    return Selection(traces.get("before"), traces.get("after"))


def _offered() -> dict[str, Source]:
    """What the lists hold: the reader's own traces; the bundled runs where there are none, where asked for, and where a link names one."""
    own = data.own_sources()
    bundled = sources.by_key(data.bundled_sources())
    if not own:
        return bundled
    if address.keep(_BUNDLED, False):
        return own | bundled
    named = [address.value(side, NONE) for side in SIDES]
    return own | {key: bundled[key] for key in named if key in bundled}


def _offer_bundled() -> None:
    if data.own_sources():
        st.toggle("Also list the bundled runs", key=_BUNDLED, help="Example runs that come with the project.")


def _opening(offered: Mapping[str, Source]) -> tuple[str | None, str | None]:
    """What a session opens with: what its address names, else a pair that belongs together."""
    if all(side in st.session_state for side in SIDES):
        return None, None
    named = {side: st.query_params.get(side) for side in SIDES}
    unknown = {side: key for side, key in named.items() if key not in (None, NONE, *offered)}
    for side, key in unknown.items():
        st.warning(
            f"The link refers to a trace that is not available: {markdown(str(key)[:100])}. Another one is shown as “{side}”."
        )
    known = {side: key for side, key in named.items() if side not in unknown and key is not None}
    if len(known) == len(SIDES):  # without looking into traces for a pair, which takes as long as opening them
        return known[SIDES[0]], known[SIDES[1]]
    pair = dict(zip(SIDES, _pair_of(list(offered.values()))))
    beside = [offered[key] for key in known.values() if key in offered]
    found = []
    for side in SIDES:
        source = pair[side]
        if side not in known and source is not None and any(other.origin != source.origin for other in beside):
            source = None  # what a link names is not compared with what it does not name
        found.append(known.get(side) or (source.key if source else None))
    return found[0], found[1]


def _pair_of(offered: Sequence[Source]) -> tuple[Source | None, Source | None]:
    """The pair of the reader's own traces, else of the bundled ones. Of two that nothing is known of, the slower one comes before."""
    own = [s for s in offered if s.origin != "bundled"]
    before, after = sources.opening_pair(own or offered)
    if before is not None or not own:
        return before, after
    if len(own) == 2:
        return _ordered(own[0], own[1])[:2]
    return _alone(max(own, key=lambda s: s.recorded))


def _ordered(first: Source, second: Source) -> tuple[Source, Source, str]:
    """The two as before and after, and why."""
    is_before, why = sources.order(_candidate(first), _candidate(second))
    return (first, second, why) if is_before else (second, first, why)


def _alone(source: Source) -> tuple[Source | None, Source | None]:
    """One trace, at the side where it most likely belongs; the other is free for a second one."""
    return (None, source) if _candidate(source).framework == "TensorRT" else (source, None)


def _open_folder() -> None:
    """A folder was named: the session opens with its traces."""
    address.forget(*SIDES)


def _set_whole(value: bool) -> None:
    st.session_state[_WHOLE] = value


def _announce_excerpts(sides: dict[str, LoadedTrace], whole: bool) -> None:
    """Say above every page what is not the whole trace, and let the reader choose."""
    traces = {name: side.analysis.trace for name, side in sides.items() if side.analysis is not None}
    if whole:
        if any(trace.is_large for trace in traces.values()):
            st.sidebar.button("Show excerpts of the large traces", on_click=_set_whole, args=(False,), width="stretch")
        return
    parts = {name: trace.excerpt for name, trace in traces.items() if trace.excerpt is not None}
    if not parts:
        return
    with st.container(border=True):
        for name, part in parts.items():
            st.markdown(f":material/content_cut: **{name}** – {markdown(part.statement)}")
        millions = sum(part.of_kernels for part in parts.values()) / 1e6
        st.button(
            "Read the whole traces",
            on_click=_set_whole,
            args=(True,),
            help=f"{millions:.3g} million kernels: about {3 * millions:.0f} s and {0.35 * millions:.1f} GB of memory, going by what was "
            "measured on two processors (docs/performance.md).",
        )


def _warn_of_environment(name: str, side: LoadedTrace) -> None:
    """Say once a session of each trace that it holds what nobody means to share."""
    if side.analysis is None or not side.analysis.trace.session.holds_environment:
        return
    warned: set[object] = st.session_state.setdefault("warned_of_environment", set())
    file = side.identity[:3] if side.identity else None
    if file not in warned:
        warned.add(file)
        st.toast(
            f"The trace “{name}” holds the environment or the command line of the traced program. For a copy to share: "
            "`python -m profiler sanitize TRACE -o COPY`",
            icon=":material/privacy_tip:",
        )


def _marks() -> dict[str, Marks]:
    """Which NVTX ranges are inferences, or how many inferences there are, per side; in the address like the choice itself."""
    found = {}
    with st.expander("Which ranges are inferences?"):
        st.caption(
            "A shell pattern for NVTX ranges, such as iter*, or the number of inferences where no ranges mark them. "
            "Leave empty to detect them."
        )
        for side in SIDES:
            pattern = address.keep(f"nvtx_{side}", "")
            st.text_input(
                f"NVTX pattern, {side}",
                key=f"nvtx_{side}",
                placeholder="detected",
                max_chars=MAX_PATTERN,
            )
            count = address.keep(f"inferences_{side}", "")
            st.text_input(
                f"Number of inferences, {side}",
                key=f"inferences_{side}",
                placeholder="detected",
                max_chars=6,
            )
            whole_number = count.isascii() and count.isdigit() and int(count) > 0
            if count and not whole_number:
                st.error("The number of inferences must be a whole number of at least 1.")
            found[side] = Marks(pattern or None, int(count) if whole_number and not pattern else None)
    return found


def _add_traces() -> None:
    with st.expander("Open your own traces", expanded=False, icon=":material/upload_file:"):
        st.caption(
            "nsys SQLite exports (.sqlite, also .xz, .zst, .gz), .nsys-rep where nsys is installed on this machine, and what belongs to "
            "them: manifest, engine inspector JSON, build log; or a run's folder as .zip."
        )
        files = st.file_uploader(
            "Upload traces",
            accept_multiple_files=True,
            key=f"uploader_{st.session_state.get('upload_round', 0)}",
            help="Of two traces, the PyTorch one, or the slower one, becomes “before”. Files are stored in a private temporary folder on "
            "the machine that runs this dashboard, and are removed when the session ends.",
        )
        if files:
            _receive([(file.name, file) for file in files], sum(file.size for file in files))
        for note in st.session_state.get("upload_notes", ()):
            st.caption(markdown(note))
        for error in st.session_state.get("upload_errors", ()):
            show_error(error)
        for source in list(data.uploads().sources.values()):
            st.button(
                f"Remove {markdown(source.title)}",
                key=f"remove_{source.key}",
                on_click=data.uploads().remove,
                args=(source.key,),
            )
        folder = st.text_input(
            "Or a folder on the machine that runs this dashboard",
            key="folder",
            on_change=_open_folder,
            placeholder=", ".join(map(str, settings.roots())),
            help=f"A folder inside {' or '.join(map(str, settings.roots()))}. To open another one, start the dashboard there or with the "
            f"environment variable {settings.FOLDER_VARIABLE}=DIR.",
        )
        _show_folder(folder)


def _receive(files: list[tuple[str, BinaryIO]], total: int) -> None:
    """Store what was dropped, choose it, and draw the page anew."""
    bar = st.progress(0.0, "Storing the files…")
    stored: dict[str, int] = {}

    def progress(name: str, written: int) -> None:
        stored[name] = written
        bar.progress(min(1.0, sum(stored.values()) / max(total, 1)), f"Storing {markdown(name[:60])}…")

    waiting = _waiting_upload()
    drop = data.uploads().receive(files, progress)
    bar.progress(1.0, "Reading…")
    notes = list(drop.notes)
    notes += _choose_uploaded(drop.sources, waiting)
    st.session_state["upload_notes"], st.session_state["upload_errors"] = notes, drop.errors
    # a new widget, so that the uploaded bytes do not stay in memory beside the copy on disk
    st.session_state["upload_round"] = st.session_state.get("upload_round", 0) + 1
    st.rerun()


def _waiting_upload() -> Source | None:
    """The upload that is shown alone, and waits for a second trace."""
    chosen = [st.session_state.get(side, NONE) for side in SIDES]
    uploaded = [data.uploads().sources[key] for key in chosen if key in data.uploads().sources]
    return uploaded[0] if len(uploaded) == 1 and NONE in chosen else None


def _choose_uploaded(came: Sequence[Source], waiting: Source | None) -> list[str]:
    """Choose what was uploaded: two as a pair, one beside the upload that waits for it, else alone; returns what to say of it."""
    pair = [*([waiting] if waiting and len(came) == 1 and waiting.key != came[0].key else []), *came][:2]
    if not pair:
        return []
    if len(pair) == 1:
        before, after = _alone(pair[0])
        notes = ["One trace is open. Upload a second one to compare."]
    else:
        before, after, why = _ordered(pair[0], pair[1])
        notes = [f"“{before.title}” is “before”: {why}. If this is wrong, swap them below."]
    for side, source in zip(SIDES, (before, after)):
        st.session_state[side] = source.key if source else NONE
    if len(came) > 2:
        notes.append(f"{len(came)} traces were uploaded. Select the others below.")
    return notes


def _candidate(source: Source) -> Candidate:
    analysis = data.load(source).analysis
    if analysis is None:
        return Candidate(source.title, source.manifest.framework if source.manifest else None, None)
    latency = analysis.inferences.table["latency_ns"]
    return Candidate(source.title, analysis.facts.framework, float(latency.median()) if len(latency) else None)


def _show_folder(given: str) -> None:
    """What became of the folder of traces, and what of it was left out."""
    folder = data.chosen_folder()
    if folder is None:
        if given and not settings.is_readable_from(Path(given)):
            st.error(
                f"{markdown(given)}: outside the folders that this dashboard can read ({markdown(', '.join(map(str, settings.roots())))}). "
                f"Start it with {settings.FOLDER_VARIABLE}=DIR to open another one."
            )
        elif given or settings.folder():
            st.error(
                f"{markdown(given or str(settings.folder()))}: no such folder on the machine that runs this dashboard."
            )
        return
    listing = data.folder_sources(str(folder))
    if listing.sources:
        st.caption(f"{len(listing.sources)} traces found. Select them below.")
    elif given:
        st.warning(f"{markdown(given)}: no traces found. Expected files ending in {', '.join(TRACE_SUFFIXES)}.")
    for note in listing.notes[:_MAX_NOTES]:
        st.caption(f":material/warning: {markdown(note)}")
    if len(listing.notes) > _MAX_NOTES:
        st.caption(f"{len(listing.notes) - _MAX_NOTES} more notes of this kind.")
