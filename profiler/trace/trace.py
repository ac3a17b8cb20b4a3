"""The Trace: kernels, launches, NVTX ranges, copies, graphs and metrics of one nsys export, as frames.

Times are nanoseconds on the trace's own clock. Every frame is built on first use and kept; :attr:`Trace.events` has the same as NumPy
columns, without pandas. The trace is opened read-only and never changed.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from profiler.errors import TraceError
from profiler.lazy import cached_property
from profiler.trace import diagnosis, files
from profiler.trace.arrays import Int64Array, encode
from profiler.trace.database import Database
from profiler.trace.diagnosis import TraceWarning
from profiler.trace.events import Events
from profiler.trace.excerpt import Excerpt, excerpt_of, is_large
from profiler.trace.gpu_metrics import GpuMetrics
from profiler.trace.nvtx import KINDS, NvtxIndex
from profiler.trace.schema import API_CALLS, GRAPHS, KERNELS, MEMCPY, NVTX
from profiler.trace.session import Session, read_session

if TYPE_CHECKING:
    import pandas as pd


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
        self._noticed: dict[str, str] = {}
        try:
            self.database = Database(file.database, str(file.source), immutable=file.write_ahead_log)
            self._check_it_is_nsys()
            self.events = Events(self.database, self._noticed.__setitem__)
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
        """What was noticed so far, and what can be said without reading more."""
        excerpt = self.excerpt.statement if self.excerpt else None
        hidden = self.graph_level_message if self.has_hidden_graph_kernels else None
        metrics = self.__dict__.get("gpu_metrics")  # only if they were read
        noticed = {**self._noticed, **(metrics.problems if metrics is not None else {})}
        return diagnosis.collect(noticed, self.session, excerpt, self.no_kernels_reason, hidden)

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
        return diagnosis.graph_level_message(self.label, self.graph_trace_count)

    @cached_property
    def no_kernels_reason(self) -> str | None:
        """Why there is no kernel in the trace; None when there is one."""
        return diagnosis.no_kernels_reason(self.database, self.session, self.label)

    @cached_property
    def device_used(self) -> int | None:
        """The device with most kernels (without any: with most graph launches), of equals the first; None without GPU work."""
        work = self.events.kernels if len(self.events.kernels) else self.events.graph_traces
        codes, devices = encode(work["device_id"])
        return (
            int(devices[np.argmax([np.count_nonzero(codes == c) for c in range(len(devices))])]) if len(work) else None
        )

    # -- events ----------------------------------------------------------------------------------------------

    @property
    def kernels(self) -> pd.DataFrame:
        """Kernels in order of their start.

        Columns: ``start_ns``, ``end_ns``, ``duration_ns``, ``name`` (demangled, categorical), ``short_name``
        (categorical), ``device_id``, ``context_id``, ``stream_id``, ``pid`` (nsys's globalPid), ``correlation_id``,
        ``graph_node_id`` (-1: not from a graph), ``api_call`` (row of :attr:`api_calls`, -1: not recorded),
        ``nvtx`` (row of the innermost push/pop range around the launch, -1: none). Grid, block, registers and shared memory are
        read on demand: :meth:`kernel_details`.
        """
        return self.events.kernels.frame()

    def kernel_details(self, rows: Int64Array) -> pd.DataFrame:
        """Launch configuration of some rows of :attr:`kernels`, in their order.

        Columns: ``registers``, ``grid_x`` … ``block_z``, ``static_shared_bytes``, ``dynamic_shared_bytes``; -1 where it is not recorded.
        """
        import pandas as pd  # noqa: PLC0415 - for frames only

        return pd.DataFrame(self.events.kernel_details(np.asarray(rows, dtype=np.int64)), index=rows)

    @property
    def memcpys(self) -> pd.DataFrame:
        """Memory copies: the time, stream and launch columns of :attr:`kernels`, ``bytes`` (0: not recorded) and ``kind`` (a label)."""
        return self.events.memcpys.frame()

    @property
    def memsets(self) -> pd.DataFrame:
        """Memory sets: the time, stream and launch columns of :attr:`kernels`, and ``bytes`` (0: not recorded)."""
        return self.events.memsets.frame()

    @property
    def graph_traces(self) -> pd.DataFrame:
        """CUDA graph launches recorded as single events: the time, stream and launch columns of :attr:`kernels`, and ``graph_id``."""
        return self.events.graph_traces.frame()

    @property
    def api_calls(self) -> pd.DataFrame:
        """CUDA API calls by start.

        Columns: ``start_ns``, ``duration_ns`` (the end is their sum), ``name`` (version suffix removed), ``tid``, ``pid``,
        ``correlation_id``.
        """
        return self.events.api_calls.frame()

    @property
    def nvtx_ranges(self) -> pd.DataFrame:
        """NVTX ranges by start: ``start_ns``, ``end_ns``, ``closed``, ``text``, ``domain``, ``kind``, ``tid``, ``pid``, ``json_id``.

        An open range (``closed`` False) is given the end of the trace. ``json_id`` is the StringIds id of its payload.
        """
        return self.events.nvtx_ranges.frame()

    @property
    def nvtx_index(self) -> NvtxIndex:
        return self.events.nvtx_index

    def nvtx_path(self, row: int) -> tuple[str, ...]:
        """Texts of the push/pop ranges from the outermost down to ``row`` of :attr:`nvtx_ranges`; empty for -1."""
        texts = self.events.nvtx_ranges["text"]
        return tuple(texts.at(r) for r in self.nvtx_index.path(row))

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

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """From the first start to the last end of GPU work and API calls; None without any."""
        return self.events.span_ns

    def release(self, *frames: str) -> None:
        """Forget frames that were read, such as "nvtx_ranges"; they are read again when they are asked for."""
        for name in frames:
            (self if name == "gpu_metrics" else self.events).__dict__.pop(name, None)
