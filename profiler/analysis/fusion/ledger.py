"""The fusion ledger: for every unit of the model what it cost before, what computes it after, and what vanished and why.

Every kernel, copy and set of both traces' inferences is in exactly one row, so the rows' sums equal the totals. A layer that
computes several units has its kernels in the row of its main operation (the convolution, the matrix product, else the
first); the other units' rows say that they are fused into it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import pandas as pd

from profiler.analysis.fusion import placement
from profiler.analysis.fusion.alignment import (
    BY_NAME,
    Match,
    as_the_other_names,
    match_units,
    named_alike,
    named_by_modules,
)
from profiler.analysis.fusion.join import EngineRows, Sides, UnitRows
from profiler.analysis.fusion.placement import KERNEL, LAYER, RANGE, Placement, WorkSource
from profiler.analysis.fusion.rows import NEW, STATUSES, UNEXPLAINED, Row, collapse_equal
from profiler.analysis.run.kernels import classifications
from profiler.analysis.run.run import Run
from profiler.analysis.tabular import Tabular
from profiler.errors import NotComparableError, ProfilerError, TraceError
from profiler.lazy import cached_property
from profiler.text import duration, number, plural
from profiler.trace.manifest import companion

MAX_UNITS = 250_000
MANY_KERNELS = 500_000
_MUCH_ADDED_PCT = 10.0
_LITTLE_PCT = 99.0
_OF_TENSORRT = re.compile(r"\bnvinfer1::|\b__myl_|\bgenericReformat::")


@dataclass(frozen=True)
class Coverage:
    """How much of one side is in rows that are explained."""

    kernels: int
    kernels_explained: int
    time_ns: int
    time_explained_ns: int

    @property
    def kernels_pct(self) -> float | None:
        return 100.0 * self.kernels_explained / self.kernels if self.kernels else None

    @property
    def time_pct(self) -> float | None:
        return 100.0 * self.time_explained_ns / self.time_ns if self.time_ns else None


@dataclass(frozen=True, repr=False)
class Ledger(Tabular):
    """The whole ledger; ``rows`` in order of execution before, then what is only after.

    Attributes:
        match: how the units of the two sides were matched, and how well.
        advice: what would raise the coverage, one sentence each.
        no_ratio: why times of the two sides cannot be compared as one number; None when they can.
    """

    before: Run
    after: Run
    before_placement: Placement
    after_placement: Placement
    rows: tuple[Row, ...]
    match: Match
    findings: tuple[str, ...] = field(default=())
    advice: tuple[str, ...] = field(default=())
    no_ratio: str | None = None

    @property
    def summary(self) -> str:
        shares = [self.coverage(side).time_pct for side in ("before", "after")]
        shown = [f"{number(s)} %" if s is not None else "no work" for s in shares]
        counts = ", ".join(f"{n:,} {s}" for s, n in self.by_status.items() if n)
        return f"{plural(len(self.rows), 'row')}: {counts}; explained before {shown[0]}, after {shown[1]} of the time"

    def to_frame(self) -> pd.DataFrame:
        """A row a row of the ledger; counts and times are sums over all inferences of a side, missing where it has no such work.

        Times are those of kernels, copies and sets together.
        """
        sides = ("before", "after")
        return pd.DataFrame(
            [
                {
                    "unit": row.label,
                    "block": row.block,
                    "status": row.status,
                    "into": row.into,
                    **{f"kernels_{s}": cell.kernels if (cell := getattr(row, s)) else None for s in sides},
                    **{f"time_{s}_ns": cell.gpu_time_ns if (cell := getattr(row, s)) else None for s in sides},
                    "change": row.change,
                    "why": row.why,
                }
                for row in self.rows
            ]
        )

    def coverage(self, side: str) -> Coverage:
        cells = [(getattr(r, side), r.status) for r in self.rows if getattr(r, side) is not None]
        good = [c for c, status in cells if status != UNEXPLAINED]
        return Coverage(
            sum(c.kernels for c, _ in cells),
            sum(c.kernels for c in good),
            sum(c.gpu_time_ns for c, _ in cells),
            sum(c.gpu_time_ns for c in good),
        )

    def unexplained(self, side: str) -> list[Row]:
        """Unexplained rows that have work on a side, by time."""
        found = [r for r in self.rows if r.status == UNEXPLAINED and getattr(r, side) is not None]
        return sorted((r for r in found if getattr(r, side).gpu_time_ns), key=lambda r: -getattr(r, side).gpu_time_ns)

    @cached_property
    def by_status(self) -> dict[str, int]:
        """Rows per status."""
        return {s: sum(r.status == s for r in self.rows) for s in STATUSES}


def engine_file_of(analysis: Run) -> Path | None:
    """The engine description beside a trace: the file that its manifest names as ``layers``."""
    return companion(analysis.trace.path, analysis.facts.manifest, "layers")


def fusion(before: Run, after: Run, before_engine: Path | None = None, after_engine: Path | None = None) -> Ledger:
    """Compare two traces of one model unit by unit; two engines layer by layer.

    Args:
        before_engine, after_engine: engine inspector JSON files; by default those that the manifests name.

    Raises:
        NotComparableError: one side hides its kernels inside graph launches, or the order makes no sense (an engine before, the
            framework it was made from after).
        TraceError: one side has no inferences, no kernels, or more than :data:`MAX_UNITS` units.
    """
    for side in (before, after):
        if side.trace.has_hidden_graph_kernels:
            raise NotComparableError(side.trace.graph_level_message)
        if side.trace.no_kernels_reason:
            raise TraceError(side.trace.no_kernels_reason)
        if not side.inferences.count:
            raise TraceError(f"{side.trace.path}: {side.inferences.statement}", "Name the ranges with --nvtx PATTERN.")
    first = _place(before, before_engine)
    known = first.paths if first.basis == RANGE else frozenset()
    second = _place(after, after_engine, known)
    _refuse_reversed(before, after, first, second)
    if known and second.basis == LAYER:
        as_theirs = as_the_other_names(known, second.paths)
        if as_theirs != known:
            second = _place(after, after_engine, as_theirs)
    for side, placed in ((before, first), (after, second)):
        if len(placed.holdings) > MAX_UNITS:
            raise TraceError(
                f"{side.trace.path}: an inference holds {len(placed.holdings):,} units of work, and a ledger is made of at most "
                f"{MAX_UNITS:,}.",
                "Name ranges of shorter inferences, such as one step of a loop, with --nvtx PATTERN.",
            )
    match = match_units(first, second)
    first, second, how = named_alike(first, second, match)
    sides = Sides(first, second, how)
    made = EngineRows(sides).rows() if first.basis == second.basis == LAYER else UnitRows(sides).rows()
    rows = tuple(collapse_equal([*made, *sides.beside_the_model()]))
    ledger = Ledger(before, after, first, second, rows, match, no_ratio=_no_ratio(first, second))
    return Ledger(
        before, after, first, second, rows, match, tuple(_findings(ledger)), tuple(_advice(ledger)), ledger.no_ratio
    )


def _place(run: Run, engine_file: Path | None, known: frozenset[str] = frozenset()) -> Placement:
    placed = placement.place(work_source(run, engine_file), run.inferences.count, known, run.facts.manifest)
    listed = run.facts.manifest.extra.get("modules") if run.facts.manifest else None
    if placed.basis != KERNEL or not isinstance(listed, list):
        return placed
    return named_by_modules(placed, [m for m in listed if isinstance(m, dict)])


_read: WeakKeyDictionary[Run, tuple[Path | None, WorkSource]] = WeakKeyDictionary()


def work_source(run: Run, engine_file: Path | None = None) -> WorkSource:
    """What a trace tells of its GPU work, read once; ``engine_file``: by default the one that its manifest names."""
    described = engine_file or engine_file_of(run)
    if run not in _read or _read[run][0] != described:
        _read[run] = described, placement.work_source_of(run.trace, run.inferences, described)
        _ = run.inferences.table  # of which inference a block is shown: a ledger outlives its traces
    return _read[run][1]


def read_ahead(
    run: Run,
    engine_file: Path | None = None,
    least_kernels: int = MANY_KERNELS,
    whole: bool = False,
    also: Callable[[Run], object] | None = None,
) -> None:
    """Read of a large trace what a ledger needs, and forget its frames, so that those of two traces are never in memory together.

    A trace of fewer kernels, and one that has no ledger, stays as it is.

    Args:
        whole: compute also what a comparison needs.
        also: called with the run while its frames are there.
    """
    if run.trace.kernel_count < least_kernels or run.trace.has_hidden_graph_kernels:
        return
    _ = run.facts, run.range_texts
    with contextlib.suppress(ProfilerError):  # it is said where the ledger is made
        if run.inferences.count:
            work_source(run, engine_file)
            if also is not None:
                also(run)
            if whole:
                run.compute_and_release()
            _ = run.inferences.outside, run.inferences.notes
            run.release()


REVERSED = "The order looks reversed: swap the two traces to see what TensorRT did."


def _refuse_reversed(before: Run, after: Run, first: Placement, second: Placement) -> None:
    engine = first.basis == LAYER or before.facts.framework == "TensorRT"
    framework = second.basis == RANGE or (second.basis == KERNEL and after.facts.framework == "PyTorch")
    if engine and framework:
        raise NotComparableError(
            f"{before.trace.path} is a TensorRT engine and {after.trace.path} is PyTorch. {REVERSED}",
        )


def _no_ratio(first: Placement, second: Placement) -> str | None:
    for side, words in ((first, "before"), (second, "after")):
        if side.dla:
            return (
                f"A part of the engine {words} runs on the DLA, which nsys records no kernels of: its GPU time is not the model's, "
                "so no ratio of GPU times is given."
            )
    return None


@dataclass(frozen=True)
class Group:
    """Rows of one block or stage together; sums over all inferences of each side."""

    label: str
    rows: tuple[Row, ...]

    def _sum(self, side: str, attribute: str) -> int:
        return sum(getattr(getattr(r, side), attribute) for r in self.rows if getattr(r, side) is not None)

    @property
    def before_kernels(self) -> int:
        return self._sum("before", "kernels")

    @property
    def after_kernels(self) -> int:
        return self._sum("after", "kernels")

    @property
    def before_time_ns(self) -> int:
        return self._sum("before", "gpu_time_ns")

    @property
    def after_time_ns(self) -> int:
        return self._sum("after", "gpu_time_ns")


def grouped(rows: Iterable[Row], by: str) -> list[Group]:
    """Rows by "block" or "stage", in order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(getattr(row, by) or "(outside the model)", []).append(row)
    return [Group(label, tuple(members)) for label, members in groups.items()]


def _findings(ledger: Ledger) -> list[str]:
    """What stands out, in plain sentences made from the rows."""
    found: list[str] = [ledger.no_ratio] if ledger.no_ratio else []
    for side in ("before", "after"):
        refused = getattr(ledger, f"{side}_placement").refused
        if refused:
            found.append(f"{side.capitalize()}: {refused}; it was not used.")
    n = ledger.after_placement.inferences
    total = ledger.coverage("after").time_ns
    causes: dict[str, list[int]] = {}
    for row in ledger.rows:
        if row.status == NEW and row.after is not None:
            sums = causes.setdefault(row.cause or placement.OTHER, [0, 0])
            sums[0] += row.after.kernels
            sums[1] += row.after.gpu_time_ns
    kernels, time = (sum(c[i] for c in causes.values()) for i in (0, 1))
    if not time or not total:
        return found
    share = 100.0 * time / total
    by_time = sorted(causes.items(), key=lambda item: -item[1][1])
    parts = "; ".join(f"{cause}: {plural(k / n, 'kernel')}, {duration(t / n)}" for cause, (k, t) in by_time)
    found.append(
        f"Added after: {plural(kernels / n, 'kernel')} per inference outside every module, {duration(time / n)}, "
        f"{number(share)} % of the GPU time ({parts})."
    )
    if share >= _MUCH_ADDED_PCT and "int8" in set(ledger.after_placement.work["precision"].unique()):
        found.append(
            "That is a large part of the time after. In an INT8 engine the usual cause is where the Q/DQ nodes are: quantise "
            "every input and weight of convolutions and matrix products, the skip input only of residual additions, and the "
            "inputs of poolings."
        )
    return found


def _runs_an_engine(run: Run) -> bool:
    """Whether kernels ran that only TensorRT launches: in a CUDA graph it leaves no ranges."""
    return any(_OF_TENSORRT.search(name) for name in classifications(run.trace)["name"])


def _advice(ledger: Ledger) -> list[str]:
    """What would raise the coverage."""
    found: list[str] = []
    low = {side: (ledger.coverage(side).time_pct or 100.0) < _LITTLE_PCT for side in ("before", "after")}
    if not any(low.values()) and (
        ledger.match.anchors_agreed == ledger.match.anchors or BY_NAME in ledger.match.how.values()
    ):
        return found
    for side in ("before", "after"):
        placed: Placement = getattr(ledger, f"{side}_placement")
        run: Run = getattr(ledger, side)
        is_engine = run.facts.framework == "TensorRT" or (run.facts.framework is None and _runs_an_engine(run))
        if is_engine and (placed.basis != LAYER or placed.nameless):
            found.append(
                f"{side.capitalize()}: build the engine with profiling_verbosity=DETAILED (trtexec --profilingVerbosity=detailed), "
                f"so that its layers name the nodes they are made of, or give its description with --{side}-engine FILE."
            )
        elif not is_engine and not placed.paths:
            found.append(
                f"{side.capitalize()}: add module ranges to the script, two lines: import profiler; profiler.annotate(model)."
            )
    return found
