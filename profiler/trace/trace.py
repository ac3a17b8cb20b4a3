"""The Trace: kernels, launches, NVTX ranges, copies, graphs and metrics of one nsys export, as frames.

Times are nanoseconds on the trace's own clock. Every frame is built on first use and kept. The trace is opened
read-only and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.errors import TraceError
from profiler.trace import files
from profiler.trace.bulk import MISSING, IntArray, encoded, is_constant, taken
from profiler.trace.database import DURATION_BITS, Database
from profiler.trace.excerpt import Excerpt, excerpt_of, is_large
from profiler.trace.gpu_metrics import GpuMetrics
from profiler.trace.nvtx import DOMAIN, KINDS, NvtxIndex
from profiler.trace.session import Session, read_session

Int64Array = npt.NDArray[np.int64]

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
API_CALLS = "CUPTI_ACTIVITY_KIND_RUNTIME"  # runtime and driver API
MEMCPY = "CUPTI_ACTIVITY_KIND_MEMCPY"
MEMSET = "CUPTI_ACTIVITY_KIND_MEMSET"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
NVTX = "NVTX_EVENTS"

_CHUNK = 1 << 20
_PROCESS_MASK = ~0xFFFFFF  # a globalTid without its low 24 bits is the globalPid
_MAX_NS = 2**61  # 73 years: a time beyond is a mark for "none" or damage
_VERSION_SUFFIX = re.compile(r"_v\d+$|_ptsz$|_ptds$")
# CUpti_ActivityMemcpyKind; used where the export lacks its own table of labels
_MEMCPY_KINDS = {
    0: "Unknown", 1: "Host-to-Device", 2: "Device-to-Host", 3: "Host-to-Array", 4: "Array-to-Host", 5: "Array-to-Array",
    6: "Array-to-Device", 7: "Device-to-Array", 8: "Device-to-Device", 9: "Host-to-Host", 10: "Peer-to-Peer",
}  # fmt: skip
# what all GPU work has in common
_WORK_COLUMNS = ("start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid")
_KERNEL_DETAILS = {
    "registersPerThread": "registers", "gridX": "grid_x", "gridY": "grid_y", "gridZ": "grid_z", "blockX": "block_x",
    "blockY": "block_y", "blockZ": "block_z", "staticSharedMemory": "static_shared_bytes",
    "dynamicSharedMemory": "dynamic_shared_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class TraceWarning:
    """Something in the file that a reader of the figures should know."""

    id: str
    message: str


def open_trace(path: str | Path, excerpt: bool = False) -> Trace:
    """Open a trace: an nsys SQLite export (plain, .xz, .zst, .gz) or a native report where nsys is installed.

    Args:
        excerpt: of a very large trace, open the middle only (see :mod:`profiler.trace.excerpt`).

    Raises:
        TraceError: it is not there, not a trace, damaged or changed; the message says which.
        MissingToolError: a native report and no nsys.
    """
    trace = Trace(files.prepare(Path(path)))
    if not excerpt:
        return trace
    try:
        made = excerpt_of(trace.file, trace.database)
    except BaseException:
        trace.close()
        raise
    if made is None:
        return trace
    trace.close()
    return Trace(*made)


class Trace:
    """One recording. A context manager; closing it removes what was unpacked for it."""

    def __init__(self, file: files.TraceFile, excerpt: Excerpt | None = None) -> None:
        self.file, self.path = file, file.source
        self.excerpt = excerpt
        self.how_opened = file.how
        self._cleanup = file.keep_until_gone(self)
        self._warnings: dict[str, TraceWarning] = {}
        try:
            self.database = Database(file.database, str(file.source), immutable=file.write_ahead_log)
            self._check_it_is_nsys()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
        self._cleanup()

    @property
    def label(self) -> str:
        """The file's name with its folder's: run folders hold files of the same name."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.parent.name else self.path.name

    def __repr__(self) -> str:
        return f"Trace({str(self.path)!r})"

    def _check_it_is_nsys(self) -> None:
        tables = self.database.tables
        known = (
            "StringIds",
            "META_DATA_EXPORT",
            "ANALYSIS_DETAILS",
            NVTX,
            KERNELS,
            API_CALLS,
            GRAPHS,
            MEMCPY,
        )
        if not any(t in tables for t in known):
            listed = ", ".join(sorted(tables)[:6])[:200] or "none at all"
            raise TraceError(
                f"{self.path}: an SQLite database, but not an nsys export: its tables are {listed}.",
                f"Expected tables such as {KERNELS} and StringIds. Export with: nsys export --type sqlite REPORT.nsys-rep",
            )

    # -- facts -----------------------------------------------------------------------------------------------

    @cached_property
    def session(self) -> Session:
        return read_session(self.database)

    @cached_property
    def gpu_metrics(self) -> GpuMetrics:
        return GpuMetrics.discover(self.database)

    @property
    def warnings(self) -> tuple[TraceWarning, ...]:
        """What was noticed so far, and what can be told without reading more."""
        found = dict(self._warnings)
        if self.excerpt is not None:
            found["excerpt"] = TraceWarning("excerpt", self.excerpt.statement)
        reason = self.no_kernels_reason
        if reason:
            found["no-kernels"] = TraceWarning("no-kernels", reason)
        elif self.graph_level_only or self.has_hidden_graph_kernels:
            found["graph-level"] = TraceWarning("graph-level", self.graph_level_message)
        if self.session.holds_environment:
            found["environment"] = TraceWarning(
                "environment",
                "The trace holds the environment or the command line of the traced program; mind that before you share it.",
            )
        dropped = [d.text for d in self.session.diagnostics if d.severity == "error" or "dropped" in d.text.lower()]
        for n, text in enumerate(dropped[:5]):
            found[f"nsys-{n}"] = TraceWarning("nsys", f"nsys reported: {' '.join(text.split())[:300]}")
        return tuple(found.values())

    def _warn(self, warning_id: str, message: str) -> None:
        self._warnings[warning_id] = TraceWarning(warning_id, message)

    @cached_property
    def kernel_count(self) -> int:
        return self.database.count(KERNELS)

    @cached_property
    def is_large(self) -> bool:
        """Whether the file holds so much that an excerpt of it can be opened instead."""
        return self.excerpt is not None or is_large(self.database)

    @cached_property
    def graph_trace_count(self) -> int:
        """Launches of CUDA graphs that were recorded as one event each, without their kernels."""
        return self.database.count(GRAPHS)

    @property
    def graph_level_only(self) -> bool:
        """All GPU work was recorded as whole graphs: there is no kernel to count."""
        return self.graph_trace_count > 0 and self.database.is_empty(KERNELS)

    @property
    def has_hidden_graph_kernels(self) -> bool:
        """Some GPU work was recorded as whole graphs, so any count of kernels is too low."""
        return self.graph_trace_count > 0

    @property
    def graph_level_message(self) -> str:
        return (
            f"{self.label}: {self.graph_trace_count:,} CUDA graph launches were recorded as single events "
            "(--cuda-graph-trace=graph): the kernels inside them are not in the trace, so they cannot be counted. "
            "Record again with: nsys profile --cuda-graph-trace=node …"
        )

    @cached_property
    def no_kernels_reason(self) -> str | None:
        """Why there is no kernel in the trace; None when there is one."""
        if not self.database.is_empty(KERNELS):
            return None
        if self.graph_level_only:
            return self.graph_level_message
        name = self.label
        for diagnostic in self.session.diagnostics:
            if "protected memory" in diagnostic.text.lower():
                return (
                    f"{name}: no kernels: nsys reported “{' '.join(diagnostic.text.split())[:200]}”. In that mode (confidential "
                    "computing) the GPU does not let CUPTI record kernels; trace on a machine without it."
                )
        calls, copies, ranges = (
            self.database.count(API_CALLS),
            self.database.count(MEMCPY),
            self.database.count(NVTX),
        )
        if copies:
            return (
                f"{name}: no kernels: {copies:,} memory copies were recorded, but no kernel ran while nsys was collecting. "
                "Widen the capture range."
            )
        if calls:
            return (
                f"{name}: no kernels: {calls:,} CUDA API calls were recorded, but no kernel. Either none was launched in the "
                "capture range, or CUPTI could not record: see the diagnostics in the trace."
            )
        if self.session.options.get("COLLECT_CUDA_TRACE") == "false":
            return f"{name}: no kernels: CUDA was not traced. Record again with: nsys profile -t cuda,nvtx …"
        if ranges:
            return (
                f"{name}: no kernels: only NVTX ranges were recorded. Record again with -t cuda,nvtx, and check that the "
                "program really ran on a GPU."
            )
        return (
            f"{name}: no kernels and no CUDA calls: the program did not use a GPU while nsys was collecting, or CUDA was "
            "not traced (-t cuda)."
        )

    @cached_property
    def device_used(self) -> int | None:
        """The device with most kernels (without any: with most graph launches), of equals the first; None without GPU work."""
        work = self.kernels if len(self.kernels) else self.graph_traces
        codes, devices = encoded(work["device_id"].to_numpy())
        return (
            int(devices[np.argmax([np.count_nonzero(codes == c) for c in range(len(devices))])]) if len(work) else None
        )

    # -- events ----------------------------------------------------------------------------------------------

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """Kernels in order of their start.

        Columns: ``start_ns``, ``end_ns``, ``duration_ns``, ``name`` (demangled, categorical), ``short_name``
        (categorical), ``device_id``, ``context_id``, ``stream_id``, ``pid`` (nsys's globalPid), ``correlation_id``,
        ``graph_node_id`` (-1: not from a graph), ``api_call`` (row of :attr:`api_calls`, -1: not recorded),
        ``nvtx`` (row of the innermost push/pop range around the launch, -1: none). Grid, block, registers and shared memory are
        read on demand: :meth:`kernel_details`.
        """
        name_columns = self._name_columns
        _ = self.nvtx_index, self.api_calls  # before the kernels, as their making takes more memory than they do
        raw = self.database.integers(KERNELS, [*_WORK_COLUMNS, "graphNodeId", *name_columns[:2]])
        self.__dict__.setdefault("kernel_count", len(raw["start"]))
        rows = self._valid(raw, "kernels")
        self._kernel_rows = rows
        columns = self._timed(raw, rows)
        columns["name"] = self._names(raw, rows, *name_columns)
        columns["short_name"] = self._names(raw, rows, *sorted(name_columns, key=lambda c: c != "shortName"))
        columns["graph_node_id"] = _or_minus_one(taken(raw.pop("graphNodeId"), rows))
        raw.clear()
        return self._attributed(columns)

    def kernel_durations(self) -> tuple[dict[int, str], Int64Array] | None:
        """Of every kernel its name and duration and nothing else, for statistics of large traces: much less to read than :attr:`kernels`.

        Returns:
            The demangled names by id, and ``id << DURATION_BITS | duration_ns`` a kernel, in no particular order. None where the
            table is small or holds something that :attr:`kernels` has to look at.
        """
        keys = self.database.packed_durations(KERNELS, "demangledName")
        if keys is None:
            return None
        keys.sort()
        ids = []
        at = 0
        while at < len(keys):
            ids.append(int(keys[at]) >> DURATION_BITS)
            at = int(np.searchsorted(keys, (ids[-1] + 1) << DURATION_BITS))
        names = self.database.strings(np.asarray(ids, dtype=np.int64))
        are_known = len(names) == len(ids) and len(set(names.values())) == len(ids) and all(names.values())
        return (names, keys) if are_known else None

    @property
    def _name_columns(self) -> list[str]:
        """In order of preference; at least one, be it there or not."""
        wanted = ("demangledName", "shortName", "mangledName")
        return [c for c in wanted if self.database.has(KERNELS, c)] or ["demangledName"]

    def kernel_details(self, rows: Int64Array) -> pd.DataFrame:
        """Launch configuration of some rows of :attr:`kernels`, in their order.

        Columns: ``registers``, ``grid_x`` … ``block_z``, ``static_shared_bytes``, ``dynamic_shared_bytes``; -1 where it is not recorded.
        """
        frame = self.kernels
        places = np.asarray(rows, dtype=np.int64)
        raw = self.database.at(
            KERNELS, list(_KERNEL_DETAILS), places if self._kernel_rows is None else self._kernel_rows[places]
        )
        columns = {label: _or_minus_one(raw[column]) for column, label in _KERNEL_DETAILS.items()}
        return pd.DataFrame(columns, index=frame.index[places])

    @cached_property
    def memcpys(self) -> pd.DataFrame:
        """Memory copies: the time, stream and launch columns of :attr:`kernels`, ``bytes`` and ``kind`` (a label)."""
        raw = self.database.integers(MEMCPY, [*_WORK_COLUMNS, "graphNodeId", "bytes", "copyKind"])
        labels = dict(_MEMCPY_KINDS)
        if self.database.has("ENUM_CUDA_MEMCPY_OPER", "id", "label"):
            labels |= {k: str(v) for k, v in self.database.rows("SELECT id, label FROM ENUM_CUDA_MEMCPY_OPER")}
        rows = self._valid(raw, "memory copies")
        columns = self._memory_operations(raw, rows)
        columns["kind"] = _categorical(taken(raw["copyKind"], rows), lambda kind: labels.get(kind, "Unknown"))
        return self._attributed(columns)

    @cached_property
    def memsets(self) -> pd.DataFrame:
        """Memory sets: the time, stream and launch columns of :attr:`kernels`, and ``bytes``."""
        raw = self.database.integers(MEMSET, [*_WORK_COLUMNS, "graphNodeId", "bytes"])
        return self._attributed(self._memory_operations(raw, self._valid(raw, "memory sets")))

    def _memory_operations(self, raw: dict[str, IntArray], rows: IntArray | None) -> dict[str, Any]:
        columns = self._timed(raw, rows)
        columns["bytes"] = np.maximum(taken(raw["bytes"], rows).astype(np.int64, copy=False), 0)
        columns["graph_node_id"] = _or_minus_one(taken(raw["graphNodeId"], rows))
        return columns

    @cached_property
    def graph_traces(self) -> pd.DataFrame:
        """CUDA graph launches recorded as single events: the time, stream and launch columns of :attr:`kernels`."""
        raw = self.database.integers(GRAPHS, [*_WORK_COLUMNS, "graphId"])
        rows = self._valid(raw, "graph launches")
        columns = self._timed(raw, rows)
        columns["graph_id"] = _or_minus_one(taken(raw["graphId"], rows))
        return self._attributed(columns)

    @cached_property
    def api_calls(self) -> pd.DataFrame:
        """CUDA API calls by start.

        Columns: ``start_ns``, ``duration_ns`` (the end is their sum), ``name`` (version suffix removed), ``tid``, ``pid``,
        ``correlation_id``.
        """
        raw = self.database.integers(API_CALLS, ["start", "end", "globalTid", "correlationId", "nameId"])
        rows = self._valid(raw, "API calls")
        starts, ends = taken(raw.pop("start"), rows), taken(raw.pop("end"), rows)
        duration = _difference(ends, starts, small=True)
        del ends
        tid = _or_minus_one(taken(raw.pop("globalTid"), rows))
        columns = {
            "start_ns": starts,
            "duration_ns": duration,
            "name": self._names(raw, rows, "nameId", label=lambda name: _VERSION_SUFFIX.sub("", name)),
            "tid": tid,
            "pid": _process_of(tid),
            "correlation_id": _or_minus_one(taken(raw.pop("correlationId"), rows)),
        }
        return pd.DataFrame(columns, copy=False)

    @cached_property
    def nvtx_ranges(self) -> pd.DataFrame:
        """NVTX ranges by start: ``start_ns``, ``end_ns``, ``closed``, ``text``, ``domain``, ``kind``, ``tid``, ``pid``, ``json_id``.

        An open range (``closed`` False) is given the end of the trace. ``json_id`` is the StringIds id of its payload.
        """
        columns = ["start", "end", "eventType", "globalTid", "domainId", "textId", "jsonTextId"]
        kinds = ",".join(str(k) for k in KINDS)
        where = f"eventType IN ({kinds})" if self.database.has(NVTX, "eventType") else ""
        raw = self.database.integers(NVTX, columns, where)
        n = len(raw["start"])
        texts = self._nvtx_texts(where, raw.pop("textId"))
        is_closed = raw["end"] != MISSING
        ends = raw.pop("end")
        if not is_closed.all():
            known = raw["start"][_is_time(raw["start"])]
            ends = np.where(is_closed, ends, max(self.last_ns, int(known.max(initial=0))))
        rows = _in_order(raw["start"], _is_time(raw["start"]) & _is_time(ends) & (ends >= raw["start"]))
        self._count_dropped(n - (n if rows is None else len(rows)), "NVTX ranges")
        tid = _or_minus_one(taken(raw.pop("globalTid"), rows))
        pid = _process_of(tid)
        starts = taken(raw.pop("start"), rows)
        frame = pd.DataFrame(
            {
                "start_ns": starts.astype(np.int64, copy=False),
                "end_ns": taken(ends, rows).astype(np.int64, copy=False),
                "closed": taken(is_closed, rows),
                "text": pd.Categorical.from_codes(taken(texts.codes, rows), dtype=texts.dtype),
                "domain": self._domains_of(pid, taken(raw.pop("domainId"), rows)),
                "kind": _categorical(taken(raw.pop("eventType"), rows), lambda kind: KINDS.get(kind, "push/pop")),
                "tid": tid,
                "pid": pid,
                "json_id": _or_minus_one(taken(raw.pop("jsonTextId"), rows)),
            },
            copy=False,
        )
        n_open = int((~frame["closed"]).sum())
        if n_open:
            self._warn(
                "nvtx-open",
                f"{n_open:,} NVTX ranges were still open when the recording ended; they are taken to end with it.",
            )
        return frame

    @cached_property
    def nvtx_index(self) -> NvtxIndex:
        return NvtxIndex.build(self.nvtx_ranges)

    def nvtx_path(self, row: int) -> tuple[str, ...]:
        """Texts of the push/pop ranges from the outermost down to ``row`` of :attr:`nvtx_ranges`; empty for -1."""
        texts = self.nvtx_ranges["text"]
        return tuple(str(texts.iloc[r]) for r in self.nvtx_index.path(row))

    def payloads(self, json_ids: Int64Array) -> dict[int, str]:
        """NVTX payload texts by their StringIds id."""
        return self.database.strings(json_ids[json_ids != -1])

    @cached_property
    def nvtx_range_count(self) -> int:
        if not self.database.has(NVTX, "eventType"):
            return self.database.count(NVTX)
        return self.database.count(NVTX, f"eventType IN ({','.join(map(str, KINDS))})")

    @cached_property
    def api_call_count(self) -> int:
        return self.database.count(API_CALLS)

    @cached_property
    def span_ns(self) -> tuple[int, int] | None:
        """From the first start to the last end of GPU work and API calls; None without any."""
        starts, ends = [], []
        for table in (KERNELS, MEMCPY, MEMSET, GRAPHS, API_CALLS):
            if self.database.has(table, "start", "end"):
                low, high = self.database.rows(
                    f'SELECT min("start"), max("end") FROM {table} '  # noqa: S608 - literals only
                    'WHERE "start" BETWEEN ? AND ? AND "end" BETWEEN "start" AND ?',
                    (-_MAX_NS, _MAX_NS, _MAX_NS),
                )[0]
                starts += [low] if isinstance(low, int) else []
                ends += [high] if isinstance(high, int) else []
        return (min(starts), max(ends)) if starts and ends else None

    @property
    def last_ns(self) -> int:
        return self.span_ns[1] if self.span_ns else 0

    def release(self, *frames: str) -> None:
        """Forget frames that were read, such as "nvtx_ranges"; they are read again when they are asked for."""
        for name in frames:
            self.__dict__.pop(name, None)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _valid(self, raw: dict[str, IntArray], what: str) -> IntArray | None:
        """Rows with a start and an end in order, sorted by start; None when that is all rows as they are.

        Raises:
            TraceError: the durations add up to more than 64 bits hold, so no sum of them would be right.
        """
        starts, ends = raw["start"], raw["end"]
        good = _is_time(starts) & _is_time(ends) & (ends >= starts)
        dropped = len(good) - int(np.count_nonzero(good))
        kept = (starts, ends) if not dropped else (starts[good], ends[good])
        if float(np.sum(kept[1].astype(np.int64, copy=False) - kept[0], dtype=np.float64)) > _MAX_NS:
            raise TraceError(
                f"{self.path}: the durations of {len(kept[0]):,} {what} add up to more than 73 years.",
                "The file is damaged, or was changed after the export. Export the report again.",
            )
        self._count_dropped(dropped, what)
        return _in_order(starts, good)

    def _count_dropped(self, n: int, what: str) -> None:
        if n:
            self._warn(
                f"dropped-{what}",
                f"{n:,} {what} have no valid start and end; they are left out of every figure.",
            )

    def _timed(self, raw: dict[str, IntArray], rows: IntArray | None) -> dict[str, Any]:
        """The columns that all GPU work shares. Takes its own out of ``raw``."""
        starts, ends = (taken(raw.pop(c), rows).astype(np.int64, copy=False) for c in ("start", "end"))
        columns: dict[str, Any] = {"start_ns": starts, "end_ns": ends, "duration_ns": ends - starts}
        for column, name in (
            ("deviceId", "device_id"), ("contextId", "context_id"), ("streamId", "stream_id"), ("globalPid", "pid"),
            ("correlationId", "correlation_id"),
        ):  # fmt: skip
            columns[name] = _or_minus_one(taken(raw.pop(column), rows))
        return columns

    def _names(
        self,
        raw: dict[str, IntArray],
        rows: IntArray | None,
        *columns: str,
        label: Callable[[str], str] = str,
    ) -> pd.Categorical:
        """The first of the columns' StringIds texts that is there."""
        ids = taken(raw[columns[0]], rows)
        for column in columns[1:]:
            if not (ids == MISSING).any():
                break
            if column not in raw:  # the mangled name is rarely needed
                raw |= self.database.integers(KERNELS, [column])
            ids = np.where(ids == MISSING, taken(raw[column], rows), ids)
        codes, distinct = encoded(ids)
        texts = self.database.strings(distinct)

        def text_of(i: int) -> str:
            known = texts.get(i)
            return (
                label(known)
                if known
                else "(no name)"
                if i == MISSING or i in texts
                else f"(name {i} is not in StringIds)"
            )

        return _from_labels(codes, [text_of(int(i)) for i in distinct])

    def _attributed(self, columns: dict[str, Any]) -> pd.DataFrame:
        """Add ``api_call`` and ``nvtx``: the call with the same correlation id in the same process, and the range around it."""
        calls = self.api_calls
        launched = match_launches(columns["pid"], columns["correlation_id"], calls)
        columns["api_call"] = launched
        inner = np.full(len(launched), -1, dtype=np.int32)
        if len(calls) and len(self.nvtx_ranges):
            tids, starts = calls["tid"].to_numpy(), calls["start_ns"].to_numpy()
            for at in range(0, len(launched), _CHUNK):  # in pieces: a trace has tens of millions
                part = launched[at : at + _CHUNK]
                safe = np.maximum(part, 0)
                found = self.nvtx_index.innermost(taken(tids, safe), starts[safe])
                inner[at : at + _CHUNK] = np.where(part >= 0, found, -1)
        columns["nvtx"] = inner
        return pd.DataFrame(columns, copy=False)

    def _nvtx_texts(self, where: str, text_ids: IntArray) -> pd.Categorical:
        """The texts of the rows of a query on NVTX_EVENTS: their own, or the registered one."""
        codes, distinct = encoded(text_ids)
        registered = self.database.strings(distinct)
        labels = [registered.get(int(i), "") for i in distinct]
        if not self.database.has(NVTX, "text"):
            return _from_labels(codes, labels)
        own, texts = self.database.texts(NVTX, "text", where)
        if not texts:
            return _from_labels(codes, labels)
        # codes of inline texts come after those of the registered ones
        both = np.where(own >= 0, own.astype(np.int32) + len(labels), codes)
        return _from_labels(both, [*labels, *texts])

    @cached_property
    def _domains(self) -> dict[tuple[int, int], str]:
        """NVTX domain names by process and domain id."""
        if not self.database.has(NVTX, "eventType", "domainId", "globalTid"):
            return {}
        where = f"eventType = {DOMAIN}"
        raw = self.database.integers(NVTX, ["globalTid", "domainId", "textId"], where)
        texts = self._nvtx_texts(where, raw["textId"])
        return {
            (int(t) & _PROCESS_MASK, int(d)): str(text) for t, d, text in zip(raw["globalTid"], raw["domainId"], texts)
        }

    def _domains_of(self, pids: IntArray, domains: IntArray) -> pd.Categorical:
        """The domain's name for each range."""
        (pid_codes, pid_values), (codes, values) = encoded(pids), encoded(domains)
        labels = [self._domains.get((int(p), int(d)), "") for p in pid_values for d in values]
        if is_constant(codes) and is_constant(pid_codes):
            return _from_labels(codes, labels)
        return _from_labels(pid_codes.astype(np.int32) * len(values) + codes, labels)


def _is_time(values: IntArray) -> npt.NDArray[np.bool_]:
    """Whether each is a time that a recording can have: present, and such that no difference of two overflows."""
    return (values >= -_MAX_NS) & (values <= _MAX_NS)


def _or_minus_one(values: IntArray) -> IntArray:
    if is_constant(values):
        return np.broadcast_to(np.int64(-1), len(values)) if values[0] == MISSING else values
    if values.dtype != np.int64:
        return values
    found = np.where(values == MISSING, -1, values)
    limits = np.iinfo(np.int32)
    is_small = len(found) and found.min() >= limits.min and found.max() <= limits.max
    return found.astype(np.int32) if is_small else found


def _difference(ends: IntArray, starts: IntArray, small: bool = False) -> IntArray:
    """``ends - starts``; as int32 where that is asked for and possible."""
    found = ends.astype(np.int64, copy=False) - starts
    return found.astype(np.int32) if small and found.max(initial=0) <= np.iinfo(np.int32).max else found


def _process_of(tids: IntArray) -> IntArray:
    if is_constant(tids):
        return np.broadcast_to(np.int64(-1 if tids[0] == -1 else int(tids[0]) & _PROCESS_MASK), len(tids))
    return np.where(tids == -1, -1, tids.astype(np.int64, copy=False) & _PROCESS_MASK)


def _in_order(starts: IntArray, good: npt.NDArray[np.bool_]) -> IntArray | None:
    """The good rows by start; None when that is all rows as they are."""
    rows = None if good.all() else np.flatnonzero(good)
    kept = starts if rows is None else starts[rows]
    if len(kept) < 2 or is_constant(kept) or (kept[1:] >= kept[:-1]).all():
        return rows
    order = np.argsort(kept, kind="stable")
    return order if rows is None else rows[order]


def _from_labels(codes: IntArray, labels: list[str]) -> pd.Categorical:
    """Categorical of ``labels[code]``, where several codes may have the same label. Unused labels are left out."""
    places: dict[str, int] = {}
    remap = np.full(max(len(labels), 1), -1, dtype=np.int64)
    used = np.zeros(max(len(labels), 1), dtype=bool)
    for at in range(0, len(codes), _CHUNK):
        used[codes[at : at + _CHUNK]] = True
    for code in np.flatnonzero(used):
        remap[code] = places.setdefault(labels[code], len(places))
    kind = np.int8 if len(places) < 128 else np.int16 if len(places) < 32_768 else np.int32
    remap = remap.astype(kind)
    made: npt.NDArray[np.integer[Any]] = np.empty(len(codes), dtype=kind)
    for at in range(0, len(codes), _CHUNK):
        made[at : at + _CHUNK] = remap[codes[at : at + _CHUNK]]
    return pd.Categorical.from_codes(made, categories=pd.Index(list(places), dtype=object))


def _categorical(values: IntArray, label: Callable[[int], str]) -> pd.Categorical:
    codes, distinct = encoded(values)
    return _from_labels(codes, [label(int(v)) for v in distinct])


def match_launches(work_pids: IntArray, correlation_ids: IntArray, calls: pd.DataFrame) -> npt.NDArray[np.int32]:
    """For each piece of GPU work the row of the API call that launched it, or -1.

    Correlation ids are unique within a process only, so both must agree. Where a file lacks the process of the work
    (or of the calls) and only one process made calls, the correlation id alone decides.
    """
    found = np.full(len(work_pids), -1, dtype=np.int32)
    if not len(work_pids) or not len(calls):
        return found
    call_pids, call_ids = calls["pid"].to_numpy(), calls["correlation_id"].to_numpy()
    processes = call_pids[:1] if is_constant(call_pids) else np.unique(call_pids)
    if (_all_are(work_pids, -1) or _all_are(call_pids, -1)) and len(processes) == 1:
        _match(found, None, correlation_ids, None, call_ids)
        return found
    for pid in processes:
        mine = None if _all_are(work_pids, pid) else np.flatnonzero(work_pids == pid)
        theirs = None if len(processes) == 1 else np.flatnonzero(call_pids == pid)
        _match(found, mine, correlation_ids, theirs, call_ids)
    return found


def _all_are(values: IntArray, value: int) -> bool:
    return bool(values[0] == value) if is_constant(values) else bool((values == value).all())


def _match(
    found: npt.NDArray[np.int32], mine: IntArray | None, ids: IntArray, theirs: IntArray | None, call_ids: IntArray
) -> None:
    """Fill ``found`` for the work ``mine``: the first of the calls ``theirs`` with the same correlation id. None: all rows."""
    wanted, offered = taken(ids, mine), taken(call_ids, theirs)
    order = None
    if not (offered[1:] >= offered[:-1]).all():  # one thread counts them up
        order = np.argsort(offered, kind="stable")
        offered = offered[order]
    for at in range(0, len(wanted), _CHUNK):
        part = wanted[at : at + _CHUNK]
        place = np.minimum(np.searchsorted(offered, part), len(offered) - 1)  # of equal ids the first
        rows = place if order is None else order[place]
        rows = rows if theirs is None else theirs[rows]
        rows = np.where((offered[place] == part) & (part != -1), rows, -1)
        found[slice(at, at + len(part)) if mine is None else mine[at : at + _CHUNK]] = rows
