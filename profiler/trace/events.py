"""The events of a trace as tables of columns: kernels, copies, graph launches, API calls, NVTX ranges.

Times are nanoseconds on the trace's own clock. Rows without a valid start and end are left out and counted. What memory a frame takes
matters: columns are taken out of the raw ones as they are made, and those that few need are read when they are asked for.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.errors import TraceError
from profiler.lazy import cached_property
from profiler.trace.arrays import (
    MAX_NS,
    MISSING,
    Int64Array,
    IntArray,
    difference,
    encode,
    is_constant,
    is_time,
    minus_one_for_missing,
    process_of,
    sort,
    take,
    timed_rows,
)  # fmt: skip
from profiler.trace.columns import Labels, Table, categorical, labelled
from profiler.trace.database import DURATION_BITS, Database
from profiler.trace.launches import match_launches, ranges_around
from profiler.trace.nvtx import KINDS, NvtxIndex
from profiler.trace.nvtx_rows import is_range, read_ranges
from profiler.trace.schema import API_CALLS, GPU_WORK, GRAPHS, KERNELS, MEMCPY, MEMSET, NVTX

Columns = dict[str, Any]
"""Columns of a table by name, of equal length."""
Later = Callable[[Table], Columns]

_MAX_COPY_BYTES = 1 << 48
"""256 TiB: no machine has as much memory, so a larger size is damage."""
_VERSION_SUFFIX = re.compile(r"_v\d+$|_ptsz$|_ptds$")
# CUpti_ActivityMemcpyKind; used where the export lacks its own table of labels
_MEMCPY_KINDS = {
    0: "Unknown", 1: "Host-to-Device", 2: "Device-to-Host", 3: "Host-to-Array", 4: "Array-to-Host", 5: "Array-to-Array",
    6: "Array-to-Device", 7: "Device-to-Array", 8: "Device-to-Device", 9: "Host-to-Host", 10: "Peer-to-Peer",
}  # fmt: skip
# what all GPU work has in common
_TIMED = ("start", "end")
_PLACED = {"deviceId": "device_id", "contextId": "context_id", "streamId": "stream_id"}
_LAUNCHED = {"globalPid": "pid", "correlationId": "correlation_id"}
_WORK_COLUMNS = (*_TIMED, *_PLACED, *_LAUNCHED)
_KERNEL_COLUMNS = (
    "start_ns", "end_ns", "duration_ns", "device_id", "context_id", "stream_id", "pid", "correlation_id", "name", "short_name",
    "graph_node_id",
)  # fmt: skip
_FEW_ROWS = 5_000
_KERNEL_DETAILS = {
    "registersPerThread": "registers", "gridX": "grid_x", "gridY": "grid_y", "gridZ": "grid_z", "blockX": "block_x",
    "blockY": "block_y", "blockZ": "block_z", "staticSharedMemory": "static_shared_bytes",
    "dynamicSharedMemory": "dynamic_shared_bytes",
}  # fmt: skip

_DAMAGED = "The file is damaged, or was changed after the export. Export the report again."


@dataclass(frozen=True)
class PackedDurations:
    """Durations of all kernels by name.

    Attributes:
        names, short_names: the demangled names, each with that without signature.
        counts: kernels of each name.
        durations_ns: the durations, name by name in that order, each name's by size.
        first_ns, last_ns: start of the first kernel and end of the last.
    """

    names: list[str]
    short_names: list[str]
    counts: Int64Array
    durations_ns: Int64Array
    first_ns: int
    last_ns: int


class Events:
    """Tables of events, each read on first use. :class:`profiler.trace.Trace` has them as frames and says which columns they hold.

    Args:
        warn: called with an id and a message for whatever a reader of the figures should know.

    Attributes:
        all_at_once: columns that most verbs ask for, but not all, are read with the others: a pass over a large table costs more than
            a column. Where it is off they are read when they are asked for.
    """

    def __init__(self, database: Database, warn: Callable[[str, str], None]) -> None:
        self._database = database
        self._warn = warn
        self.all_at_once = True
        self._kernel_rows: IntArray | None = None
        self._call_rows: IntArray | None = None
        """Which rows of the tables the kernels and the calls are; None for all as they are."""

    # -- GPU work ------------------------------------------------------------------------------------------------

    @cached_property
    def kernels(self) -> Table:
        names = self._name_columns
        ahead = {"deviceId": "device_id"} if self.all_at_once else {}
        raw = self._database.integers(KERNELS, [*_TIMED, *_LAUNCHED, *ahead, names[0]])
        self._kernel_rows = rows = self._valid(raw, "kernels")
        columns = self._timed(raw, rows, small=True)
        columns["name"] = self._names(raw, rows, *names)
        columns |= self._columns(raw, rows, ahead)
        del columns["end_ns"]  # memory: few ask for it
        me = weakref.proxy(self)  # the table must not keep what keeps it
        later: dict[tuple[str, ...], Later] = {
            ("end_ns",): lambda t: {"end_ns": t["start_ns"] + t["duration_ns"]},
            ("context_id", "stream_id", "short_name", "graph_node_id"): lambda t: me._places(),
        }
        if not ahead:
            later["device_id",] = lambda t: me._again(KERNELS, "deviceId", "device_id", me._kernel_rows)
        return self._work(columns, _KERNEL_COLUMNS, later)

    def _places(self) -> Columns:
        """What few ask of kernels: where they ran."""
        names = sorted(self._name_columns, key=lambda c: c != "shortName")
        wanted = {"contextId": "context_id", "streamId": "stream_id", "graphNodeId": "graph_node_id"}
        raw = self._database.integers(KERNELS, [*wanted, names[0]])
        rows = self._kernel_rows
        columns = self._columns(raw, rows, wanted)
        return {**columns, "short_name": self._names(raw, rows, *names)}

    def short_names(self, rows: IntArray) -> list[str]:
        """The names without signature of some kernels."""
        names = sorted(self._name_columns, key=lambda c: c != "shortName")
        if len(rows) > _FEW_ROWS:
            return [self.kernels["short_name"].at(int(row)) for row in rows]
        raw = self._database.at(KERNELS, names, rows if self._kernel_rows is None else self._kernel_rows[rows])
        return self._names(raw, None, *names).to_list()

    def kernel_durations(self) -> PackedDurations | None:
        """Of every kernel its name and duration and nothing else: much less to read than :attr:`kernels`.

        None where the table is small or holds something that :attr:`kernels` has to look at.
        """
        read = self._database.packed_durations(KERNELS, "demangledName")
        if read is None:
            return None
        keys, first, last = read
        sort(keys)
        ids, ends = [], []
        at = 0
        while at < len(keys):
            ids.append(int(keys[at]) >> DURATION_BITS)
            at = int(np.searchsorted(keys, (ids[-1] + 1) << DURATION_BITS))
            ends.append(at)
        names = self._database.strings(np.asarray(ids, dtype=np.int64))
        are_known = len(names) == len(ids) and len(set(names.values())) == len(ids) and all(names.values())
        keys &= (1 << DURATION_BITS) - 1
        counts = np.asarray(ends, dtype=np.int64) - np.asarray([0, *ends[:-1]], dtype=np.int64)
        if not are_known or float(np.sum(keys, dtype=np.float64)) > MAX_NS:
            return None
        short = self._short_names_of(ids)
        texts = self._database.strings(np.asarray([*short.values()], dtype=np.int64))
        others = [texts.get(short.get(i, MISSING)) or names[i] for i in ids]
        return PackedDurations([names[i] for i in ids], others, counts, keys, first, last)

    def _short_names_of(self, ids: list[int]) -> dict[int, int]:
        """The ids of the short names of demangled names: most are among the first kernels."""
        bounds = self._database.rowids(KERNELS)
        if bounds is None or not self._database.has(KERNELS, "shortName"):
            return {}
        found: dict[int, int] = {}
        for where in (f"rowid < {bounds[0] + _FEW_ROWS}", "demangledName IN ({})"):
            left = ",".join(str(i) for i in ids if i not in found)
            if left:
                sql = f"SELECT demangledName, shortName, min(rowid) FROM {KERNELS} NOT INDEXED WHERE {where.format(left)} GROUP BY 1"  # noqa: S608 - whole numbers
                found = {int(i): int(s) for i, s, _ in self._database.rows(sql) if isinstance(s, int)} | found
        return found

    @property
    def _name_columns(self) -> list[str]:
        """In order of preference; at least one, be it there or not."""
        wanted = ("demangledName", "shortName", "mangledName")
        return [c for c in wanted if self._database.has(KERNELS, c)] or ["demangledName"]

    def kernel_details(self, rows: IntArray) -> Columns:
        """The launch configuration of some kernels."""
        _ = self.kernels  # which rows of the table they are
        places = rows if self._kernel_rows is None else self._kernel_rows[rows]
        raw = self._database.at(KERNELS, list(_KERNEL_DETAILS), places)
        return {label: minus_one_for_missing(raw[column]) for column, label in _KERNEL_DETAILS.items()}

    @cached_property
    def memcpys(self) -> Table:
        raw = self._database.integers(MEMCPY, [*_WORK_COLUMNS, "graphNodeId", "bytes", "copyKind"])
        labels = dict(_MEMCPY_KINDS)
        if self._database.has("ENUM_CUDA_MEMCPY_OPER", "id", "label"):
            labels |= {k: str(v) for k, v in self._database.rows("SELECT id, label FROM ENUM_CUDA_MEMCPY_OPER")}
        rows = self._valid(raw, "memory copies")
        columns = self._memory_operations(raw, rows, "memory copies")
        columns["kind"] = categorical(take(raw["copyKind"], rows), lambda kind: labels.get(kind, "Unknown"))
        return self._work(columns)

    @cached_property
    def memsets(self) -> Table:
        raw = self._database.integers(MEMSET, [*_WORK_COLUMNS, "graphNodeId", "bytes"])
        return self._work(self._memory_operations(raw, self._valid(raw, "memory sets"), "memory sets"))

    def _memory_operations(self, raw: dict[str, IntArray], rows: IntArray | None, what: str) -> Columns:
        columns = self._timed(raw, rows) | self._columns(raw, rows, _PLACED)
        columns["bytes"] = self._sizes(take(raw["bytes"], rows).astype(np.int64, copy=False), what)
        columns["graph_node_id"] = minus_one_for_missing(take(raw["graphNodeId"], rows))
        return columns

    def _sizes(self, sizes: Int64Array, what: str) -> Int64Array:
        """Sizes in bytes, 0 where none is known.

        Raises:
            TraceError: they add up to more than 64 bits hold, so no sum of them would be right.
        """
        impossible = ((sizes < 0) & (sizes != MISSING)) | (sizes > _MAX_COPY_BYTES)
        n = int(np.count_nonzero(impossible))
        if n:
            sizes = np.where(impossible, 0, sizes)
            self._warn(
                f"sizes-{what}",
                f"{n:,} {what} have an impossible size (negative, or more than 256 TiB); their bytes are left out of every sum.",
            )
        sizes = np.maximum(sizes, 0)
        if float(np.sum(sizes, dtype=np.float64)) > MAX_NS:
            raise TraceError(
                f"{self._database.label}: the sizes of {len(sizes):,} {what} add up to more than two exabytes.",
                _DAMAGED,
            )
        return sizes

    @cached_property
    def graph_traces(self) -> Table:
        raw = self._database.integers(GRAPHS, [*_WORK_COLUMNS, "graphId"])
        rows = self._valid(raw, "graph launches")
        return self._work(self._timed(raw, rows) | self._columns(raw, rows, {**_PLACED, "graphId": "graph_id"}))

    def match_launches(self) -> None:
        """Find the launches of all work, and give up the correlation ids of which they are found: much memory that few ask for again."""
        for work in (self.kernels, self.graph_traces, self.memcpys, self.memsets):
            _ = work["api_call"]
        me, rows = weakref.proxy(self), self._call_rows
        self.kernels.forget(
            "correlation_id", lambda t: me._again(KERNELS, "correlationId", "correlation_id", me._kernel_rows)
        )
        self.api_calls.forget("correlation_id", lambda t: me._again(API_CALLS, "correlationId", "correlation_id", rows))

    def _again(self, table: str, column: str, name: str, rows: IntArray | None) -> Columns:
        """A column by itself, under the name that it has here."""
        return self._columns(self._database.integers(table, [column]), rows, {column: name})

    def _work(
        self, columns: Columns, order: Sequence[str] = (), later: Mapping[tuple[str, ...], Later] | None = None
    ) -> Table:
        """GPU work with two more columns: ``api_call``, the row of the call that launched it, and ``nvtx``, the row of the innermost
        range around that call; -1 where there is none."""
        me = weakref.proxy(self)
        attribution: dict[tuple[str, ...], Later] = {
            ("api_call",): lambda t: {"api_call": match_launches(t["pid"], t["correlation_id"], me.api_calls)},
            ("nvtx",): lambda t: {"nvtx": ranges_around(t["api_call"], me.api_calls, me.nvtx_index)},
        }
        return Table(columns, {**(later or {}), **attribution}, [*(order or columns), "api_call", "nvtx"])

    # -- the host ------------------------------------------------------------------------------------------------

    @cached_property
    def api_calls(self) -> Table:
        ahead = ["nameId"] if self.all_at_once else []
        raw = self._database.integers(API_CALLS, ["start", "end", "globalTid", "correlationId", *ahead])
        self._call_rows = rows = self._valid(raw, "API calls")
        starts, ends = take(raw.pop("start"), rows), take(raw.pop("end"), rows)
        duration = difference(ends, starts, small=True)
        del ends
        tid = minus_one_for_missing(take(raw.pop("globalTid"), rows))
        columns = {
            "start_ns": starts,
            "duration_ns": duration,
            "tid": tid,
            "pid": process_of(tid),
            "correlation_id": minus_one_for_missing(take(raw.pop("correlationId"), rows)),
        }
        me = weakref.proxy(self)
        order = ("start_ns", "duration_ns", "name", "tid", "pid", "correlation_id")
        if ahead:
            return Table(columns | {"name": self._call_names(raw, rows)}, order=order)
        return Table(columns, {("name",): lambda t: {"name": me._call_names(None, rows)}}, order)

    def _call_names(self, raw: dict[str, IntArray] | None, rows: IntArray | None) -> Labels:
        raw = raw or self._database.integers(API_CALLS, ["nameId"])
        return self._names(raw, rows, "nameId", label=lambda name: _VERSION_SUFFIX.sub("", name))

    @cached_property
    def nvtx_ranges(self) -> Table:
        ahead = {"jsonTextId": "json_id"} if self.all_at_once else {}
        read = read_ranges(self._database, ["start", "end", "eventType", "globalTid", "domainId", *ahead])
        raw = read.columns
        is_closed = raw["end"] != MISSING
        ends = raw.pop("end")
        if not is_closed.all():
            known = raw["start"][is_time(raw["start"])]
            ends = np.where(is_closed, ends, max(self.span_ns[1] if self.span_ns else 0, int(known.max(initial=0))))
        rows, dropped, _ = timed_rows(raw["start"], ends)
        self._count_dropped(dropped, "NVTX ranges")
        tid = minus_one_for_missing(take(raw.pop("globalTid"), rows))
        pid = process_of(tid)
        starts = take(raw.pop("start"), rows)
        columns: Columns = {
            "start_ns": starts.astype(np.int64, copy=False),
            "end_ns": take(ends, rows).astype(np.int64, copy=False),
            "closed": take(is_closed, rows),
            "text": read.texts.take(rows),
            "domain": self._domains_of(pid, take(raw.pop("domainId"), rows), read.domains),
            "kind": categorical(take(raw.pop("eventType"), rows), lambda kind: KINDS.get(kind, "push/pop")),
            "tid": tid,
            "pid": pid,
        }
        n_open = int((~columns["closed"]).sum())
        if n_open:
            self._warn(
                "nvtx-open",
                f"{n_open:,} NVTX ranges were still open when the recording ended; they are taken to end with it.",
            )
        columns |= self._columns(raw, rows, ahead)
        me = weakref.proxy(self)
        return Table(columns, {} if ahead else {("json_id",): lambda t: me._payload_ids(rows)})

    def _payload_ids(self, rows: IntArray | None) -> Columns:
        raw = self._database.integers(NVTX, ["jsonTextId"], is_range(self._database))
        return self._columns(raw, rows, {"jsonTextId": "json_id"})

    @cached_property
    def nvtx_index(self) -> NvtxIndex:
        return NvtxIndex.build(self.nvtx_ranges)

    @cached_property
    def span_ns(self) -> tuple[int, int] | None:
        """From the first start to the last end of GPU work and API calls; None without any."""
        starts, ends = [], []
        for table in (*GPU_WORK, API_CALLS):
            if self._database.has(table, "start", "end"):
                low, high = self._database.rows(
                    f'SELECT min("start"), max("end") FROM {table} '  # noqa: S608 - literals only
                    'WHERE "start" BETWEEN ? AND ? AND "end" BETWEEN "start" AND ?',
                    (-MAX_NS, MAX_NS, MAX_NS),
                )[0]
                starts += [low] if isinstance(low, int) else []
                ends += [high] if isinstance(high, int) else []
        return (min(starts), max(ends)) if starts and ends else None

    # -- what events have in common ------------------------------------------------------------------------------

    def _valid(self, raw: dict[str, IntArray], what: str) -> IntArray | None:
        """Rows with a start and an end in order, sorted by start; None when that is all rows as they are.

        Raises:
            TraceError: the durations add up to more than 64 bits hold, so no sum of them would be right.
        """
        rows, dropped, total = timed_rows(raw["start"], raw["end"])
        if total > MAX_NS:
            raise TraceError(
                f"{self._database.label}: the durations of {len(raw['start']) - dropped:,} {what} add up to more than 73 years.",
                _DAMAGED,
            )
        self._count_dropped(dropped, what)
        return rows

    def _count_dropped(self, n: int, what: str) -> None:
        if n:
            self._warn(
                f"dropped-{what}",
                f"{n:,} {what} have no valid start and end; they are left out of every figure.",
            )

    def _timed(self, raw: dict[str, IntArray], rows: IntArray | None, small: bool = False) -> Columns:
        """The times and the launch of GPU work. Takes its own out of ``raw``."""
        starts, ends = (take(raw.pop(c), rows).astype(np.int64, copy=False) for c in ("start", "end"))
        columns: Columns = {"start_ns": starts, "end_ns": ends, "duration_ns": difference(ends, starts, small)}
        return columns | self._columns(raw, rows, _LAUNCHED)

    @staticmethod
    def _columns(raw: dict[str, IntArray], rows: IntArray | None, names: Mapping[str, str]) -> Columns:
        """Columns under the names that they have here, -1 for NULL. Takes them out of ``raw``."""
        return {name: minus_one_for_missing(take(raw.pop(column), rows)) for column, name in names.items()}

    def _names(
        self,
        raw: dict[str, IntArray],
        rows: IntArray | None,
        *columns: str,
        label: Callable[[str], str] = str,
    ) -> Labels:
        """The first of the columns' StringIds texts that is there."""
        ids = take(raw[columns[0]], rows)
        for column in columns[1:]:
            if not (ids == MISSING).any():
                break
            if column not in raw:  # the mangled name is rarely needed
                raw |= self._database.integers(KERNELS, [column])
            ids = np.where(ids == MISSING, take(raw[column], rows), ids)
        codes, distinct = encode(ids)
        texts = self._database.strings(distinct)

        def text_of(i: int) -> str:
            known = texts.get(i)
            return (
                label(known)
                if known
                else "(no name)"
                if i == MISSING or i in texts
                else f"(name {i} is not in StringIds)"
            )

        return labelled(codes, [text_of(int(i)) for i in distinct])

    @staticmethod
    def _domains_of(pids: IntArray, domains: IntArray, names: Mapping[tuple[int, int], str]) -> Labels:
        """The domain's name for each range."""
        (pid_codes, pid_values), (codes, values) = encode(pids), encode(domains)
        labels = [names.get((int(p), int(d)), "") for p in pid_values for d in values]
        if is_constant(codes) and is_constant(pid_codes):
            return labelled(codes, labels)
        return labelled(pid_codes.astype(np.int32) * len(values) + codes, labels)
