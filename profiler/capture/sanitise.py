"""A copy of an nsys export that can be shared: the figures, and nothing about the machine, the user or the program.

The copy is built from nothing rather than cleaned: its tables are of our own making, rows, columns and texts are copied when
:mod:`profiler.capture.sanitise_rules` lists them, and no deleted row survives in a free page. Names of kernels and ranges are free text:
they lose file-system paths and whatever :mod:`profiler.capture.identifying` found, and the report lists what is left of them. The
finished file is compared with the source and searched byte by byte before it gets its name.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler import progress
from profiler.capture import sanitise_rules as rules
from profiler.capture.identifying import Identifying, Scrubber, count_removed, find_identifying, map_texts, suspicious
from profiler.errors import OutputError, TraceError
from profiler.files import atomic_file, cannot_write
from profiler.trace import subset
from profiler.trace.guard import TIME_LIMIT_VARIABLE, quoted
from profiler.trace.nvtx import DOMAIN, KINDS
from profiler.trace.schema import KERNELS, NVTX, READ, STRINGS

_CHUNK = 1 << 24
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class SanitiseReport:
    """What sanitising did.

    Attributes:
        tables_kept, tables_emptied, tables_dropped: names of tables.
        columns_dropped: ``TABLE.column`` of the tables that are kept.
        rows_dropped: rows of the source that are not in the copy, StringIds left aside.
        strings_dropped, texts_changed: StringIds rows left out; texts from which something was removed.
        values_searched: identifying values of which the finished file was searched; ``values_too_short`` were removed from texts, but
            occur in other words, too.
        kernels: kernels in the copy; each was compared with the source, field by field.
        inferences: inference ranges kept when a window was given, else None.
        bytes_before, bytes_after: sizes of the two files, not compressed.
        removed: what the source held of each kind that tells who recorded it and where.
        kept_texts: the free texts that are in the copy, by kind.
        suspicious: of these the ones that look like a secret, an address or a path, with what they look like.
    """

    tables_kept: tuple[str, ...]
    tables_emptied: tuple[str, ...]
    tables_dropped: tuple[str, ...]
    columns_dropped: tuple[str, ...]
    rows_dropped: int
    strings_dropped: int
    texts_changed: int
    values_searched: int
    values_too_short: int
    kernels: int
    inferences: int | None
    bytes_before: int
    bytes_after: int
    removed: dict[str, int]
    kept_texts: dict[str, list[str]]
    suspicious: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class KeptSpan:
    """The part of a recording that is kept: host activity from ``start_ns`` to ``end_ns``, and the GPU work that it launched."""

    start_ns: int
    end_ns: int
    inferences: int


def sanitise(
    source: Path,
    target: Path,
    drop_unused_tables: bool = False,
    window: KeptSpan | None = None,
    check: Callable[[Path], None] | None = None,
) -> SanitiseReport:
    """Write a shareable copy of the SQLite export ``source`` to ``target``.

    Args:
        source: an uncompressed export; opened read-only.
        target: must not exist; it appears only when the copy is complete and checked.
        drop_unused_tables: keep only the tables that this project reads.
        window: keep only this part.
        check: called with the finished copy before it gets its name; what it raises leaves no copy.

    Raises:
        TraceError: ``source`` is not an export, takes too long, or the check of the copy failed.
        OutputError: ``target`` exists or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target}: exists already.", "Choose another name, or remove it.")
    try:
        with atomic_file(target, replace=False) as partial:
            with _attached(source, partial) as db:
                copy = _Copy(db, source, drop_unused_tables)
                removed = count_removed(db, "source")
                copy.run(window)
            _search(partial, copy.identifying, source)
            if check is not None:
                check(partial)
            looks = {text: suspicious(text) for texts in copy.kept_texts.values() for text in texts}
            report = SanitiseReport(
                tuple(copy.kept),
                tuple(copy.emptied),
                tuple(copy.dropped),
                tuple(copy.columns_dropped),
                copy.rows_dropped,
                copy.strings_dropped,
                copy.texts_changed,
                len(copy.identifying.searched),
                copy.identifying.too_short,
                copy.kernels,
                window.inferences if window else None,
                source.stat().st_size,
                partial.stat().st_size,
                removed,
                copy.kept_texts,
                {text: kind for text, kind in looks.items() if kind is not None},
            )
    except sqlite3.Error as error:
        if str(error) == "interrupted":
            raise TraceError(
                f"{source}: sanitising it took too long and was ended.",
                f"If the file is sound and only large, set {TIME_LIMIT_VARIABLE} to more seconds.",
            ) from error
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
    with subset.attached(source, target) as db:
        yield db


class _Copy:
    """One run of the copy; the attributes become the report."""

    def __init__(self, db: sqlite3.Connection, source: Path, only_read_tables: bool) -> None:
        self.db, self.source = db, source
        self.kept: list[str] = []
        self.emptied: list[str] = []
        self.dropped: list[str] = []
        self.columns_dropped: list[str] = []
        self.rows_dropped = self.strings_dropped = self.texts_changed = self.kernels = 0
        self.kept_texts: dict[str, list[str]] = {}
        self._only_read_tables = only_read_tables
        self._code = str(db.execute("PRAGMA source.encoding").fetchone()[0]).lower()
        self.tables = self._tables()
        self.columns = {t: tuple(self._source_columns(t)) for t in self.tables if t in rules.TABLES}
        self.identifying = find_identifying(db, "source", self._public_texts())
        self._scrubber = Scrubber(self.identifying)
        self._domains: dict[str, str] = {}
        self._define("scrub", self._scrubber.text)
        self._define("payload", self._payload)
        self._define("domain_name", self._domain)
        self._define("call_name", rules.call_name)
        for table, texts in rules.TEXTS.items():
            for column, kept in texts.items():
                self._define(f"{table}_{column}", kept)
        db.create_function("is_fact", 3, self._is_fact, deterministic=True)

    def _define(self, name: str, keep: Callable[[str], str | None]) -> None:
        """An SQL function of a text as a blob, as a text need not be in the database's encoding."""
        self.db.create_function(
            name, 1, lambda raw: None if raw is None else keep(self._decoded(raw)), deterministic=True
        )

    def _decoded(self, raw: object) -> str:
        return raw.decode(self._code, "replace") if isinstance(raw, bytes) else str(raw)

    def _tables(self) -> list[str]:
        tables = []
        for name, kind, sql in self.db.execute("SELECT name, type, sql FROM source.sqlite_master"):
            text = str(sql or "").lstrip().upper()
            if kind == "view" or (kind == "table" and not text.startswith("CREATE TABLE")):
                raise TraceError(
                    f"{self.source}: holds a view or virtual table named {str(name)[:80]!r}; an nsys export holds only plain tables.",
                    "This file was changed after the export. Export the report again.",
                )
            if kind == "table" and not str(name).startswith("sqlite_"):
                tables.append(str(name))
        if not {STRINGS, NVTX, *rules.EXPORT_FACTS} & {*tables}:
            raise TraceError(
                f"{self.source}: an SQLite database, but not an nsys export.",
                "Export with: nsys export --type sqlite REPORT",
            )
        return tables

    def _public_texts(self) -> str:
        """What the rules keep as it is, and the names of tables and columns."""
        texts = [*rules.TABLES, *rules.NUMBERS]
        wanted = [
            (t, c, keep) for t, columns in rules.TEXTS.items() for c, keep in columns.items() if keep not in rules.FREE
        ]
        for table, column, keep in (*wanted, (STRINGS, "value", rules.call_name)):
            if column in self.columns.get(table, ()):
                found = self.db.execute(f"SELECT DISTINCT CAST({quoted(column)} AS BLOB) FROM source.{quoted(table)}")  # noqa: S608 - quoted
                texts += [text for (raw,) in found if (text := self._decoded(raw)) == keep(text)]
        return "\n".join(texts)

    def _source_columns(self, table: str) -> list[str]:
        return [str(r[1]) for r in self.db.execute(f"PRAGMA source.table_info({quoted(table)})")]

    def _is_fact(self, table: str, name: object, value: object) -> bool:
        text = self._decoded(value if value is not None else "")
        return rules.fact(table, self._decoded(name), text) and self._scrubber.text(text) == text

    def _domain(self, text: str) -> str:
        """Known names as they are, others numbered: which ranges share a domain is kept, and what it is called is not."""
        return rules.domain_name(text) or self._domains.setdefault(text, f"domain {len(self._domains) + 1}")

    def _payload(self, text: str) -> str | None:
        document = rules.payload(text)
        kept = map_texts(document, self._scrubber.text)
        return None if document is None else text if kept == json.loads(text, strict=False) else json.dumps(kept)

    def run(self, window: KeptSpan | None) -> None:
        span = (
            subset.Window(self.db, self.columns, window.start_ns, window.end_ns, False) if window is not None else None
        )
        order = [t for t in subset.Window.in_order(self.tables) if t != STRINGS]
        self.db.execute("BEGIN")
        for at, table in enumerate(order):
            progress.report(f"copy of {table}" if table in rules.TABLES else "copy", at / len(order))
            self._copy_table(table, span)
        if STRINGS in self.tables:
            progress.report(f"copy of {STRINGS}", 0.95)
            self._copy_strings()
        self.db.execute("COMMIT")
        self._verify(span)

    def _copy_table(self, table: str, span: subset.Window | None) -> None:
        rows = self._count("source", table)
        if table in rules.KEPT_EMPTY and not self._only_read_tables:
            self._create(table, rules.KEPT_EMPTY[table])
            self.emptied.append(table)
        elif table in rules.TABLES and (table in READ or not self._only_read_tables):
            picked = self._expressions(table)
            self.columns_dropped += [f"{table}.{c}" for c in self.columns[table] if c not in picked]
            self._create(table, picked)
            where, values = self._where(table, span)
            names = ", ".join(map(quoted, picked))
            self.db.execute(
                f"INSERT INTO main.{quoted(table)} ({names}) SELECT {', '.join(picked.values())} "  # noqa: S608 - names that are listed
                f"FROM source.{quoted(table)} NOT INDEXED {where}",
                values,
            )
            if span is not None:
                span.copied(table)
            self.kept.append(table)
            rows -= self._count("main", table)
        else:
            self.dropped.append(table)
        self.rows_dropped += rows

    def _create(self, table: str, columns: Iterable[str]) -> None:
        """A table of our own making: nothing of the file's statement, its comments, defaults and checks is taken over."""
        texts = {
            *rules.TEXTS.get(table, ()),
            *rules.GPU_PLACEHOLDERS,
            *(("name", "value") if table in rules.FACTS else ("text",)),
        }
        kinds = ", ".join(f"{quoted(c)} {'TEXT' if c in texts else 'INTEGER'}" for c in columns)
        self.db.execute(f"CREATE TABLE main.{quoted(table)} ({kinds})")

    def _expressions(self, table: str) -> dict[str, str]:
        """SQL for each column that is kept."""
        columns = self.columns[table]
        if table in rules.FACTS:
            return {c: quoted(c) for c in ("name", "value") if c in columns}
        found = {}
        for column in columns:
            name = quoted(column)
            if column in rules.TEXTS.get(table, ()):
                found[column] = f"{table}_{column}(CAST({name} AS BLOB))"
            elif table == "TARGET_INFO_GPU" and column in rules.GPU_PLACEHOLDERS:
                found[column] = f"'{rules.GPU_PLACEHOLDERS[column]}'"
            elif column in rules.NUMBERS or column in rules.STRING_COLUMNS:
                found[column] = f"CASE WHEN typeof({name}) IN ('integer', 'real') THEN {name} END"
        return found if table != NVTX else self._range_expressions(columns, found)

    def _range_expressions(self, columns: Sequence[str], found: dict[str, str]) -> dict[str, str]:
        """Names of ranges are scrubbed, those of domains are known or numbered, payloads are descriptions of layers or nothing."""
        own = "CAST(text AS BLOB)" if "text" in columns else "NULL"
        is_domain = f"eventType = {DOMAIN}" if "eventType" in columns else "0"
        registered = "NULL"
        if "textId" in columns:
            found["textId"] = f"CASE WHEN {is_domain} THEN NULL ELSE {found['textId']} END"
            if STRINGS in self.columns:
                registered = "(SELECT CAST(value AS BLOB) FROM source.StringIds s WHERE s.id = textId)"
        found["text"] = f"CASE WHEN {is_domain} THEN domain_name(coalesce({own}, {registered})) ELSE scrub({own}) END"
        if "jsonText" in columns:
            found["jsonText"] = "payload(CAST(jsonText AS BLOB))"
        return found

    def _where(self, table: str, span: subset.Window | None) -> tuple[str, tuple[Any, ...]]:
        columns = self.columns[table]
        conditions: list[str] = []
        values: tuple[Any, ...] = ()
        if table in rules.FACTS:
            is_complete = {"name", "value"} <= {*columns}
            conditions.append(f"is_fact('{table}', CAST(name AS BLOB), CAST(value AS BLOB))" if is_complete else "0")
        elif span is not None:
            condition, values = span.condition(table)
            conditions += [condition] if condition else []
        if table == NVTX and "eventType" in columns:  # marks, names of threads and categories are not read
            conditions.append(f"eventType IN ({','.join(map(str, (*KINDS, DOMAIN)))})")
        return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), values

    def _copy_strings(self) -> None:
        """Only the strings that a kept row refers to."""
        self.db.execute(f"CREATE TABLE main.{STRINGS} (id INTEGER PRIMARY KEY, value TEXT)")
        self.kept.append(STRINGS)
        used: dict[str, list[tuple[str, str]]] = {kind: [] for kind in _STRINGS}
        for table in self.kept:
            for column in self.columns[table]:
                kind = rules.STRING_COLUMNS.get(column)
                if kind is not None:
                    used[kind].append((table, column))
        for kind, function in _STRINGS.items():
            into = kind.replace(" ", "_")
            subset.note_strings(self.db, into, used[kind])
            # the first kind of text that an id is used for decides, and names are free text
            self.db.execute(
                f"INSERT OR IGNORE INTO main.{STRINGS} SELECT id, {function}(CAST(value AS BLOB)) FROM source.{STRINGS} "  # noqa: S608 - literals
                f"WHERE id IN (SELECT id FROM {into}) AND typeof(id) = 'integer'"
            )
            texts = (
                f"SELECT DISTINCT value FROM main.{STRINGS} WHERE id IN (SELECT id FROM {into}) AND value IS NOT NULL"  # noqa: S608
            )
            self.kept_texts[kind] = [str(text) for (text,) in self.db.execute(texts)]
        if NVTX in self.kept:
            own = self.db.execute(f"SELECT DISTINCT text FROM main.{NVTX} WHERE text IS NOT NULL")  # noqa: S608 - a literal
            self.kept_texts[rules.RANGE_NAMES] += [str(text) for (text,) in own]
        self.strings_dropped = self._count("source", STRINGS) - self._count("main", STRINGS)
        changed = (
            "SELECT count(*) FROM main.StringIds m JOIN source.StringIds s ON s.id = m.id WHERE m.value IS NOT s.value"
        )
        self.texts_changed = int(self.db.execute(changed).fetchone()[0])

    def _count(self, schema: str, table: str) -> int:
        return int(self.db.execute(f"SELECT count(*) FROM {schema}.{quoted(table)} NOT INDEXED").fetchone()[0])  # noqa: S608 - quoted

    def _verify(self, span: subset.Window | None) -> None:
        """The same figures row by row. (What became of the texts is in the copy's StringIds alone.)"""
        for table, wanted in rules.FINGERPRINT.items():
            if table not in self.kept:
                continue
            figures = [c for c in wanted if c in self.columns[table]]
            where, values = self._where(table, span)
            rows = self._compared(table, figures, where, values)
            if rows is None:
                raise TraceError(
                    f"{self.source}: the sanitised copy differs from the source in {table}.",
                    "A column holds text where nsys writes numbers, or please report this. No copy was kept.",
                )
            if table == KERNELS:
                self.kernels = rows

    def _compared(self, table: str, figures: Sequence[str], where: str, values: Sequence[Any]) -> int | None:
        """The number of rows that source and copy have in common; None where one of them differs."""
        numbers = (f"CASE WHEN typeof({c}) IN ('integer', 'real') THEN {c} END" for c in map(quoted, figures))
        picked, name = ", ".join(numbers) or "1", quoted(table)
        source = self.db.execute(f"SELECT {picked} FROM source.{name} NOT INDEXED {where} ORDER BY rowid", values)  # noqa: S608 - quoted
        copy = self.db.execute(f"SELECT {picked} FROM main.{name} NOT INDEXED ORDER BY rowid")  # noqa: S608 - quoted
        expected, n = max(self._count("main", table), 1), 0
        while True:
            part = source.fetchmany(_ROWS_AT_ONCE)
            if part != copy.fetchmany(_ROWS_AT_ONCE):
                return None
            if not part:
                return n
            n += len(part)
            progress.report(f"check of {table}", n / expected)


_STRINGS = {
    rules.KERNEL_NAMES: "scrub",
    rules.RANGE_NAMES: "scrub",
    rules.PAYLOADS: "payload",
    rules.CALL_NAMES: "call_name",
}
"""The SQL function for each kind of text in StringIds."""


def _search(file: Path, identifying: Identifying, source: Path) -> None:
    """Look for every identifying value in the bytes of the finished file: SQLite stores text as UTF-8 or, if the file says so, UTF-16."""
    values = [
        t.lower().encode(code, "surrogatepass")
        for t in identifying.searched
        for code in ("utf-8", "utf-16-le", "utf-16-be")
    ]
    if not values:
        return
    overlap = max(map(len, values))
    before = b""
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            # bytes.find per value: an alternation of many literals is slower in `re` than as many plain searches
            content = before + chunk.lower()
            for value in values:
                if content.find(value) >= 0:
                    raise TraceError(
                        f"{source}: an identifying value of {len(value)} bytes was still in the sanitised copy.",
                        "No copy was kept. Please report this with the nsys version.",
                    )
            before = content[-overlap:]
