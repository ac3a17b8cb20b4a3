"""Reading the events of a trace into frames: kernels, copies, graph launches, API calls, NVTX ranges.

Times are nanoseconds on the trace's own clock. Rows without a valid start and end are left out and counted. What memory a frame takes
matters: columns are taken out of the raw ones as they are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from profiler.errors import TraceError
from profiler.trace.arrays import (
    MAX_NS,
    MISSING,
    PROCESS_MASK,
    Int64Array,
    IntArray,
    categorical,
    difference,
    encode,
    is_constant,
    is_time,
    labelled,
    minus_one_for_missing,
    process_of,
    rows_by_start,
    take,
)  # fmt: skip
from profiler.trace.database import DURATION_BITS, Database
from profiler.trace.nvtx import DOMAIN, KINDS
from profiler.trace.schema import API_CALLS, GPU_WORK, GRAPHS, KERNELS, MEMCPY, MEMSET, NVTX

Columns = dict[str, Any]
"""Columns of a frame by name, of equal length."""

_MAX_COPY_BYTES = 1 << 48
"""256 TiB: no machine has as much memory, so a larger size is damage."""
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

_DAMAGED = "The file is damaged, or was changed after the export. Export the report again."


class EventReader:
    """Reads events; ``warn`` is called with an id and a message for whatever a reader of the figures should know."""

    def __init__(self, database: Database, warn: Callable[[str, str], None]) -> None:
        self._database = database
        self._warn = warn

    # -- GPU work: columns that still lack the API call and the NVTX range around it ------------------------------

    def kernels(self) -> tuple[Columns, IntArray | None]:
        """See :attr:`profiler.trace.Trace.kernels`; and which rows of the table they are, None for all as they are."""
        names = self._name_columns
        raw = self._database.integers(KERNELS, [*_WORK_COLUMNS, "graphNodeId", *names[:2]])
        rows = self._valid(raw, "kernels")
        columns = self._timed(raw, rows)
        columns["name"] = self._names(raw, rows, *names)
        columns["short_name"] = self._names(raw, rows, *sorted(names, key=lambda c: c != "shortName"))
        columns["graph_node_id"] = minus_one_for_missing(take(raw.pop("graphNodeId"), rows))
        return columns, rows

    def kernel_durations(self) -> tuple[dict[int, str], Int64Array] | None:
        """See :meth:`profiler.trace.Trace.kernel_durations`."""
        keys = self._database.packed_durations(KERNELS, "demangledName")
        if keys is None:
            return None
        keys.sort()
        ids = []
        at = 0
        while at < len(keys):
            ids.append(int(keys[at]) >> DURATION_BITS)
            at = int(np.searchsorted(keys, (ids[-1] + 1) << DURATION_BITS))
        names = self._database.strings(np.asarray(ids, dtype=np.int64))
        are_known = len(names) == len(ids) and len(set(names.values())) == len(ids) and all(names.values())
        return (names, keys) if are_known else None

    @property
    def _name_columns(self) -> list[str]:
        """In order of preference; at least one, be it there or not."""
        wanted = ("demangledName", "shortName", "mangledName")
        return [c for c in wanted if self._database.has(KERNELS, c)] or ["demangledName"]

    def kernel_details(self, rows: IntArray) -> Columns:
        """The launch configuration of some rows of the table of kernels."""
        raw = self._database.at(KERNELS, list(_KERNEL_DETAILS), rows)
        return {label: minus_one_for_missing(raw[column]) for column, label in _KERNEL_DETAILS.items()}

    def memory_copies(self) -> Columns:
        raw = self._database.integers(MEMCPY, [*_WORK_COLUMNS, "graphNodeId", "bytes", "copyKind"])
        labels = dict(_MEMCPY_KINDS)
        if self._database.has("ENUM_CUDA_MEMCPY_OPER", "id", "label"):
            labels |= {k: str(v) for k, v in self._database.rows("SELECT id, label FROM ENUM_CUDA_MEMCPY_OPER")}
        rows = self._valid(raw, "memory copies")
        columns = self._memory_operations(raw, rows, "memory copies")
        columns["kind"] = categorical(take(raw["copyKind"], rows), lambda kind: labels.get(kind, "Unknown"))
        return columns

    def memory_sets(self) -> Columns:
        raw = self._database.integers(MEMSET, [*_WORK_COLUMNS, "graphNodeId", "bytes"])
        return self._memory_operations(raw, self._valid(raw, "memory sets"), "memory sets")

    def _memory_operations(self, raw: dict[str, IntArray], rows: IntArray | None, what: str) -> Columns:
        columns = self._timed(raw, rows)
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

    def graph_traces(self) -> Columns:
        raw = self._database.integers(GRAPHS, [*_WORK_COLUMNS, "graphId"])
        rows = self._valid(raw, "graph launches")
        columns = self._timed(raw, rows)
        columns["graph_id"] = minus_one_for_missing(take(raw["graphId"], rows))
        return columns

    # -- the host ------------------------------------------------------------------------------------------------

    def api_calls(self) -> pd.DataFrame:
        """See :attr:`profiler.trace.Trace.api_calls`."""
        raw = self._database.integers(API_CALLS, ["start", "end", "globalTid", "correlationId", "nameId"])
        rows = self._valid(raw, "API calls")
        starts, ends = take(raw.pop("start"), rows), take(raw.pop("end"), rows)
        duration = difference(ends, starts, small=True)
        del ends
        tid = minus_one_for_missing(take(raw.pop("globalTid"), rows))
        columns = {
            "start_ns": starts,
            "duration_ns": duration,
            "name": self._names(raw, rows, "nameId", label=lambda name: _VERSION_SUFFIX.sub("", name)),
            "tid": tid,
            "pid": process_of(tid),
            "correlation_id": minus_one_for_missing(take(raw.pop("correlationId"), rows)),
        }
        return pd.DataFrame(columns, copy=False)

    def nvtx_ranges(self) -> pd.DataFrame:
        """See :attr:`profiler.trace.Trace.nvtx_ranges`."""
        columns = ["start", "end", "eventType", "globalTid", "domainId", "textId", "jsonTextId"]
        kinds = ",".join(str(k) for k in KINDS)
        where = f"eventType IN ({kinds})" if self._database.has(NVTX, "eventType") else ""
        raw = self._database.integers(NVTX, columns, where)
        n = len(raw["start"])
        texts = self._nvtx_texts(where, raw.pop("textId"))
        is_closed = raw["end"] != MISSING
        ends = raw.pop("end")
        if not is_closed.all():
            known = raw["start"][is_time(raw["start"])]
            ends = np.where(is_closed, ends, max(self.span_ns[1] if self.span_ns else 0, int(known.max(initial=0))))
        rows = rows_by_start(raw["start"], is_time(raw["start"]) & is_time(ends) & (ends >= raw["start"]))
        self._count_dropped(n - (n if rows is None else len(rows)), "NVTX ranges")
        tid = minus_one_for_missing(take(raw.pop("globalTid"), rows))
        pid = process_of(tid)
        starts = take(raw.pop("start"), rows)
        frame = pd.DataFrame(
            {
                "start_ns": starts.astype(np.int64, copy=False),
                "end_ns": take(ends, rows).astype(np.int64, copy=False),
                "closed": take(is_closed, rows),
                "text": pd.Categorical.from_codes(take(texts.codes, rows), dtype=texts.dtype),
                "domain": self._domains_of(pid, take(raw.pop("domainId"), rows)),
                "kind": categorical(take(raw.pop("eventType"), rows), lambda kind: KINDS.get(kind, "push/pop")),
                "tid": tid,
                "pid": pid,
                "json_id": minus_one_for_missing(take(raw.pop("jsonTextId"), rows)),
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
        starts, ends = raw["start"], raw["end"]
        good = is_time(starts) & is_time(ends) & (ends >= starts)
        dropped = len(good) - int(np.count_nonzero(good))
        kept = (starts, ends) if not dropped else (starts[good], ends[good])
        if float(np.sum(kept[1].astype(np.int64, copy=False) - kept[0], dtype=np.float64)) > MAX_NS:
            raise TraceError(
                f"{self._database.label}: the durations of {len(kept[0]):,} {what} add up to more than 73 years.",
                _DAMAGED,
            )
        self._count_dropped(dropped, what)
        return rows_by_start(starts, good)

    def _count_dropped(self, n: int, what: str) -> None:
        if n:
            self._warn(
                f"dropped-{what}",
                f"{n:,} {what} have no valid start and end; they are left out of every figure.",
            )

    def _timed(self, raw: dict[str, IntArray], rows: IntArray | None) -> Columns:
        """The columns that all GPU work shares. Takes its own out of ``raw``."""
        starts, ends = (take(raw.pop(c), rows).astype(np.int64, copy=False) for c in ("start", "end"))
        columns: Columns = {"start_ns": starts, "end_ns": ends, "duration_ns": ends - starts}
        for column, name in (
            ("deviceId", "device_id"), ("contextId", "context_id"), ("streamId", "stream_id"), ("globalPid", "pid"),
            ("correlationId", "correlation_id"),
        ):  # fmt: skip
            columns[name] = minus_one_for_missing(take(raw.pop(column), rows))
        return columns

    def _names(
        self,
        raw: dict[str, IntArray],
        rows: IntArray | None,
        *columns: str,
        label: Callable[[str], str] = str,
    ) -> pd.Categorical:
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

    def _nvtx_texts(self, where: str, text_ids: IntArray) -> pd.Categorical:
        """The texts of the rows of a query on NVTX_EVENTS: their own, or the registered one."""
        codes, distinct = encode(text_ids)
        registered = self._database.strings(distinct)
        labels = [registered.get(int(i), "") for i in distinct]
        if not self._database.has(NVTX, "text"):
            return labelled(codes, labels)
        own, texts = self._database.texts(NVTX, "text", where)
        if not texts:
            return labelled(codes, labels)
        # codes of inline texts come after those of the registered ones
        both = np.where(own >= 0, own.astype(np.int32) + len(labels), codes)
        return labelled(both, [*labels, *texts])

    @cached_property
    def _domains(self) -> dict[tuple[int, int], str]:
        """NVTX domain names by process and domain id."""
        if not self._database.has(NVTX, "eventType", "domainId", "globalTid"):
            return {}
        where = f"eventType = {DOMAIN}"
        raw = self._database.integers(NVTX, ["globalTid", "domainId", "textId"], where)
        texts = self._nvtx_texts(where, raw["textId"])
        return {
            (int(t) & PROCESS_MASK, int(d)): str(text) for t, d, text in zip(raw["globalTid"], raw["domainId"], texts)
        }

    def _domains_of(self, pids: IntArray, domains: IntArray) -> pd.Categorical:
        """The domain's name for each range."""
        (pid_codes, pid_values), (codes, values) = encode(pids), encode(domains)
        labels = [self._domains.get((int(p), int(d)), "") for p in pid_values for d in values]
        if is_constant(codes) and is_constant(pid_codes):
            return labelled(codes, labels)
        return labelled(pid_codes.astype(np.int32) * len(values) + codes, labels)
