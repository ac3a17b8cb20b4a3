"""Files that are not what they should be: through the library and through the command line as a process."""

from __future__ import annotations

import contextlib
import lzma
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profiler.errors import ProfilerError, TraceError
from profiler.trace import database, files, open_trace
from tests.support.exercise import exercise
from tests.support.make_trace import every_table, simple
from tests.support.plain_sql import kernel_figures
from tests.support.traces import ROOT

TIME_LIMIT_S = 60  # of a process that takes about two seconds: a hang, and nothing else, runs into it


def cli(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "profiler", *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=TIME_LIMIT_S,
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return every_table().write(tmp_path_factory.mktemp("sound") / "t.sqlite").read_bytes()


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _not_nsys(folder: Path) -> Path:
    with contextlib.closing(sqlite3.connect(folder / "firefox.sqlite")) as db, db:
        db.execute("CREATE TABLE moz_cookies (name TEXT)")
    return folder / "firefox.sqlite"


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.sqlite")
    return folder / "pipe.sqlite"


def _socket(folder: Path) -> Path:
    here = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        here.bind("socket.sqlite" if hasattr(contextlib, "chdir") else str(folder / "socket.sqlite"))
    here.close()
    return folder / "socket.sqlite"


def _loop(folder: Path) -> Path:
    (folder / "loop.sqlite").symlink_to(folder / "loop.sqlite")
    return folder / "loop.sqlite"


def _being_written(folder: Path) -> Path:
    path = every_table().write(folder / "writing.sqlite")
    path.with_name("writing.sqlite-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    return path


def _folder_named_so(folder: Path) -> Path:
    (folder / "folder.sqlite").mkdir()
    return folder / "folder.sqlite"


_RANDOM = random.Random(7)
CASES: dict[str, tuple[Callable[[Path, bytes], Path], str]] = {
    "missing": (lambda f, s: f / "missing.sqlite", "no such file"),
    "empty": (lambda f, s: _write(f / "empty.sqlite", b""), "the file is empty"),
    "folder": (lambda f, s: _folder_named_so(f), "is a folder"),
    "pipe": (lambda f, s: _fifo(f), "not a regular file"),
    "socket": (lambda f, s: _socket(f), "cannot be read|not a regular file"),
    "device": (lambda f, s: Path("/dev/zero"), "not a regular file"),
    "link to itself": (lambda f, s: _loop(f), "cannot be read"),
    "a name that no file has": (lambda f, s: f / ("x" * 5_000), "cannot be read"),
    "another program's database": (lambda f, s: _not_nsys(f), "not an nsys export: its tables are moz_cookies"),
    "a report renamed": (
        lambda f, s: _write(f / "renamed.sqlite", b"\x12\x0b\x0a\x09NSYS-REP1" + _RANDOM.randbytes(9_000)),
        "If this is a renamed report",
    ),
    "encrypted": (
        lambda f, s: _write(f / "encrypted.sqlite", _RANDOM.randbytes(40_000)),
        "an encrypted file must be decrypted",
    ),
    "cut in its header": (lambda f, s: _write(f / "cut.sqlite", s[:60]), "cut off: 60 bytes"),
    "cut in the middle": (
        lambda f, s: _write(f / "cut.sqlite", s[: len(s) // 2]),
        "the copy or the export did not finish|cut off",
    ),
    "one byte short": (lambda f, s: _write(f / "cut.sqlite", s[:-1]), "cut off"),
    "zeros after its header": (
        lambda f, s: _write(f / "zeros.sqlite", s[:100] + bytes(len(s) - 100)),
        "cannot be read|damaged|malformed",
    ),
    "still being written": (lambda f, s: _being_written(f), "still being written"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_files_are_named_in_library_and_process(case: str, tmp_path: Path, sound: bytes) -> None:
    make, said = CASES[case]
    path = make(tmp_path, sound)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(TraceError, match=f"(?i){said}") as caught:
        open_trace(path)
    assert str(path)[:200] in caught.value.message
    done = cli("info", str(path))
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr and "should not have happened" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "args", [("tactics",), ("fusion", "{sound}", "{sound}", "--before-engine")], ids=["log", "engine"]
)
def test_other_files_that_are_pipes_do_not_hang_either(args: tuple[str, ...], tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    done = cli(*(a.format(sound=path) for a in args), str(_fifo(tmp_path)))
    assert done.returncode == 1 and "not a regular file" in done.stderr


def test_a_manifest_that_is_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    os.mkfifo(tmp_path / "manifest.json")
    assert cli("kernels", str(path)).returncode == 0


@pytest.mark.parametrize("cut", range(0, 100, 7))
def test_cut_off_anywhere(cut: int, tmp_path: Path, sound: bytes) -> None:
    path = _write(tmp_path / "cut.sqlite", sound[: len(sound) * cut // 100])
    with pytest.raises(TraceError):
        exercise(path)


def _agrees_with_plain_sql(path: Path) -> bool | None:
    """None: refused. SQLite keeps no checksum of values, so what a damaged file says is the most that can be asked for."""
    try:
        summary = exercise(path)["kernel summary"]
    except ProfilerError:
        return None
    if isinstance(summary, ProfilerError):
        return None
    wanted = kernel_figures(path)
    return bool((summary.count, summary.total_ns) == (wanted["count"], wanted["total_ns"]))


def test_flipped_bits_are_refused_or_change_no_more_than_the_value_they_hit(tmp_path: Path, sound: bytes) -> None:
    flips = random.Random(11)
    outcomes = []
    for n in range(40):
        data = bytearray(sound)
        data[flips.randrange(len(data))] ^= 1 << flips.randrange(8)
        outcomes.append(_agrees_with_plain_sql(_write(tmp_path / f"{n}.sqlite", bytes(data))))
    assert False not in outcomes
    assert None in outcomes and True in outcomes


def _hide_rows(path: Path) -> None:
    """Make a leaf page of the kernels say that it holds one row: SQLite reads that without an error."""
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    with contextlib.closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'").fetchone()[0]
    cell = (root - 1) * page + int.from_bytes(data[(root - 1) * page + 12 : (root - 1) * page + 14], "big")
    leaf = int.from_bytes(data[cell : cell + 4], "big")  # the first child of the root
    count = (leaf - 1) * page + 3
    data[count : count + 2] = (1).to_bytes(2, "big")
    path.write_bytes(data)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()[0] < 800


def test_rows_that_damage_would_hide_are_not_passed_over(tmp_path: Path) -> None:
    path = simple(inferences=200).write(tmp_path / "t.sqlite")
    _hide_rows(path)
    with pytest.raises(TraceError, match="damaged"):
        open_trace(path)


def test_a_tree_whose_pages_are_referred_to_many_times_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few pages that claim more rows than any memory holds."""
    path = simple(inferences=3_000).write(tmp_path / "t.sqlite")
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    with contextlib.closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'").fetchone()[0]
    start = (root - 1) * page
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    first = int.from_bytes(data[start + 12 : start + 14], "big")
    for cell in range(cells):  # every pointer of the root to the same leaf
        data[start + 12 + 2 * cell : start + 14 + 2 * cell] = first.to_bytes(2, "big")
    path.write_bytes(data)
    with pytest.raises(TraceError, match="damaged"):
        open_trace(path)
    # and a large file, of which the structure is not checked, is ended when it gives more rows than it can hold
    monkeypatch.setattr(database, "MAX_CHECKED_BYTES", 0)
    monkeypatch.setattr(database, "_MIN_ROW_BYTES", 200)
    with open_trace(path) as trace, pytest.raises(TraceError, match="more rows than a file of its size can hold"):
        _ = trace.kernels


def test_a_query_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    monkeypatch.setenv("PROFILER_QUERY_SECONDS", "0.2")
    with open_trace(path) as trace:
        tables = ", ".join(f"CUPTI_ACTIVITY_KIND_KERNEL k{i}" for i in range(9))
        started = time.monotonic()
        with pytest.raises(TraceError, match=r"took more than 0\.2 s") as caught:
            trace.database.rows(f"SELECT count(*) FROM {tables} WHERE k0.start + k8.start > 1")
        assert time.monotonic() - started < 20
        assert "PROFILER_QUERY_SECONDS" in (caught.value.hint or "")
        assert len(trace.kernels) == 12  # the next query has its own time


@pytest.mark.parametrize("value", ["abc", "-1", "0", "inf", "nan"])
def test_a_wrong_time_limit_is_named(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_QUERY_SECONDS", value)
    with pytest.raises(ProfilerError, match="PROFILER_QUERY_SECONDS"):
        open_trace(simple().write(tmp_path / "t.sqlite"))


# -- files that change -------------------------------------------------------------------------------------------


def test_a_file_that_disappears_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    found = files.prepare(path)
    path.unlink()
    monkeypatch.setattr("profiler.trace.trace.files.prepare", lambda _: found)
    with pytest.raises(TraceError, match="cannot be read as an SQLite database"):
        open_trace(path)


def test_a_file_that_disappears_while_it_is_open_is_read_to_its_end(tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    with open_trace(path) as trace:
        path.unlink()
        assert len(trace.kernels) == 12


def test_a_file_that_is_replaced_while_it_is_open_stays_what_it_was(tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    with open_trace(path) as trace:
        simple(inferences=9).write(tmp_path / "new.sqlite").replace(path)
        assert len(trace.kernels) == 12


def test_a_file_that_is_changed_while_it_is_open_is_an_error_and_no_mixture(tmp_path: Path) -> None:
    path = simple().write(tmp_path / "t.sqlite")
    with open_trace(path) as trace:
        assert trace.kernel_count == 12
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL WHERE rowid > 5")
        with pytest.raises(TraceError, match="was changed while it was being read"):
            _ = trace.kernels


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has written a part of the file and not committed it."""
    path = simple(inferences=2_000).write(tmp_path / "t.sqlite")
    db = sqlite3.connect(path)
    db.execute("PRAGMA cache_size=2")
    db.execute("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET start = 0")
    yield db
    db.close()


def test_a_transaction_that_is_not_finished_is_no_trace_yet(tmp_path: Path, writer: sqlite3.Connection) -> None:
    with pytest.raises(TraceError, match="still being written"):
        open_trace(tmp_path / "t.sqlite")
    writer.rollback()
    assert len(exercise(tmp_path / "t.sqlite")["kernels"]) == 8_000


def test_a_copy_that_is_still_growing_is_refused_and_then_read(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "growing.sqlite"
    path.write_bytes(sound[:8192])
    done = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            for at in range(8192, len(sound), 4096):
                file.write(sound[at : at + 4096])
                file.flush()
                time.sleep(0.002)
        done.set()

    thread = threading.Thread(target=grow)
    thread.start()
    refused = 0
    while not done.is_set():
        try:
            with open_trace(path) as trace:
                assert len(trace.kernels) == 12
        except TraceError as error:
            refused += 1
            assert "cut off" in error.message or "changed while" in error.message
    thread.join()
    assert refused and len(exercise(path)["kernels"]) == 12


def test_a_large_file_is_checked_when_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MAX_CHECKED_BYTES", 0)
    path = simple(inferences=200).write(tmp_path / "t.sqlite")
    assert exercise(path)["describe"]["structure"].startswith("not checked")
    with open_trace(path) as trace:
        trace.database.check_structure()
        assert trace.database.structure == "sound"
    _hide_rows(path)
    with open_trace(path) as trace, pytest.raises(TraceError, match="damaged"):
        trace.database.check_structure()


# -- compressed --------------------------------------------------------------------------------------------------


def test_a_ratio_that_no_trace_has_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bytes) -> None:
    monkeypatch.setattr(files, "_FREE_OF_RATIO_BYTES", 1_000_000)
    path = _write(tmp_path / "bomb.sqlite.xz", lzma.compress(sound + bytes(20_000_000)))
    with pytest.raises(TraceError, match="no trace compresses so well"):
        open_trace(path)
    assert len(exercise(_write(tmp_path / "fine.sqlite.xz", lzma.compress(sound)))["kernels"]) == 12


def test_a_full_disk_is_left_some_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bytes) -> None:
    monkeypatch.setattr(files, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(TraceError, match="to spare"):
        open_trace(_write(tmp_path / "t.sqlite.xz", lzma.compress(sound)))


def test_a_dictionary_that_takes_all_memory_is_refused(tmp_path: Path, sound: bytes) -> None:
    head = bytearray(lzma.compress(sound, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]))
    assert head[12:15] == b"\x02\x00\x21"  # of the block header: its size, flags, LZMA2 filter
    head[16] = 40  # a dictionary of 4 GiB
    head[20:24] = zlib.crc32(bytes(head[12:20])).to_bytes(4, "little")
    path = _write(tmp_path / "t.sqlite.xz", bytes(head))
    with pytest.raises(TraceError, match=r"(?i)memory"):
        open_trace(path)


def test_streams_one_after_the_other_and_padding(tmp_path: Path, sound: bytes) -> None:
    half = len(sound) // 2
    packed = lzma.compress(sound[:half]) + bytes(8) + lzma.compress(sound[half:]) + bytes(4)
    assert len(exercise(_write(tmp_path / "t.sqlite.xz", packed))["kernels"]) == 12
    with pytest.raises(TraceError, match="does not unpack"):
        open_trace(_write(tmp_path / "bad.sqlite.xz", lzma.compress(sound) + b"more"))
