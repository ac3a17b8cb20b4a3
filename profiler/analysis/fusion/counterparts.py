"""From a kernel of one trace to the ledger row that holds it, and to the kernels of the same unit in the other trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from profiler.analysis.fusion.ledger import Ledger
from profiler.analysis.fusion.placement import Placement
from profiler.analysis.fusion.rows import Cell, Row
from profiler.lazy import cached_property

Int64Array = npt.NDArray[np.int64]
_KINDS = ("kernel", "memcpy", "memset")
OTHER = {"before": "after", "after": "before"}


@dataclass(frozen=True)
class Counterparts:
    """Looks up pieces of GPU work in a ledger."""

    ledger: Ledger

    @cached_property
    def _held(self) -> dict[tuple[str, str], Int64Array]:
        """(side, kind of work) → for each row of the trace's frame of that kind the place of its ledger row, or -1."""
        found = {}
        for side in OTHER:
            work = self._placement(side).work
            places = np.full(len(work), -1, dtype=np.int64)
            for place, row in enumerate(self.ledger.rows):
                cell: Cell | None = getattr(row, side)
                if cell is not None:
                    places[np.asarray(cell.rows, dtype=np.int64)] = place
            sources = work["source_row"].to_numpy(dtype=np.int64)
            for kind in _KINDS:
                mine = (work["kind"] == kind).to_numpy()
                held = np.full(int(sources[mine].max(initial=-1)) + 1, -1, dtype=np.int64)
                held[sources[mine]] = places[mine]
                found[side, kind] = held
        return found

    @cached_property
    def _by_target(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.ledger.rows:
            if row.into is not None:
                found.setdefault(row.into, []).append(row)
        return found

    @cached_property
    def _by_label(self) -> dict[str, Row]:
        return {row.label: row for row in self.ledger.rows}

    def _placement(self, side: str) -> Placement:
        placed: Placement = getattr(self.ledger, f"{side}_placement")
        return placed

    def row_of(self, side: str, kind: str, source_row: int) -> Row | None:
        """The ledger row that holds a piece of work (``kind`` "kernel", "memcpy" or "memset"); None outside the inferences."""
        held = self._held.get((side, kind))
        place = int(held[source_row]) if held is not None and 0 <= source_row < len(held) else -1
        return self.ledger.rows[place] if place >= 0 else None

    def partners(self, side: str, row: Row) -> list[Row]:
        """Rows whose work on the other side does what this row's work does on this side.

        Before: the row itself, or the row that took it over. After: the row itself and all rows that it took over.
        """
        if side == "before":
            target = self._by_label.get(row.into) if row.into else row
            return [target] if target is not None and target.after is not None else []
        return [r for r in (row, *self._by_target.get(row.label, [])) if r.before is not None and len(r.before.rows)]

    def work_of(self, side: str, rows: list[Row], inference: int | None) -> list[tuple[str, int]]:
        """(kind, row in the trace's frame) of the work of ledger rows on one side, in one inference or (None) in all."""
        work = self._placement(side).work
        cells: list[Cell] = [cell for cell in (getattr(row, side) for row in rows) if cell is not None]
        places = [np.asarray(cell.rows, dtype=np.int64) for cell in cells]
        part = work.iloc[np.unique(np.concatenate(places or [np.empty(0, dtype=np.int64)]))]
        if inference is not None:
            part = part[part["inference"] == inference]
        return [(str(k), int(r)) for k, r in zip(part["kind"], part["source_row"])]
