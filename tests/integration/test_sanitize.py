"""The sanitize verb: what it removes, what it keeps, and that it keeps no copy that would give other figures."""

from __future__ import annotations

import contextlib
import json
import lzma
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.analysis.run.run import Run
from profiler.cli import main
from profiler.errors import OutputError, TraceError, UsageError
from profiler.report import share as sharing
from profiler.report.share import figures, share
from profiler.trace import open_trace
from tests.support.dirt import DIRT, HOME, HOST, TOKEN, USER, soil
from tests.support.make_trace import TraceMaker, simple
from tests.support.traces import ROOT, bundled


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirty")
    clean = folder / "clean.sqlite"
    clean.write_bytes(lzma.decompress(bundled("trt-int8-b8").read_bytes()))
    return soil(clean, folder / "dirty.sqlite")


def _holds(path: Path, texts: tuple[str, ...] = DIRT) -> list[str]:
    content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return [t for t in texts if any(t.encode(code) in content for code in ("utf-8", "utf-16-le", "utf-16-be"))]


@pytest.mark.parametrize("ending", [".sqlite", ".sqlite.xz"])
def test_as_a_process(ending: str, dirty: Path, tmp_path: Path) -> None:
    assert _holds(dirty)
    before = dirty.read_bytes()
    copy = tmp_path / f"copy{ending}"
    command = [sys.executable, "-m", "profiler", "sanitize", str(dirty), "-o", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert _holds(copy) == [] and dirty.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [copy.name]
    said = " ".join(done.stdout.split())
    for kind in (
        "host and user names",
        "environment variables",
        "command lines",
        "standard output",
        "process names",
        "thread names",
        "GPU serial",
    ):
        assert kind in said
    assert not [d for d in DIRT if d in done.stdout + done.stderr]  # kinds and counts, not the secrets
    assert "checked: 59 figures" in said
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert again.returncode == 2 and "--force" in again.stderr
    assert subprocess.run([*command, "--force"], capture_output=True, cwd=ROOT, check=False).returncode == 0


def test_figures_of_the_copy_are_those_of_the_trace(dirty: Path, tmp_path: Path) -> None:
    report, compared = share(dirty, tmp_path / "copy.sqlite")
    with open_trace(dirty) as before, open_trace(tmp_path / "copy.sqlite") as after:
        assert before.session.holds_environment and not after.session.holds_environment
        wanted, found = figures(Run(before)), figures(Run(after))
        assert len(wanted) == compared and all(sharing._equal(wanted[k], found[k]) for k in wanted)
        assert len(wanted["start_ns of kernels"]) == report.kernels == 560


def test_cut_to_inferences_and_without_unused_tables(
    dirty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "three.sqlite"
    assert (
        main.main(["sanitize", str(dirty), "-o", str(copy), "--inferences", "3", "--drop-unused", "--format", "json"])
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["inferences"] == 3 and document["kernels"] == 168 and document["removed"]["process names"] == 1
    assert _holds(copy) == [] and copy.stat().st_size < dirty.stat().st_size / 3
    with open_trace(copy) as part, open_trace(dirty) as whole:
        some, everything = Run(part).inferences, Run(whole).inferences
        assert some.count == 3
        assert some.table.drop(columns="text").equals(everything.table.drop(columns="text").head(3))
        assert set(part.database.tables) <= {*sharing_tables()}


def sharing_tables() -> tuple[str, ...]:
    from profiler.trace.schema import READ  # noqa: PLC0415

    return READ


def test_work_that_ends_after_its_inference_is_kept_and_the_next_inferences_is_not(tmp_path: Path) -> None:
    maker = TraceMaker()
    maker.gpu()
    for i in range(4):
        begin = 1_000 + i * 1_000
        maker.range(f"step {i}", begin, begin + 900)
        maker.kernel(begin + 5_000, 100, launched=begin + 10)  # long after the range, and after the next ranges began
        maker.metric("Tensor Active [Throughput %]", [(begin + k * 50, k) for k in range(100)]) if not i else None
    source = maker.write(tmp_path / "t.sqlite")
    report, _ = share(source, tmp_path / "two.sqlite", inferences=2)
    assert report.kernels == 2 and report.inferences == 2
    with open_trace(tmp_path / "two.sqlite") as trace:
        assert trace.kernels["start_ns"].tolist() == [6_000, 7_000]
        assert trace.nvtx_ranges["text"].tolist() == ["step 0", "step 1"]


def _utf16(path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA encoding='UTF-16le'")
        db.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        db.execute("CREATE TABLE META_DATA_CAPTURE (name TEXT, value TEXT)")
        db.execute(
            "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, demangledName INTEGER, shortName INTEGER)"
        )
        db.execute("INSERT INTO StringIds VALUES (1, 'void k<float>(float *)'), (2, ?)", (f"stray {HOME}/secret",))
        db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1, 2, 1, 1), (3, 4, 2, 2)")
        db.execute(
            "INSERT INTO META_DATA_CAPTURE VALUES ('PROCESS_0:ENVIRONMENT_VARIABLE', ?)", (f"API_TOKEN={TOKEN}",)
        )
        db.execute("INSERT INTO META_DATA_CAPTURE VALUES ('DEVICE_DISPLAY_NAME', ?)", (HOST,))
    return path


def test_a_database_in_utf16(tmp_path: Path) -> None:
    source = _utf16(tmp_path / "t.sqlite")
    assert TOKEN.encode("utf-16-le") in source.read_bytes()
    share(source, tmp_path / "copy.sqlite")
    assert _holds(tmp_path / "copy.sqlite", (TOKEN, HOST, HOME, USER)) == []
    with open_trace(tmp_path / "copy.sqlite") as trace:
        assert trace.kernels["name"].tolist() == ["void k<float>(float *)", "stray …/secret"]


def test_a_value_that_survives_in_utf16_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiler.capture.identifying.Scrubber.text", lambda _self, text: text)
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value=f"API_TOKEN={TOKEN}")
    maker.kernel(90_000, 5, demangledName=maker.string(TOKEN.encode("utf-16-le")))
    with pytest.raises(TraceError, match="still in the sanitised copy"):
        share(maker.write(tmp_path / "t.sqlite"), tmp_path / "copy.sqlite")
    assert [p.name for p in tmp_path.iterdir()] == ["t.sqlite"]


CHANGES = [
    "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = end + 1 WHERE rowid = 5",
    "DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL WHERE rowid = 5",
    "UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET correlationId = 0 WHERE rowid = 300",
    "UPDATE StringIds SET value = 'void gemv(float)' WHERE id = (SELECT demangledName FROM CUPTI_ACTIVITY_KIND_KERNEL LIMIT 1)",
    "UPDATE GPU_METRICS SET value = value + 1",
    "DELETE FROM NVTX_EVENTS WHERE rowid = (SELECT max(rowid) FROM NVTX_EVENTS WHERE eventType = 59)",
    "UPDATE TARGET_INFO_GPU SET memoryBandwidth = 1",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_with_another_figure_is_not_kept(
    change: str, dirty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against a change behind sanitising's own comparison, which would notice some of them."""
    real = sharing.sanitise

    def spoiled(source: Path, target: Path, drop: bool, window: Any, check: Any) -> Any:
        def spoil_and_check(copy: Path) -> None:
            with contextlib.closing(sqlite3.connect(copy)) as db, db:
                assert db.execute(change).rowcount
            check(copy)

        return real(source, target, drop, window, spoil_and_check)

    monkeypatch.setattr(sharing, "sanitise", spoiled)
    with pytest.raises(TraceError, match="would give other figures"):
        share(dirty, tmp_path / "copy.sqlite")
    assert not list(tmp_path.iterdir())


def test_versions_that_are_none_are_not_passed_on(tmp_path: Path) -> None:
    maker = simple()
    maker.add("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value="<b>2025</b>")
    source = maker.write(tmp_path / "t.sqlite")
    with pytest.raises(TraceError, match="would give other figures: versions"):
        share(source, tmp_path / "copy.sqlite")
    with contextlib.closing(sqlite3.connect(source)) as db, db:
        db.execute("DELETE FROM META_DATA_EXPORT")
    share(source, tmp_path / "copy.sqlite")
    with open_trace(tmp_path / "copy.sqlite") as trace:
        assert not trace.session.holds_environment


@pytest.mark.parametrize("inferences", [1, 2])
@pytest.mark.parametrize("texts", [[f"iter{n}" for n in range(4)], ["step (a+b)"] * 4, ["forward"] * 4])
def test_few_inferences(texts: list[str], inferences: int, tmp_path: Path) -> None:
    """Of a few ranges nothing repeats, so that others, such as those inside them, would be taken for the inferences."""
    maker = TraceMaker()
    for n, text in enumerate(texts):
        begin = 1_000 * n
        maker.range(text, begin, begin + 1_000)  # the next begins where this ends
        for k in range(3):
            maker.range(f"block {k}", begin + 100 * k, begin + 100 * k + 90)
            maker.kernel(begin + 100 * k + 20, 50, launched=begin + 100 * k + 10)
    report, _ = share(maker.write(tmp_path / "t.sqlite"), tmp_path / "copy.sqlite", inferences=inferences)
    assert report.inferences == inferences and report.kernels == 3 * inferences
    with open_trace(tmp_path / "copy.sqlite") as trace:
        assert trace.nvtx_ranges["text"].astype(str).isin(texts).sum() == inferences


def test_refusals(dirty: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in"):
        share(dirty, tmp_path / "copy.txt")
    (tmp_path / "there.sqlite").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        share(dirty, tmp_path / "there.sqlite")
    with pytest.raises(OutputError, match="cannot be written"):
        share(dirty, tmp_path / "no" / "copy.sqlite")
    bare = simple()
    bare.without_tables = {"NVTX_EVENTS"}
    with pytest.raises(UsageError, match="its inferences are no NVTX ranges, so a part of them cannot be kept"):
        share(bare.write(tmp_path / "bare.sqlite"), tmp_path / "copy.sqlite", inferences=1)
    assert main.main(["sanitize", str(dirty), "-o", str(dirty), "--force"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.sqlite", "there.sqlite"]
