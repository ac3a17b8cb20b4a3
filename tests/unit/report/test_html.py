"""The HTML report as a file: what is in it, and that a trace cannot put anything else there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from profiler.analysis.run.run import Run
from profiler.charts.handover import html_report
from profiler.report.evidence import Evidence, gather
from profiler.report.gates import check, parse_gate
from profiler.report.html import Figure, render
from profiler.report.tables import Table, tables
from profiler.trace import open_trace
from tests.support.hostile import ATTACKS, hostile_pair
from tests.support.traces import bundled


class Document(HTMLParser):
    """Tags with their attributes, and the text of scripts, tables and everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.cells: dict[str, list[list[str]]] = {}
        self._table: str | None = None
        self._in_cell = self._in_script = False
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
            self._in_script = True
        if tag == "table":
            self._table = dict(attrs).get("id")
        if self._table and tag == "tr":
            self.cells.setdefault(self._table, []).append([])
        if self._table and tag in ("td", "th"):
            self._in_cell = True
            self.cells[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
            return
        self.words.append(data)
        if self._table and self._in_cell:
            self.cells[self._table][-1][-1] += data


def evidence_of(before: Path, after: Path) -> Evidence:
    return gather(Run(open_trace(before)), Run(open_trace(after)))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evidence_of(bundled("torch-fp32-b8"), bundled("trt-int8-stream-b8"))


@pytest.fixture(scope="module")
def report(evidence: Evidence) -> str:
    return html_report(evidence, check([parse_gate("kernels_per_inference>60")], evidence))


def check_policy(text: str) -> Document:
    """The policy forbids everything but the two scripts whose hashes it names; nothing refers to elsewhere."""
    document = Document(text)
    policy = next(a["content"] for tag, a in document.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'; script-src 'sha256-")
    run = [script for attributes, script in document.scripts if attributes.get("type") != "application/json"]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run]
    assert len(run) == 2 and re.findall(r"'sha256-([^']+)'", policy) == hashes
    for tag, attributes in document.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")
    return document


def test_report_of_the_bundled_pair(report: str, evidence: Evidence) -> None:
    document = check_policy(report)
    assert len(report) < 8_000_000
    ids = [a["id"] for _, a in document.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in document.tags if tag == "a"]
    assert all(str(link)[1:] in ids for link in links)  # the contents lead somewhere
    words = " ".join(document.words)
    assert "One inference went from 174 kernels to 56" in words
    assert "calibrated on random data" in words
    for file in (bundled("torch-fp32-b8"), bundled("trt-int8-stream-b8")):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in words
    assert "NVIDIA H200" in words and "580.159.04" in words and "2025.3.2.0" in words
    shown = {attributes["id"] for attributes, _ in document.scripts if attributes.get("type") == "application/json"}
    wanted = (
        "strip",
        "speedup",
        "kinds",
        "fusion",
        "tensor_cores",
        "tensor_active",
        "memory",
        "timeline",
        "autotuning_after",
    )
    assert shown == {f"figure-{name}-data" for name in wanted}


def test_every_table_is_in_it_cell_by_cell(report: str, evidence: Evidence) -> None:
    document = Document(report)
    for table in tables(evidence):
        rows = document.cells[f"table-{table.id}"]
        assert rows[0] == list(table.frame.columns), table.id
        assert len(rows) - 1 == len(table.frame), table.id
        for column in table.frame.columns[:2]:
            place = list(table.frame.columns).index(column)
            if table.frame[column].dtype.kind in "OU" or pd.api.types.is_string_dtype(table.frame[column]):
                expected = ["" if pd.isna(v) else str(v) for v in table.frame[column]]
                assert [row[place] for row in rows[1:]] == expected, (table.id, column)


def test_figures_are_those_that_were_given(report: str) -> None:
    data = {a["id"]: json.loads(text) for a, text in Document(report).scripts if a.get("type") == "application/json"}
    kinds = data["figure-kinds-data"]["data"]
    assert {trace["name"] for trace in kinds} >= {"convolution", "normalisation"}


def test_the_same_traces_give_the_same_file(report: str) -> None:
    again = evidence_of(bundled("torch-fp32-b8"), bundled("trt-int8-stream-b8"))
    assert html_report(again, check([parse_gate("kernels_per_inference>60")], again)) == report


def test_names_are_text(tmp_path: Path) -> None:
    text = html_report(evidence_of(*hostile_pair(tmp_path)))
    document = check_policy(text)
    cells = {cell for row in document.cells["table-kernels_before"] for cell in row}
    for name in ATTACKS:
        if len(name) <= 1_000:
            shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in name)
            assert shown in cells
    assert any(cell.endswith("(50,000 characters)") for cell in cells)
    figures = [text for a, text in document.scripts if a.get("type") == "application/json"]
    assert not any("<" in text for text in figures)
    assert len(text) < 12_000_000


def test_a_side_that_hides_its_kernels_is_said() -> None:
    text = html_report(evidence_of(bundled("torch-fp32-b8"), bundled("trt-int8-badqdq-b8-graphlevel")))
    words = " ".join(check_policy(text).words)
    assert "cuda-graph-trace=node" in words and "No fusion ledger" in words and "No split of the latency" in words


def test_long_tables_are_cut_and_that_is_said(evidence: Evidence) -> None:
    long = Table("long", "Long", "A table.", pd.DataFrame({"n": range(1_500)}))
    text = render(evidence, [Figure("f", "F", "", '{"data":[],"layout":{}}')], [long], "var Plotly = {};")
    assert len(Document(text).cells["table-long"]) == 1_001
    assert "1,000 of 1,500 rows" in text


def test_a_script_end_inside_the_library_does_not_end_the_script(evidence: Evidence) -> None:
    document = check_policy(render(evidence, [], [], 'var Plotly = {}; var s = "</script><b>";'))
    assert '<\\/script><b>"' in document.scripts[0][1]
