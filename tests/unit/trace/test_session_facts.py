"""Facts that exports write in several ways."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from profiler.trace import open_trace
from tests.support.make_trace import TraceMaker
from tests.support.traces import case


def _gpu(path: Path, **facts: object) -> Path:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute(f"CREATE TABLE TARGET_INFO_GPU (id INTEGER, {', '.join(facts)})")
        marks = ", ".join("?" * (len(facts) + 1))
        connection.execute(f"INSERT INTO TARGET_INFO_GPU VALUES ({marks})", (0, *facts.values()))
    connection.close()
    return path


@pytest.mark.parametrize(
    ("facts", "sm"),
    [
        ({"computeMajor": 8, "computeMinor": 0, "smMajor": 8, "smMinor": 2, "chipName": "GA100"}, 80),
        ({"smMajor": 8, "smMinor": 2, "chipName": "GA100"}, 80),
        ({"smMajor": 8, "smMinor": 6, "chipName": "GA102"}, 86),
        ({"computeMajor": 12, "computeMinor": 0, "smMajor": 10, "smMinor": 4, "chipName": "GB202"}, 120),
        ({"smMajor": 10, "smMinor": 4, "chipName": "GB203"}, 120),
        ({"smMajor": 0, "smMinor": 0, "chipName": "GH100"}, None),
    ],
)
def test_the_compute_capability_is_not_the_number_of_the_multiprocessor(
    tmp_path: Path, facts: dict[str, object], sm: int | None
) -> None:
    with open_trace(_gpu(tmp_path / "t.sqlite", **facts)) as trace:
        assert trace.session.gpus[0].sm == sm


def test_an_a100_is_8_0_and_its_driver_is_written_as_usual() -> None:
    with open_trace(case("real/training_autograd_thread")) as trace:
        assert trace.session.gpus[0].sm == 80
        assert trace.session.driver_version == "470.103.01"


@pytest.mark.parametrize(
    ("written", "shown"),
    [("5206105", "520.61.05"), ("535.104.05", "535.104.05"), ("12", None), ("47010301", "470.103.01")],
)
def test_driver_versions(tmp_path: Path, written: str, shown: str | None) -> None:
    path = tmp_path / "t.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute("CREATE TABLE TARGET_INFO_SYSTEM_ENV (name TEXT, value TEXT)")
        connection.execute("INSERT INTO TARGET_INFO_SYSTEM_ENV VALUES ('NvDriverVersion', ?)", (written,))
        connection.execute("CREATE TABLE EXPORT_META_DATA (name TEXT, value TEXT)")
        connection.executemany(
            "INSERT INTO EXPORT_META_DATA VALUES (?, ?)",
            [("EXPORT_PRODUCT_VERSION", "2020.3.4.32"), ("EXPORT_SCHEMA_VERSION", "2.7.1")],
        )
    connection.close()
    with open_trace(path) as trace:
        assert trace.session.driver_version == shown
        assert (trace.session.nsys_version, trace.session.schema_version) == ("2020.3.4.32", "2.7.1")


def test_marks_alone_are_no_nvtx_ranges_and_nsys_is_quoted(tmp_path: Path) -> None:
    maker = TraceMaker()
    maker.range("mark", 10, None, kind=34)
    maker.add("DIAGNOSTIC_EVENT", timestamp=1, severity=2, text="CUDA tracing is not supported by this driver.")
    with open_trace(maker.write(tmp_path / "t.sqlite")) as trace:
        reason = trace.no_kernels_reason or ""
    assert "NVTX ranges were recorded" not in reason
    assert "nsys reported “CUDA tracing is not supported by this driver.”" in reason
