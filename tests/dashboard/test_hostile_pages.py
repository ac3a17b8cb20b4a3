"""Names out of a trace, its manifest, its engine and its log on every page: shown, and never acted upon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block, Element

from dashboard import data, fleet_results, settings, sources
from dashboard.views import PAGES
from profiler.errors import TraceError
from profiler.text import _MADE_LATER, markdown, plotly_text
from tests.support.fleet_folder import make_result
from tests.support.hostile import ATTACKS, MARK, hostile_run
from tests.support.pages import app
from tests.support.traces import ROOT

HOSTILE = "folder/run/trace.sqlite"
# fields that the browser shows as they are, or that it never shows
_PLAIN_FIELDS = {
    "id", "key", "form_id", "url_path", "user_key", "language", "query_param_key", "element_id", "page_script_hash", "columns",
    "config", "options", "default", "value", "icon", "page_section", "raw_value", "raw_values", "set_value", "placeholder",
    "script_hash", "file_urls",
}  # fmt: skip
_ACTIVE = re.compile(r"<\s*(?:script|img|a|b|i|span|table)\b|\]\(|!\[|:[a-z-]+\[|\$|\*\*X|~~", re.IGNORECASE)


def _texts(message: Any) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.name in _PLAIN_FIELDS:
            continue
        values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
        for one in values:
            if isinstance(one, str):
                yield field.name, one
            elif hasattr(one, "ListFields"):
                yield from _texts(one)


def _nodes(block: Any) -> Iterator[Element | Block]:
    for child in block.children.values():
        yield child
        if isinstance(child, Block):
            yield from _nodes(child)


def check(test: AppTest) -> int:
    """How many texts of the trace the page shows as Markdown; each of them must be inert."""
    seen = 0
    for node in _nodes(test._tree):
        proto = getattr(node, "proto", None)
        if proto is None or getattr(node, "type", "") in ("arrow_data_frame", "code", "json"):
            continue
        if getattr(node, "type", "") == "plotly_chart":
            seen += _check_figure(json.loads(proto.spec))
            continue
        assert not getattr(proto, "allow_html", False)
        if getattr(node, "type", "") == "bidi_component":
            continue  # data for a script of our own, which makes no HTML of it: test_our_scripts_make_no_html
        for field, text in _texts(proto):
            if MARK in text:
                seen += 1
                left = re.sub(r"\\.", "", text, flags=re.DOTALL)
                assert not _ACTIVE.search(left), (field, left[:300])
                assert not _MADE_LATER.search(re.sub(r"\\(.)", r"\1", text)), (field, text[:300])
                assert all(c.isprintable() or c in "\n\u2060" for c in text), (field, text[:300])
    return seen


def _check_figure(figure: Any) -> int:
    """Plotly shows a small HTML in its texts: a name's own marks must be escaped."""
    seen = 0
    todo = [figure]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, str) and MARK in value:
            seen += 1
            assert not re.search(
                r"<\s*(?:script|img|a|b|/span|i)\b(?!r)",
                value.replace("<br>", "").replace("<b>", "").replace("</b>", ""),
            ), value[:300]
    return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    hostile_run(folder / "run")
    several = tmp_path_factory.mktemp("several")
    for name in ("<b>one", "=two", "[three](javascript:x)"):
        hostile_run(several / name)
    (several / "\x1b[31m<i>broken.sqlite").write_text(f"{ATTACKS[0]} is no database")
    make_result(several, folder / "result")
    return folder


@pytest.fixture(autouse=True)
def chosen(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(runs))
    data.folder_sources.clear()
    fleet_results._in_folder.clear()
    fleet_results._load.clear()


@pytest.mark.parametrize("page", [p.URL for p in PAGES])
@pytest.mark.parametrize(
    "pair",
    [(HOSTILE, HOSTILE), (HOSTILE, "trt-fp16-stream-b8"), ("torch-fp16-eager-b8", HOSTILE), (HOSTILE, "none")],
    ids="-".join,
)
def test_every_page_shows_attacks_as_text(page: str, pair: tuple[str, str]) -> None:
    test = app(page, before=pair[0], after=pair[1]).run()
    assert not test.exception, test.exception
    seen = check(test)
    if page in ("overview", "kernels", "details") and pair == (HOSTILE, HOSTILE):
        assert seen  # that they are shown at all


@pytest.mark.parametrize("page", ["kernels", "timeline", "fusion", "custom-layer"])
def test_choosing_what_is_hostile_shows_it_as_text(page: str) -> None:
    test = app(page, before="folder/run/trace.sqlite", after="folder/run/trace.sqlite").run()
    for box in test.selectbox:
        if box.key not in ("before", "after") and box.options:
            box.set_value(box.options[-1])
    test.run()
    assert not test.exception
    check(test)


def test_our_scripts_make_no_html() -> None:
    scripts = [*(ROOT / "dashboard").rglob("*.js"), *(ROOT / "profiler").rglob("*.js")]
    assert len(scripts) >= 2
    for script in scripts:
        sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
        found = re.findall(sinks, script.read_text())
        assert not found, (script.name, found)


def test_hostile_words_in_the_address() -> None:
    for attack in ATTACKS[:-1]:
        test = app("overview", before=attack, after=f"folder/{attack}", nvtx_before="(", nvtx_after=attack[:200]).run()
        assert not test.exception
        check(test)


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_an_upload_with_a_hostile_name(attack: str, runs: Path) -> None:
    test = app("details").run()
    name = attack.replace("\0", "")[:300]
    test.file_uploader[0].set_value([(f"{name}.sqlite", (runs / "run" / "trace.sqlite").read_bytes(), "")]).run()
    assert not test.exception
    check(test)
    (source,) = test.session_state["uploads"].sources.values()
    folder = source.path.parents[2]  # of all uploads; below it one for each drop, and in that one for each file
    assert folder.name == "files" and [p for p in folder.rglob("*") if p.is_file()] == [source.path]
    assert re.fullmatch(r"[\w.+-]{1,140}", source.path.name)


@pytest.mark.parametrize(
    "key",
    [
        "/etc/passwd",
        "folder//etc/passwd",
        "folder/../../etc/passwd",
        "upload/../x",
        "../traces/trt-fp16-stream-b8/trace.sqlite.xz",
    ],
)
def test_the_address_opens_no_file_that_was_not_chosen(key: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        data, "open_trace", lambda path, **_: opened.append(str(path)) or (_ for _ in ()).throw(TraceError("not read"))
    )
    data._run_of_small_file.clear()
    test = app("overview", before=key, after=key).run()
    assert not test.exception
    assert all(path.startswith((str(sources.BUNDLED), str(runs))) for path in opened)
    data._run_of_small_file.clear()


def test_an_environment_in_the_trace_is_mentioned_once_and_quietly() -> None:
    test = app("overview", before="torch-fp16-eager-b8", after=HOSTILE).run()
    assert len(test.toast) == 1
    said = test.toast[0].value.replace("\\", "")
    assert "“after” holds the environment or the command line" in said and "profiler sanitize" in said
    assert not [w for w in test.warning if "environment" in w.value]
    test.run()
    assert not test.toast
    test.selectbox(key="before").set_value(HOSTILE).run()
    assert not test.toast  # the same trace
    assert (
        not app("overview", before="torch-fp16-eager-b8", after="trt-fp16-stream-b8").run().toast
    )  # the bundled ones hold none


def test_markdown_and_plotly_text() -> None:
    for attack in ATTACKS:
        left = re.sub(r"\\.", "", markdown(attack))
        assert not re.search(r"[<>\[\]()*`$~#|!]", left)
        assert not re.search(r"[<>\"']", plotly_text(attack))


@pytest.mark.parametrize("page", [p.URL for p in PAGES])
def test_tables_that_are_saved_hold_no_formulas(page: str) -> None:
    test = app(page, before="torch-fp16-eager-b8" if page in ("fusion", "memory") else HOSTILE, after=HOSTILE).run()
    for table in test.dataframe:
        for _, column in table.value.items():
            texts = [value for value in column if isinstance(value, str)]
            assert not [t for t in texts if re.match(r"[\s\0]*[=@\uff1d]|[\t\r\n]|[+-](?![\d.,]+( ?[\w%×/]+)?$)", t)]


def test_no_page_draws_a_table_on_its_own() -> None:
    for view in (Path(data.__file__).parent / "views").glob("*.py"):
        assert not re.search(r"\b(?:dataframe|data_editor|st\.table)\(", view.read_text()), view
