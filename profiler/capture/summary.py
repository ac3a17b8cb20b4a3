"""The summary of a study: summary.json, summary.csv and summary.md, from the runs that are in its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiler.capture.manifest import read_document
from profiler.files import write_file, write_json
from profiler.text import number, plural
from profiler.trace.manifest import JsonPart, model_label

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
    "weights_mib": "weights MiB",
    "activations_mib": "activations MiB",
    "power_w": "power W",
    "top1_pct": "top-1 %",
    "top1_difference_points": "top-1 − FP32, points",
    "top5_pct": "top-5 %",
    "top1_agreement_pct": "top-1 agreement %",
    "cosine": "cosine",
    "sqnr_db": "SQNR dB",
    "notes": "notes",
}
_DIGITS = {
    "cosine": 4, "images_per_s": 0, "kernels_per_inference": 0, "memory_mib": 0, "top1_pct": 2, "top1_difference_points": 2,
}  # fmt: skip


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
    """The figures of one manifest or bench document; of what it holds elsewhere nothing is known."""
    run = JsonPart(document)
    bench, profiled = run.part("bench"), run.part("profiled")
    telemetry, throughput = bench.part("telemetry"), bench.part("throughput")
    accurate, agrees = run.part("accuracy").part("accuracy"), run.part("accuracy").part("agreement")
    engine = run.part("engine")  # runs of earlier versions have these figures there only
    against, parts = accurate.part("against_fp32"), bench.part("memory")
    doubt = agrees.text("warning")
    agrees = JsonPart(None) if doubt else agrees  # figures that say nothing are not shown as if they did
    kernels, inferences = profiled.number("kernels"), profiled.number("inferences")
    memory = telemetry.number("memory_used_bytes_process")
    return {
        "name": name,
        "model": model_label(run.text("model"), document),
        **{key: run.text(key) for key in ("gpu", "framework", "precision", "mode")},
        "batch": run.whole("batch"),
        **{f"{key}_ms": bench.part("latency_ms").number(key) for key in ("p50", "p90", "p99", "mean")},
        "images_per_s": throughput.number("images_per_s"),
        "streams": throughput.whole("streams") or 1 if throughput else None,
        "speedup": None,
        # kernels that a graph-level trace hides are not known, and not 0
        "kernels_per_inference": kernels / inferences if kernels and inferences else None,
        "profiled_ms": profiled.number("ms_per_inference"),
        "memory_mib": _mib(memory),
        "weights_mib": _mib(parts.number("weights_bytes") or engine.number("plan_bytes")),
        "activations_mib": _mib(parts.number("activations_bytes") or engine.number("device_memory_bytes")),
        "power_w": telemetry.part("power_w").number("mean"),
        **{key: accurate.number(key) for key in ("top1_pct", "top5_pct")},
        "top1_difference_points": against.number("difference_points"),
        **{key: agrees.number(key) for key in ("top1_agreement_pct", "cosine", "sqnr_db")},
        "notes": "; ".join([*run.texts("warnings"), *([doubt] if doubt else [])]) or None,
    }


def _mib(count: float | None) -> float | None:
    return None if count is None else count / 2**20


def one_line(document: Mapping[str, Any]) -> str:
    """For a progress line."""
    r = row("", document)
    kernels = r["kernels_per_inference"]
    parts = [
        f"{number(r['p50_ms'], 'ms')} p50" if r["p50_ms"] is not None else "",
        number(r["images_per_s"], "images/s") if r["images_per_s"] else "",
        f"{plural(round(kernels), 'kernel')} per inference" if kernels else "",
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
    lines += [f"| {' | '.join(_cell(r.get(k)) for k in shown)} |" for r in rows]
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


def _cell(value: Any) -> str:
    return number(value, digits=4) if value is None or isinstance(value, float) else str(value).replace("|", "\\|")
