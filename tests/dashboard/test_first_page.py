"""What the server makes before the first session."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard import data, first_page, settings
from profiler.errors import TraceError
from tests.support.pages import app, counts


def _opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The traces that are opened from now on."""
    found: list[Path] = []
    original = data.open_trace
    monkeypatch.setattr(
        data, "open_trace", lambda path, **options: found.append(Path(path)) or original(path, **options)
    )
    for cache in (data._run_of_small_file, data._comparison, data._evidence, data._story):
        cache.clear()
    return found


def test_the_first_page_finds_its_pair_analysed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.FOLDER_VARIABLE, raising=False)
    opened = _opened(monkeypatch)
    first_page.prepare()
    assert len(opened) == 2
    stories: list[object] = []
    monkeypatch.setattr(data, "story_facts", stories.append)
    test = app("overview").run()
    assert not test.exception and test.title[0].value.startswith(f"{counts()} kernels per inference")
    assert len(opened) == 2 and not stories


def test_nothing_is_analysed_where_the_reader_has_traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path))
    opened = _opened(monkeypatch)
    first_page.prepare()
    assert not opened


def test_a_trace_that_cannot_be_read_is_left_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str, **_options: object) -> None:
        raise TraceError(f"{path}: damaged")

    monkeypatch.delenv(settings.FOLDER_VARIABLE, raising=False)
    _opened(monkeypatch)
    monkeypatch.setattr(data, "open_trace", broken)
    first_page.prepare()
    assert "damaged" in app("overview").run().error[0].value
