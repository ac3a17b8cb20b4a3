"""Results kept in the cache folder: damaged, too many, by two processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.store import Store, content_digest


def test_a_result_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    assert store.get("a") is None
    store.put("a", {"x": [1, None, "ü"]})
    assert store.get("a") == {"x": [1, None, "ü"]}
    assert store.usage().entries == 1
    assert store.clear() == 1 and store.get("a") is None


@pytest.mark.parametrize("damage", [b"", b"no checksum", b"0" * 64 + b"\n{}", b"\xff\xfe\n{"])
def test_a_damaged_result_is_none_and_goes(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    store.put("a", 1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert store.get("a") is None
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("a", {"figure": 1000})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"1000", b"1001"))
    assert store.get("a") is None


def test_the_results_used_longest_ago_go_first(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=1_000)
    for n, key in enumerate("abc"):
        store.put(key, "x" * 200)
        os.utime(tmp_path / f"{key}.result", (n, n))
    assert store.get("a") is not None  # used now
    store.put("d", "x" * 200)
    assert [k for k in "abcd" if store.get(k) is not None] == ["a", "c", "d"]
    assert store.usage().used_bytes <= 1_000


def test_a_result_beyond_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, limit_bytes=100)
    store.put("a", "x" * 200)
    assert store.usage().entries == 0


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "cache")
    store.put("a", 1)
    assert store.get("a") is None


def test_two_processes_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from profiler.store import Store\n"
        "store = Store(Path(sys.argv[1]), limit_bytes=20_000)\n"
        "for n in range(200):\n"
        "    key = str(n % 10); store.put(key, {'key': key, 'text': 'x' * 3000})\n"
        "    found = store.get(key); assert found is None or found['key'] == key\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".partial"]
    assert Store(tmp_path).usage().used_bytes <= 20_000


def test_the_digest_is_of_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1 << 20))
    first = content_digest(path)
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(777_777)
        file.write(b"\1")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert content_digest(path) != first
    assert content_digest(tmp_path / "missing") is None
