"""A copy of an nsys export that can be shared: the figures, and nothing about the machine, the user or the program.

The copy is built from nothing rather than cleaned: tables and columns are copied when they are known to be harmless,
so a table that a later nsys adds is left out until somebody has looked at it, and no deleted row survives in a free
page. Texts that are kept lose file-system paths and whatever :mod:`profiler.capture.identifying` found. The finished
file is compared with the source and searched byte by byte before it gets its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.capture import sanitise_rules as rules
from profiler.capture.identifying import Identifying, Scrubber, count_removed, find_identifying
from profiler.errors import OutputError, TraceError
from profiler.files import atomic_file, cannot_write
from profiler.trace.attached import attached


@dataclass(frozen=True)
class SanitiseReport:
    """What sanitising did.

    Attributes:
        tables_kept, tables_emptied, tables_dropped: names of tables.
        rows_dropped: rows of the source that are not in the copy, StringIds left aside.
        strings_dropped, texts_changed: StringIds rows left out; texts from which something was removed.
        values_searched: identifying values of which the finished file was searched.
        kernels: kernels in the copy; each was compared with the source, field by field.
        inferences: inference ranges kept when ``keep_inferences`` was given, else None.
        bytes_before, bytes_after: sizes of the two files, not compressed.
        removed: what the source held of each kind that tells who recorded it and where.
    """

    tables_kept: tuple[str, ...]
    tables_emptied: tuple[str, ...]
    tables_dropped: tuple[str, ...]
    rows_dropped: int
    strings_dropped: int
    texts_changed: int
    values_searched: int
    kernels: int
    inferences: int | None
    bytes_before: int
    bytes_after: int
    removed: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Window:
    """The part of a recording that is kept: host activity from ``start_ns`` to ``end_ns``, and the GPU work that it launched."""

    start_ns: int
    end_ns: int
    inferences: int


def sanitise(
    source: Path,
    target: Path,
    keep_inferences: int | None = None,
    drop_unused_tables: bool = False,
    window: Window | None = None,
    check: Callable[[Path], None] | None = None,
) -> SanitiseReport:
    """Write a shareable copy of the SQLite export ``source`` to ``target``.

    Args:
        source: an uncompressed export; opened read-only.
        target: must not exist; it appears only when the copy is complete and checked.
        keep_inferences: keep only the time of the first N inferences (NVTX ranges named "inference N" or "iterN").
        drop_unused_tables: keep only the tables that this project reads.
        window: keep only this part, in place of ``keep_inferences``.
        check: called with the finished copy before it gets its name; what it raises leaves no copy.

    Raises:
        TraceError: ``source`` is not an export, holds no such ranges, or the check of the copy failed.
        OutputError: ``target`` exists or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target}: exists already.", "Choose another name, or remove it.")
    if keep_inferences is not None and keep_inferences < 1:
        raise TraceError(f"keep_inferences is {keep_inferences}, and a positive number was expected.")
    try:
        with atomic_file(target, replace=False) as partial:
            with _attached(source, partial) as db:
                copy = _Copy(db, source, drop_unused_tables)
                if window is None and keep_inferences is not None:
                    window = copy.window(keep_inferences)
                removed = count_removed(db, "source")
                copy.run(window)
            _search(partial, copy.identifying, source)
            if check is not None:
                check(partial)
            report = SanitiseReport(
                tuple(copy.kept),
                tuple(copy.emptied),
                tuple(copy.dropped),
                copy.rows_dropped,
                copy.strings_dropped,
                copy.scrub.changed,
                len(copy.identifying.searched),
                copy.kernels,
                window.inferences if window else None,
                source.stat().st_size,
                partial.stat().st_size,
                removed,
            )
    except sqlite3.Error as error:
        if "disk is full" in str(error) or "readonly" in str(error) or "unable to open" in str(error):
            raise OutputError(
                f"{target}: cannot be written ({error}).", "Check the folder, its permissions and the free space."
            ) from error
        raise TraceError(
            f"{source}: cannot be read as an nsys export ({error}).", "Export the report again."
        ) from error
    except OSError as error:
        raise cannot_write(target, error) from error
    return report


@contextlib.contextmanager
def _attached(source: Path, target: Path) -> Iterator[sqlite3.Connection]:
    """A new database ``main`` with the export as ``source``."""
    if not source.is_file():
        raise TraceError(f"{source}: no such file.", "Expected an uncompressed SQLite export.")
    with source.open("rb") as file:
        head = file.read(16)
    if not head.startswith(b"SQLite format 3\0"):
        raise TraceError(
            f"{source}: not an SQLite database.", "Expected an uncompressed export: nsys export --type sqlite REPORT"
        )
    with attached(source, target) as db:
        yield db


class _Copy:
    """One run of the copy; the attributes become the report."""

    def __init__(self, db: sqlite3.Connection, source: Path, only_read_tables: bool) -> None:
        self.db, self.source = db, source
        self.kept: list[str] = []
        self.emptied: list[str] = []
        self.dropped: list[str] = []
        self.rows_dropped = self.strings_dropped = self.kernels = 0
        self.schema = self._schema()
        self._only_read_tables = only_read_tables
        self._launches_known = False
        self._gpu_end_ns = 0
        self.identifying = find_identifying(db, "source", self._public_texts())
        self.scrub: Scrubber = self.identifying.scrubber()
        self._compare: Scrubber = self.identifying.scrubber()
        db.create_function("scrub", 1, self.scrub, deterministic=True)
        db.create_function("scrub_again", 1, self._compare, deterministic=True)
        db.create_function("metrics_json", 1, _metrics_json, deterministic=True)

    def _schema(self) -> dict[str, str]:
        tables: dict[str, str] = {}
        for name, kind, sql in self.db.execute("SELECT name, type, sql FROM source.sqlite_master"):
            text = str(sql or "").lstrip().upper()
            if kind == "view" or (kind == "table" and not text.startswith("CREATE TABLE")):
                raise TraceError(
                    f"{self.source}: holds a view or virtual table named {str(name)[:80]!r}; an nsys export holds only plain tables.",
                    "This file was changed after the export. Export the report again.",
                )
            if kind == "table" and not str(name).startswith("sqlite_"):
                tables[str(name)] = str(sql)
        if "StringIds" not in tables and "NVTX_EVENTS" not in tables and "META_DATA_EXPORT" not in tables:
            raise TraceError(
                f"{self.source}: an SQLite database, but not an nsys export.",
                "Export with: nsys export --type sqlite REPORT",
            )
        return tables

    def _public_texts(self) -> str:
        texts = list(self.schema.values())
        for table in self.schema:
            if table.startswith("ENUM_"):
                texts += [str(v) for row in self.db.execute(f'SELECT * FROM source."{table}"') for v in row]  # noqa: S608 - a harmless name
            elif table in ("TARGET_INFO_GPU", "TARGET_INFO_GPU_METRICS"):
                columns = [c for c in self._columns(table) if c in rules.TEXT_COLUMNS[table]]
                texts += [str(v) for c in columns for (v,) in self.db.execute(f'SELECT "{c}" FROM source.{table}')]  # noqa: S608
        return "\n".join(texts)

    def _columns(self, table: str) -> dict[str, tuple[str, bool]]:
        """Name to (declared type, NOT NULL)."""
        return {r[1]: (str(r[2]).upper(), bool(r[3])) for r in self.db.execute(f'PRAGMA source.table_info("{table}")')}

    def _is_harmless(self, table: str) -> bool:
        if self._only_read_tables:
            return table in rules.READ_BY_PROFILER
        return (
            table in rules.READ_BY_PROFILER or table in rules.ALSO_HARMLESS or table.startswith(rules.HARMLESS_PREFIXES)
        )

    def window(self, n: int) -> Window:
        """The first n inferences."""
        columns = self._columns("NVTX_EVENTS") if "NVTX_EVENTS" in self.schema else {}
        inline = "e.text" if "text" in columns else "NULL"
        registered = (
            "(SELECT value FROM source.StringIds s WHERE s.id = e.textId)"
            if "textId" in columns and "StringIds" in self.schema
            else "NULL"
        )
        rows = (
            self.db.execute(
                f'SELECT e."start", e."end", coalesce({inline}, {registered}) '  # noqa: S608
                'FROM source.NVTX_EVENTS e WHERE e."end" IS NOT NULL ORDER BY 1'
            ).fetchall()
            if columns
            else []
        )
        ranges = [(a, b) for a, b, text in rows if rules.INFERENCE_TEXT.match(str(text))]
        if not ranges:
            raise TraceError(
                f'{self.source}: no NVTX ranges named "inference N" or "iterN", so single inferences cannot be kept.',
                "Sanitise it whole, or record with: python -m profiler capture",
            )
        kept = ranges[:n]
        return Window(min(a for a, _ in kept), max(b for _, b in kept), len(kept))

    def run(self, window: Window | None) -> None:
        if window is not None:
            self._find_launches(window)
        self.db.execute("BEGIN")
        for table, sql in self.schema.items():
            if table == "StringIds":
                continue
            rows = self._count("source", table)
            if table in rules.KEPT_EMPTY and not self._only_read_tables:
                self.db.execute(sql)
                self.emptied.append(table)
                self.rows_dropped += rows
            elif self._is_harmless(table):
                self.db.execute(sql)
                self._copy_rows(table, window)
                self.kept.append(table)
                self.rows_dropped += rows - self._count("main", table)
            else:
                self.dropped.append(table)
                self.rows_dropped += rows
        if "StringIds" in self.schema:
            self._copy_strings()
        self.db.execute("COMMIT")
        self._verify(window)

    def _find_launches(self, window: Window) -> None:
        """GPU work belongs to the window when it was launched in it, whenever it ran: launches are asynchronous."""
        table = "CUPTI_ACTIVITY_KIND_RUNTIME"
        if table not in self.schema or not {"start", "correlationId", "globalTid"} <= self._columns(table).keys():
            return
        self.db.execute("CREATE TEMP TABLE launched (correlation, pid, PRIMARY KEY (correlation, pid)) WITHOUT ROWID")
        self.db.execute(
            "INSERT OR IGNORE INTO launched SELECT correlationId, globalTid & ~16777215 FROM source.CUPTI_ACTIVITY_KIND_RUNTIME "
            'WHERE "start" BETWEEN ? AND ? AND correlationId IS NOT NULL AND globalTid IS NOT NULL',
            (window.start_ns, window.end_ns),
        )
        self._launches_known = True
        for work in rules.GPU_WORK:
            if work in self.schema and {"correlationId", "globalPid", "end"} <= self._columns(work).keys():
                where, values = self._where(work, self._columns(work), window)
                latest = self.db.execute(f'SELECT max("end") FROM source."{work}" {where}', values).fetchone()[0]  # noqa: S608 - literals
                self._gpu_end_ns = max(self._gpu_end_ns, int(latest or 0))

    def _copy_rows(self, table: str, window: Window | None) -> None:
        columns = self._columns(table)
        names = ", ".join(f'"{c}"' for c in columns)
        picked = ", ".join(self._expression(table, c, kind, required) for c, (kind, required) in columns.items())
        where, values = self._where(table, columns, window)
        self.db.execute(f'INSERT INTO main."{table}" ({names}) SELECT {picked} FROM source."{table}" {where}', values)  # noqa: S608 - names from the schema

    def _expression(self, table: str, column: str, kind: str, required: bool) -> str:
        """SQL for one column: figures as they are, texts only where they are expected, anything else blank."""
        quoted = '"' + column.replace('"', '""') + '"'
        if table == "GENERIC_EVENTS" and column == "data":
            return f"metrics_json({quoted})"
        if column in rules.TEXT_COLUMNS.get(table, ()):
            text = quoted if table.startswith(("META_DATA", "TARGET_INFO")) else f"scrub({quoted})"
            return f"coalesce({text}, '')" if required else text
        if table.startswith("ENUM_"):
            return quoted
        if table == "TARGET_INFO_GPU" and column in rules.GPU_PLACEHOLDERS:
            return f"'{rules.GPU_PLACEHOLDERS[column]}'"
        blank = ("''" if "TEXT" in kind else "0") if required else "NULL"
        return f"CASE WHEN typeof({quoted}) IN ('integer', 'real') THEN {quoted} ELSE {blank} END"

    def _where(
        self, table: str, columns: dict[str, tuple[str, bool]], window: Window | None
    ) -> tuple[str, Sequence[Any]]:
        if table == "TARGET_INFO_SYSTEM_ENV":
            return f"WHERE name IN ({','.join('?' * len(rules.SYSTEM_FACTS))})", rules.SYSTEM_FACTS
        if table in ("META_DATA_CAPTURE", "META_DATA_EXPORT"):
            fact = rules.CAPTURE_FACT if table == "META_DATA_CAPTURE" else rules.EXPORT_FACT
            keep = [
                rowid
                for rowid, name, value in self.db.execute(f"SELECT rowid, name, value FROM source.{table}")  # noqa: S608 - one of two literals
                if fact.match(str(name))
                and rules.PLAIN_FACT.match(str(value or ""))
                and self._compare.text(str(value)) == str(value)
            ]
            return f"WHERE rowid IN ({','.join(map(str, keep))})", ()
        if window is None:
            return "", ()
        first, last = window.start_ns, window.end_ns
        if table == "NVTX_EVENTS":
            return 'WHERE eventType NOT IN (34, 59, 60) OR ("start" <= ? AND coalesce("end", "start") >= ?)', (
                last,
                first,
            )
        if "timestamp" in columns and table in ("GPU_METRICS", "GENERIC_EVENTS"):
            return "WHERE timestamp BETWEEN ? AND ?", (
                first - rules.METRIC_MARGIN_NS,
                max(last, self._gpu_end_ns) + rules.METRIC_MARGIN_NS,
            )
        if self._launches_known and table in rules.GPU_WORK and {"correlationId", "globalPid"} <= columns.keys():
            return "WHERE (correlationId, globalPid) IN (SELECT correlation, pid FROM launched)", ()
        if "start" in columns and "end" in columns:
            return 'WHERE "start" BETWEEN ? AND ?', (first, last)
        return "", ()

    def _copy_strings(self) -> None:
        """Only the strings that a kept row refers to."""
        self.db.execute(self.schema["StringIds"])
        self.kept.append("StringIds")
        self.db.execute("CREATE TEMP TABLE used (id INTEGER PRIMARY KEY)")
        for table in self.kept:
            referring = set(rules.STRING_REFERENCE.findall(self.schema[table])) | rules.STRING_COLUMNS
            for column in self._columns(table):
                if column in referring:
                    ids = f'SELECT "{column}" FROM main."{table}" WHERE typeof("{column}") = \'integer\''  # noqa: S608
                    self.db.execute(f"INSERT OR IGNORE INTO used {ids}")
        self.db.execute(
            "INSERT INTO main.StringIds (id, value) SELECT id, coalesce(scrub(value), '') FROM source.StringIds "
            "WHERE id IN (SELECT id FROM used)"
        )
        self.strings_dropped = self._count("source", "StringIds") - self._count("main", "StringIds")

    def _count(self, schema: str, table: str) -> int:
        return int(self.db.execute(f'SELECT count(*) FROM {schema}."{table}"').fetchone()[0])  # noqa: S608 - names from the schema

    def _verify(self, window: Window | None) -> None:
        """The same figures row by row, and the same names."""
        for table, wanted in rules.FINGERPRINT.items():
            if table not in self.kept:
                continue
            columns = self._columns(table)
            where, values = self._where(table, columns, window)
            figures = [c for c in wanted if c in columns]
            names = [c for c in ("demangledName", "shortName", "nameId", "textId") if c in columns]
            before = self._digest("source", table, figures, names, where, values)
            after = self._digest("main", table, figures, names, "", ())
            if before != after:
                raise TraceError(
                    f"{self.source}: the sanitised copy differs from the source in {table}.",
                    "Please report this; no copy was kept.",
                )
            if table == "CUPTI_ACTIVITY_KIND_KERNEL":
                self.kernels = after[0]

    def _digest(
        self, schema: str, table: str, figures: Sequence[str], names: Sequence[str], where: str, values: Sequence[Any]
    ) -> tuple[int, str]:
        text = f"scrub_again((SELECT value FROM {schema}.StringIds s WHERE s.id = t."  # noqa: S608 - one of two schemas
        texts = [f'{text}"{c}"))' for c in names] if "StringIds" in self.schema else []
        picked = ", ".join([*(f't."{c}"' for c in figures), *texts])
        digest, n = hashlib.sha256(), 0
        for row in self.db.execute(f'SELECT {picked} FROM {schema}."{table}" t {where} ORDER BY t.rowid', values):  # noqa: S608
            digest.update(repr(row).encode())
            n += 1
        return n, digest.hexdigest()


def _metrics_json(data: object) -> str | None:
    """A sample of GPU metrics as older exports store it; numbers only. None for any other event."""
    try:
        sample = json.loads(str(data))
    except (ValueError, RecursionError):
        return None
    if not isinstance(sample, dict) or not any("Active" in key for key in sample):
        return None
    return json.dumps({k: v for k, v in sample.items() if _number(v) is not None})


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _search(file: Path, identifying: Identifying, source: Path) -> None:
    """Look for every identifying value in the bytes of the finished file."""
    values = identifying.searched
    if not values:
        return
    # bytes.find per value: an alternation of many literals is slower in `re` than as many plain searches
    content = file.read_bytes()
    for value in values:
        if content.find(value) >= 0:
            raise TraceError(
                f"{source}: an identifying value of {len(value)} characters, starting with {value[:2]!r}, was still in the sanitised copy.",
                "No copy was kept. Please report this with the nsys version.",
            )
