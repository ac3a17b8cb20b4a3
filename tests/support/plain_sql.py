"""The figures of a trace by plain SQL and Python integers, without any code of the project: what the library must agree with."""

from __future__ import annotations

import sqlite3
import statistics
from pathlib import Path
from typing import Any

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"


def kernel_figures(path: Path) -> dict[str, Any]:
    """Valid kernels (a start, an end not before it, both within 2^61 ns): their number, time, and median by name."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        tables = {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows: list[tuple[Any, ...]] = []
        if KERNELS in tables:
            columns = {r[1] for r in db.execute(f"PRAGMA table_info({KERNELS})")}
            name = next((c for c in ("demangledName", "shortName", "mangledName") if c in columns), "NULL")
            rows = db.execute(f'SELECT "start", "end", {name} FROM {KERNELS}').fetchall()
        texts = dict(db.execute("SELECT id, value FROM StringIds")) if "StringIds" in tables else {}
    db.close()
    durations: dict[str, list[int]] = {}
    for start, end, name in rows:
        if isinstance(start, int) and isinstance(end, int) and -(2**61) <= start <= end <= 2**61:
            durations.setdefault(texts.get(name) or f"#{name}", []).append(end - start)
    everything = [d for found in durations.values() for d in found]
    return {
        "count": len(everything),
        "dropped": len(rows) - len(everything),
        "total_ns": sum(everything),
        "median_ns": {name: statistics.median(found) for name, found in durations.items()},
    }
