"""A secret in every place of an export where a text can be: none is in the copy, or it is in the list of what stays."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler.analysis.run.run import Run
from profiler.capture.identifying import suspicious
from profiler.capture.sanitise import SanitiseReport, sanitise
from profiler.report.share import share
from profiler.trace import open_trace
from tests.support.make_trace import SCHEMA, TID, TraceMaker, every_table, simple

SECRET = "Zq7-secret-lab-4711"
COLUMNS = [(t, part.split()[0]) for t, columns in SCHEMA.items() for part in columns.split(", ") if t != "StringIds"]
# in text columns that have words of their own the secret stands alone, among them, and as JSON
FORMS = ("{}", "Tensor Active {}", '{{"Name": "layer", "{}": 1}}', '{{"Tensor Active": "5", "{}": 3}}', "CUDA_{}")


def _holds(path: Path, secret: str = SECRET) -> bool:
    content = path.read_bytes().lower()
    return any(secret.lower().encode(code) in content for code in ("utf-8", "utf-16-le", "utf-16-be"))


def _sanitised(source: Path, target: Path) -> SanitiseReport:
    report = sanitise(source, target)
    listed = [text for texts in report.kept_texts.values() for text in texts if SECRET.lower() in text.lower()]
    assert not _holds(target) or listed
    return report


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_secret_in_any_column_is_left_out_or_listed(table: str, column: str, tmp_path: Path) -> None:
    for n, form in enumerate(FORMS):
        source = every_table().write(tmp_path / f"{n}.sqlite")
        with contextlib.closing(sqlite3.connect(source)) as db, db:
            changed = db.execute(
                f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = 1', (form.format(SECRET),)
            ).rowcount
        assert changed == 1 and _holds(source)
        report = _sanitised(source, tmp_path / f"{n}-copy.sqlite")
        if (table, column) != ("NVTX_EVENTS", "text"):
            assert not _holds(tmp_path / f"{n}-copy.sqlite"), (table, column, form)
        else:
            assert report.kept_texts["range names"]


def _in_schema(db: sqlite3.Connection) -> None:
    db.execute(
        f"CREATE TABLE CUPTI_ACTIVITY_KIND_NEW (start INTEGER, end INTEGER, \"{SECRET}\" TEXT DEFAULT '{SECRET}') /* {SECRET} */"
    )
    db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_NEW (start, end) VALUES (1, 2)")


def _in_a_column_name(db: sqlite3.Connection) -> None:
    db.execute(f'ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL ADD COLUMN "{SECRET}" INTEGER DEFAULT 7')


def _in_a_default(db: sqlite3.Connection) -> None:
    db.execute(f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL ADD COLUMN note TEXT DEFAULT '{SECRET}'")


def _in_a_table_name(db: sqlite3.Connection) -> None:
    db.execute(f'CREATE TABLE "ENUM_{SECRET}" (id INTEGER, label TEXT)')


def _in_sql_as_a_table_name(db: sqlite3.Connection) -> None:
    db.execute('CREATE TABLE "x"" UNION SELECT * FROM main.""StringIds" (a)')


def _in_an_unused_string(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO StringIds VALUES (99999, ?)", (SECRET,))


def _in_free_pages(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE gone AS SELECT ? AS note", (SECRET,))
    db.commit()
    db.execute("DROP TABLE gone")


def _as_a_label(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE ENUM_CUDA_MEMCPY_OPER (id INTEGER, name TEXT, label TEXT)")
    db.execute("INSERT INTO ENUM_CUDA_MEMCPY_OPER VALUES (1, ?, ?)", (SECRET, SECRET))


def _as_a_call(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO StringIds VALUES (99999, ?)", (SECRET,))
    db.execute("UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET nameId = 99999 WHERE rowid = 1")


def _as_a_payload(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO StringIds VALUES (99999, ?)", (f'{{"user": "{SECRET}", "{SECRET}": [1]}}',))
    db.execute("UPDATE NVTX_EVENTS SET jsonTextId = 99999 WHERE rowid = 1")


def _as_a_key_of_a_payload(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO StringIds VALUES (99999, ?)",
        (f'{{"Name": "layer", "{SECRET}": 1, "Inputs": [{{"{SECRET}": 2}}]}}',),
    )
    db.execute("UPDATE NVTX_EVENTS SET jsonTextId = 99999 WHERE rowid = 1")


def _as_a_domain(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO NVTX_EVENTS (start, eventType, globalTid, domainId, text) VALUES (1, 75, ?, 9, ?)", (TID, SECRET)
    )


def _as_a_registered_domain(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO StringIds VALUES (99999, ?)", (SECRET,))
    db.execute(
        "INSERT INTO NVTX_EVENTS (start, eventType, globalTid, domainId, textId) VALUES (1, 75, ?, 9, 99999)", (TID,)
    )


def _as_the_name_of_a_thread(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO NVTX_EVENTS (start, eventType, globalTid, text) VALUES (1, 76, ?, ?)", (TID, SECRET))


def _as_a_mark(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO NVTX_EVENTS (start, eventType, globalTid, text) VALUES (1, 34, ?, ?)", (TID, SECRET))


def _as_a_fact(db: sqlite3.Connection) -> None:
    for name in (
        "PROCESS_0:CUDA_VISIBLE_DEVICES",
        f"CUDA_{SECRET}",
        "START_TRIGGER",
        "COLLECT_NVTX_TRACE",
        "EXPORT_PLATFORM",
        "EXPORT_SCHEMA_VERSION",
    ):
        for table in ("META_DATA_CAPTURE", "META_DATA_EXPORT", "EXPORT_META_DATA"):
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} (name TEXT, value TEXT)")
            db.execute(f"INSERT INTO {table} VALUES (?, ?)", (name, SECRET))


PLACES = (
    _in_schema, _in_a_column_name, _in_a_default, _in_a_table_name, _in_sql_as_a_table_name, _in_an_unused_string, _in_free_pages,
    _as_a_label, _as_a_call, _as_a_payload, _as_a_key_of_a_payload, _as_a_domain, _as_a_registered_domain, _as_the_name_of_a_thread,
    _as_a_mark, _as_a_fact,
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("drop_unused", [False, True])
def test_a_secret_anywhere_else_is_left_out(
    place: Callable[[sqlite3.Connection], None], drop_unused: bool, tmp_path: Path
) -> None:
    source = every_table().write(tmp_path / "t.sqlite")
    with contextlib.closing(sqlite3.connect(source)) as db, db:
        place(db)
    sanitise(source, tmp_path / "copy.sqlite", drop_unused)
    assert not _holds(tmp_path / "copy.sqlite")


PATHS = [
    "/root/x/model.onnx", "/data/x/model.onnx", "/raid/team/x", "file:///opt/x/y", "~someone/x/y", "~/x/y", r"\\server\share\x", r"C:\x\y",
    "/mnt3/x/y", "/home2/x/y", "/scratch/x/y", "/workspace/x/y",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("where", ["{}", "load {} now", "load('{}')", "f={}"])
def test_paths_are_cut_in_names(path: str, where: str, tmp_path: Path) -> None:
    maker = simple()
    maker.kernel(10**6, 5, name=where.format(path))
    maker.range(where.format(path), 10**6, 10**6 + 5)
    sanitise(maker.write(tmp_path / "t.sqlite"), tmp_path / "copy.sqlite")
    with open_trace(tmp_path / "copy.sqlite") as trace:
        names = {*trace.kernels["name"].astype(str), *trace.nvtx_ranges["text"].astype(str)}
    folder = path.removesuffix("model.onnx").rstrip("xy").rstrip("\\/")
    assert not [n for n in names if folder in n] and [n for n in names if "…" in n]


@pytest.mark.parametrize(
    "spelled", ["gpu-node-17", "GPU-NODE-17", "Gpu-Node-17", "on_gpu-node-17_now", "x.gpu-node-17.lab"]
)
def test_the_host_is_found_in_any_case(spelled: str, tmp_path: Path) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="DEVICE_DISPLAY_NAME", value="gpu-Node-17")
    maker.range(f"step on {spelled}", 10**6, 10**6 + 5)
    report = sanitise(maker.write(tmp_path / "t.sqlite"), tmp_path / "copy.sqlite")
    assert not _holds(tmp_path / "copy.sqlite", "gpu-node-17") and report.values_searched == 1


def test_short_names_are_removed_and_said_not_to_be_searched(tmp_path: Path) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value="USER=ada")
    maker.range("run of ada", 10**6, 10**6 + 5)
    report = sanitise(maker.write(tmp_path / "t.sqlite"), tmp_path / "copy.sqlite")
    assert (report.values_searched, report.values_too_short) == (0, 1)
    assert "run of …" in report.kept_texts["range names"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ghp_abcdefgh12345678", "token"), ("hf_AbCdEfGhIjKlMn", "token"), ("AKIAIOSFODNN7EXAMPLE", "token"),
        ("password=hunter22", "assignment"),
        ("mail ada@example.com", "email"), ("GPU 1d3e5f70-aaaa-bbbb-cccc-1234567890ab", "uuid"), ("10.1.2.3", "address"),
        ("00:1a:2b:3c:4d:5e", "address"), ("https://host/x", "link"), ("/projects/lab/model.onnx", "path"),
        ("AbCdEfGhIjKlMnOpQrStUvWxYz0123456789", "key"), ("void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_nn_align4>", None),
        ("/layer3/layer3.0/conv3/Conv + /layer4/relu/Relu", None), ("sm90_xmma_fprop_implicit_gemm_i8i8_i8i32_f32_nchw_vect_c_32", None),
        ("__myl_CastMulMulSubAdd_0x8c2f53a1b2c3d4e5f60718293a4b5c6d", None), ("iter 3 of 10.2", None),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(text: str, kind: str | None) -> None:
    assert suspicious(text) == kind


def test_binary_text_of_old_exports(tmp_path: Path) -> None:
    """nsys 2022 writes ``GpuInfo`` of TARGET_INFO_SYSTEM_ENV as text that is none."""
    source = simple().write(tmp_path / "t.sqlite")
    with contextlib.closing(sqlite3.connect(source)) as db, db:
        db.execute(
            "CREATE TABLE TARGET_INFO_SYSTEM_ENV (globalVid INTEGER, devStateName TEXT, name TEXT, nameEnum INTEGER, value)"
        )
        facts = [
            ("GpuInfo", b"\x08\xff\x12\xc3"),
            ("NvDriverVersion", b"530.30.02"),
            ("Hostname", b"\xff\xfe" + SECRET.encode()),
        ]
        db.executemany("INSERT INTO TARGET_INFO_SYSTEM_ENV VALUES (1, 'x', ?, 1, CAST(? AS TEXT))", facts)
        db.execute("INSERT INTO StringIds VALUES (99999, CAST(? AS TEXT))", (b"kernel \xff\xc3",))
        db.execute("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET demangledName = 99999 WHERE rowid = 1")
    share(source, tmp_path / "copy.sqlite")
    with open_trace(source) as before, open_trace(tmp_path / "copy.sqlite") as after:
        assert after.session.driver_version == "530.30.02" and after.kernels["name"].equals(before.kernels["name"])
        assert Run(after).inferences.count == Run(before).inferences.count


def test_checks_in_the_schema_are_not_run(tmp_path: Path) -> None:
    maker = TraceMaker()
    maker.kernel(0, 5)
    source = maker.write(tmp_path / "t.sqlite")
    with contextlib.closing(sqlite3.connect(source)) as db, db:
        db.execute("DROP TABLE IF EXISTS NVTX_EVENTS")
        db.execute(
            "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT CHECK (length(text) < 0))"
        )
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("INSERT INTO NVTX_EVENTS VALUES (0, 9, 59, 'forward')")
    report = sanitise(source, tmp_path / "copy.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.sqlite")) as db:
        assert not [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master") if "CHECK" in sql or "DEFAULT" in sql]
        assert db.execute("SELECT text FROM NVTX_EVENTS").fetchall() == [("forward",)]
    assert "NVTX_EVENTS" in report.tables_kept
