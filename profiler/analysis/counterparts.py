"""From a kernel of one trace to the ledger row that holds it, and to the kernels of the same unit in the other trace."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from profiler.analysis.ledger import Cell, Ledger, Row
from profiler.analysis.placement import Placement

OTHER = {"before": "after", "after": "before"}


@dataclass(frozen=True)
class Counterparts:
    """Looks up pieces of GPU work in a ledger."""

    ledger: Ledger

    @cached_property
    def _rows(self) -> dict[str, dict[tuple[str, int], Row]]:
        found: dict[str, dict[tuple[str, int], Row]] = {}
        for side in OTHER:
            work = self._placement(side).work
            kinds, sources = work["kind"].tolist(), work["source_row"].tolist()
            mine: dict[tuple[str, int], Row] = {}
            for row in self.ledger.rows:
                cell: Cell | None = getattr(row, side)
                for place in cell.rows if cell else ():
                    mine[kinds[place], sources[place]] = row
            found[side] = mine
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
        return self._rows[side].get((kind, source_row))

    def partners(self, side: str, row: Row) -> list[Row]:
        """Rows whose work on the other side does what this row's work does on this side.

        Before: the row itself, or the row that took it over. After: the row itself and all rows that it took over.
        """
        if side == "before":
            target = self._by_label.get(row.into) if row.into else row
            return [target] if target is not None and target.after is not None else []
        return [r for r in (row, *self._by_target.get(row.label, [])) if r.before is not None and r.before.rows]

    def work_of(self, side: str, rows: list[Row], inference: int | None) -> list[tuple[str, int]]:
        """(kind, row in the trace's frame) of the work of ledger rows on one side, in one inference or (None) in all."""
        work = self._placement(side).work
        cells: list[Cell] = [cell for cell in (getattr(row, side) for row in rows) if cell is not None]
        part = work.iloc[sorted({place for cell in cells for place in cell.rows})]
        if inference is not None:
            part = part[part["inference"] == inference]
        return [(str(k), int(r)) for k, r in zip(part["kind"], part["source_row"])]
