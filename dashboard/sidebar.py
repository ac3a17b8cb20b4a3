"""The frame around every page: which two traces are held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from dashboard import data, presenting
from dashboard.uploads import Candidate, order
from profiler.analysis.compare import Comparison
from profiler.errors import ProfilerError
from profiler.text import markdown
from profiler.trace.files import TRACE_SUFFIXES

NONE = "none"
SIDES = ("before", "after")
_WHOLE = "whole"


@dataclass(frozen=True)
class Pair:
    """What the reader chose. A side is None when nothing is chosen for it."""

    before: data.Side | None
    after: data.Side | None

    @property
    def readable(self) -> dict[str, data.Side]:
        """The sides that could be read, by name."""
        named = {"before": self.before, "after": self.after}
        return {name: side for name, side in named.items() if side is not None and side.analysis is not None}

    @property
    def comparison(self) -> Comparison | None:
        if self.before is None or self.after is None:
            return None
        return data.comparison(self.before, self.after)


def choose() -> Pair:
    """Draw the sidebar and return the choice. Before and after live in the URL."""
    with st.sidebar:
        _add_traces()
        sources = data.all_sources()
        keys = [*sources, NONE]
        chosen = {}
        for side in SIDES:
            _from_address(side, keys, data.default_key(sources.values(), side) or NONE)
            chosen[side] = st.selectbox(
                side.capitalize(),
                keys,
                format_func=lambda key: _label(sources, key),
                key=side,
                help="Runs that ship with the project, traces of your folder, and your uploads.",
            )
            st.query_params[side] = chosen[side]
        st.button("Swap before and after", on_click=_swap, width="stretch")
        nvtx = _nvtx_patterns()
        presenting.button()
    whole = _read_whole()
    picked = {side: key for side, key in chosen.items() if key and key != NONE}
    loaded = data.load_all([(sources[key], nvtx[side] or None) for side, key in picked.items()], whole)
    sides = dict(zip(picked, loaded))
    _mind_excerpts(sides, whole)
    for name, side in sides.items():
        _mind_environment(name, side)
    return Pair(sides.get("before"), sides.get("after"))


def _read_whole() -> bool:
    """Whether very large traces are read whole; in the address like the choice itself."""
    if _WHOLE not in st.session_state:
        st.session_state[_WHOLE] = st.query_params.get(_WHOLE) == "1"
    if st.session_state[_WHOLE]:
        st.query_params[_WHOLE] = "1"
    else:
        st.query_params.pop(_WHOLE, None)
    return bool(st.session_state[_WHOLE])


def _set_whole(value: bool) -> None:
    st.session_state[_WHOLE] = value


def _mind_excerpts(sides: dict[str, data.Side], whole: bool) -> None:
    """Say above every page what is not the whole trace, and let the reader choose."""
    traces = {name: side.analysis.trace for name, side in sides.items() if side.analysis is not None}
    if whole:
        if any(trace.is_large for trace in traces.values()):
            st.sidebar.button(
                "Back to excerpts of the large traces", on_click=_set_whole, args=(False,), width="stretch"
            )
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


def _mind_environment(name: str, side: data.Side) -> None:
    """Say once a session of each trace that it holds what nobody means to share."""
    if side.analysis is None or not side.analysis.trace.session.holds_environment:
        return
    told: set[object] = st.session_state.setdefault("told_of_environment", set())
    which = side.identity[:3] if side.identity else None
    if which not in told:
        told.add(which)
        st.toast(
            f"The trace “{name}” holds the environment or the command line of the traced program. For a copy to share: "
            "`python -m profiler sanitize TRACE -o COPY`",
            icon=":material/privacy_tip:",
        )


def _label(sources: dict[str, data.Source], key: str) -> str:
    return sources[key].title if key in sources else "(nothing)"


def _from_address(side: str, keys: list[str], default: str) -> None:
    """Take the choice of a link, once; a link, or an upload that was removed, can name a trace that is not here."""
    if st.session_state.get(side) in keys:
        return
    wanted = st.query_params.get(side) if side not in st.session_state else None
    if wanted is not None and wanted not in keys:
        name = markdown(wanted[:100])
        st.warning(f"The link names a trace that is not here: {name}. The default is shown for “{side}”.")
    st.session_state[side] = wanted if wanted in keys else default


def _nvtx_patterns() -> dict[str, str]:
    """Which NVTX ranges are inferences, per side; in the address like the choice itself."""
    patterns = {}
    with st.expander("Which ranges are inferences?"):
        st.caption("NVTX ranges by shell pattern (iter*) or regular expression. Left empty, they are found.")
        for side in SIDES:
            key = f"nvtx_{side}"
            if key not in st.session_state:
                st.session_state[key] = st.query_params.get(key, "")
            patterns[side] = st.text_input(f"NVTX pattern, {side}", key=key, placeholder="found automatically")
            if patterns[side]:
                st.query_params[key] = patterns[side]
            else:
                st.query_params.pop(key, None)
    return patterns


def _swap() -> None:
    state = st.session_state
    state["before"], state["after"] = state["after"], state["before"]
    state["nvtx_before"], state["nvtx_after"] = state["nvtx_after"], state["nvtx_before"]


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
            help="Drop several at once: of two traces, PyTorch's or the slower one becomes “before”. Stored in a private "
            "temporary folder of the machine that runs this dashboard, and removed when the session ends.",
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
            placeholder="/path/to/traces",
            help=f"Also set by the environment variable {data.FOLDER_VARIABLE}. Its traces appear in the two lists.",
        )
        if folder:
            _check_folder(folder)


def _receive(files: list[tuple[str, BinaryIO]], total: int) -> None:
    """Store what was dropped, choose it, and draw the page anew."""
    bar = st.progress(0.0, "Storing the files…")
    stored: dict[str, int] = {}

    def progress(name: str, written: int) -> None:
        stored[name] = written
        bar.progress(min(1.0, sum(stored.values()) / max(total, 1)), f"Storing {markdown(name[:60])}…")

    drop = data.uploads().receive(files, progress)
    bar.progress(1.0, "Reading…")
    notes = list(drop.notes)
    if len(drop.sources) == 1:
        st.session_state["after"] = drop.sources[0].key
    elif drop.sources:
        first, second = drop.sources[:2]
        is_before, why = order(*(_candidate(source) for source in (first, second)))
        before, after = (first, second) if is_before else (second, first)
        st.session_state["before"], st.session_state["after"] = before.key, after.key
        notes.append(f"“{before.title}” was taken for before: {why}. Swap them below if that is wrong.")
        if len(drop.sources) > 2:
            notes.append(f"{len(drop.sources)} traces came; the others can be chosen below.")
    st.session_state["upload_notes"], st.session_state["upload_errors"] = notes, drop.errors
    # a new widget, so that the uploaded bytes do not stay in memory beside the copy on disk
    st.session_state["upload_round"] = st.session_state.get("upload_round", 0) + 1
    st.rerun()


def _candidate(source: data.Source) -> Candidate:
    analysis = data.load(source, None).analysis
    if analysis is None:
        return Candidate(source.title, source.manifest.framework if source.manifest else None, None)
    latency = analysis.inferences.table["latency_ns"]
    return Candidate(source.title, analysis.facts.framework, float(latency.median()) if len(latency) else None)


def _check_folder(folder: str) -> None:
    path = Path(folder)
    try:
        found = data.folder_sources(folder) if path.is_dir() else None
    except OSError as error:
        st.error(f"{markdown(folder)}: cannot be read ({error.strerror}).")
        return
    if found is None:
        st.error(f"{markdown(folder)}: no such folder on the machine that runs this dashboard.")
    elif not found:
        st.warning(f"{markdown(folder)}: no trace in it. Expected files ending in {', '.join(TRACE_SUFFIXES)}.")
    else:
        st.caption(f"{len(found)} traces found; choose them above.")


def show_problems(pair: Pair) -> None:
    """What keeps a side from being shown, and what to do about it."""
    for name, side in (("before", pair.before), ("after", pair.after)):
        if side is None:
            st.info(
                f"Nothing is chosen as “{name}”. Choose a trace in the sidebar, or upload one there.",
                icon=":material/info:",
            )
        elif side.error is not None:
            error = side.error
            if side.source.origin == "upload":  # the reader knows the file, not the place where it was put
                error = ProfilerError(error.message.replace(str(side.source.path), side.source.path.name), error.hint)
            show_error(error, f"{name}: {markdown(side.source.title)} cannot be read.")


def show_error(error: ProfilerError, heading: str | None = None) -> None:
    """A message for the reader, with what to do about it."""
    start = f"**{heading}** " if heading else ""
    hint = f"  \n{markdown(error.hint)}" if error.hint else ""
    st.error(f"{start}{markdown(error.message)}{hint}")


def ledger_view(pair: Pair) -> data.LedgerView | None:
    """The fusion ledger of the pair; what keeps it from being made is shown, and None returned."""
    show_problems(pair)
    if pair.before is None or pair.after is None:
        return None
    view = data.ledger(pair.before, pair.after)
    if isinstance(view, ProfilerError):
        show_error(view)
        return None
    return view
