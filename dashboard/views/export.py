"""Export: everything about the pair as files to hand over, and the gates that hold in CI."""

from __future__ import annotations

import io
import re
import shlex
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import data, presenting
from dashboard.data import Selection
from dashboard.show import chart, folded, link, show_error, show_problems
from dashboard.tables import show_table
from profiler.charts import images
from profiler.charts.figures import Drawn
from profiler.charts.handover import html_report
from profiler.charts.slide_html import deck_pdf
from profiler.errors import ProfilerError
from profiler.report.evidence import Evidence
from profiler.report.gates import FAILED, UNKNOWN, GateResult, check, gate_figures, parse_gate
from profiler.report.markdown import summary
from profiler.report.slides import Slide
from profiler.report.tables import Table, to_csv, to_parquet
from profiler.text import markdown, plural

TITLE = "Export"
ICON = ":material/ios_share:"
URL = "export"

_DOWNLOAD = ":material/download:"
_MIME = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "zip": "application/zip",
}


def render(selection: Selection) -> None:
    st.title("Export")
    st.caption("The evidence from both traces as files that open without this dashboard and without the traces.")
    show_problems(selection)
    if selection.before is None or selection.after is None:
        return
    evidence = data.evidence(selection.before, selection.after)
    if evidence is None:
        return
    name = _file_name(selection.before.source.key, selection.after.source.key)
    drawn = data.drawn_figures(evidence)
    above = st.container()
    outcomes = _gates(evidence)
    with above:
        _report(evidence, outcomes, drawn, name)
        _slides(presenting.slides_of(selection), name)
    _tables(data.tables(evidence), name)
    _figures(drawn, name)
    st.subheader("The timeline, for Perfetto")
    st.markdown("The Timeline page saves any part of both inferences as a trace for Perfetto.")
    link("timeline", "Select the part on the timeline", ":material/arrow_forward:")


def _file_name(before: str, after: str) -> str:
    parts = [re.sub(r"[^A-Za-z0-9_.+-]+", "_", key.rpartition("/")[2])[:60] for key in (before, after)]
    return "_to_".join(parts)


def _gates(evidence: Evidence) -> list[GateResult]:
    st.subheader("Gates")
    st.caption(
        "Fail the build when a condition holds: `kernels_per_inference>60`, `latency>0.6ms`, `ratio.latency<5`. On the command "
        "line, a gate that fails gives exit status 3, and one that cannot be decided gives 4. The gates entered here are also in "
        "the report and the summary above."
    )
    text = st.text_area("Gates, one per line", key="gates", placeholder="kernels_per_inference>60", height=100)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    command = ["python", "-m", "profiler", "report", "BEFORE", "AFTER", "-o", "report.html", "--markdown", "summary.md"]
    for line in lines:
        command += ["--fail-if", line]
    st.code(shlex.join(command), language="bash", wrap_lines=True)
    folded("Figures that a gate can test", "figures_of_gates", partial(_gate_figures, evidence))
    try:
        outcomes = check([parse_gate(line) for line in lines], evidence)
    except ProfilerError as error:
        show_error(error)
        return []
    for outcome in outcomes:
        shown = f"**{outcome.outcome}**: {markdown(outcome.sentence)}"
        {FAILED: st.error, UNKNOWN: st.warning}.get(outcome.outcome, st.success)(shown)
    return outcomes


def _gate_figures(evidence: Evidence) -> None:
    known = gate_figures(evidence).values()
    table = {
        "figure": [f.name for f in known],
        "unit": [f.unit for f in known],
        **{side: [f.sides.get(side) for f in known] for side in ("before", "after", "ratio")},
        "without a side it means": [f.default for f in known],
        "note": [f.reason or "" for f in known],
    }
    show_table(st, pd.DataFrame(table), hide_index=True, key="gate_figures")


def _report(evidence: Evidence, outcomes: list[GateResult], drawn: list[Drawn], name: str) -> None:
    st.subheader("The report")
    st.markdown(
        "One HTML file, about 5 MB (most of it is plotly.js): interactive figures, all tables, provenance and warnings. It opens "
        "without a network, in a light and in a dark theme, and prints."
    )
    st.download_button(
        "HTML report",
        lambda: html_report(evidence, outcomes, drawn),
        f"{name}.html",
        "text/html",
        key="report_html",
        icon=_DOWNLOAD,
        type="primary",
        on_click="ignore",
    )
    st.subheader("Summary for a pull request")
    text = summary(evidence, outcomes)
    st.download_button(
        "Markdown summary",
        text,
        f"{name}.md",
        "text/markdown",
        key="report_markdown",
        icon=_DOWNLOAD,
        on_click="ignore",
    )
    folded("Preview", "preview", lambda: st.code(text, language="markdown", wrap_lines=True))


def _slides(slides: Sequence[Slide], name: str) -> None:
    st.subheader("Slides")
    st.markdown(
        f"{plural(len(slides), 'slide')} made from these two traces; “Present” in the sidebar shows them here. In the PPTX file, text and "
        "pictures can be edited, and the speaker notes say how each figure was obtained."
    )
    st.caption(markdown(" · ".join(slide.title for slide in slides)))
    place = st.container(horizontal=True)
    _save(place, "PPTX", partial(_pptx, slides), f"{name}.pptx", "slides_pptx")
    absent = images.missing_browser()
    if absent is None:
        _save(place, "PDF", partial(deck_pdf, slides), f"{name}.pdf", "slides_pdf")
    else:
        st.info(f"PDF: {markdown(absent.message)} {markdown(absent.hint or '')}", icon=":material/info:")


def _pptx(slides: Sequence[Slide]) -> bytes:
    from profiler.charts.slide_pptx import deck_pptx  # noqa: PLC0415 - slow to import, and needed here only

    return deck_pptx(slides)


def _tables(tables: list[Table], name: str) -> None:
    st.subheader("Tables")
    by_id = {t.id: t for t in tables}
    chosen = by_id[st.selectbox("Table", list(by_id), format_func=lambda i: by_id[i].title, key="export_table")]
    st.caption(f"{markdown(chosen.note)} {plural(len(chosen.frame), 'row')}.")
    show_table(st, chosen.frame, hide_index=True, key="export_table_rows", height=240, placeholder="")
    makers: dict[str, Callable[[Table], bytes]] = {
        "csv": lambda t: to_csv(t.frame).encode(),
        "parquet": lambda t: to_parquet(t.frame),
    }
    one, all_of_them = _buttons()
    for kind, make in makers.items():
        label = "CSV" if kind == "csv" else "Parquet"
        _save(one, label, partial(make, chosen), f"{chosen.id}.{kind}", f"table_{kind}")
        _save(
            all_of_them,
            f"All {len(tables)} as {label}",
            partial(_all_tables, tables, kind, make),
            f"{name}_{kind}.zip",
            f"tables_{kind}",
        )


def _buttons() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A row for the buttons of one file, and behind it of all; it goes on in a new line where the page is narrow."""
    row = st.container(horizontal=True)
    return row.container(horizontal=True, width="content"), row.container(horizontal=True, width="content")


def _save(place: DeltaGenerator, label: str, content: Callable[[], bytes], file_name: str, key: str) -> None:
    """A button that makes a file when it is asked for."""
    kind = file_name.rpartition(".")[2]
    place.download_button(label, content, file_name, _MIME[kind], key=key, icon=_DOWNLOAD, on_click="ignore")


def _figures(drawn: list[Drawn], name: str) -> None:
    st.subheader("Figures")
    if not drawn:
        st.caption("There are none for these traces.")
        return
    by_id = {d.id: d for d in drawn}
    chosen = by_id[st.selectbox("Figure", list(by_id), format_func=lambda i: by_id[i].title, key="export_figure")]
    folded("Preview", "figure_preview", partial(_figure, chosen))
    absent = images.missing()
    if absent is not None:
        st.info(
            f"{markdown(absent.message)} {markdown(absent.hint or '')} A figure can be saved as PNG with the camera in its corner.",
            icon=":material/info:",
        )
        return
    one, all_of_them = _buttons()
    for kind in ("pdf", "png"):
        _save(
            one,
            kind.upper(),
            partial(_one_figure, chosen, kind),
            f"{chosen.id}.{kind}",
            f"figure_{kind}",
        )
        _save(
            all_of_them,
            f"All {len(drawn)} as {kind.upper()}",
            partial(_all_figures, drawn, kind),
            f"{name}_{kind}.zip",
            f"figures_{kind}",
        )


def _figure(chosen: Drawn) -> None:
    chart(chosen.figure, "export_figure_shown")
    st.caption(markdown(chosen.caption))


def _all_tables(tables: Sequence[Table], kind: str, make: Callable[[Table], bytes]) -> bytes:
    return _zipped((f"{t.id}.{kind}", make(t)) for t in tables)


def _one_figure(drawn: Drawn, kind: str) -> bytes:
    return images.render([drawn], [kind])[drawn.id, kind]


def _all_figures(drawn: Sequence[Drawn], kind: str) -> bytes:
    return _zipped((f"{i}.{k}", content) for (i, k), content in images.render(drawn, [kind]).items())


def _zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A ZIP file; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
