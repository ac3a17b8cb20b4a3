"""What in an export tells who recorded it and where: found in the tables that say so, and removed from every text.

nsys stores the host and user name, the command line, the working directory, the whole environment, standard output
and the names of every process on the machine. Sanitising copies none of these tables; the values are collected here
all the same, because a value may have strayed into a text that is kept (a diagnostic, an NVTX range).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from profiler.capture.sanitise_rules import FACTS

REMOVED = "…"

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|CRED|AUTH|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)
_PERSON_NAME = re.compile(r"^(HOST|HOSTNAME|USER|USERNAME|LOGNAME|SUDO_USER|COMPUTERNAME|NODENAME)$", re.IGNORECASE)
_NAME_KEYS = ("Hostname", "DEVICE_DISPLAY_NAME", "EXPORT_HOST", "EXPORT_USER", "USER_NAME")
_WHOLE_KEY = re.compile("PARAM_(?:INPUT|OUTPUT|OUTUPT)|SESSION_UUID")  # nsys writes OUTUPT
_PLACE_KEY = re.compile(r"COMMAND|ARGUMENT|WORKING_DIR|PATH|TargetInstallDir|InjectionFilesStoragePath")
_GENERIC_NAMES = frozenset(
    {"root", "user", "admin", "ubuntu", "nvidia", "localhost", "local", "host", "default", "none", "profiler", "python", "unknown", "vm"}
)  # fmt: skip
_VERSION_OR_NUMBER = re.compile(r"^[\d.,:;x\-+ ]*$")
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\(?:[^\\\s\"'<>|]+\\)*([^\\\s\"'<>|]*)")
# Only where a path begins a word, and only below folders that file systems have: ONNX and TensorRT write node names
# as paths too ("/layer3/layer3.0/conv3/Conv").
_POSIX_PATH = re.compile(
    r"(?:\bfile://[^\s\"'<>|,;()\[\]{}]*|(?<![\w./…-])(?:~\w*|/(?:home\d*|root|tmp|opt|usr|var|mnt\w*|srv|etc|proc|Users|"
    r"Volumes|scratch|lustre|gpfs|beegfs|nfs|media|private|workspaces?|data\d*|datasets?|raid|storage|fsx|efs|content|kaggle))/[^\s\"'<>|,;:()\[\]{}]*)"
)
_SHARE_PATH = re.compile(r"(?<![\w\\])\\\\[^\s\\\"'<>|]+\\(?:[^\s\\\"'<>|]+\\)*([^\s\\\"'<>|]*)")
# kind; characters, and how many of them a text has at least that holds one, as most names need no search then; what it looks like
_SUSPICIOUS = (
    (
        "token",
        "",
        0,
        re.compile(r"\b(?:gh[opsu]_|github_pat_|hf_|sk-|xox[abp]-|glpat-|AKIA|ASIA|AIza|eyJ[\w-]{8,}\.)[\w-]{8,}"),
    ),
    (
        "assignment",
        "=:",
        1,
        re.compile(r"(?i:\b(?:pass(?:word|wd)?|secret|token|api_?key|credential)s?)\s*[=:]\s*\S{4,}"),
    ),
    ("email", "@", 1, re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b")),
    ("uuid", "-", 4, re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")),
    ("address", ".", 3, re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")),
    ("address", ":", 5, re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")),
    ("link", ":", 1, re.compile(r"\b\w+://[^\s/]+")),
    (
        "path",
        "/",
        1,
        re.compile(r"(?<![\w./])/[\w./-]+\.(?:py|pt|pth|onnx|engine|plan|so|json|yaml|txt|log|bin|safetensors)\b"),
    ),
    (
        "key",
        "",
        0,
        re.compile(r"(?<![\w+/])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*\d)[A-Za-z0-9+/]{32,}={0,2}(?![\w+/])"),
    ),
)
_MIN_NAME, _MIN_VALUE, _MIN_SECRET, _MIN_ID = 3, 6, 6, 12


@dataclass(frozen=True)
class Identifying:
    """Values that must not be in a sanitised file.

    Attributes:
        values: removed wherever they occur.
        names: of hosts and users; removed as whole words, because they may be as short as a syllable.
    """

    values: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def searched(self) -> tuple[str, ...]:
        """What the finished file is searched for, in any case of letters. Shorter names occur in other words, too."""
        return (*self.values, *(n for n in self.names if len(n) >= _MIN_VALUE))

    @property
    def too_short(self) -> int:
        """How many values were removed from texts, but are too short to be searched for."""
        return len(self.values) + len(self.names) - len(self.searched)


class Scrubber:
    """Removes identifying values and file-system paths from texts."""

    def __init__(self, identifying: Identifying) -> None:
        parts = [re.escape(v) for v in sorted(identifying.values, key=len, reverse=True)]
        parts += [rf"(?<![^\W_]){re.escape(n)}(?![^\W_])" for n in sorted(identifying.names, key=len, reverse=True)]
        self._values = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def text(self, text: str) -> str:
        clean = self._values.sub(REMOVED, text) if self._values else text
        return remove_paths(clean)


def remove_paths(text: str) -> str:
    """Absolute file-system paths shortened to their last part (``/opt/x/libcupti.so`` → ``…/libcupti.so``)."""
    if "/" in text:
        text = _POSIX_PATH.sub(lambda m: f"{REMOVED}/{m.group().rstrip('/').rsplit('/', 1)[-1]}", text)
    if "\\" in text:
        text = _SHARE_PATH.sub(rf"{REMOVED}\\\1", _WINDOWS_PATH.sub(rf"{REMOVED}\\\1", text))
    return text


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed; keys stay."""
    if isinstance(value, dict):
        return {key: map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [map_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def suspicious(text: str) -> str | None:
    """What in a text that is kept looks like a secret, an address or a path: "token", "email" and so on; None where nothing does."""
    for kind, characters, least, pattern in _SUSPICIOUS:
        if sum(map(text.count, characters)) >= least and pattern.search(text):
            return kind
    return None


def find_identifying(db: sqlite3.Connection, schema: str, public: str) -> Identifying:
    """Collect them from an export attached as ``schema``.

    Args:
        public: texts that are kept on purpose (names of GPUs, metrics and API calls): a value found in them identifies nobody.
    """
    values: set[str] = set()
    names: set[str] = set()
    for name, value in _named_values(db, schema):
        key = name.rsplit(":", 1)[-1]
        if key in _NAME_KEYS or _PERSON_NAME.match(key):
            names.add(value)
        elif key in ("ENVIRONMENT_VARIABLE", "DeviceEnvironment"):
            for variable, content in _environment(value):
                _sort_in(variable, content, values, names)
        elif _PLACE_KEY.search(key):
            _sort_in(key, value, values, names)
        elif _WHOLE_KEY.search(key):
            values.add(value)
    for text in _streams(db, schema):
        if "\0" in text:
            for variable, content in _environment(text.replace("\0", ";")):
                _sort_in(variable, content, values, names)
        else:
            values.update(line.strip() for line in text.splitlines() if len(line.strip()) >= _MIN_ID)
    values.update(_gpu_ids(db, schema))
    keep = {v for v in values if len(v) >= _MIN_VALUE and not _VERSION_OR_NUMBER.match(v) and v not in public}
    people = {
        n
        for n in names
        if len(n) >= _MIN_NAME and n.lower() not in _GENERIC_NAMES and not n.isdigit() and n not in public
    }
    return Identifying(tuple(sorted(keep)), tuple(sorted(people)))


def count_removed(db: sqlite3.Connection, schema: str) -> dict[str, int]:
    """How much an export holds of each kind of thing that tells who recorded it and where; kinds of which there is nothing are left out."""
    people, variables, places = (
        "host and user names",
        "environment variables",
        "command lines, folders and options with paths",
    )
    counts = dict.fromkeys((people, variables, places), 0)
    for name, value in _named_values(db, schema):
        key = name.rsplit(":", 1)[-1]
        if key in ("ENVIRONMENT_VARIABLE", "DeviceEnvironment"):
            counts[variables] += max(1, sum(1 for _ in _environment(value)))
        elif key in _NAME_KEYS or _PERSON_NAME.match(key):
            counts[people] += 1
        elif _PLACE_KEY.search(key) or _WHOLE_KEY.search(key):
            counts[places] += 1
    for kind, table, column in (
        ("standard output and error streams", "ProcessStreams", "contentId"),
        ("files that nsys kept", "ANALYSIS_FILE", "filename"),
        ("process names", "PROCESSES", "name"),
        ("thread names", "ThreadNames", "nameId"),
    ):
        if _has(db, schema, table, column):
            counts[kind] = int(db.execute(f"SELECT count({column}) FROM {schema}.{table}").fetchone()[0])  # noqa: S608 - literals
    counts["GPU serial numbers (UUID) and bus locations"] = sum(1 for _ in _gpu_ids(db, schema))
    return {kind: n for kind, n in counts.items() if n}


def _sort_in(name: str, value: str, values: set[str], names: set[str]) -> None:
    """Decide whether a variable's or an option's value identifies anybody; "1", "true" and "xterm" do not."""
    if _PERSON_NAME.match(name):
        names.add(value)
    elif _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET:
        values.add(value)
    for part in re.split(r"[:;,\s\"']+", value):
        if "@" in part or ("/" in part and part.count("/") >= 2) or "\\" in part:
            values.add(part.rstrip("/"))
        elif len(part) >= _MIN_ID and re.search(r"\d", part) and re.search(r"[A-Za-z]", part):
            values.add(part)


def _environment(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip(), value.strip().strip('"')


def _named_values(db: sqlite3.Connection, schema: str) -> Iterator[tuple[str, str]]:
    for table in FACTS:
        if _has(db, schema, table, "name", "value"):
            yield from ((str(n), str(v)) for n, v in db.execute(f"SELECT name, value FROM {schema}.{table}") if v)  # noqa: S608 - literals


def _streams(db: sqlite3.Connection, schema: str) -> Iterator[str]:
    """What the program printed, in both tables that hold it, and environments kept as NUL-separated strings."""
    texts: Iterable[tuple[object]] = ()
    if _has(db, schema, "ProcessStreams", "contentId") and _has(db, schema, "StringIds", "id", "value"):
        texts = db.execute(
            f"SELECT s.value FROM {schema}.ProcessStreams p JOIN {schema}.StringIds s ON s.id IN (p.contentId, p.filenameId) "  # noqa: S608
            f"UNION SELECT value FROM {schema}.StringIds WHERE instr(value, char(0)) > 0"
        ).fetchall()
    yield from (str(t[0]) for t in texts)
    for column in ("filename", "content"):
        if _has(db, schema, "ANALYSIS_FILE", column):
            rows = db.execute(f"SELECT {column} FROM {schema}.ANALYSIS_FILE")  # noqa: S608 - literals
            yield from (str(text) for (text,) in rows if isinstance(text, str))


def _gpu_ids(db: sqlite3.Connection, schema: str) -> Iterator[str]:
    for column in ("uuid", "busLocation"):
        if _has(db, schema, "TARGET_INFO_GPU", column):
            yield from (
                str(v)
                for (v,) in db.execute(f"SELECT {column} FROM {schema}.TARGET_INFO_GPU")  # noqa: S608 - literals
                if v and re.search(r"[1-9a-f]", str(v), re.IGNORECASE)
            )


def _has(db: sqlite3.Connection, schema: str, table: str, *columns: str) -> bool:
    return {r[1] for r in db.execute(f"PRAGMA {schema}.table_info({table})")}.issuperset(columns)
