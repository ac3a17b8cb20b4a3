"""Files and folders that are whole or not there, what may be replaced, and private temporary folders."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from profiler import files
from profiler.errors import OutputError, UsageError
from profiler.files import MARKER, atomic_file, atomic_folder, check_free_space, check_target, write_file, write_json
from tests.support.traces import ROOT

_HOLDER = """
from profiler import files
folder = files.make_private_folder("test")
(folder / "secret").write_text("x")
print(folder, flush=True)
input()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_goes_with_its_lock(here: Path) -> None:
    folder = files.make_private_folder("test")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.parent == here
    assert files.remove_abandoned_folders() == [] and folder.exists()
    files.remove_private_folder(folder)
    files.remove_private_folder(folder)
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_nothing_else(here: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None and process.stdin is not None
    folder = Path(process.stdout.readline().strip())
    stranger = here / "profiler-of-somebody-else"
    stranger.mkdir()
    (here / "profiler-link").symlink_to(here)
    try:
        assert files.remove_abandoned_folders() == [] and (folder / "secret").exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert files.remove_abandoned_folders() == [folder]
    assert not folder.exists() and stranger.exists() and os.path.lexists(here / "profiler-link")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as partial:
        (partial / "half").write_text("x")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with atomic_folder(target) as partial:
        (partial / "manifest.json").write_text("{}")
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["manifest.json"] and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_is_there_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    with pytest.raises(OutputError, match="exists already"), atomic_folder(target):
        pass
    with pytest.raises(ZeroDivisionError), atomic_folder(target, force=True):
        raise ZeroDivisionError
    assert (target / "manifest.json").read_text() == "old"
    with atomic_folder(target, force=True) as partial:
        (partial / "manifest.json").write_text("new")
    assert (target / "manifest.json").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_no_run_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("thesis")
    with pytest.raises(OutputError, match="is not a run"), atomic_folder(tmp_path, force=True):
        pass
    (tmp_path / "x.partial").mkdir()
    with pytest.raises(OutputError, match="in the way"), atomic_folder(tmp_path / "x"):
        pass
    assert (tmp_path / "precious").exists() and (tmp_path / "x.partial").exists()


def test_leftovers_of_a_killed_run_are_cleared_and_live_ones_respected(tmp_path: Path) -> None:
    left = tmp_path / "run.partial"
    (left / "work").mkdir(parents=True)
    (left / MARKER).touch()
    (left / "work" / "report").write_text("x")
    with atomic_folder(tmp_path / "run") as partial:
        assert [p.name for p in partial.iterdir()] == [MARKER]
        (partial / "manifest.json").write_text("{}")
        target = f"Path({str(tmp_path / 'run')!r})"
        code = f"from pathlib import Path\nfrom profiler.files import atomic_folder\nwith atomic_folder({target}): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another process is writing there" in other.stderr
        assert (partial / "manifest.json").exists()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_failures_to_write_name_cause_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError) as caught, atomic_folder(tmp_path / "deep" / "run"):
        pass
    assert remedy in str(caught.value.hint) and str(tmp_path / "deep" / "run") in caught.value.message


def test_too_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("U", (), {"free": 1 << 20})())
    with pytest.raises(OutputError, match="1 MiB are free"):
        check_free_space(tmp_path / "not" / "there")


def test_json_without_figures_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.fixture(params=["link", "dangling link", "link to itself", "folder", "pipe", "socket", "/dev/null"])
def not_a_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something of which no name ends up being a regular file."""
    (tmp_path / "precious").write_text("thesis")
    target = tmp_path / "target"
    if request.param == "/dev/null":
        return Path(request.param)
    if request.param == "folder":
        target.mkdir()
    elif request.param == "pipe":
        os.mkfifo(target)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(target))
    else:
        target.symlink_to({"link": "precious", "dangling link": "nothing"}.get(request.param, "target"))
    return target


def test_only_regular_files_are_replaced(not_a_file: Path, tmp_path: Path) -> None:
    before = os.lstat(not_a_file)
    with pytest.raises(UsageError, match="only a regular file is replaced"):
        check_target(not_a_file, force=True)
    with pytest.raises(OutputError, match="only a regular file is replaced"):
        write_file(not_a_file, "x")
    now = os.lstat(not_a_file)
    assert (now.st_ino, now.st_mode, now.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)
    assert (tmp_path / "precious").read_text() == "thesis"


def test_an_input_is_never_replaced_however_it_is_named(tmp_path: Path) -> None:
    trace = tmp_path / "trace.sqlite"
    trace.write_text("x")
    (tmp_path / "other").hardlink_to(trace)
    for name in ("trace.sqlite", "./trace.sqlite", "other"):
        with pytest.raises(UsageError, match="an input is never replaced"):
            check_target(tmp_path / name, force=True, inputs=[tmp_path / "none", trace])
    with pytest.raises(UsageError, match="exists already"):
        check_target(trace, force=False)
    check_target(trace, force=True)
    check_target(tmp_path / "new", force=False, inputs=[trace])


@pytest.mark.parametrize("length", [255, 256])
def test_long_names(tmp_path: Path, length: int) -> None:
    target = tmp_path / ("é" * 100 + "x" * (length - 200))
    if length <= 255:
        write_file(target, "x")
        assert target.read_text() == "x" and len(list(tmp_path.iterdir())) == 1
    else:
        with pytest.raises(OutputError, match="name too long"):
            write_file(target, "x")
        assert not list(tmp_path.iterdir())


def test_what_came_to_exist_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with pytest.raises(OutputError, match="File exists"), atomic_file(target, replace=False) as partial:
        partial.write_text("ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs" and [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_a_folder_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="is a link"), atomic_folder(tmp_path / "run", force=True):
        pass
