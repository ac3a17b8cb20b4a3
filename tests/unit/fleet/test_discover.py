"""Which files of a folder are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.errors import UsageError
from profiler.fleet import discover
from profiler.fleet.discover import find_traces


@pytest.fixture(autouse=True)
def no_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "find_nsys", lambda: None)


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_every_kind_of_trace_in_every_subfolder(tmp_path: Path) -> None:
    _touch(
        tmp_path, "b.sqlite", "a/1.sqlite.xz", "a/b/2.sqlite.zst", "a/b/c/3.SQLITE.gz", "notes.txt", "a/data.parquet"
    )
    found = find_traces(tmp_path)
    assert found.traces == ("a/1.sqlite.xz", "a/b/2.sqlite.zst", "a/b/c/3.SQLITE.gz", "b.sqlite")
    assert found.skipped == {}


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, ".a.sqlite", ".cache/b.sqlite", "c.sqlite")
    assert find_traces(tmp_path).traces == ("c.sqlite",)


def test_one_file_a_recording(tmp_path: Path) -> None:
    _touch(tmp_path, "x.nsys-rep", "x.sqlite.xz", "x.sqlite", "y.nsys-rep", "y.sqlite.zst")
    found = find_traces(tmp_path)
    assert found.traces == ("x.sqlite", "y.sqlite.zst")
    assert set(found.skipped) == {"x.nsys-rep", "x.sqlite.xz", "y.nsys-rep"}
    assert found.skipped["x.nsys-rep"] == "x.sqlite beside it is read instead"


def test_reports_need_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "x.nsys-rep")
    found = find_traces(tmp_path)
    assert found.traces == () and "no nsys" in found.skipped["x.nsys-rep"]
    monkeypatch.setattr(discover, "find_nsys", lambda: Path("/usr/bin/nsys"))
    assert find_traces(tmp_path).traces == ("x.nsys-rep",)


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    _touch(inside, "real.sqlite", "store/blob")
    _touch(outside, "secret.sqlite")
    (inside / "away.sqlite").symlink_to(outside / "secret.sqlite")
    (inside / "folder").symlink_to(outside, target_is_directory=True)
    (inside / "twice.sqlite").symlink_to(inside / "real.sqlite")
    (inside / "stored.sqlite").symlink_to(inside / "store" / "blob")
    (inside / "loop").symlink_to(inside, target_is_directory=True)
    found = find_traces(inside)
    assert found.traces == ("real.sqlite", "stored.sqlite")
    assert set(found.skipped) == {"away.sqlite", "folder", "loop", "twice.sqlite"}
    assert "out of the folder" in found.skipped["away.sqlite"]


def test_a_run_whose_trace_is_missing_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"format": "profiler-run/1", "trace": "t.sqlite"}))
    assert find_traces(tmp_path).traces == ("run/t.sqlite",)


def test_other_manifests_are_no_traces(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    assert find_traces(tmp_path) == discover.Found((), {})


@pytest.mark.parametrize("name", ["file.sqlite", "missing"])
def test_no_folder(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, "file.sqlite")
    with pytest.raises(UsageError, match="expected a folder of traces"):
        find_traces(tmp_path / name)
