"""Where a speedup came from: an exact split of the latency difference of two inferences, and a chain of measured runs.

For one inference of each side (the median one by latency)::

    latency = host + GPU span,  GPU span = idle + busy,  busy = kernels + copies − overlap

so the difference of the latencies is the sum of the differences of the parts, to the nanosecond. The kernels' part is split
by the ledger: kernels of units that no kernel computes any more, kernels of units that are computed on both sides, memory
layout changes, and kernels that TensorRT added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from profiler.analysis.fusion.ledger import Ledger, fusion
from profiler.analysis.fusion.placement import LAYOUT, Placement
from profiler.analysis.fusion.rows import NEW, UNEXPLAINED, Row
from profiler.analysis.fusion.work_table import Rows
from profiler.analysis.run import intervals
from profiler.analysis.run.run import Run
from profiler.analysis.tabular import Tabular
from profiler.errors import TraceError
from profiler.text import duration, plural


@dataclass(frozen=True)
class LatencyPart:
    """One part of the difference. ``saved_ns`` is before − after: negative when it grew."""

    id: str
    label: str
    before_ns: int
    after_ns: int
    why: str

    @property
    def saved_ns(self) -> int:
        return self.before_ns - self.after_ns


@dataclass(frozen=True, repr=False)
class Decomposition(Tabular):
    """An exact split: the parts' ``before_ns`` sum to the latency before, their ``after_ns`` to the latency after."""

    before_label: str
    after_label: str
    before_latency_ns: int
    after_latency_ns: int
    before_inference: str
    after_inference: str
    parts: tuple[LatencyPart, ...]

    @property
    def summary(self) -> str:
        return f"{duration(self.before_latency_ns)} → {duration(self.after_latency_ns)}, in {plural(len(self.parts), 'part')}"

    def to_frame(self) -> pd.DataFrame:
        """A row a part: ``id``, ``label``, ``before_ns``, ``after_ns``, ``why``, ``saved_ns``."""
        return pd.DataFrame([{**asdict(part), "saved_ns": part.saved_ns} for part in self.parts])


@dataclass(frozen=True)
class ChainStep:
    """One run of a chain: its median latency, and the parts of the difference to the run before it."""

    title: str
    latency_ns: int
    split: Decomposition | None
    reason: str | None
    """Why there is no split."""


def decompose(ledger: Ledger) -> Decomposition:
    """Split the latency difference of the ledger's two sides exactly.

    Raises:
        TraceError: an inference has no GPU work.
    """
    first, second = (side.inferences.median_inference() for side in (ledger.before, ledger.after))
    b, a = (
        _MedianInference(ledger.before, ledger.before_placement, first),
        _MedianInference(ledger.after, ledger.after_placement, second),
    )
    sums = {key: [0, 0] for key in ("vanished", "same", "layout", "added", "unexplained")}
    for row in ledger.rows:
        for place, side, cell in ((0, b, row.before), (1, a, row.after)):
            if cell is not None:
                other, layout = side.kernel_time(cell.rows)
                key = _destination(row)
                if key != "added":  # what TensorRT added is one part, whatever its kernels do
                    sums["layout"][place] += layout
                    layout = 0
                sums[key][place] += other + layout
    made = [
        (
            "vanished",
            "Kernels of fused or folded modules",
            "kernels of modules that have no kernel of their own after",
        ),
        ("same", "Kernels of modules on both sides", "kernels of modules that have kernels on both sides"),
        ("layout", "Layout and type conversions", "kernels that only move or convert tensors, by name"),
        (
            "added",
            "Added kernels",
            "quantisation, bias padding and others that belong to no module",
        ),
        ("unexplained", "Unexplained kernels", "kernels of unexplained rows of the ledger"),
    ]
    parts = [LatencyPart(key, label, sums[key][0], sums[key][1], why) for key, label, why in made]
    parts += [
        LatencyPart("copies", "Memory copies and sets", b.copies, a.copies, "sum of their durations"),
        LatencyPart(
            "overlap",
            "Overlapping GPU work",
            -b.overlap,
            -a.overlap,
            "time in which several GPU operations ran at once, counted once",
        ),
        LatencyPart(
            "idle",
            "GPU idle between kernels",
            b.idle,
            a.idle,
            "gaps between the first and the last GPU work; nsys makes launches slower",
        ),
        LatencyPart(
            "host",
            "Host time before and after the GPU work",
            b.host,
            a.host,
            "from entering the range to the first GPU work, and from the last to leaving it",
        ),
    ]
    titles = ledger.before.facts.title, ledger.after.facts.title
    return Decomposition(*titles, b.latency, a.latency, b.name, a.name, tuple(parts))


def _destination(row: Row) -> str:
    if row.status == UNEXPLAINED:
        return "unexplained"
    if row.status == NEW:
        return "layout" if row.cause == LAYOUT else "added"
    both = row.before is not None and row.after is not None and row.before.kernels and row.after.kernels
    return "same" if both else "vanished"


class _MedianInference:
    """The times of one inference."""

    def __init__(self, analysis: Run, placed: Placement, index: int) -> None:
        row = analysis.inferences.table.iloc[index]
        if pd.isna(row["gpu_span_ns"]):
            raise TraceError(
                f"{analysis.trace.path}: inference {row['text']} has no GPU work.",
                "Name other ranges with --nvtx PATTERN.",
            )
        work = placed.work
        self.name = str(row["text"])
        self.latency = int(row["latency_ns"])
        self._mine = (work["inference"] == index).to_numpy()
        self._kernel = (work["kind"] == "kernel").to_numpy()
        self._layout = (work["category"] == "layout").to_numpy()
        self._duration = work["duration_ns"].to_numpy(dtype=np.int64)
        starts = work["start_ns"].to_numpy()[self._mine]
        ends = starts + self._duration[self._mine]
        busy = intervals.covered(starts, ends)
        span = int(ends.max() - starts.min())
        self.copies = int(self._duration[self._mine & ~self._kernel].sum())
        self.overlap = int(self._duration[self._mine].sum()) - busy
        self.idle = span - busy
        self.host = self.latency - span

    def kernel_time(self, rows: Rows) -> tuple[int, int]:
        """Time of this inference's kernels among the rows: (other kernels, layout changes)."""
        at = rows[self._mine[rows] & self._kernel[rows]]
        layout = self._layout[at]
        return int(self._duration[at][~layout].sum()), int(self._duration[at][layout].sum())


def chain(runs: Sequence[Run], ledger: Callable[[Run, Run], Ledger] = fusion) -> list[ChainStep]:
    """Measured steps from the first run to the last: each run's latency, and the exact split against the one before it.

    Args:
        ledger: where the fusion ledger of two runs comes from; for a caller that keeps those it has built.
    """
    steps: list[ChainStep] = []
    for place, run in enumerate(runs):
        latency = int(run.inferences.table["latency_ns"].iloc[run.inferences.median_inference()])
        split, reason = None, None
        if place:
            hidden = next((r for r in (runs[place - 1], run) if r.trace.has_hidden_graph_kernels), None)
            if hidden is not None:
                reason = hidden.trace.graph_level_message
            else:
                split = decompose(ledger(runs[place - 1], run))
        steps.append(ChainStep(run.facts.title, latency, split, reason))
    return steps
