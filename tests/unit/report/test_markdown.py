"""The summary for a pull request: what it says, and that names stay names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from profiler.analysis.run.run import Run
from profiler.report.evidence import gather
from profiler.report.gates import check, parse_gate
from profiler.report.markdown import escape, summary
from profiler.trace import open_trace
from tests.support.hostile import hostile_pair
from tests.support.traces import bundled

PARSER = MarkdownIt("gfm-like", {"linkify": False})


def made(before: Path, after: Path, *gates: str) -> str:
    with open_trace(before) as b, open_trace(after) as a:
        evidence = gather(Run(b), Run(a))
        return summary(evidence, check([parse_gate(g) for g in gates], evidence))


def test_summary_of_the_bundled_pair() -> None:
    pair = bundled("torch-fp32-b8"), bundled("trt-int8-stream-b8")
    text = made(*pair, "kernels_per_inference>60", "latency>0.1ms")
    assert text == made(*pair, "kernels_per_inference>60", "latency>0.1ms")  # byte for byte
    assert "One inference went from 174 kernels to 56." in text
    assert "| Kernels | 174 | 56 | 3.11× fewer |" in text
    assert "**2 gates: 1 failed**" in text
    assert "55 kept, 66 fused, 53 absorbed, 1 new" in text
    assert "calibrated on random data" in text and "SHA-256" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(re.fullmatch(r"\|.*\|", row) for row in rows)


def test_tables_are_tables_to_a_parser_of_its_own() -> None:
    text = made(bundled("torch-fp32-b8"), bundled("trt-int8-stream-b8"), "kernels_per_inference>60")
    kinds = [t.type for t in PARSER.parse(text)]
    assert kinds.count("table_open") >= 3 and kinds.count("heading_open") == 1


def test_a_side_that_hides_its_kernels_is_said() -> None:
    text = made(bundled("torch-fp32-b8"), bundled("trt-int8-badqdq-b8-graphlevel"), "kernels_per_inference>60")
    assert "Kernel counts are not compared." in text and "1 cannot be decided" in text
    assert "| Kernels | — | — | unknown |" in text


def test_names_and_file_names_stay_text(tmp_path: Path) -> None:
    text = made(*hostile_pair(tmp_path))
    tokens = PARSER.parse(text)
    inline = [child for t in tokens for child in (t.children or [])]
    assert not [t for t in inline if t.type in ("link_open", "image", "code_inline", "s_open", "em_open")]
    raw = [t.content for t in tokens + inline if t.type in ("html_block", "html_inline")]
    assert not [r for r in raw if "script" in r or "onerror" in r or "<b>" in r]
    assert "before <b>&.sqlite" in "".join(t.content for t in inline if t.type == "text").replace("\u200b", "")


@given(st.text(max_size=120))
def test_escaped_text_is_shown_as_it_is_on_one_line(text: str) -> None:
    shown = escape(text)
    assert "\n" not in shown and "|" not in shown and "<" not in shown
    (opened, inline, closed) = PARSER.parse(f"a {shown}")
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert {t.type for t in inline.children or []} <= {"text", "text_special"}
    visible = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    back = "".join(t.content for t in inline.children or [])
    assert not re.search(r"[@#]\w|://|www\.", back)
    assert back.replace("\u200b", "").split() == f"a {visible}".replace("\u200b", "").split()


@pytest.mark.parametrize(
    "text", ["- item", "+ item", "= x", "1. one", "2) two", "# heading", "> quote", "```", "    code", "<div>"]
)
def test_nothing_at_the_start_of_a_line_starts_a_block(text: str) -> None:
    assert PARSER.parse(escape(text).lstrip())[0].type == "paragraph_open"


def test_long_text_is_cut_and_that_is_seen() -> None:
    assert len(escape("x" * 10_000)) == 300 and escape("x" * 10_000).endswith("…")
