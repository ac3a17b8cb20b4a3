"""What every page shows in the same way: charts, rows of figures, notes on how we know, links to the evidence."""

from __future__ import annotations

import glob
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import streamlit as st
from plotly.basedatatypes import BaseFigure
from plotly.io.json import to_json_plotly
from streamlit.delta_generator import DeltaGenerator

from dashboard import data
from dashboard.data import LoadedTrace, Selection
from dashboard.sources import SIDES
from profiler.analysis.compare import Comparison, Metric
from profiler.analysis.run.candidates import Candidate
from profiler.charts import labels
from profiler.charts.chart import Chart
from profiler.charts.layout import CONFIG
from profiler.charts.palette import GRID, GROUNDS, INK
from profiler.errors import ProfilerError
from profiler.report.notices import notices
from profiler.report.words import before_after, change
from profiler.text import markdown, plural, visible, with_unit

_PAGES = "pages"


class _Ready(BaseFigure):  # type: ignore[misc]  # Plotly has no types
    """A chart as Streamlit takes it: it would have a dict checked by Plotly, which takes longer than all the rest of a page.

    It is drawn without a template. Streamlit hands every figure to plotly.js twice; one with a template, or without a revision of its
    data, is drawn from the start both times.
    """

    def __init__(self, figure: Chart, theme: str) -> None:
        self._figure = figure.with_defaults(*_style(theme))

    def to_dict(self) -> dict[str, Any]:
        made = self._figure.to_dict()
        revision = zlib.crc32(to_json_plotly(made["data"]).encode())
        return {**made, "layout": {**made["layout"], "datarevision": revision}}


@cache
def _style(theme: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What charts look like on the page: their layout, x axes and y axes."""
    ground, ink, grid = GROUNDS[theme], INK[theme], GRID[theme]
    layout = {
        "font": {"family": '"Source Sans", sans-serif', "color": ink},
        "paper_bgcolor": ground,
        "plot_bgcolor": ground,
        "hoverlabel": {"bgcolor": ground, "bordercolor": grid, "font": {"color": ink, "size": 12}},
        "legend": {"valign": "top"},
        "title": {"font": {"weight": 700}},
        "margin": {"pad": 8},
    }
    axis = {"automargin": True, "gridcolor": grid, "zerolinecolor": grid, "tickcolor": grid}
    return (
        layout,
        {**axis, "showgrid": False, "zeroline": False, "title": {"standoff": 20}},
        {**axis, "title": {"standoff": 24}},
    )


def chart(
    figure: Chart,
    key: str,
    sides: Mapping[str, LoadedTrace] | None = None,
    place: DeltaGenerator | None = None,
    about: Sequence[str] = (),
    **options: Any,
) -> None:
    """Draw a figure that names what it shows: under its title the runs, batch and GPU of its sides, or what it is ``about``.

    Further options are those of ``st.plotly_chart``.
    """
    known = {name: side.analysis.facts for name, side in (sides or {}).items() if side.analysis is not None}
    lines = [*labels.runs(known), *about]
    theme = st.context.theme.type or "light"
    title = figure.title.replace("<br>", " ")
    (place or st).plotly_chart(
        _Ready(labels.labelled(figure, lines, theme=theme), theme),
        key=key,
        theme=None,
        config=CONFIG,
        alt=visible(f"Chart: {title}. {'; '.join(lines)}"),
        **options,
    )


def cards(name: str) -> DeltaGenerator:
    """A row for figures in frames, which goes on in a new line where the page is narrow; ``name`` is its own on a page."""
    return st.container(
        horizontal=True, gap="small", key=f"cards_{name}"
    )  # style.css says how wide a frame is at least


def card(place: DeltaGenerator, label: str, value: str, note: str | None = None, help_text: str | None = None) -> None:
    """One figure in a frame, in a row of :func:`cards`."""
    place.metric(
        label,
        value,
        note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=help_text,
    )


def metric_card(place: DeltaGenerator, metric: Metric, label: str | None = None) -> None:
    """A figure of the comparison: before → after, the change, and how we know."""
    lines = [f"How we know: {metric.source}."]
    for name, spread in (("before", metric.before_range), ("after", metric.after_range)):
        if spread is not None:
            low, high = (with_unit(v, metric.unit) for v in spread)
            lines.append(f"Range over the inferences {name}: {low} to {high}.")
    lines += [f"Note: {metric.reason}"] if metric.reason else []
    card(place, label or metric.label, " → ".join(before_after(metric)), change(metric), markdown(" ".join(lines)))


@st.fragment
def folded(label: str, key: str, draw: Callable[[], object]) -> None:
    """A part of a page that is closed at first, and drawn only when it is opened; ``key`` is its own on a page."""
    place = st.expander(label, key=key, on_change="rerun")
    if place.open:
        with place:
            draw()


@st.fragment
def tabs(parts: Mapping[str, Callable[[], object]], key: str) -> None:
    """A tab for each part of a page, drawn when it is opened; ``key`` is its own on a page."""
    for tab, draw in zip(st.tabs(list(parts), key=key, on_change="rerun"), parts.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def show_notices(comparison: Comparison) -> None:
    """What to know before quoting the figures: a line each, TensorRT's own log last."""
    known = {*comparison.refusals, comparison.pair.refusal}
    found = notices(w for w in comparison.warnings if w not in known)
    if not found:
        return
    with st.expander(f"{plural(len(found), 'note')} on these figures", icon=":material/warning:"):
        for place, notice in enumerate(found):
            st.markdown(f"- {markdown(notice.sentence)}")
            if notice.details:
                with st.popover("Details", type="tertiary", key=f"notice_{place}"):
                    st.code(notice.details, language=None, wrap_lines=True)


def keep_pages(pages: Mapping[str, st.Page]) -> None:
    """Keep the pages of this run, by address, so that a page can link to another."""
    st.session_state[_PAGES] = dict(pages)


def page_at(url: str) -> st.Page | None:
    """The page with this address in this run."""
    found: st.Page | None = st.session_state.get(_PAGES, {}).get(url)
    return found


def link(url: str, label: str, icon: str | None = None) -> None:
    """A link to another page; the chosen pair goes with it."""
    page = page_at(url)
    if page is not None:
        st.page_link(page, label=label, icon=icon)


def how_we_know(lines: Iterable[str], key: str) -> None:
    """A note that opens in place: source tables, rule, formula, sampling."""
    with st.popover("How we know", icon=":material/fact_check:", type="tertiary", key=key):
        for line in lines:
            st.markdown(markdown(line))


def show_problems(selection: Selection) -> None:
    """What keeps a side from being shown or the two from being compared, and what to do about it."""
    for name, side in (("before", selection.before), ("after", selection.after)):
        if side is None:
            st.info(
                f"No trace is selected as “{name}”. Select or upload one in the sidebar.",
                icon=":material/info:",
            )
        elif side.error is not None:
            error = side.error
            if side.source.origin == "upload":  # the reader knows the file, not the place where it was put
                error = ProfilerError(error.message.replace(str(side.source.path), side.source.path.name), error.hint)
            show_error(error, f"{name}: {markdown(side.source.title)} cannot be read.")
        else:
            _ask_for_inferences(name, side)
    _show_pair(selection)


def _show_pair(selection: Selection) -> None:
    """What the comparison says of the two as a pair: that they are none, that their order is reversed, that they are one file."""
    compared = selection.compared
    if compared is None:
        return
    if compared.pair.refusal:
        st.error(markdown(compared.pair.refusal), icon=":material/block:")
    for finding in compared.pair.findings:
        if finding.code in ("reversed", "same_file"):
            st.warning(markdown(finding.sentence), icon=":material/swap_horiz:")
            if finding.code == "reversed":
                st.button("Swap before and after", key="swap_reversed", on_click=swap, type="primary")


def swap() -> None:
    """Turn before and after around."""
    state = st.session_state
    for kind in ("", "nvtx_", "inferences_"):
        first, second = (f"{kind}{side}" for side in SIDES)
        state[first], state[second] = state.get(second, ""), state.get(first, "")


def _ask_for_inferences(side: str, trace: LoadedTrace) -> None:
    """Where no inferences were found: say so above every page, and list the ranges that could be."""
    run = trace.analysis
    if run is None or run.inferences.count or run.trace.no_kernels_reason:
        return
    with st.container(border=True):
        st.markdown(
            f":material/help: **{side}**: no inferences were found in this trace, so per-inference figures are unknown."
        )
        candidates = {pattern_of(c): c for c in run.inferences.candidates}
        if candidates:
            st.selectbox(
                f"Which ranges are the inferences, {side}?",
                list(candidates),
                index=None,
                format_func=lambda pattern: visible(candidates[pattern].sentence),
                key=f"candidate_{side}",
                placeholder="The whole trace is shown. Select the ranges that are inferences",
                on_change=_take_candidate,
                args=(side,),
            )
        else:
            st.caption(
                "No NVTX range contains the GPU work. If you know how many inferences were recorded, enter the number in the sidebar."
            )


def pattern_of(candidate: Candidate) -> str:
    """The shell pattern that matches a candidate's ranges: its label stands for running numbers and cut-off texts by # and …"""
    return re.sub("[#…]", "*", glob.escape(candidate.label))


def _take_candidate(side: str) -> None:
    chosen = st.session_state.get(f"candidate_{side}")
    if chosen:
        st.session_state[f"nvtx_{side}"] = chosen


def show_error(error: ProfilerError, heading: str | None = None) -> None:
    """A message for the reader, with what to do about it."""
    start = f"**{heading}** " if heading else ""
    hint = f"  \n{markdown(error.hint)}" if error.hint else ""
    st.error(f"{start}{markdown(error.message)}{hint}")


def is_comparable(selection: Selection) -> bool:
    """Whether there are two runs that may be compared; :func:`show_problems` says why not."""
    compared = selection.compared
    return compared is not None and compared.pair.is_comparable


def ledger_view(selection: Selection) -> data.LedgerView | None:
    """The fusion ledger of the pair; what keeps it from being made is shown, and None returned."""
    show_problems(selection)
    if selection.before is None or selection.after is None:
        return None
    compared = selection.compared
    if compared is None or not compared.pair.is_comparable or "reversed" in compared.pair.codes:
        return None
    view = data.ledger(selection.before, selection.after)
    if isinstance(view, ProfilerError):
        show_error(view)
        return None
    return view
