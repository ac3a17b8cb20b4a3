"""The Trace: kernels, launches, NVTX ranges, copies, graphs and metrics of one nsys export, as frames.

Times are nanoseconds on the trace's own clock. Every frame is built on first use and kept. The trace is opened
read-only and never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pandas as pd

from profiler.errors import TraceError
from profiler.trace import files
from profiler.trace.database import MISSING, Database
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


def open_trace(path: str | Path) -> Trace:
    """Open a trace: an nsys SQLite export (plain, .xz, .zst, .gz) or a native report where nsys is installed.

    Raises:
        TraceError: it is not there, not a trace, damaged or changed; the message says which.
        MissingToolError: a native report and no nsys.
    """
    return Trace(files.prepare(Path(path)))


class Trace:
    """One recording. A context manager; closing it removes what was unpacked for it."""

    def __init__(self, file: files.TraceFile) -> None:
        self.path = file.source
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
    def graph_trace_count(self) -> int:
        """Launches of CUDA graphs that were recorded as one event each, without their kernels."""
        return self.database.count(GRAPHS)

    @property
    def graph_level_only(self) -> bool:
        """All GPU work was recorded as whole graphs: there is no kernel to count."""
        return self.graph_trace_count > 0 and self.kernel_count == 0

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
        if self.kernel_count:
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

    # -- events ----------------------------------------------------------------------------------------------

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """Kernels in order of their start.

        Columns: ``start_ns``, ``end_ns``, ``duration_ns``, ``name`` (demangled, categorical), ``short_name``
        (categorical), ``device_id``, ``context_id``, ``stream_id``, ``pid`` (nsys's globalPid), ``correlation_id``,
        ``graph_node_id`` (-1: not from a graph), ``api_call`` (row of :attr:`api_calls`, -1: not recorded),
        ``nvtx`` (row of the innermost push/pop range around the launch, -1: none), grid, block, registers, shared
        memory.
        """
        name_columns = [c for c in ("demangledName", "shortName", "mangledName") if self.database.has(KERNELS, c)]
        raw = self.database.integers(
            KERNELS,
            [*_WORK_COLUMNS, "graphNodeId", *_KERNEL_DETAILS, *name_columns],
        )
        frame = self._timed(raw, "kernels")
        keep = frame.index.to_numpy()
        frame["name"] = self._names(raw, keep, *name_columns)
        frame["short_name"] = self._names(
            raw, keep, *(c for c in ("shortName", "demangledName", "mangledName") if c in name_columns)
        )
        frame["graph_node_id"] = _or_minus_one(raw["graphNodeId"][keep])
        for column, label in _KERNEL_DETAILS.items():
            frame[label] = _or_minus_one(raw[column][keep])
        return self._attributed(frame)

    @cached_property
    def memcpys(self) -> pd.DataFrame:
        """Memory copies: the time, stream and launch columns of :attr:`kernels`, ``bytes`` and ``kind`` (a label)."""
        raw = self.database.integers(MEMCPY, [*_WORK_COLUMNS, "graphNodeId", "bytes", "copyKind"])
        labels = dict(_MEMCPY_KINDS)
        if self.database.has("ENUM_CUDA_MEMCPY_OPER", "id", "label"):
            labels |= {k: str(v) for k, v in self.database.rows("SELECT id, label FROM ENUM_CUDA_MEMCPY_OPER")}
        frame = self._memory_operations(raw, "memory copies")
        kinds = raw["copyKind"][frame.index.to_numpy()]
        frame["kind"] = pd.Categorical([labels.get(int(k), "Unknown") for k in kinds])
        return self._attributed(frame)

    @cached_property
    def memsets(self) -> pd.DataFrame:
        """Memory sets: the time, stream and launch columns of :attr:`kernels`, and ``bytes``."""
        raw = self.database.integers(MEMSET, [*_WORK_COLUMNS, "graphNodeId", "bytes"])
        return self._attributed(self._memory_operations(raw, "memory sets"))

    def _memory_operations(self, raw: dict[str, Int64Array], what: str) -> pd.DataFrame:
        frame = self._timed(raw, what)
        keep = frame.index.to_numpy()
        frame["bytes"] = np.maximum(raw["bytes"][keep], 0)
        frame["graph_node_id"] = _or_minus_one(raw["graphNodeId"][keep])
        return frame

    @cached_property
    def graph_traces(self) -> pd.DataFrame:
        """CUDA graph launches recorded as single events: the time, stream and launch columns of :attr:`kernels`."""
        raw = self.database.integers(GRAPHS, [*_WORK_COLUMNS, "graphId"])
        frame = self._timed(raw, "graph launches")
        frame["graph_id"] = _or_minus_one(raw["graphId"][frame.index.to_numpy()])
        return self._attributed(frame)

    @cached_property
    def api_calls(self) -> pd.DataFrame:
        """CUDA API calls by start.

        Columns: ``start_ns``, ``end_ns``, ``duration_ns``, ``name`` (version suffix removed), ``tid``, ``pid``,
        ``correlation_id``.
        """
        raw = self.database.integers(API_CALLS, ["start", "end", "globalTid", "correlationId", "nameId"])
        keep = self._valid(raw, "API calls")
        names = self._names(raw, keep, "nameId")
        tid = _or_minus_one(raw["globalTid"][keep])
        frame = pd.DataFrame(
            {
                "start_ns": raw["start"][keep],
                "end_ns": raw["end"][keep],
                "duration_ns": raw["end"][keep] - raw["start"][keep],
                "name": pd.Categorical([_VERSION_SUFFIX.sub("", n) for n in names]),
                "tid": tid,
                "pid": np.where(tid == -1, -1, tid & _PROCESS_MASK),
                "correlation_id": _or_minus_one(raw["correlationId"][keep]),
            }
        )
        return frame.reset_index(drop=True)

    @cached_property
    def nvtx_ranges(self) -> pd.DataFrame:
        """NVTX ranges by start: ``start_ns``, ``end_ns``, ``closed``, ``text``, ``domain``, ``kind``, ``tid``, ``pid``, ``json_id``.

        An open range (``closed`` False) is given the end of the trace. ``json_id`` is the StringIds id of its payload.
        """
        columns = ["start", "end", "eventType", "globalTid", "domainId", "textId", "jsonTextId"]
        kinds = ",".join(str(k) for k in KINDS)
        where = f"eventType IN ({kinds})" if self.database.has(NVTX, "eventType") else ""
        raw = self.database.integers(NVTX, columns, where)
        texts = self._nvtx_texts(where, len(raw["start"]), raw["textId"])
        is_closed = raw["end"] != MISSING
        known = raw["start"][_is_time(raw["start"])]
        ends = np.where(is_closed, raw["end"], max(self.last_ns, int(known.max(initial=0))))
        keep = np.flatnonzero(_is_time(raw["start"]) & _is_time(ends) & (ends >= raw["start"]))
        keep = keep[np.argsort(raw["start"][keep], kind="stable")]
        self._count_dropped(len(raw["start"]) - len(keep), "NVTX ranges")
        tid = _or_minus_one(raw["globalTid"][keep])
        domains = self._domains
        pids = np.where(tid == -1, -1, tid & _PROCESS_MASK)
        frame = pd.DataFrame(
            {
                "start_ns": raw["start"][keep],
                "end_ns": ends[keep],
                "closed": is_closed[keep],
                "text": pd.Categorical([texts[i] for i in keep]),
                "domain": pd.Categorical(
                    [domains.get((int(p), int(d)), "") for p, d in zip(pids, raw["domainId"][keep])]
                ),
                "kind": pd.Categorical([KINDS.get(int(k), "push/pop") for k in raw["eventType"][keep]]),
                "tid": tid,
                "pid": pids,
                "json_id": _or_minus_one(raw["jsonTextId"][keep]),
            }
        )
        n_open = int((~frame["closed"]).sum())
        if n_open:
            self._warn(
                "nvtx-open",
                f"{n_open:,} NVTX ranges were still open when the recording ended; they are taken to end with it.",
            )
        return frame.reset_index(drop=True)

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

    # -- helpers ---------------------------------------------------------------------------------------------

    def _valid(self, raw: dict[str, Int64Array], what: str) -> Int64Array:
        """Rows with a start and an end in order, sorted by start.

        Raises:
            TraceError: the durations add up to more than 64 bits hold, so no sum of them would be right.
        """
        starts, ends = raw["start"], raw["end"]
        keep = np.flatnonzero(_is_time(starts) & _is_time(ends) & (ends >= starts))
        if float(np.sum(ends[keep] - starts[keep], dtype=np.float64)) > _MAX_NS:
            raise TraceError(
                f"{self.path}: the durations of {len(keep):,} {what} add up to more than 73 years.",
                "The file is damaged, or was changed after the export. Export the report again.",
            )
        self._count_dropped(len(starts) - len(keep), what)
        return keep[np.argsort(raw["start"][keep], kind="stable")]

    def _count_dropped(self, n: int, what: str) -> None:
        if n:
            self._warn(
                f"dropped-{what}",
                f"{n:,} {what} have no valid start and end; they are left out of every figure.",
            )

    def _timed(self, raw: dict[str, Int64Array], what: str) -> pd.DataFrame:
        """The columns that all GPU work shares; the index holds the row numbers in ``raw``."""
        keep = self._valid(raw, what)
        return pd.DataFrame(
            {
                "start_ns": raw["start"][keep],
                "end_ns": raw["end"][keep],
                "duration_ns": raw["end"][keep] - raw["start"][keep],
                "device_id": _or_minus_one(raw["deviceId"][keep]),
                "context_id": _or_minus_one(raw["contextId"][keep]),
                "stream_id": _or_minus_one(raw["streamId"][keep]),
                "pid": _or_minus_one(raw["globalPid"][keep]),
                "correlation_id": _or_minus_one(raw["correlationId"][keep]),
            },
            index=keep,
        )

    def _names(self, raw: dict[str, Int64Array], keep: Int64Array, *columns: str) -> pd.Categorical:
        """The first of the columns' StringIds texts that is there."""
        n = len(keep)
        ids = np.full(n, MISSING, dtype=np.int64)
        for column in columns:
            ids = np.where(ids == MISSING, raw[column][keep], ids)
        unique, codes = np.unique(ids, return_inverse=True)
        texts = self.database.strings(unique)
        labels = [
            texts.get(int(i)) or ("(no name)" if i == MISSING or int(i) in texts else f"(name {i} is not in StringIds)")
            for i in unique
        ]
        categories = list(dict.fromkeys(labels))
        place = {label: k for k, label in enumerate(categories)}
        remap = np.asarray([place[label] for label in labels], dtype=np.int64)
        places = remap[codes] if n else codes.astype(np.int64)
        return pd.Categorical.from_codes(places, categories=pd.Index(categories, dtype=object))

    def _attributed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add ``api_call`` and ``nvtx``: the call with the same correlation id in the same process, and the range around it."""
        frame = frame.reset_index(drop=True)
        calls = self.api_calls
        frame["api_call"] = _match_launches(frame, calls)
        frame["nvtx"] = np.full(len(frame), -1, dtype=np.int64)
        known = np.flatnonzero(frame["api_call"].to_numpy() >= 0)
        if len(known) and len(self.nvtx_ranges):
            at = frame["api_call"].to_numpy()[known]
            inner = self.nvtx_index.innermost(calls["tid"].to_numpy()[at], calls["start_ns"].to_numpy()[at])
            frame.loc[known, "nvtx"] = inner
        return frame

    def _nvtx_texts(self, where: str, n: int, text_ids: Int64Array) -> list[str]:
        registered = self.database.strings(text_ids)
        if not self.database.has(NVTX, "text"):
            inline: list[tuple[object, ...]] = [(None,)] * n
        else:
            inline = list(self.database.rows(f"SELECT text FROM {NVTX} {f'WHERE {where}' if where else ''}"))  # noqa: S608 - literals only
        return [str(own[0]) if own[0] is not None else registered.get(int(i), "") for own, i in zip(inline, text_ids)]

    @cached_property
    def _domains(self) -> dict[tuple[int, int], str]:
        """NVTX domain names by process and domain id."""
        if not self.database.has(NVTX, "eventType", "domainId", "globalTid"):
            return {}
        where = f"eventType = {DOMAIN}"
        raw = self.database.integers(NVTX, ["globalTid", "domainId", "textId"], where)
        texts = self._nvtx_texts(where, len(raw["domainId"]), raw["textId"])
        return {(int(t) & _PROCESS_MASK, int(d)): text for t, d, text in zip(raw["globalTid"], raw["domainId"], texts)}


def _is_time(values: Int64Array) -> npt.NDArray[np.bool_]:
    """Whether each is a time that a recording can have: present, and such that no difference of two overflows."""
    return (values >= -_MAX_NS) & (values <= _MAX_NS)


def _or_minus_one(values: Int64Array) -> Int64Array:
    return np.where(values == MISSING, -1, values)


def _match_launches(work: pd.DataFrame, calls: pd.DataFrame) -> Int64Array:
    """For each piece of GPU work the row of the API call that launched it, or -1.

    Correlation ids are unique within a process only, so both must agree. Where a file lacks the process of the work
    (or of the calls) and only one process made calls, the correlation id alone decides.
    """
    found = np.full(len(work), -1, dtype=np.int64)
    if not len(work) or not len(calls):
        return found
    work_pid, call_pid = work["pid"].to_numpy(), calls["pid"].to_numpy()
    if ((work_pid == -1).all() or (call_pid == -1).all()) and len(np.unique(call_pid)) == 1:
        work_pid, call_pid = np.full(len(work), -1), np.full(len(calls), -1)
    left = pd.DataFrame({"pid": work_pid, "correlation_id": work["correlation_id"].to_numpy()})
    right = pd.DataFrame(
        {"pid": call_pid, "correlation_id": calls["correlation_id"].to_numpy(), "row": np.arange(len(calls))}
    )
    right = right[right["correlation_id"] != -1].drop_duplicates(["pid", "correlation_id"])
    merged = left.merge(right, how="left", on=["pid", "correlation_id"], sort=False)
    return merged["row"].fillna(-1).to_numpy(dtype=np.int64)
