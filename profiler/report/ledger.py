"""The fusion ledger and the decomposition as documents: for the command line, the dashboard and exports."""

from __future__ import annotations

from typing import Any

from profiler.analysis.fusion.decompose import Decomposition, Step
from profiler.analysis.fusion.evidence import RowEvidence, tensor_core_evidence
from profiler.analysis.fusion.ledger import Cell, Ledger, Row
from profiler.analysis.fusion.traffic import SampledBytes, Traffic, memory_traffic


def ledger_document(ledger: Ledger) -> dict[str, Any]:
    """The ``fusion`` document. Counts and times are per inference (sums ÷ inferences); ``totals`` holds the exact sums."""
    traffic = memory_traffic(ledger)
    evidence = {side: {id(e.row): e for e in tensor_core_evidence(ledger, side)} for side in ("before", "after")}
    n = {"before": ledger.before_placement.inferences, "after": ledger.after_placement.inferences}
    rows = []
    for row, bytes_ in zip(ledger.rows, traffic.rows):
        rows.append(
            {
                "module": row.label,
                "path": row.module,
                "block": row.block,
                "stage": row.stage,
                "before": cell_document(
                    row.before, n["before"], bytes_.before.minimum, evidence["before"].get(id(row))
                ),
                "after": cell_document(row.after, n["after"], bytes_.after.minimum, evidence["after"].get(id(row))),
                "status": row.status,
                "into": row.into,
                "cause": row.cause,
                "why": row.why,
            }
        )
    return {
        "before": ledger.before.as_dict(),
        "after": ledger.after.as_dict(),
        "how": {"before": ledger.before_placement.how, "after": ledger.after_placement.how},
        "coverage": {side: ledger.coverage(side).as_dict() for side in ("before", "after")},
        "statuses": ledger.by_status,
        "findings": list(ledger.findings),
        "rows": rows,
        "totals": {side: totals(ledger, side) for side in ("before", "after")},
        "memory": traffic_document(traffic),
        "tensor_core_disagreements": [
            {"module": e.row.label, "side": e.side, "disagreement": e.disagreement}
            for side in ("before", "after")
            for e in evidence[side].values()
            if e.disagreement
        ],
    }


def totals(ledger: Ledger, side: str) -> dict[str, Any]:
    """Exact sums over all inferences of one side, from the rows."""
    cells: list[Cell] = [c for c in (getattr(r, side) for r in ledger.rows) if c is not None]
    return {
        "inferences": getattr(ledger, f"{side}_placement").inferences,
        "kernels": sum(c.kernels for c in cells),
        "time_ns": sum(c.time_ns for c in cells),
        "copies": sum(c.copies for c in cells),
        "copies_time_ns": sum(c.copies_time_ns for c in cells),
    }


def cell_document(
    cell: Cell | None, inferences: int, minimum: int | None, evidence: RowEvidence | None
) -> dict[str, Any] | None:
    if cell is None:
        return None
    layer = cell.layers[0] if cell.layers else None
    return {
        "layer": cell.holder,
        "kernels": cell.kernels / inferences,
        "time_ns": cell.time_ns / inferences,
        "copies": cell.copies / inferences,
        "copies_time_ns": cell.copies_time_ns / inferences,
        "categories": list(cell.categories),
        "kernel_names": list(cell.kernel_names),
        "tactic": layer.tactic if layer else None,
        "precision": layer.precision if layer else None,
        "formats": _formats(layer.inputs, layer.outputs) if layer else None,
        "min_bytes": minimum,
        "tensor_cores": evidence.verdict if evidence else None,
        "rule": evidence.rule if evidence else None,
        "tensor_active_pct": evidence.sampled_pct if evidence else None,
        "tensor_active_samples": evidence.samples if evidence else 0,
        "by_order": cell.by_order,
    }


def _formats(inputs: Any, outputs: Any) -> str | None:
    shown = [[t.format for t in side if t.format] for side in (inputs, outputs)]
    return f"{' | '.join(shown[0])} → {' | '.join(shown[1])}" if all(shown) else None


def traffic_document(traffic: Traffic) -> dict[str, Any]:
    def sampled(value: SampledBytes) -> dict[str, Any]:
        return {
            "read_bytes": value.read_bytes,
            "written_bytes": value.written_bytes,
            "samples": value.samples,
            "frequency_hz": value.frequency_hz,
            "reason": value.reason,
        }

    return {
        "computed_minimum": {
            "before_bytes": traffic.before_bytes,
            "after_bytes": traffic.after_bytes,
            "before_rows_unknown": traffic.before_unknown,
            "after_rows_unknown": traffic.after_unknown,
        },
        "sampled": {"before": sampled(traffic.before_sampled), "after": sampled(traffic.after_sampled)},
    }


def flat_row(row: Row, document: dict[str, Any]) -> dict[str, Any]:
    """One row of the document for a table or a CSV file."""
    before, after = document["before"] or {}, document["after"] or {}
    return {
        "module": row.label,
        "block": row.block,
        "status": row.status,
        "into": row.into,
        "before_kernels": before.get("kernels"),
        "before_time_ns": before.get("time_ns"),
        "before_min_bytes": before.get("min_bytes"),
        "after_kernels": after.get("kernels"),
        "after_time_ns": after.get("time_ns"),
        "after_min_bytes": after.get("min_bytes"),
        "after_layer": after.get("layer"),
        "after_tactic": after.get("tactic"),
        "after_precision": after.get("precision"),
        "tensor_cores": after.get("tensor_cores"),
        "why": row.why,
    }


def chain_document(steps: list[Step]) -> dict[str, Any]:
    """The ``decompose`` document of a chain of runs."""
    splits: list[Decomposition | None] = [s.split for s in steps]
    return {
        "steps": [
            {"title": s.title, "latency_ns": s.latency_ns, "split": d.as_dict() if d else None, "reason": s.reason}
            for s, d in zip(steps, splits)
        ]
    }
