from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.trace import temporary
from tests.support.traces import ROOT

_HOLDER = """
from profiler.trace import temporary
folder = temporary.private_folder("test")
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
    folder = temporary.private_folder("test")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.parent == here
    assert temporary.sweep() == [] and folder.exists()
    temporary.remove(folder)
    temporary.remove(folder)
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
        assert temporary.sweep() == [] and (folder / "secret").exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert temporary.sweep() == [folder]
    assert not folder.exists() and stranger.exists() and os.path.lexists(here / "profiler-link")
