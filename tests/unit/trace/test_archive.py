from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace.archive import Limits, extract_zip


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir(mode=0o700)
    return tmp_path / "into"


def _zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def test_a_run_folder_comes_out_whole(tmp_path: Path, into: Path) -> None:
    entries = {
        "run/manifest.json": b"{}",
        "run/trace.sqlite": bytes(100_000),
        "run/deep/x.build.log": b"log",
        "empty/": b"",
    }
    found = extract_zip(_zip(tmp_path / "run.zip", entries), into)
    assert [str(p.relative_to(into)) for p in found] == [
        "run/deep/x.build.log",
        "run/manifest.json",
        "run/trace.sqlite",
    ]
    assert {str(p.relative_to(into)): p.read_bytes() for p in found} == {
        k: v for k, v in entries.items() if not k.endswith("/")
    }
    assert not (into / "empty").exists()


NAMES = [
    "../out", "a/../../out", "/etc/passwd", "..", "a/..", "\\windows\\x", "..\\out", "C:/x", "C:x", "a\nb", "a\0b", "a\u202eb", "x" * 300,
    "/".join("abcdefghijklmnopqrst"), "", "//server/share/x",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_are_refused_and_nothing_is_left(name: str, tmp_path: Path, into: Path) -> None:
    path = _zip(tmp_path / "x.zip", {"first.txt": b"fine", "a/second.txt": b"fine"})
    data = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.txt", b"fine")
        archive.writestr("a/second.txt", b"fine")
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = entry.orig_filename = name  # past the cleaning that ZipInfo does of names
        archive.writestr(entry, b"evil")
    assert path.read_bytes() != data
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TraceError, match=r"no plain path|too long|damaged") as caught:
        extract_zip(path, into)
    assert str(path) in caught.value.message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path, into: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(TraceError, match="a link, a pipe or a device: 'link'"):
        extract_zip(tmp_path / "x.zip", into)
    assert not list(into.iterdir())


def test_bombs_are_ended_by_what_comes_out_and_not_by_what_they_say(tmp_path: Path, into: Path) -> None:
    small = Limits(total_bytes=1_000_000, free_of_ratio_bytes=100_000)
    path = _zip(tmp_path / "bomb.zip", {"zeros": bytes(5_000_000)})
    with pytest.raises(TraceError, match="unpacks to more than 1,000,000 bytes"):
        extract_zip(path, into, small)
    with pytest.raises(TraceError, match=r"unpacks to more than 100,000 bytes"):
        extract_zip(path, into, Limits(ratio=1, free_of_ratio_bytes=100_000))
    data = path.read_bytes().replace(
        (5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    )  # a lie about its size
    path.write_bytes(data)
    with pytest.raises(TraceError):
        extract_zip(path, into, small)
    assert not list(into.iterdir())


def test_many_files_and_long_lists_are_refused(tmp_path: Path, into: Path) -> None:
    path = _zip(tmp_path / "many.zip", {f"f{i}": b"" for i in range(50)})
    with pytest.raises(TraceError, match="holds 50 files"):
        extract_zip(path, into, Limits(files=49))
    with pytest.raises(TraceError, match="its list of files takes"):
        extract_zip(path, into, Limits(files=1))


@pytest.mark.parametrize("names", [("a", "a"), ("A", "a"), ("a", "a/b"), ("x/Y", "X/y")])
def test_names_that_meet_are_refused(names: tuple[str, str], tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(TraceError, match="a name that is there twice"):
        extract_zip(tmp_path / "x.zip", into)
    assert not list(into.iterdir())


def test_what_is_no_archive(tmp_path: Path, into: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    whole = _zip(tmp_path / "whole.zip", {"a": os.urandom(3_000)}).read_bytes()
    damaged = bytearray(whole)
    damaged[200:220] = bytes(20)
    cases = {
        "pipe.zip": (None, "not a regular file"),
        "missing.zip": (None, "no such file"),
        "empty.zip": (b"", "not a .zip archive"),
        "text.zip": (b"hello " * 100, "not a .zip archive"),
        "cut.zip": (whole[:-30], "not a .zip archive"),
        "damaged.zip": (bytes(damaged), "damaged"),
    }
    for name, (content, said) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(TraceError, match=said):
            extract_zip(tmp_path / name, into)
    assert not list(into.iterdir())


def test_encrypted_and_unusual_packing_are_refused(tmp_path: Path, into: Path) -> None:
    with pytest.raises(TraceError, match="in a way other than"):
        extract_zip(_zip(tmp_path / "x.zip", {"a": b"x" * 99}, zipfile.ZIP_LZMA), into)
    data = bytearray(_zip(tmp_path / "y.zip", {"a": b"x"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    with pytest.raises(TraceError, match="an encrypted file"):
        extract_zip(tmp_path / "y.zip", into)


@settings(suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=6), st.integers(0, 400))
def test_any_damage_is_an_error_or_the_content(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/trace.sqlite", b"SQLite format 3\0" * 40)
        archive.writestr("manifest.json", b"{}")
    data = bytearray(buffer.getvalue())
    for at, value in damage:
        data[at % len(data)] = value
    (folder / "x.zip").write_bytes(data[: len(data) - cut] if cut % 3 == 0 else data)
    (folder / "into").mkdir()
    try:
        found = extract_zip(folder / "x.zip", folder / "into")
    except TraceError:
        assert not list((folder / "into").iterdir())
    else:
        assert all(p.is_relative_to(folder / "into") and p.is_file() for p in found)
