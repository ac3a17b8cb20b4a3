"""Which traces a session opens with: the reader's own, as a pair where they are one, and never beside the demo."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import data, sources
from tests.support.make_trace import simple
from tests.support.pages import DEMO, app, counts, text
from tests.support.traces import bundled


def chosen(test: AppTest) -> tuple[str, str]:
    assert not test.exception
    return test.selectbox(key="before").value, test.selectbox(key="after").value


def upload(test: AppTest, *files: tuple[str, bytes]) -> AppTest:
    return test.file_uploader[0].set_value([(name, content, "") for name, content in files]).run()


def run(folder: Path, name: str, recorded: str, title: str = "Mine", **facts: object) -> None:
    """A run's folder with a small trace."""
    (folder / name).mkdir()
    simple().write(folder / name / "trace.sqlite")
    document = {"format": "profiler-run/1", "trace": "trace.sqlite", "title": title, "recorded": recorded, **facts}
    (folder / name / "manifest.json").write_text(json.dumps(document))


def listed(test: AppTest) -> list[str]:
    return [o for o in test.selectbox(key="before").options if o != "(none)"]


def test_a_link_that_names_both_sides_opens_no_trace_to_guess_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second", "third"):
        simple().write(folder / f"{name}.sqlite")
    opened: list[str] = []
    load = data.load

    def noted(source: sources.Source, *args: Any) -> data.LoadedTrace:
        opened.append(source.path.stem)
        return load(source, *args)

    monkeypatch.setattr(data, "load", noted)
    assert chosen(app("help", before="folder/first.sqlite", after="folder/second.sqlite").run())[1]
    assert set(opened) == {"first", "second"}


def test_without_traces_of_ones_own_the_demo_opens() -> None:
    assert chosen(app("overview").run()) == DEMO


def test_one_upload_opens_alone_and_waits_for_a_second() -> None:
    test = upload(app("overview").run(), ("engine.sqlite.xz", bundled("trt-fp16-b8").read_bytes()))
    assert chosen(test) == ("none", "upload/engine.sqlite.xz")
    assert "→" not in "".join(m.value for m in test.metric) and "No trace is selected as “before”" in text(test)
    upload(test, ("model.sqlite.xz", bundled("torch-fp16-b8").read_bytes()))
    assert chosen(test) == ("upload/model.sqlite.xz", "upload/engine.sqlite.xz")
    upload(test, ("third.sqlite.xz", bundled("trt-fp32-b8").read_bytes()))
    assert "upload/third.sqlite.xz" in chosen(test) and "none" in chosen(test)


@pytest.mark.parametrize("page", ["overview", "fusion", "speedup", "export"])
def test_an_upload_is_never_compared_with_the_demo(page: str) -> None:
    test = upload(app(page).run(), ("engine.sqlite.xz", bundled("trt-fp16-b8").read_bytes()))
    assert not [o for o in listed(test) if "PyTorch" in o]
    test.toggle(key="bundled").set_value(True).run()
    test.selectbox(key="before").set_value(DEMO[0]).run()
    assert not test.exception
    assert "is not compared with a bundled run" in text(test) and counts() not in text(test)
    assert "No trace is selected as “before”" in text(test)


def test_a_folder_opens_with_its_newest_pair_and_the_demo_on_request(folder: Path) -> None:
    run(folder, "a", "2026-01-01T10:00:00+00:00", framework="PyTorch", model="m", batch=8)
    run(folder, "b", "2026-01-02T10:00:00+00:00", framework="TensorRT", model="m", batch=8)
    run(folder, "c", "2026-01-03T10:00:00+00:00", framework="PyTorch", model="m", batch=8)
    run(folder, "d", "2026-01-04T10:00:00+00:00", framework="TensorRT", model="m", batch=8)
    run(folder, "e", "2026-01-05T10:00:00+00:00", framework="TensorRT", model="other", batch=8)
    test = app("overview").run()
    assert chosen(test) == ("folder/c/trace.sqlite", "folder/d/trace.sqlite")
    assert len(listed(test)) == 5
    test.toggle(key="bundled").set_value(True).run()
    assert len(listed(test)) > 30
    assert chosen(app("overview", bundled="1", before=DEMO[0], after=DEMO[1]).run()) == DEMO
    assert chosen(app("overview", before=DEMO[0], after=DEMO[1]).run()) == DEMO  # a link


def test_equal_titles_are_told_apart_by_folder_and_date(folder: Path) -> None:
    run(folder, "monday", "2026-01-05T10:00:00+00:00")
    run(folder, "tuesday", "2026-01-06T11:30:00+00:00")
    run(folder, "other", "2026-01-07T10:00:00+00:00", title="Another")
    assert set(listed(app("overview").run())) == {
        "Mine (monday, 2026-01-05 10:00)",
        "Mine (tuesday, 2026-01-06 11:30)",
        "Another",
    }


def test_two_traces_that_nothing_is_known_of_are_ordered_by_what_they_hold(folder: Path) -> None:
    slow, fast = simple(), simple()
    slow.range("late", 900_000_000, 900_000_100)
    slow.write(folder / "x_new.sqlite")
    fast.write(folder / "y_baseline.sqlite")
    assert chosen(app("overview").run()) == ("folder/y_baseline.sqlite", "folder/x_new.sqlite")


def test_one_trace_in_a_folder_opens_alone(folder: Path) -> None:
    simple().write(folder / "mine.sqlite")
    assert chosen(app("overview").run()) == ("folder/mine.sqlite", "none")


BAD_MANIFESTS = [
    b'{"format": "profiler-run/1", "trace": "trace.sqlite", "title": "\\ud800"}',
    b'{"format": "profiler-run/1", "trace": "\\u0000", "title": "x"}',
    b'{"format": "profiler-run/1", "trace": "' + b"a" * 10_000 + b'"}',
    b'{"format": "profiler-run/1", "trace": "trace.sqlite", "recorded": "9999-99-99", "default": "before"}',
    b'{"format": "profiler-run/1", "trace": "trace.sqlite", "batch": ' + str(2**70).encode() + b"}",
    b'{"format": "profiler-run/1", "trace": "trace.sqlite", "batch": true, "model": []}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
]


@pytest.mark.parametrize("page", ["overview", "runs", "custom-layer", "fleet", "details"])
@pytest.mark.parametrize("place", range(len(BAD_MANIFESTS)))
def test_a_bad_manifest_ends_no_page(page: str, place: int, folder: Path) -> None:
    run(folder, "good", "2026-01-05T10:00:00+00:00")
    (folder / "bad").mkdir()
    simple().write(folder / "bad" / "trace.sqlite")
    (folder / "bad" / "manifest.json").write_bytes(BAD_MANIFESTS[place])
    test = app(page, before="folder/good/trace.sqlite", after="none").run()
    assert not test.exception and "Mine" in listed(test)


@pytest.mark.parametrize("page", ["overview", "runs", "custom-layer", "fleet"])
def test_odd_names_and_folders_end_no_page(page: str, folder: Path) -> None:
    run(folder, "good", "2026-01-05T10:00:00+00:00")
    good = folder / "good" / "trace.sqlite"
    for name in (b"not\xffutf8.sqlite", b"line\nbreak.sqlite", b"a" * 240 + b".sqlite", "\U0001f600.sqlite".encode()):
        os.link(good, os.path.join(os.fsencode(folder), name))  # noqa: PTH118 - Path has no bytes
    (folder / "loop").symlink_to("loop")
    (folder / "gone.sqlite").symlink_to("nowhere.sqlite")
    test = app(page).run()
    assert not test.exception and len(listed(test)) == 5
    test.selectbox(key="before").set_value(
        next(s.key for s in sources.in_folder(folder).sources if "%FF" in s.key)
    ).run()
    assert not test.exception and not test.error


def test_links_that_lead_outside_are_left_out_and_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    simple().write(elsewhere / "secret.sqlite")
    (folder / "link.sqlite").symlink_to(elsewhere / "secret.sqlite")
    (folder / "linked").symlink_to(elsewhere)
    simple().write(folder / "mine.sqlite")
    test = app("overview").run()
    assert listed(test) == ["mine.sqlite"]
    said = text(test).replace("\\", "")
    assert "link.sqlite is a link that leads outside" in said and "linked is a link that leads outside" in said


def test_a_folder_that_may_not_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked").mkdir()
    simple().write(folder / "mine.sqlite")
    original = Path.iterdir

    def refusing(self: Path) -> object:
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return original(self)

    monkeypatch.setattr(Path, "iterdir", refusing)
    listing = sources.in_folder(folder)
    assert [s.title for s in listing.sources] == ["mine.sqlite"]
    assert listing.notes == ("The folder locked cannot be listed (Permission denied).",)


def test_what_was_read_of_an_upload_goes_with_it() -> None:
    test = app("overview").run()
    files = [(f"{n}.sqlite.xz", bundled(n).read_bytes()) for n in ("torch-fp16-b8", "trt-fp16-b8")]
    upload(test, *files)
    uploads = test.session_state["uploads"]
    opened = [data.load(source).analysis for source in uploads.sources.values()]
    assert all(run is not None for run in opened)
    unpacked = [Path(run.trace.file.database) for run in opened if run is not None]
    assert all(path.is_file() for path in unpacked)
    uploads.discard()
    assert not [path for path in unpacked if path.exists()]
