"""Sampled GPU metrics, in the two forms in which nsys has stored them.

Newer exports: table ``GPU_METRICS`` with names in ``TARGET_INFO_GPU_METRICS``. Older ones: one row of JSON a sample
in ``GENERIC_EVENTS``. The low 8 bits of ``typeId`` are the GPU's index in both.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from profiler.errors import TraceError
from profiler.lazy import cached_property
from profiler.trace.arrays import MAX_NS, MISSING, Float64Array, Int64Array, IntArray, are_in_order, is_time, take
from profiler.trace.database import Database

_TENSOR_ACTIVE = re.compile(r"^Tensor Active\b", re.IGNORECASE)
_DRAM_READ = re.compile(r"^DRAM Read (Bandwidth|Throughput)\b", re.IGNORECASE)
_DRAM_WRITE = re.compile(r"^DRAM Write (Bandwidth|Throughput)\b", re.IGNORECASE)
_PERCENT = re.compile(r"\[Throughput %\]|^(?!.*\[)", re.IGNORECASE)
_GPU_INDEX_MASK = 0xFF
_ROWS_A_QUERY = 50_000
"""Samples in JSON that are read at once: a minute of them holds more text than one query may give."""
_NEAR = 1 << 20
_MAX_METRICS = 10_000
"""nsys records some dozens."""


@dataclass(frozen=True)
class MetricSeries:
    """Samples of one metric on one GPU.

    Attributes:
        timestamps_ns: when each sample was taken; it covers the time since the one before.
        values: percent (0 to 100) for the metrics that this project reads.
    """

    name: str
    timestamps_ns: Int64Array
    values: Float64Array

    @cached_property
    def period_ns(self) -> float | None:
        """Median distance of two samples, None with fewer than two."""
        return _median(np.diff(self.timestamps_ns)) if len(self.timestamps_ns) > 1 else None

    @property
    def frequency_hz(self) -> float | None:
        period = self.period_ns
        return 1e9 / period if period else None


@dataclass
class GpuMetrics:
    """The sampled metrics of a trace.

    Attributes:
        storage: "GPU_METRICS", "GENERIC_EVENTS" or None when the trace holds no samples.
        names: metric names per GPU index.
        problems: what was left out because it is not as nsys writes it, by id.
    """

    storage: str | None
    names: dict[int, tuple[str, ...]]
    _database: Database
    problems: dict[str, str] = field(default_factory=dict)
    _ids: dict[tuple[int, str], list[tuple[int, int]]] = field(default_factory=dict)
    _cache: dict[tuple[int, str], MetricSeries] = field(default_factory=dict)
    _from_json: dict[tuple[int, str], tuple[array[int], array[float]]] = field(default_factory=dict)
    """Times and values by GPU and metric."""

    @classmethod
    def discover(cls, database: Database) -> GpuMetrics:
        if database.has("GPU_METRICS", "timestamp", "typeId", "metricId", "value") and database.has(
            "TARGET_INFO_GPU_METRICS", "typeId", "metricId", "metricName"
        ):
            ids: dict[tuple[int, str], list[tuple[int, int]]] = {}
            problems: dict[str, str] = {}
            for type_id, metric_id, name in database.rows(
                "SELECT DISTINCT typeId, metricId, metricName FROM TARGET_INFO_GPU_METRICS "
                "WHERE EXISTS (SELECT 1 FROM GPU_METRICS) ORDER BY typeId, metricId"
            ):
                if isinstance(type_id, int) and isinstance(metric_id, int) and isinstance(name, str):
                    ids.setdefault((type_id & _GPU_INDEX_MASK, name), []).append((type_id, metric_id))
                    continue
                problems[f"gpu-metrics-{name}"] = (
                    f"The GPU metric {str(name)[:80]!r} is left out: typeId {str(type_id)[:40]!r} and metricId {str(metric_id)[:40]!r} "
                    "were found where whole numbers were expected."
                )
            if ids or problems:
                names: dict[int, list[str]] = {}
                for gpu, name in ids:
                    names.setdefault(gpu, []).append(name)
                return cls("GPU_METRICS", {gpu: tuple(n) for gpu, n in names.items()}, database, problems, ids)
        if database.has("GENERIC_EVENTS", "typeId", "data"):
            metrics = cls("GENERIC_EVENTS", {}, database)
            metrics._read_json()
            if metrics.names:
                return metrics
        return cls(None, {}, database)

    def _read_json(self) -> None:
        time = "timestamp" if self._database.has("GENERIC_EVENTS", "timestamp") else "rawTimestamp"
        if not self._database.has("GENERIC_EVENTS", time):
            return
        for when, type_id, data in self._json_rows(time):
            try:
                sample = json.loads(data)
            except (ValueError, TypeError, RecursionError):
                continue
            if (
                isinstance(sample, dict)
                and isinstance(when, int)
                and isinstance(type_id, int)
                and any(map(_TENSOR_ACTIVE.match, sample))
            ):
                self._keep(type_id & _GPU_INDEX_MASK, when, sample)
        names: dict[int, list[str]] = {}
        for gpu, name in self._from_json:
            names.setdefault(gpu, []).append(name)
        self.names = {gpu: tuple(found) for gpu, found in names.items()}

    def _json_rows(self, time: str) -> Iterator[tuple[Any, ...]]:
        """Time, type and text of each sample, in parts where the rows have numbers."""
        sql = f"SELECT \"{time}\", typeId, data FROM GENERIC_EVENTS WHERE data LIKE '%Active%'"  # noqa: S608 - one of two literals
        bounds = self._database.rowids("GENERIC_EVENTS")
        if bounds is None:
            yield from self._database.rows(sql)
            return
        for first in range(bounds[0], bounds[1] + 1, _ROWS_A_QUERY):
            yield from self._database.rows(f"{sql} AND rowid BETWEEN ? AND ?", (first, first + _ROWS_A_QUERY - 1))

    def _keep(self, gpu: int, when: int, sample: dict[str, Any]) -> None:
        for name, value in sample.items():
            if (kept := self._from_json.get((gpu, name))) is None:
                if len(self._from_json) == _MAX_METRICS:
                    raise TraceError(
                        f"{self._database.label}: GENERIC_EVENTS holds more than {_MAX_METRICS:,} GPU metrics; nsys records some dozens.",
                        "This file was changed after the export. Export the report again.",
                    )
                kept = self._from_json[gpu, name] = (array("q"), array("d"))
            if (number := _number(value)) is not None:
                kept[0].append(when)
                kept[1].append(number)

    def series(self, gpu: int, name: str) -> MetricSeries:
        """Samples of metric ``name`` on GPU ``gpu``, by time; empty when there are none."""
        key = (gpu, name)
        if key not in self._cache:
            self._cache[key] = self._load(gpu, name)
        return self._cache[key]

    def read_usual(self, gpu: int = 0) -> None:
        """Read the metrics that most figures are made of in one pass over the samples: Tensor Active and the DRAM's bandwidth."""
        found = (self._name(gpu, pattern) for pattern in (_TENSOR_ACTIVE, _DRAM_READ, _DRAM_WRITE))
        names = [name for name in found if name is not None and (gpu, name) not in self._cache]
        if self.storage != "GPU_METRICS" or len(names) < 2:
            return
        with contextlib.suppress(TraceError):  # it is read in another way when it is asked for
            ids = [pair for name in names for pair in self._ids[gpu, name]]
            raw = self._samples(ids, "typeId", "metricId")
            times = None
            for name in names:
                own = np.zeros(len(raw["value"]), dtype=bool)
                for type_id, metric_id in self._ids[gpu, name]:
                    own |= (raw["typeId"] == type_id) & (raw["metricId"] == metric_id)
                made = _by_time(name, raw["timestamp"][own], raw["value"][own])
                if times is not None and np.array_equal(times, made.timestamps_ns):
                    made = replace(made, timestamps_ns=times)  # one array for all metrics of a sample
                times = made.timestamps_ns
                self._cache[gpu, name] = made

    def _samples(self, ids: Sequence[tuple[int, int]], *also: str) -> dict[str, IntArray]:
        return self._database.integers("GPU_METRICS", ["timestamp", "value", *also], _are(ids))

    def _load(self, gpu: int, name: str) -> MetricSeries:
        if self.storage != "GPU_METRICS":
            times, values = self._from_json.get((gpu, name), ((), ()))
            return self._series(name, list(zip(times, values)))
        ids = self._ids.get((gpu, name), [])
        if not ids:
            return self._series(name, [])
        try:
            raw = self._samples(ids)
        except TraceError:  # a value that is no whole number, which is what nsys stores
            rows = self._database.rows(f"SELECT timestamp, value FROM GPU_METRICS WHERE {_are(ids)}")  # noqa: S608 - whole numbers
            return self._series(name, rows)
        return _by_time(name, raw["timestamp"], raw["value"])

    def _series(self, name: str, rows: Sequence[tuple[Any, Any]]) -> MetricSeries:
        """The rows that are a time and a number, by time."""
        pairs = [(when, _number(value)) for when, value in rows]
        good = [(w, v) for w, v in pairs if v is not None and isinstance(w, int) and abs(w) <= MAX_NS]
        if len(good) < len(pairs) and self.storage == "GPU_METRICS":
            self.problems[f"gpu-metrics-{name}"] = (
                f"{len(pairs) - len(good):,} of {len(pairs):,} samples of the GPU metric {name[:80]!r} are left out: their time or "
                "value is no number."
            )
        good.sort(key=lambda pair: pair[0])
        times = np.asarray([when for when, _ in good], dtype=np.int64)
        return MetricSeries(name, times, np.asarray([value for _, value in good], dtype=np.float64))

    def find(self, gpu: int, pattern: re.Pattern[str]) -> MetricSeries | None:
        """The first percentage metric whose name matches."""
        name = self._name(gpu, pattern)
        return None if name is None else self.series(gpu, name)

    def _name(self, gpu: int, pattern: re.Pattern[str]) -> str | None:
        return next((n for n in self.names.get(gpu, ()) if pattern.match(n) and _PERCENT.search(n)), None)

    def tensor_active(self, gpu: int = 0) -> MetricSeries | None:
        """Share of cycles in which the Tensor pipes were active, averaged over the SMs.

        On Turing the counter is shared with the FP16 pipe; its name ("Tensor Active / FP16 Active") says so.
        """
        return self.find(gpu, _TENSOR_ACTIVE)

    def dram_read(self, gpu: int = 0) -> MetricSeries | None:
        """DRAM read bandwidth in percent of the peak."""
        return self.find(gpu, _DRAM_READ)

    def dram_write(self, gpu: int = 0) -> MetricSeries | None:
        """DRAM write bandwidth in percent of the peak."""
        return self.find(gpu, _DRAM_WRITE)


def _are(ids: Sequence[tuple[int, int]]) -> str:
    """SQL that is true for the samples of some metrics, given as typeId and metricId."""
    of_type: dict[int, list[int]] = {}
    for type_id, metric_id in ids:
        of_type.setdefault(type_id, []).append(metric_id)
    # an IN of three or more would look each row up in a table
    either = (f"typeId = {t} AND ({' OR '.join(f'metricId = {m}' for m in some)})" for t, some in of_type.items())
    return f"({' OR '.join(either)})"


def _median(values: Int64Array) -> float:
    """The median; of values that are near each other by counting, as np.median is slow where many are the same."""
    low = int(values.min())
    if int(values.max()) - low > _NEAR:
        return float(np.median(values))
    up_to = np.cumsum(np.bincount(values - low))
    middle = np.searchsorted(up_to, [(len(values) - 1) // 2, len(values) // 2], side="right")
    return low + float(middle.sum()) / 2


def _by_time(name: str, times: IntArray, values: IntArray) -> MetricSeries:
    known = is_time(times) & (values != MISSING)
    at = times[known].astype(np.int64, copy=False)
    order = None if are_in_order(at) else np.argsort(at, kind="stable")
    return MetricSeries(name, take(at, order), take(values[known], order).astype(np.float64))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
