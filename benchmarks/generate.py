"""Traces of any size, by repeating a recorded one.

All tables and their schema are those of the bundled nsys export; its ten inferences are recorded again and again, later in
time, with new correlation ids, new inference numbers, and kernels that are up to a sixteenth shorter than recorded, so that
durations vary. What is made so behaves as a long recording of the same program would, for nsys, too.
"""

from __future__ import annotations

import lzma
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

TRACES = Path(__file__).resolve().parent.parent / "traces"
BEFORE, AFTER = "torch-fp32-eager-b8", "trt-fp16-stream-b8"
"""Bundled runs: 174 kernels an inference under PyTorch with a range per module, 58 under TensorRT with a range per layer."""

_KEPT_METRICS = ("Tensor Active%", "DRAM Read Bandwidth%", "DRAM Write Bandwidth%", "SMs Active%")
_METRICS_EVERY = 2  # of the recorded samples; the recordings are at 20 kHz
_PAUSE_NS = 20_000
_NUMBERED = "inference "  # the ranges of the bundled runs that carry a number
_FIRST_ID = "SELECT coalesce(max(id), 0) + 1 FROM StringIds"


@dataclass(frozen=True)
class Contents:
    """What a generated trace holds."""

    kernels: int
    inferences: int
    launch_calls: int
    ranges: int
    metric_samples: int


def unpack(run: str, target: Path) -> None:
    """A bundled recording as a plain SQLite file."""
    partial = target.with_name(f"{target.name}.partial")
    with lzma.open(TRACES / run / "trace.sqlite.xz") as packed, partial.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    partial.replace(target)


def generate(target: Path, kernels: int, run: str = BEFORE, metric_rows: int | None = None) -> Contents:
    """Write a trace of at least ``kernels`` kernels (whole repetitions of the recording) to ``target``.

    Args:
        run: the bundled run to repeat.
        metric_rows: keep every recorded GPU metric, and repeat the recording until there are so many rows of them.

    Raises:
        FileExistsError: ``target`` is there already.
    """
    if target.exists():
        raise FileExistsError(target)
    partial = target.with_name(f"{target.name}.made")
    unpack(run, partial)
    connection = sqlite3.connect(partial)
    try:
        contents = _repeat(connection, kernels, metric_rows)
    finally:
        connection.close()
    partial.replace(target)
    return contents


def _repeat(db: sqlite3.Connection, wanted: int, metric_rows: int | None) -> Contents:
    for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536"):
        db.execute(f"PRAGMA {setting}").close()
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    events = [t for t in tables if t.startswith("CUPTI_ACTIVITY_KIND_")]
    if metric_rows is None:
        _thin_out_metrics(db)
    first, last = db.execute(
        " UNION ALL ".join(f"SELECT min(start), max(end) FROM {t}" for t in events).join(
            ("SELECT min(a), max(b) FROM (SELECT NULL AS a, NULL AS b UNION ALL ", ")")
        )
    ).fetchone()
    db.execute("DELETE FROM GPU_METRICS WHERE timestamp NOT BETWEEN ? AND ?", (first, last))
    step = {
        "time": last - first + _PAUSE_NS,
        "correlation": db.execute("SELECT max(correlationId) + 1 FROM CUPTI_ACTIVITY_KIND_RUNTIME").fetchone()[0],
        "inferences": db.execute(*_ranges("count(DISTINCT s.value)")).fetchone()[0],
    }
    inserts = [_insert(db, t) for t in [*events, "NVTX_EVENTS", "GPU_METRICS"]]
    counted = "CUPTI_ACTIVITY_KIND_KERNEL" if metric_rows is None else "GPU_METRICS"
    per = db.execute(f"SELECT count(*) FROM {counted}").fetchone()[0]
    repetitions = max(1, -(-(metric_rows or wanted) // per))
    _number_the_names(db, repetitions * step["inferences"])
    for n in range(1, repetitions):
        values = {"time": n * step["time"], "correlation": n * step["correlation"], "inference": n * step["inferences"]}
        for sql in inserts:
            db.execute(sql, {**values, "n": n})
    db.commit()
    return Contents(
        db.execute("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()[0],
        repetitions * step["inferences"],
        db.execute("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_RUNTIME").fetchone()[0],
        db.execute("SELECT count(*) FROM NVTX_EVENTS WHERE eventType = 59").fetchone()[0],
        db.execute("SELECT count(*) FROM GPU_METRICS").fetchone()[0],
    )


def _thin_out_metrics(db: sqlite3.Connection) -> None:
    metrics = " OR ".join("metricName LIKE ?" for _ in _KEPT_METRICS)
    db.execute(f"DELETE FROM TARGET_INFO_GPU_METRICS WHERE NOT ({metrics})", _KEPT_METRICS)
    db.execute(
        "DELETE FROM GPU_METRICS WHERE metricId NOT IN (SELECT metricId FROM TARGET_INFO_GPU_METRICS) OR timestamp IN "
        "(SELECT timestamp FROM (SELECT timestamp, row_number() OVER (ORDER BY timestamp) AS n FROM "
        "(SELECT DISTINCT timestamp FROM GPU_METRICS)) WHERE n % ?)",
        (_METRICS_EVERY,),
    )


def _ranges(what: str) -> tuple[str, tuple[str]]:
    """A query over the numbered ranges."""
    sql = f"SELECT {what} FROM NVTX_EVENTS e JOIN StringIds s ON s.id = e.textId WHERE s.value GLOB ?"
    return sql, (f"{_NUMBERED}[0-9]*",)


def _number_the_names(db: sqlite3.Connection, inferences: int) -> None:
    """A StringIds row for the name of every inference; ``temp.names`` finds it by number, ``temp.numbers`` a range's number."""
    known = {value: key for key, value in db.execute("SELECT id, value FROM StringIds")}
    free = db.execute(_FIRST_ID).fetchone()[0]
    db.execute("CREATE TEMP TABLE names(number INTEGER PRIMARY KEY, id INTEGER)")
    for number in range(inferences):
        text = f"{_NUMBERED}{number}"
        if text not in known:
            db.execute("INSERT INTO StringIds VALUES (?, ?)", (free, text))
            known[text], free = free, free + 1
        db.execute("INSERT INTO names VALUES (?, ?)", (number, known[text]))
    db.execute("CREATE TEMP TABLE numbers AS SELECT id, number FROM names")
    db.execute("CREATE INDEX temp.numbers_by_id ON numbers(id)")


def _insert(db: sqlite3.Connection, table: str) -> str:
    """SQL that adds one repetition of a table's recorded rows."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    where = "WHERE eventType <> 75 AND end IS NOT NULL" if table == "NVTX_EVENTS" else ""
    db.execute(f"CREATE TEMP TABLE recorded_{table} AS SELECT * FROM {table} {where} ORDER BY rowid")
    made = {
        "start": "start + :time",
        "end": "end + :time",
        "timestamp": "timestamp + :time",
        "rawTimestamp": "rawTimestamp + :time",
        "correlationId": "correlationId + :correlation",
        "gridId": "gridId + :correlation",
        "textId": "coalesce((SELECT w.id FROM numbers r JOIN names w ON w.number = r.number + :inference "
        "WHERE r.id = textId), textId)",
    }
    if table == "CUPTI_ACTIVITY_KIND_KERNEL":  # a multiplicative hash of the row and the repetition
        made["end"] = "end + :time - ((r.rowid * 40503 + :n * 30011) % 65536) * (end - start) / 1048576"
    picked = ", ".join(made.get(c, f'"{c}"') for c in columns)
    return f"INSERT INTO {table} SELECT {picked} FROM recorded_{table} r ORDER BY r.rowid"
