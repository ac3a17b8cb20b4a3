"""Small SQLite exports, true to nsys's schema, made row by row for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PID = 281507591618560  # a globalPid as nsys writes it
TID = PID + 7

SCHEMA = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "META_DATA_EXPORT": "name TEXT NOT NULL, value TEXT",
    "META_DATA_CAPTURE": "name TEXT NOT NULL, value TEXT",
    "TARGET_INFO_GPU": "id INTEGER, name TEXT, chipName TEXT, cuDevice INTEGER, smCount INTEGER, totalMemory INTEGER, "
    "memoryBandwidth INTEGER, clockRate INTEGER, computeMajor INTEGER, computeMinor INTEGER",
    "TARGET_INFO_CUDA_GPU": "deviceId INTEGER, name TEXT, numMultiprocessors INTEGER, globalMemorySize INTEGER, "
    "globalMemoryBandwidth INTEGER, coreClockRate INTEGER, computeCapabilityMajor INTEGER, computeCapabilityMinor INTEGER",
    "CUPTI_ACTIVITY_KIND_KERNEL": "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER, contextId INTEGER, streamId INTEGER, "
    "correlationId INTEGER, globalPid INTEGER, demangledName INTEGER, shortName INTEGER, mangledName INTEGER, "
    "registersPerThread INTEGER, gridX INTEGER, gridY INTEGER, gridZ INTEGER, blockX INTEGER, blockY INTEGER, blockZ INTEGER, "
    "staticSharedMemory INTEGER, dynamicSharedMemory INTEGER, graphNodeId INTEGER",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start INTEGER NOT NULL, end INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER, "
    "nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL DEFAULT 0",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, "
    "correlationId INTEGER, globalPid INTEGER, bytes INTEGER, copyKind INTEGER, graphNodeId INTEGER",
    "CUPTI_ACTIVITY_KIND_MEMSET": "start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, "
    "correlationId INTEGER, globalPid INTEGER, bytes INTEGER, value INTEGER, graphNodeId INTEGER",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": "start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER, streamId INTEGER, "
    "correlationId INTEGER, globalPid INTEGER, graphId INTEGER, graphExecId INTEGER",
    "NVTX_EVENTS": "start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, "
    "textId INTEGER, domainId INTEGER, jsonTextId INTEGER",
    "GPU_METRICS": "rawTimestamp INTEGER, timestamp INTEGER, typeId INTEGER, metricId INTEGER, value INTEGER",
    "TARGET_INFO_GPU_METRICS": "typeId INTEGER, sourceId INTEGER, typeName TEXT, metricId INTEGER, metricName TEXT",
    "GENERIC_EVENTS": "rawTimestamp INTEGER, timestamp INTEGER, typeId INTEGER, data TEXT",
    "DIAGNOSTIC_EVENT": "timestamp INTEGER, severity INTEGER, text TEXT",
}  # fmt: skip


class TraceMaker:
    """Collects events and writes them as an nsys export.

    Args:
        without_tables: tables that are not created even when they have rows.
        without_columns: (table, column) pairs that the export lacks.
    """

    def __init__(self, without_tables: Iterable[str] = (), without_columns: Iterable[tuple[str, str]] = ()) -> None:
        self.without_tables = set(without_tables)
        self.without_columns = set(without_columns)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self._strings: dict[str | bytes, int] = {}
        self._correlation = 0

    def string(self, text: str | bytes) -> int:
        """The id of a text; bytes become a text that need not be UTF-8."""
        return self._strings.setdefault(text, len(self._strings) + 1)

    def add(self, table: str, **values: Any) -> None:
        self.rows.setdefault(table, []).append(values)

    def launch(
        self,
        at: int,
        took: int = 5,
        tid: int = TID,
        name: str = "cudaLaunchKernel_v7000",
        correlation: int | None = None,
    ) -> int:
        """An API call; returns its correlation id."""
        if correlation is None:
            self._correlation += 1
            correlation = self._correlation
        self.add(
            "CUPTI_ACTIVITY_KIND_RUNTIME",
            start=at,
            end=at + took,
            globalTid=tid,
            correlationId=correlation,
            nameId=self.string(name),
        )
        return correlation

    def kernel(
        self,
        start: int,
        duration: int,
        name: str = "void kernel<float>(float *)",
        launched: int | None = None,
        tid: int = TID,
        correlation: int | None = None,
        **values: Any,
    ) -> int:
        """A kernel and the call that launched it (at ``launched``, by default just before its start); returns the correlation id."""
        if correlation is None:
            correlation = self.launch(start - 10 if launched is None else launched, tid=tid)
        row = {
            "start": start, "end": start + duration, "deviceId": 0, "contextId": 1, "streamId": 7, "correlationId": correlation,
            "globalPid": tid & ~0xFFFFFF, "demangledName": self.string(name),
            "shortName": self.string(name.partition("<")[0].rpartition(" ")[2]),
            "gridX": 1, "gridY": 1, "gridZ": 1, "blockX": 32, "blockY": 1, "blockZ": 1,
        }  # fmt: skip
        self.add("CUPTI_ACTIVITY_KIND_KERNEL", **{**row, **values})
        return correlation

    def range(
        self,
        text: str,
        start: int,
        end: int | None,
        tid: int = TID,
        kind: int = 59,
        registered: bool = False,
        **values: Any,
    ) -> None:
        name = {"textId": self.string(text)} if registered else {"text": text}
        self.add(
            "NVTX_EVENTS",
            start=start,
            end=end,
            eventType=kind,
            globalTid=tid,
            domainId=values.pop("domainId", 0),
            **name,
            **values,
        )

    def gpu(self, name: str = "NVIDIA H200", major: int = 9, minor: int = 0, index: int = 0) -> None:
        self.add("TARGET_INFO_GPU", id=index, name=name, chipName="GH100", cuDevice=index, smCount=132, totalMemory=150 * 10**9,
                 memoryBandwidth=4_800_000_000_000, clockRate=1_980_000_000, computeMajor=major, computeMinor=minor)  # fmt: skip

    def metric(
        self, name: str, samples: Iterable[tuple[int, int]], metric_id: int = 5, type_id: int = 281479271677952
    ) -> None:
        self.add(
            "TARGET_INFO_GPU_METRICS",
            typeId=type_id,
            sourceId=type_id,
            typeName="",
            metricId=metric_id,
            metricName=name,
        )
        for timestamp, value in samples:
            self.add(
                "GPU_METRICS",
                rawTimestamp=timestamp,
                timestamp=timestamp,
                typeId=type_id,
                metricId=metric_id,
                value=value,
            )

    def write(self, path: Path) -> Path:
        connection = sqlite3.connect(path)
        with connection:
            for table in ["StringIds", *self.rows]:
                if table in self.without_tables:
                    continue
                columns = [c.strip() for c in SCHEMA[table].split(",")]
                columns = [c for c in columns if (table, c.split()[0]) not in self.without_columns]
                connection.execute(f'CREATE TABLE "{table}" ({", ".join(_quote(c) for c in columns)})')
                known = {c.split()[0] for c in columns}
                for row in self.rows.get(table, []):
                    kept = {k: v for k, v in row.items() if k in known}
                    names = ", ".join(f'"{k}"' for k in kept)
                    connection.execute(
                        f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(kept))})', list(kept.values())
                    )
            if "StringIds" not in self.without_tables:
                connection.executemany(
                    "INSERT INTO StringIds VALUES (?, CAST(? AS TEXT))", [(i, s) for s, i in self._strings.items()]
                )
        connection.close()
        return path


def _quote(column: str) -> str:
    name, rest = column.split(" ", 1)
    return f'"{name}" {rest}'


def simple(inferences: int = 3, kernels: int = 4) -> TraceMaker:
    """A trace of equal inferences "iter0", "iter1", …, each of the same kernels."""
    maker = TraceMaker()
    maker.gpu()
    for i in range(inferences):
        begin = 1_000 + i * 10_000
        maker.range(f"iter{i}", begin, begin + 9_000)
        for k in range(kernels):
            maker.kernel(
                begin + 500 + k * 1_000,
                100 + 10 * k,
                name=f"void kernel{k}<float>(float *)",
                launched=begin + 100 + k * 200,
            )
    return maker


def whole_graphs(inferences: int = 3) -> TraceMaker:
    """A trace of inferences that are one CUDA graph launch each, recorded as a single event (--cuda-graph-trace=graph)."""
    maker = TraceMaker()
    for i in range(inferences):
        maker.range(f"iter{i}", i * 1000, i * 1000 + 900)
        correlation = maker.launch(i * 1000 + 10, name="cudaGraphLaunch_v10000")
        event = {"start": i * 1000 + 50, "end": i * 1000 + 450, "correlationId": correlation, "globalPid": PID}
        maker.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", **event)
    return maker


def every_table() -> TraceMaker:
    """A trace with rows in every table."""
    maker = simple()
    maker.metric("Tensor Active [Throughput %]", [(1_000 + i * 500, i % 100) for i in range(60)])
    maker.metric("DRAM Read Bandwidth [Throughput %]", [(1_000 + i * 500, 3) for i in range(60)], metric_id=6)
    maker.add("META_DATA_EXPORT", name="EXPORT_SCHEMA_VERSION", value="3.20.3")
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:CUDA_GRAPH_TRACE_OPTIONS:MODE", value="node")
    maker.add("TARGET_INFO_CUDA_GPU", deviceId=0, name="Tesla V100", numMultiprocessors=80)
    maker.add("DIAGNOSTIC_EVENT", timestamp=0, severity=2, text="some events were dropped")
    for i in range(3):
        begin = 1_000 + i * 10_000
        copy = maker.launch(begin + 50, name="cudaMemcpyAsync")
        maker.add(
            "CUPTI_ACTIVITY_KIND_MEMCPY",
            start=begin + 100,
            end=begin + 200,
            bytes=64,
            copyKind=1,
            correlationId=copy,
            globalPid=PID,
        )
        maker.add(
            "CUPTI_ACTIVITY_KIND_MEMSET",
            start=begin + 210,
            end=begin + 220,
            bytes=64,
            value=0,
            correlationId=copy,
            globalPid=PID,
        )
        maker.add(
            "CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=begin + 6_000, end=begin + 6_500, correlationId=copy, globalPid=PID
        )
        maker.add(
            "GENERIC_EVENTS", rawTimestamp=begin, timestamp=begin, typeId=1, data='{"Tensor Active [Throughput %]": 5}'
        )
    return maker


def unmarked() -> TraceMaker:
    """Work that repeats in no way; two ranges “section” hold a part of it."""
    maker = TraceMaker()
    for i, (name, length) in enumerate(
        [("alpha", 300), ("beta", 2000), ("gamma", 70), ("delta", 900), ("beta", 50), ("eps", 5000)]
    ):
        at = 10_000_000 + i * 100_000
        maker.kernel(at, length, f"void {name}(float*)", launched=at - 5000)
    maker.range("section 1", 10_190_000, 10_210_000)
    maker.range("section 2", 10_290_000, 10_310_000)
    return maker
