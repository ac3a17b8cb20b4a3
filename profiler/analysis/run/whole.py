"""Figures of a whole trace, for runs whose inferences cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiler.analysis.run import intervals
from profiler.analysis.run.inferences import is_launch
from profiler.analysis.run.kernels import classifications
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.trace import Trace


@dataclass(frozen=True)
class WholeTrace:
    """Sums over everything that was recorded, however many inferences that is.

    Attributes:
        kernel_time_ns: sum of durations; kernels that ran at the same time count twice.
        span_ns: from the first GPU work to the end of the last; ``busy_ns`` of it had GPU work.
        categories: kernels and the sum of their durations per category.
    """

    kernels: int
    kernel_time_ns: int
    span_ns: int
    busy_ns: int
    launches: int
    memcpys: int
    memcpy_bytes: int
    memcpy_time_ns: int
    memsets: int
    categories: dict[str, tuple[int, int]]

    def time_ns(self, category: str) -> int:
        return self.categories.get(category, (0, 0))[1]

    def share_pct(self, category: str) -> float | None:
        """The category's share of the kernel time; None without kernels."""
        return 100.0 * self.time_ns(category) / self.kernel_time_ns if self.kernel_time_ns else None

    @property
    def busy_pct(self) -> float | None:
        return 100.0 * self.busy_ns / self.span_ns if self.span_ns else None


def whole_trace(trace: Trace) -> WholeTrace:
    """Add up a trace."""
    events = trace.events
    tables = (events.kernels, events.memcpys, events.memsets, events.graph_traces)
    starts, ends = (np.concatenate([t[c] for t in tables]) for c in ("start_ns", "end_ns"))
    kinds, names = classifications(trace)["category"], events.kernels["name"]
    codes, n = names.codes, len(names.texts)
    counts, times = count_codes(codes, n), sum_by_code(codes, events.kernels["duration_ns"], n)
    categories: dict[str, tuple[int, int]] = {}
    for category, count, time in zip(kinds, counts.tolist(), times.tolist()):
        had = categories.get(category, (0, 0))
        categories[category] = (had[0] + count, had[1] + time)
    return WholeTrace(
        len(events.kernels),
        int(events.kernels["duration_ns"].sum()),
        int(ends.max() - starts.min()) if len(starts) else 0,
        intervals.covered(starts, ends),
        int(is_launch(events.api_calls["name"]).sum()),
        len(events.memcpys),
        int(events.memcpys["bytes"].sum()),
        int(events.memcpys["duration_ns"].sum()),
        len(events.memsets),
        categories,
    )
