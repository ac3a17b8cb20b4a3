"""Every JSON document of the analysing verbs, made in one place; docs/interface.md lists the keys.

A document holds what it was made from, NumPy scalars and tuples as they are: :mod:`.plain` makes JSON of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a verb imports only what its document is made of
    import pandas as pd

    from profiler.analysis.compare import Comparison
    from profiler.analysis.fusion.decompose import ChainStep, Decomposition, LatencyPart
    from profiler.analysis.fusion.evidence import RowEvidence
    from profiler.analysis.fusion.ledger import Coverage, Ledger
    from profiler.analysis.fusion.rows import Cell, Row
    from profiler.analysis.fusion.traffic import Traffic
    from profiler.analysis.names.classify import Classification
    from profiler.analysis.names.score import Score, ScoreReport
    from profiler.analysis.names.verify import Verification
    from profiler.analysis.run.autotuning import Autotuning
    from profiler.analysis.run.inferences import Inferences
    from profiler.analysis.run.kernels import KernelSummary
    from profiler.analysis.run.run import Run
    from profiler.analysis.run.tensor_cores import TensorCoreReport
    from profiler.report.evidence import Evidence
    from profiler.report.gates import GateResult
    from profiler.trace import Trace

SIDES = ("before", "after")
_KERNEL = (
    "name", "short_name", "category", "precision", "tensor_cores", "rule", "count", "per_inference", "total_ns", "mean_ns", "median_ns",
    "min_ns", "max_ns", "stddev_ns", "share_of_kernel_time_pct", "share_of_wall_time_pct",
)  # fmt: skip


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain Python values, missing ones None."""
    clean = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in clean.to_dict("records")]


def _attributes(thing: object, *names: str) -> dict[str, Any]:
    return {name: attrgetter(name)(thing) for name in names}


def info_document(trace: Trace) -> dict[str, Any]:
    """What a trace holds: for ``info`` and the dashboard's page of trace details."""
    session = trace.session
    events = trace.events
    _ = events.kernels, events.nvtx_ranges  # reading them finds what is wrong with them
    return {
        "trace": str(trace.path),
        "opened": trace.how_opened or "as it is",
        "structure": trace.database.structure,
        **_attributes(session, "nsys_version", "schema_version", "driver_version", "cuda_version", "recorded_utc"),
        "gpus": [asdict(gpu) for gpu in session.gpus],
        "kernels": trace.kernel_count,
        "nvtx_ranges": trace.nvtx_range_count,
        "runtime_calls": trace.api_call_count,
        "memcpys": len(events.memcpys),
        "memsets": len(events.memsets),
        "graph_launches": _graph_launches(trace),
        "graph_trace_mode": session.graph_trace_mode,
        "graph_level_only": trace.graph_level_only,
        "gpu_metrics": _gpu_metrics(trace),
        "holds_environment": session.holds_environment,
        "warnings": [w.message for w in trace.warnings],
    }


def _graph_launches(trace: Trace) -> int:
    """Calls of cudaGraphLaunch and cuGraphLaunch; where the calls are not recorded, the graphs that were."""
    launches = trace.events.api_calls["name"].are("cudaGraphLaunch", "cuGraphLaunch")
    return int(np.count_nonzero(launches)) or trace.graph_trace_count


def _gpu_metrics(trace: Trace) -> dict[str, Any]:
    metrics = trace.gpu_metrics
    tensor = metrics.tensor_active(min(metrics.names, default=0))
    return {
        "storage": metrics.storage,
        "names": {str(gpu): list(names) for gpu, names in metrics.names.items()},
        "samples": len(tensor.timestamps_ns) if tensor else 0,
        "frequency_hz": tensor.frequency_hz if tensor else None,
        "tensor_counter": tensor.name if tensor else None,
    }


def kernels_document(
    trace: Trace, inferences: Inferences | None, summary: KernelSummary, top: int | None
) -> dict[str, Any]:
    """The ``kernels`` document; ``top``: the first so many names and categories; ``inferences``: None where they were not looked for."""
    return {
        "trace": str(trace.path),
        "inferences": summary.inferences,
        **inferences_document(inferences),
        "per_inference": summary.per_inference,
        "per_inference_note": summary.per_inference_note,
        "kernel_count": summary.count,
        "total_ns": summary.total_ns,
        "wall_ns": summary.wall_ns,
        "kernels": kernel_rows(summary, top),
        "categories": summary.categories.rows()[:top],
    }


def kernel_rows(summary: KernelSummary, top: int | None) -> list[dict[str, Any]]:
    """A row a kernel name, of the first ``top``."""
    return [{key: row[key] for key in _KERNEL} for row in summary.names.rows()[:top]]


def tensor_cores_document(trace: Trace, report: TensorCoreReport) -> dict[str, Any]:
    """The ``tensor-cores`` document: verdicts by name, and apart from them the sampled counter."""
    return {
        "trace": str(trace.path),
        "window": report.window,
        "kernel_time_ns": report.kernel_time_ns,
        "by_name": records(report.by_verdict),
        "sampled": _attributes(report.sampled, "counter", "value_pct", "samples", "frequency_hz", "reason"),
        "eligible_not_using": records(report.eligible),
        "unknown": records(report.unknown),
    }


def classifications_document(names: Iterable[str], found: Iterable[Classification]) -> list[dict[str, Any]]:
    """The ``classify`` document."""
    keys = ("category", "tensor_cores", "rule", "category_rule", "precision")
    return [{"name": name, **_attributes(c, *keys)} for name, c in zip(names, found)]


def score_document(report: ScoreReport) -> dict[str, Any]:
    """The ``classify --score`` document."""
    return {
        "overall": _score(report.overall),
        "conflicting": _score(report.conflicting),
        "by_library": {library: _score(one) for library, one in report.by_library.items()},
        "wrong": [asdict(one) for one in report.wrong],
        "wrong_conflicting": [asdict(one) for one in report.wrong_conflicting],
    }


def _score(score: Score) -> dict[str, Any]:
    ratios = ("yes_precision", "yes_recall", "no_precision", "no_recall", "unknown_share")
    return {"names": score.names, **asdict(score), **_attributes(score, *ratios)}


def verification_document(found: Verification) -> dict[str, Any]:
    """The ``verify-tensor-cores`` document."""
    answers = (("agree", True), ("disagree", False), ("undecided", None))
    return {
        "score": {label: dict(zip(("names", "executions"), found.count(agrees))) for label, agrees in answers},
        "kernels": [
            {
                "name": v.name,
                "tensor_cores": v.verdict,
                **_attributes(v, "rule", "executions", "with_tensor_instructions", "agrees"),
            }
            for v in found.names
        ],
    }


def tactics_document(log: Path, found: Autotuning, candidates: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The ``tactics`` document; ``candidates`` of one layer, where one was asked for."""
    return {
        "log": str(log),
        "layers": records(found.layers),
        "untimed_layers": found.untimed,
        "chosen_ms": found.chosen_ms,
        "candidates": candidates,
    }


def inferences_document(found: Inferences | None) -> dict[str, Any]:
    """How inferences were found, what lies outside of them, and which ranges could be named instead; None: they were not looked for."""
    if found is None:
        return {
            "inferences_found_as": "not looked for (--no-inferences)",
            "inferences_origin": "none",
            "inferences_set_aside": [],
            "outside_inferences": None,
            "inference_candidates": [],
        }
    keys = ("label", "count", "kernels", "time_ns", "share_pct")
    return {
        "inferences_found_as": found.statement,
        "inferences_origin": found.origin,
        "inferences_set_aside": [asdict(s) for s in found.set_aside],
        "outside_inferences": asdict(found.outside),
        "inference_candidates": [_attributes(c, *keys) for c in found.candidates],
    }


def run_document(run: Run) -> dict[str, Any]:
    """What ran, and how its inferences were found."""
    facts = ("title", "gpu", "sm", "framework", "model", "precision", "mode", "batch")
    return {
        "trace": str(run.trace.path),
        **_attributes(run.facts, *facts),
        "input_shape": run.facts.input_shape or None,
        "origin": run.facts.origin,
        "inferences": run.inferences.count or None,
        **inferences_document(run.inferences),
        **_attributes(run.trace.session, "nsys_version", "graph_trace_mode"),
    }


def comparison_document(found: Comparison) -> dict[str, Any]:
    """The ``compare`` document."""
    return {
        "before": run_document(found.before),
        "after": run_document(found.after),
        "pair": {
            **_attributes(found.pair, "is_comparable", "refusal", "latency_basis"),
            "findings": [asdict(f) for f in found.pair.findings],
        },
        "metrics": [asdict(m) for m in found.metrics],
        "warnings": list(found.warnings),
    }


def ledger_document(ledger: Ledger) -> dict[str, Any]:
    """The ``fusion`` document. Counts and times are per inference (sums ÷ inferences); ``totals`` holds the exact sums."""
    from profiler.analysis.fusion.evidence import tensor_core_evidence  # noqa: PLC0415 - see above
    from profiler.analysis.fusion.traffic import memory_traffic  # noqa: PLC0415 - see above

    traffic = memory_traffic(ledger)
    evidence = {side: {id(e.row): e for e in tensor_core_evidence(ledger, side)} for side in SIDES}
    n = {"before": ledger.before_placement.inferences, "after": ledger.after_placement.inferences}
    rows = []
    for row, moved in zip(ledger.rows, traffic.rows):
        cells = {
            side: _cell(getattr(row, side), n[side], getattr(moved, side).minimum, evidence[side].get(id(row)))
            for side in SIDES
        }
        rows.append(
            {
                "module": row.label,
                "path": row.module,
                "block": row.block,
                "stage": row.stage,
                **cells,
                **_attributes(row, "status", "into", "cause", "change", "calls", "why"),
            }
        )
    return {
        "before": run_document(ledger.before),
        "after": run_document(ledger.after),
        "how": {"before": ledger.before_placement.how, "after": ledger.after_placement.how},
        "source": {"before": ledger.before_placement.source, "after": ledger.after_placement.source},
        "match": _attributes(ledger.match, "statement", "anchors", "anchors_agreed"),
        "unexplained": {
            side: [
                {"module": r.label, "time_ns": getattr(r, side).gpu_time_ns / n[side], "why": r.why}
                for r in ledger.unexplained(side)
            ]
            for side in SIDES
        },
        "advice": list(ledger.advice),
        "no_ratio": ledger.no_ratio,
        "coverage": {side: _coverage(ledger.coverage(side)) for side in SIDES},
        "statuses": ledger.by_status,
        "findings": list(ledger.findings),
        "rows": rows,
        "totals": {side: ledger_totals(ledger, side) for side in SIDES},
        "memory": _traffic(traffic),
        "tensor_core_disagreements": [
            {"module": e.row.label, "side": e.side, "disagreement": e.disagreement}
            for side in SIDES
            for e in evidence[side].values()
            if e.disagreement
        ],
    }


def _coverage(found: Coverage) -> dict[str, Any]:
    return _attributes(found, "kernels", "kernels_explained", "kernels_pct", "time_ns", "time_explained_ns", "time_pct")


def ledger_totals(ledger: Ledger, side: str) -> dict[str, Any]:
    """Exact sums over all inferences of one side, from the rows."""
    cells: list[Cell] = [c for c in (getattr(r, side) for r in ledger.rows) if c is not None]
    sums = ("kernels", "time_ns", "copies", "copies_time_ns")
    return {
        "inferences": getattr(ledger, f"{side}_placement").inferences,
        **{name: sum(getattr(c, name) for c in cells) for name in sums},
    }


def _cell(
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
        "gpu_time_ns": cell.gpu_time_ns / inferences,
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
    shown = [[t.format for t in tensors if t.format] for tensors in (inputs, outputs)]
    return f"{' | '.join(shown[0])} → {' | '.join(shown[1])}" if all(shown) else None


def _traffic(traffic: Traffic) -> dict[str, Any]:
    sampled = ("read_bytes", "written_bytes", "samples", "frequency_hz", "reason")
    return {
        "computed_minimum": {
            "before_bytes": traffic.before_bytes,
            "after_bytes": traffic.after_bytes,
            "before_rows_unknown": traffic.before_unknown,
            "after_rows_unknown": traffic.after_unknown,
        },
        "sampled": {
            "before": _attributes(traffic.before_sampled, *sampled),
            "after": _attributes(traffic.after_sampled, *sampled),
        },
    }


def flat_row(row: Row, document: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the ``fusion`` document for a table or a CSV file; times are those of kernels, copies and sets."""
    before, after = document["before"] or {}, document["after"] or {}
    figures = {"kernels": "kernels", "time_ns": "gpu_time_ns", "min_bytes": "min_bytes"}
    return {
        "module": row.label,
        **_attributes(row, "block", "status", "into"),
        **{f"before_{key}": before.get(name) for key, name in figures.items()},
        **{
            f"after_{key}": after.get(name)
            for key, name in {**figures, **{k: k for k in ("layer", "tactic", "precision")}}.items()
        },
        "tensor_cores": after.get("tensor_cores"),
        "why": row.why,
    }


def part_document(part: LatencyPart) -> dict[str, Any]:
    """One part of a latency difference."""
    return _attributes(part, "id", "label", "before_ns", "after_ns", "saved_ns", "why")


def decomposition_document(split: Decomposition) -> dict[str, Any]:
    """An exact split of a latency difference."""
    sides = {
        side: {
            "title": getattr(split, f"{side}_label"),
            "inference": getattr(split, f"{side}_inference"),
            "latency_ns": getattr(split, f"{side}_latency_ns"),
        }
        for side in SIDES
    }
    saved = split.before_latency_ns - split.after_latency_ns
    return {**sides, "saved_ns": saved, "parts": [part_document(p) for p in split.parts]}


def chain_document(steps: Sequence[ChainStep]) -> dict[str, Any]:
    """The ``decompose`` document of a chain of runs."""
    return {
        "steps": [
            {
                **_attributes(step, "title", "latency_ns"),
                "split": decomposition_document(step.split) if step.split else None,
                "reason": step.reason,
            }
            for step in steps
        ]
    }


def report_document(evidence: Evidence, outcomes: Sequence[GateResult] = ()) -> dict[str, Any]:
    """The ``report`` document: ``compare`` with ``provenance``, ``fusion`` and ``decompose`` (null and a reason without)."""
    split = None if isinstance(evidence.split, str) else evidence.split
    return {
        **comparison_document(evidence.comparison),
        "provenance": evidence.provenance,
        "fusion": evidence.ledger_document,
        "no_fusion_reason": evidence.no_ledger,
        "decompose": decomposition_document(split) if split else None,
        "no_decompose_reason": evidence.split if isinstance(evidence.split, str) else None,
        "accuracy": evidence.accuracy.document if evidence.accuracy else None,
        "gates": [{"gate": o.gate.text, **_attributes(o, "outcome", "value", "unit", "sentence")} for o in outcomes],
    }
