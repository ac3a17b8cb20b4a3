"""The kernels of one inference in order of execution, each with its kind, its duration and the block of the model it computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.placement import Placement
from profiler.analysis.fusion.rows import UNEXPLAINED, Cell, Row
from profiler.analysis.run.kernels import classified_names
from profiler.analysis.run.run import Run
from profiler.text import number, plural

_NO_LEDGER = "not known, as there is no fusion ledger"
_NO_MODULES = "not known, as neither trace tells the modules of these kernels"


@dataclass(frozen=True)
class Strip:
    """The kernels of the inference of median latency.

    Attributes:
        kernels: a row a kernel by start: ``row`` (in the trace's kernels), ``name``, ``category``, ``tensor_cores``,
            ``duration_ns``, ``block`` and ``unit`` (of the ledger row that holds it; "" where none is known).
        inference: the text of the inference's range.
        blocks: the blocks in order of execution; empty where no evidence tells them.
        basis: how the blocks are known, or why they are not.
    """

    kernels: pd.DataFrame
    inference: str
    blocks: tuple[str, ...]
    basis: str

    @property
    def time_ns(self) -> int:
        """Sum of the kernels' durations."""
        return int(self.kernels["duration_ns"].sum())

    @property
    def by_block(self) -> pd.DataFrame:
        """A row a block of :attr:`blocks`: ``block``, ``kernels``, ``time_ns``."""
        table = self.kernels.groupby("block", sort=False)["duration_ns"].agg(["size", "sum"])
        table = table.reindex(list(self.blocks)).set_axis(["kernels", "time_ns"], axis=1)
        return table.rename_axis("block").reset_index()


def strip(run: Run, ledger: Ledger | None = None, side: str = "") -> Strip | None:
    """The strip of one run; None where it has no inferences or no kernels in them.

    Args:
        ledger: gives each kernel its block; without one, or where it knows no modules, kernels stand by time alone.
        side: which side of the ledger the run is, "before" or "after".
    """
    inferences = run.inferences
    if not inferences.count:
        return None
    median = inferences.median_inference()
    work = _of_run(run, median) if ledger is None else _of_ledger(ledger, side, median)
    if not len(work):
        return None
    held: list[Row | None] = [None] * len(work) if ledger is None else _held(ledger, side, work.pop("place").to_numpy())
    labels = [(row.block, row.label) if row is not None and row.status != UNEXPLAINED else ("", "") for row in held]
    kernels = work.assign(block=[block for block, _ in labels], unit=[unit for _, unit in labels])
    blocks = tuple(dict.fromkeys(block for block in kernels["block"] if block))
    basis = _NO_LEDGER if ledger is None else _basis(ledger, side, kernels, held) if blocks else _NO_MODULES
    return Strip(kernels, str(inferences.table["text"].iloc[median]), blocks, basis)


def _of_run(run: Run, inference: int) -> pd.DataFrame:
    """The kernels of one inference by start."""
    rows, kernels = np.flatnonzero(run.inferences.of_kernel == inference), run.trace.events.kernels
    names = classified_names(run.trace).iloc[kernels["name"].codes[rows]]
    texts = {c: names[c].to_numpy(dtype=object) for c in ("name", "category", "tensor_cores")}
    return pd.DataFrame({"row": rows, **texts, "duration_ns": kernels["duration_ns"][rows]})


def _of_ledger(ledger: Ledger, side: str, inference: int) -> pd.DataFrame:
    """The same from a ledger's work, with its ``place`` there: the trace itself may have been forgotten."""
    work: pd.DataFrame = getattr(ledger, f"{side}_placement").work
    places = np.flatnonzero((work["inference"].to_numpy() == inference) & (work["kind"] == "kernel").to_numpy())
    places = places[np.argsort(work["source_row"].to_numpy()[places])]  # the trace's kernels are by start
    part = work.iloc[places]
    texts = {c: part[c].astype(object).to_numpy() for c in ("name", "category", "tensor_cores")}
    rows, durations = part["source_row"].to_numpy(dtype=np.int64), part["duration_ns"].to_numpy()
    return pd.DataFrame({"row": rows, **texts, "duration_ns": durations, "place": places})


def _held(ledger: Ledger, side: str, places: np.ndarray) -> list[Row | None]:
    """The rows of the ledger that hold pieces of work."""
    found: list[Row | None] = [None] * len(places)
    for row in ledger.rows:
        cell: Cell | None = getattr(row, side)
        if cell is not None and len(cell.rows):
            rows = cell.rows if (cell.rows[1:] > cell.rows[:-1]).all() else np.sort(cell.rows)  # of several layers
            at = np.minimum(np.searchsorted(rows, places), len(rows) - 1)
            for k in np.flatnonzero(rows[at] == places):
                found[k] = row
    return found


def _basis(ledger: Ledger, side: str, kernels: pd.DataFrame, held: list[Row | None]) -> str:
    placed: Placement = getattr(ledger, f"{side}_placement")
    cells: list[Cell | None] = [getattr(row, side) for row in held if row is not None]
    ordered = sum(cell is not None and cell.by_order for cell in cells)
    outside = int((kernels["block"] == "").sum())
    said = [f"from {placed.source}"]
    if ordered:
        said.append(f"{plural(ordered, 'kernel')} placed by order of execution")
    if outside:
        said.append(f"{number(outside)} in no block")
    return ", ".join(said)
