"""The summary of a study: summary.json, summary.csv and summary.md, from the runs that are in its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiler.capture.manifest import read_document
from profiler.files import write_file, write_json
from profiler.trace.manifest import model_label

COLUMNS = {
    "name": "run",
    "framework": "framework",
    "precision": "precision",
    "mode": "mode",
    "batch": "batch",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "mean_ms": "mean ms",
    "images_per_s": "images/s",
    "streams": "streams",
    "speedup": "× FP32 eager",
    "kernels_per_inference": "kernels",
    "profiled_ms": "ms under nsys",
    "memory_mib": "GPU memory MiB",
    "power_w": "power W",
    "top1_pct": "top-1 %",
    "top5_pct": "top-5 %",
    "top1_agreement_pct": "top-1 agreement %",
    "cosine": "cosine",
    "sqnr_db": "SQNR dB",
    "notes": "notes",
}


def collect(folder: Path) -> list[dict[str, Any]]:
    """One row a run, runs with a trace first by name, then those with latency alone; None where a figure is missing."""
    documents = [(p.parent.name, read_document(p)) for p in sorted(folder.glob("*/manifest.json"))]
    documents += [(p.stem, read_document(p)) for p in sorted((folder / "bench").glob("*.json"))]
    rows: dict[str, dict[str, Any]] = {}
    for name, document in documents:
        if document and document.get("complete"):
            rows.setdefault(name, row(name, document))
    base = {
        (r["model"], r["batch"]): r["mean_ms"]
        for r in rows.values()
        if (r["framework"], r["precision"], r["mode"]) == ("PyTorch", "fp32", "eager")
    }
    for r in rows.values():
        before = base.get((r["model"], r["batch"]))
        r["speedup"] = before / r["mean_ms"] if before and r["mean_ms"] else None
    return sorted(
        rows.values(),
        key=lambda r: (str(r["model"]), r["batch"] or 0, str(r["framework"]), str(r["precision"]), str(r["mode"])),
    )


def row(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one manifest or bench document."""
    bench = _mapping(document.get("bench"))
    latency, telemetry = _mapping(bench.get("latency_ms")), _mapping(bench.get("telemetry"))
    throughput = bench.get("throughput")
    profiled = _mapping(document.get("profiled"))
    kernels, inferences = _number(profiled.get("kernels")), _number(profiled.get("inferences"))
    found = _mapping(document.get("accuracy"))
    accurate, agrees = _mapping(found.get("accuracy")), _mapping(found.get("agreement"))
    doubt = agrees.get("warning")
    agrees = {} if doubt else agrees  # figures that say nothing are not shown as if they did
    memory = _number(telemetry.get("memory_used_bytes_process"))
    warnings = document.get("warnings")
    batch = _number(document.get("batch"))
    return {
        "name": name,
        "model": model_label(_text(document.get("model")), document),
        "gpu": _text(document.get("gpu")),
        **{key: _text(document.get(key)) for key in ("framework", "precision", "mode")},
        "batch": int(batch) if batch is not None else None,
        **{f"{key}_ms": _number(latency.get(key)) for key in ("p50", "p90", "p99", "mean")},
        "images_per_s": images_per_s(throughput),
        "streams": _number(throughput.get("streams", 1)) if isinstance(throughput, Mapping) else None,
        "speedup": None,
        # kernels that a graph-level trace hides are not known, and not 0
        "kernels_per_inference": kernels / inferences if kernels and inferences else None,
        "profiled_ms": _number(profiled.get("ms_per_inference")),
        "memory_mib": memory / 2**20 if memory else None,
        "power_w": _number(_mapping(telemetry.get("power_w")).get("mean")),
        "top1_pct": _number(accurate.get("top1_pct")),
        "top5_pct": _number(accurate.get("top5_pct")),
        "top1_agreement_pct": _number(agrees.get("top1_agreement_pct")),
        "cosine": _number(agrees.get("cosine")),
        "sqnr_db": _number(agrees.get("sqnr_db")),
        "notes": "; ".join(n for n in (*(warnings if isinstance(warnings, list) else []), doubt) if isinstance(n, str))
        or None,
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    """A document may hold anything: what is of another kind is not known."""
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | int | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return value if known else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def images_per_s(throughput: Any) -> float | None:
    if isinstance(throughput, Mapping):
        throughput = throughput.get("images_per_s")
    found = _number(throughput)
    return float(found) if found is not None else None


def one_line(document: Mapping[str, Any]) -> str:
    """For a progress line."""
    r = row("", document)
    parts = [
        f"{r['p50_ms']:.3f} ms p50" if r["p50_ms"] is not None else "",
        f"{r['images_per_s']:,.0f} images/s" if r["images_per_s"] else "",
        f"{r['kernels_per_inference']:.0f} kernels an inference" if r["kernels_per_inference"] else "",
    ]
    return ", ".join(filter(None, parts))


def write_summary(folder: Path, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the three files; returns the rows.

    Raises:
        OutputError: they cannot be written.
    """
    rows = collect(folder)
    write_json(
        folder / "summary.json",
        {"format": "profiler-summary/1", "gpu": study.get("gpu"), "left_out": study.get("left_out"), "runs": rows},
    )
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["name", "model", "gpu", *list(COLUMNS)[1:]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(folder / "summary.csv", buffer.getvalue())
    write_file(folder / "summary.md", markdown(rows, study))
    return rows


def markdown(rows: list[dict[str, Any]], study: Mapping[str, Any]) -> str:
    """The table, what was left out and why, and what failed."""
    gpu = study.get("gpu") or {}
    shown = {k: h for k, h in COLUMNS.items() if k in ("name", "batch") or any(r.get(k) is not None for r in rows)}
    lines = [
        "# Study",
        "",
        f"GPU: {gpu.get('name', 'not known')}, driver {gpu.get('driver', 'not known')}. "
        "Latency and throughput are measured without a profiler.",
        "",
    ]
    lines += [
        f"| {' | '.join(shown.values())} |",
        f"|{'|'.join('---' if k in ('name', 'framework', 'precision', 'mode') else '---:' for k in shown)}|",
    ]
    lines += [f"| {' | '.join(_cell(k, r.get(k)) for k in shown)} |" for r in rows]
    if any(r.get("cosine") is not None for r in rows):
        lines += ["", "Agreement, cosine and SQNR are against PyTorch FP32 on the same inputs: they are not accuracy."]
    left_out = study.get("left_out") or []
    if left_out:
        lines += ["", "Left out:", "", *(f"- {item['what']}: {item['reason']}" for item in left_out)]
    failed = [s for s in study.get("steps") or [] if s.get("status") not in ("done", "kept")]
    if failed:
        lines += ["", "Not done:", "", *(f"- {s['step']} ({s['status']}): {s.get('error') or ''}" for s in failed)]
    notes = study.get("notes") or []
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        digits = (
            4
            if key in ("cosine",)
            else 3
            if key.endswith("_ms")
            else 0
            if key in ("images_per_s", "kernels_per_inference", "memory_mib")
            else 1
        )
        return f"{value:,.{digits}f}"
    return str(value).replace("|", "\\|")
