"""The Help page and the first-run guide, as Streamlit runs them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import documents, tour
from dashboard.documents import glossary
from dashboard.views import PAGES
from tests.support.pages import app, text


def _steps(test: AppTest) -> list[str]:
    return [link.proto.label for link in test.get("page_link") if link.proto.label[:1].isdigit()]


def _scripts(test: AppTest) -> list[str]:
    return [h.proto.body for h in test.get("html") if tour.COOKIE in h.proto.body]


def _dismissal_is_there(test: AppTest) -> bool:
    return any(b.key == "tour_dismiss" for b in test.button)


def test_guide_opens_on_the_first_visit_and_its_links_are_pages() -> None:
    test = app("overview").run()
    assert not test.exception
    assert _steps(test) == [f"{n}. {label}" for n, (_, label) in enumerate(tour.STEPS, 1)]
    titles = {view.URL: view.TITLE for view in PAGES}
    assert all(titles[url] == label for url, label in tour.STEPS)


def test_guide_goes_when_it_is_dismissed_and_the_browser_is_told_once() -> None:
    test = app("overview").run()
    test.button(key="tour_dismiss").click().run()
    assert not _steps(test)
    assert _scripts(test) == [tour._SCRIPT]
    test.run()
    assert not _scripts(test) and not _steps(test)


@pytest.mark.parametrize("query", [{"before": "torch-fp16-eager-b8"}, {"nvtx_after": "iter*"}, {"anything": "1"}])
def test_a_shared_link_shows_no_guide(query: dict[str, str]) -> None:
    assert not _dismissal_is_there(app("overview", **query).run())


def test_guide_is_on_the_overview_alone() -> None:
    assert not _dismissal_is_there(app("fusion").run())


def test_a_presentation_shows_no_guide() -> None:
    test = app("overview")
    test.session_state["present"] = True
    assert not _dismissal_is_there(test.run())


@pytest.mark.parametrize(("cookie", "shown"), [("seen", False), ("other", True)])
def test_the_cookie_of_an_earlier_visit_is_heeded(monkeypatch: pytest.MonkeyPatch, cookie: str, shown: bool) -> None:
    context = SimpleNamespace(cookies={tour.COOKIE: cookie}, is_embedded=None, theme=SimpleNamespace(type="light"))
    monkeypatch.setattr(tour.st, "context", context)
    assert _dismissal_is_there(app("overview").run()) == shown


def test_help_shows_the_documents_and_brings_the_guide_back() -> None:
    test = app("help", before="torch-fp16-eager-b8").run()
    shown = text(test)
    assert "Reading the dashboard" not in shown  # its heading is the tab's name
    for words in ("Which page answers which question", "Where each figure comes from", "The fusion ledger"):
        assert words in shown
    assert not _steps(test)
    test.button(key="tour_again").click().run()
    assert "The guide is on the overview" in [link.proto.label for link in test.get("page_link")]


def test_every_word_of_the_glossary_is_there_and_can_be_searched() -> None:
    test = app("help").run()
    shown = text(test)
    assert all(f"- **{e.word}**: {e.meaning}" in shown for e in glossary())
    test.text_input(key="glossary_search").set_value("hmma").run()
    listed = [m.value for m in test.tabs[1].markdown]
    assert listed and all("HMMA" in m for m in listed)
    test.text_input(key="glossary_search").set_value("**no such word**").run()
    assert "No entry holds" in test.tabs[1].info[0].value
    assert "**no such word**" not in test.tabs[1].info[0].value


def test_help_without_the_repository_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(documents, "FOLDER", tmp_path)
    test = app("help").run()
    assert not test.exception
    assert all("was not found beside the dashboard" in e.value for e in test.error) and test.error
    assert all("pip install \\-e" in e.value for e in test.error)
