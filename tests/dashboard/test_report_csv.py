"""“Save as CSV” of the HTML report in a real browser: no cell starts a formula, and every cell is what the library would write."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from profiler.analysis.run.run import Run
from profiler.report.evidence import gather
from profiler.report.html import render
from profiler.report.spreadsheet import cell
from profiler.report.tables import Table
from profiler.text import visible
from profiler.trace import open_trace
from tests.support.traces import bundled

pytestmark = pytest.mark.browser
TEXTS = [
    "=1+1", "＝1+1", " =1+1", "\t=1+1", "\u00a0=1+1", "＋1+1", "－1", "＠SUM(1)", "@SUM(1)", "-cmd", "+1 µs", "-3.5 %", "1=1", "'=1",
    "a\n=1", "\ufeff=1+1", 'say "=1"', "+１", "-1e5 kernels", "=", "-2+3",
]  # fmt: skip


def test_saved_cells_are_those_of_the_library(browser: Any, tmp_path: Path) -> None:
    with open_trace(bundled("trt-fp16-stream-b8")) as trace:
        run = Run(trace)
        table = Table("texts", "Texts", "A table.", pd.DataFrame({"text": TEXTS, "n": [-1.5] * len(TEXTS)}))
        path = tmp_path / "report.html"
        path.write_text(render(gather(run, run), [], [table], "var Plotly = {};"), "utf-8")
    page = browser.new_page()
    try:
        page.goto(path.as_uri())
        with page.expect_download() as download:
            page.locator("button.save").click()
        with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    finally:
        page.close()
    assert rows[0] == ["text", "n"]
    assert [row[0] for row in rows[1:]] == [cell(visible(text)) for text in TEXTS]
    assert {row[1] for row in rows[1:]} == {"-1.5"}
    assert {"'=1+1", "'＝1+1", "' =1+1", "+1 µs"} <= {row[0] for row in rows}
