from __future__ import annotations

import gzip
import lzma
import os
import sqlite3
import stat
from pathlib import Path

import pytest
import zstandard

from profiler.errors import MissingToolError, TraceError
from profiler.trace import open_trace
from profiler.trace.files import prepare
from tests.support.make_trace import simple


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return simple().write(tmp_path / "plain.sqlite")


def test_plain_export_is_opened_in_place(plain: Path) -> None:
    assert prepare(plain).database == plain


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_compressed_exports_read_like_plain_ones(plain: Path, suffix: str, compress) -> None:
    packed = plain.with_name(f"packed.sqlite{suffix}")
    packed.write_bytes(compress(plain.read_bytes()))
    with open_trace(packed) as trace, open_trace(plain) as reference:
        assert trace.kernels.equals(reference.kernels)
        unpacked = trace.database
    assert "unpacked" in trace.how_opened
    with pytest.raises(TraceError):
        unpacked.rows("SELECT 1")


def test_unpacked_copy_is_private_and_removed_on_close(
    plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    packed = plain.with_name("packed.sqlite.xz")
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    trace = open_trace(packed)
    (workdir,) = folder.iterdir()
    assert stat.S_IMODE(workdir.stat().st_mode) == 0o700
    trace.close()
    assert not list(folder.iterdir())


def test_a_trace_that_is_dropped_without_closing_leaves_nothing(
    plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    packed = plain.with_name("packed.sqlite.xz")
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    trace = open_trace(packed)
    assert trace.kernel_count
    del trace
    assert not list(folder.iterdir())


def test_bomb_is_stopped(tmp_path: Path, plain: Path) -> None:
    bomb = tmp_path / "bomb.sqlite.xz"
    bomb.write_bytes(lzma.compress(plain.read_bytes() + bytes(50_000_000)))
    with pytest.raises(TraceError, match="unpacks to more than 1,000,000 bytes"):
        prepare(bomb, max_bytes=1_000_000)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_bad_files_are_told_apart(tmp_path: Path, plain: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    fifo = tmp_path / "fifo.sqlite"
    os.mkfifo(fifo)
    data = plain.read_bytes()
    cases = {
        "no such file": tmp_path / "missing.sqlite",
        "the file is empty": _write(tmp_path / "empty.sqlite", b""),
        "is a folder": tmp_path,
        "not a regular file": fifo,
        "not an nsys trace": _write(tmp_path / "text.sqlite", b"this is text, not a database" * 10),
        "cut off": _write(tmp_path / "half.sqlite", data[: len(data) // 2]),
        "not an nsys export": other,
        "does not unpack": _write(tmp_path / "cut.sqlite.xz", lzma.compress(data)[:-200]),
        "not an SQLite database": _write(tmp_path / "text.sqlite.gz", gzip.compress(b"hello")),
        "unpacks to nothing": _write(tmp_path / "nothing.sqlite.gz", gzip.compress(b"")),
    }
    for message, path in cases.items():
        with pytest.raises(TraceError, match=message) as caught:
            open_trace(path)
        assert str(path) in caught.value.message


def test_damaged_pages_are_an_error_and_not_a_wrong_number(tmp_path: Path, plain: Path) -> None:
    data = bytearray(plain.read_bytes())
    data[200:3000] = os.urandom(2800)
    with pytest.raises(TraceError), open_trace(_write(tmp_path / "damaged.sqlite", bytes(data))) as trace:
        _ = trace.kernels, trace.nvtx_ranges


def test_a_database_that_is_being_written_is_refused(plain: Path) -> None:
    plain.with_name("plain.sqlite-wal").write_bytes(b"x")
    with pytest.raises(TraceError, match="still being written"):
        open_trace(plain)


def test_wal_mode_is_read_without_creating_files(plain: Path) -> None:
    connection = sqlite3.connect(plain)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    before = sorted(p.name for p in plain.parent.iterdir())
    with open_trace(plain) as trace:
        assert len(trace.kernels) == 12
        assert sorted(p.name for p in plain.parent.iterdir()) == before


def test_views_and_virtual_tables_are_refused(plain: Path) -> None:
    connection = sqlite3.connect(plain)
    connection.execute("CREATE VIEW CUPTI_ACTIVITY_KIND_MEMCPY AS SELECT 1 AS start, 2 AS end")
    connection.close()
    with pytest.raises(TraceError, match="view named 'CUPTI_ACTIVITY_KIND_MEMCPY'"):
        open_trace(plain)


def test_the_trace_cannot_be_written(plain: Path) -> None:
    with open_trace(plain) as trace, pytest.raises(TraceError, match="not authorized"):
        trace.database.rows("CREATE TABLE x (y)")


def test_report_without_nsys_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROFILER_NSYS", raising=False)
    monkeypatch.setattr("profiler.trace.nsys_export.find_nsys", lambda: None)
    report = _write(tmp_path / "run.nsys-rep", b"\x01\x02 a report")
    with pytest.raises(MissingToolError) as caught:
        open_trace(report)
    assert "nsys export --type sqlite --output run.sqlite run.nsys-rep" in (caught.value.hint or "")


def test_report_is_exported_with_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Path) -> None:
    fake = tmp_path / "nsys"
    fake.write_text(f'#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\ncp "{plain}" "$2"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PROFILER_NSYS", str(fake))
    with open_trace(_write(tmp_path / "run.nsys-rep", b"\x01\x02 a report")) as trace:
        assert len(trace.kernels) == 12
        assert trace.how_opened == "exported with nsys"


def test_what_nsys_says_reaches_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nsys"
    fake.write_text("#!/bin/sh\necho 'The report is of a newer version' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PROFILER_NSYS", str(fake))
    with pytest.raises(TraceError, match=r"exit status 3.*The report is of a newer version"):
        open_trace(_write(tmp_path / "run.qdrep", b"\x01\x02 a report"))
