"""Every table of a hand-over, by name: for the HTML report, for CSV and for Parquet.

Columns carry their unit in their name (``time_ns``, ``share_pct``, ``min_bytes``), and a figure that cannot be had is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.ledger import Ledger, grouped
from profiler.analysis.fusion.rows import STATUSES
from profiler.analysis.run.run import Run
from profiler.errors import MissingToolError, OutputError, ProfilerError
from profiler.files import write_file
from profiler.report.accuracy import APART, layer_table
from profiler.report.accuracy import table as accuracy_table
from profiler.report.documents import flat_row, part_document
from profiler.report.evidence import SIDES, Evidence
from profiler.report.layers import engine_layers
from profiler.report.spreadsheet import cell
from profiler.text import plural, visible

FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class Table:
    """A table with what a reader must know of it.

    Attributes:
        id: its file name without the ending.
        note: what a row is, and where the figures are from.
    """

    id: str
    title: str
    note: str
    frame: pd.DataFrame


def tables(evidence: Evidence) -> list[Table]:
    """All tables that these traces give; those that they cannot give are left out (the report says why)."""
    return [
        *_comparison(evidence),
        *_split(evidence),
        *_fusion(evidence),
        *(table for name in SIDES for table in _side(name, evidence)),
        *_tuning(evidence),
        *_accuracy(evidence),
    ]


def _accuracy(evidence: Evidence) -> Iterator[Table]:
    study = evidence.accuracy
    if study is None:
        return
    note = f"One row per run, by median latency without a profiler; differences are of the same images. {APART}"
    yield Table("accuracy", "Accuracy of the study's runs", note, accuracy_table(study.runs))
    if study.sensitivity is not None:
        note = f"Simulated in float32 on {plural(study.sensitivity.images, 'image')}: one layer quantised alone, and all but it."
        yield Table("sensitivity", "What each layer's quantisation costs", note, layer_table(study.sensitivity))


def _comparison(evidence: Evidence) -> Iterator[Table]:
    rows = []
    for m in evidence.comparison.metrics:
        ranges = {"before": m.before_range or (None, None), "after": m.after_range or (None, None)}
        rows.append(
            {
                "id": m.id,
                "figure": m.label,
                "unit": m.unit,
                "before": m.before,
                "after": m.after,
                "before_over_after": m.ratio,
                "before_min": ranges["before"][0],
                "before_max": ranges["before"][1],
                "after_min": ranges["after"][0],
                "after_max": ranges["after"][1],
                "source": m.source,
                "reason": m.reason,
            }
        )
    note = "Per inference. Minimum and maximum are over the inferences, where the figure is a median or a mean of them."
    yield Table("figures", "Every figure, before and after", note, pd.DataFrame(rows))
    facts = evidence.provenance
    frame = pd.DataFrame(
        {
            "fact": list(facts["before"]),
            "before": list(facts["before"].values()),
            "after": list(facts["after"].values()),
        }
    )
    yield Table("provenance", "Where the figures come from", "From the traces and the manifests beside them.", frame)


def _split(evidence: Evidence) -> Iterator[Table]:
    split = evidence.split
    if not isinstance(split, Decomposition):
        return
    rows = [{k: v for k, v in part_document(p).items() if k != "id"} for p in split.parts]
    rows.append(
        {
            "label": "latency",
            "before_ns": split.before_latency_ns,
            "after_ns": split.after_latency_ns,
            "saved_ns": split.before_latency_ns - split.after_latency_ns,
            "why": "sum of the parts",
        }
    )
    note = (
        f"The inferences of median latency, {split.before_inference} before and {split.after_inference} after, under nsys. The "
        "parts sum to the latencies to the nanosecond."
    )
    yield Table("speedup", "Where the difference of the latencies is", note, pd.DataFrame(rows))


def _fusion(evidence: Evidence) -> Iterator[Table]:
    ledger, document, traffic = evidence.ledger, evidence.ledger_document, evidence.traffic
    if ledger is None or document is None or traffic is None:
        return
    rows = [flat_row(row, entry) for row, entry in zip(ledger.rows, document["rows"])]
    note = (
        "Every kernel, copy and set of the inferences is in exactly one row. Counts, times and bytes are per inference."
    )
    yield Table("fusion_ledger", "The fusion ledger", note, pd.DataFrame(rows))
    for by in ("block", "stage"):
        yield Table(f"fusion_by_{by}", f"The fusion ledger by {by}", "Sums of the ledger's rows.", _groups(ledger, by))
    memory = pd.DataFrame(
        {
            "module": [r.row.label for r in traffic.rows],
            "status": [r.row.status for r in traffic.rows],
            "before_min_bytes": pd.array([r.before.minimum for r in traffic.rows], dtype="Int64"),
            "after_min_bytes": pd.array([r.after.minimum for r in traffic.rows], dtype="Int64"),
            "before_from": [r.before.how for r in traffic.rows],
            "after_from": [r.after.how for r in traffic.rows],
        }
    )
    note = "Computed minimum: inputs, weights and outputs once each, per inference."
    yield Table("memory_traffic", "Memory traffic that cannot be less", note, memory)
    if document["tensor_core_disagreements"]:
        yield Table(
            "tensor_core_contradictions",
            "Contradictions in the Tensor Core evidence",
            "Rows whose name rule, engine description and samples do not agree.",
            pd.DataFrame(document["tensor_core_disagreements"]),
        )


def _groups(ledger: Ledger, by: str) -> pd.DataFrame:
    n = ledger.before_placement.inferences, ledger.after_placement.inferences
    groups = grouped(ledger.rows, by)
    return pd.DataFrame(
        {
            by: [g.label for g in groups],
            "before_kernels": [g.before_kernels / n[0] for g in groups],
            "before_time_ns": [g.before_time_ns / n[0] for g in groups],
            "after_kernels": [g.after_kernels / n[1] for g in groups],
            "after_time_ns": [g.after_time_ns / n[1] for g in groups],
            **{s: [sum(r.status == s for r in g.rows) for g in groups] for s in STATUSES},
        }
    )


def _side(name: str, evidence: Evidence) -> Iterator[Table]:
    side: Run = evidence.sides[name]
    cores = side.tensor_cores
    if side.inferences.count:
        yield Table(
            f"inferences_{name}",
            f"Inferences, {name}",
            f"{side.inferences.statement}. Latency is host time under nsys.",
            side.inferences.table.drop(columns=["start_ns", "end_ns", "gpu_start_ns", "gpu_end_ns"]),
        )
    if side.trace.kernel_count:
        yield Table(
            f"kernels_{name}",
            f"Kernels by name, {name}",
            "All kernels of the trace; “per_inference” counts launches inside inferences only. Kind, precision and Tensor Core "
            "verdict are inferred from the name; “rule” says by which rule.",
            side.kernels.by_name.drop(columns=["short_name"]),
        )
        yield Table(
            f"tensor_cores_{name}",
            f"Kernel time by Tensor Core verdict, {name}",
            f"By name; {cores.window}.",
            cores.by_verdict,
        )
    if len(cores.eligible):
        note = "Convolutions, matrix products and attention whose names say that they run without Tensor Cores."
        yield Table(f"without_tensor_cores_{name}", f"Could use Tensor Cores and do not, {name}", note, cores.eligible)
    if len(cores.unknown):
        note = (
            "Kernels whose names decide nothing; they are counted neither as using Tensor Cores nor as not using them."
        )
        yield Table(f"undecided_{name}", f"Tensor Cores undecided, {name}", note, cores.unknown)
    if len(side.launches.calls):
        yield Table(
            f"launches_{name}", f"Launch calls, {name}", f"Host time, {side.launches.window}.", side.launches.calls
        )
    if len(side.launches.gaps):
        note = "Times inside an inference in which no GPU work ran, longest first, at most 100."
        yield Table(f"gaps_{name}", f"Gaps of the GPU, {name}", note, side.launches.gaps)
    try:
        layers = engine_layers(side)
    except ProfilerError:
        return  # the ledger says what is wrong with the engine's description
    if layers is not None:
        note = "In order of execution. Types, formats and tactics are TensorRT's own words; bytes are the computed minimum."
        yield Table(f"layers_{name}", f"Engine layers, {name}", note, layers)


def _tuning(evidence: Evidence) -> Iterator[Table]:
    for name, tuned in evidence.tuning.items():
        if len(tuned.layers):
            note = (
                "Candidates per layer as TensorRT timed them while it built the engine; “saved” is the median minus the chosen "
                f"one, of the candidates that ran. {tuned.in_words()}"
            )
            yield Table(f"autotuning_{name}", f"Auto-tuning, {name}", note, tuned.layers)


def to_csv(frame: pd.DataFrame) -> str:
    """CSV whose texts a spreadsheet does not take for formulas."""
    return str(frame.map(_no_formula).to_csv(index=False, lineterminator="\n"))


def _no_formula(value: object) -> object:
    return cell(visible(value)) if isinstance(value, str) else value


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Parquet with the frame's own types.

    Raises:
        MissingToolError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401, PLC0415 - comes with Streamlit; the library alone runs without it
    except ImportError as error:
        raise MissingToolError(
            "Parquet needs pyarrow, which is not installed.", "pip install pyarrow, or take CSV."
        ) from error
    return bytes(_storable(frame).to_parquet(index=False))


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of Python objects as text: Parquet wants one type a column; what is missing stays missing."""
    mixed = [c for c in frame.columns if frame[c].dtype == object]
    return frame.assign(**{c: frame[c].map(str, na_action="ignore").astype("string") for c in mixed})


def write_tables(found: list[Table], folder: Path, kinds: tuple[str, ...], force: bool) -> list[Path]:
    """Write tables as ``ID.csv`` and ``ID.parquet`` into a folder, which is made if it is not there.

    Raises:
        OutputError: a file exists and ``force`` is false, or one cannot be written.
        MissingToolError: Parquet without pyarrow.
    """
    targets = [(table, kind, folder / f"{table.id}.{kind}") for table in found for kind in kinds]
    present = [path for *_, path in targets if path.exists()]
    if present and not force:
        raise OutputError(f"{present[0]}: exists already.", "Name another folder, or give --force to replace files.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table, kind, path in targets:
            content = to_csv(table.frame).encode() if kind == "csv" else to_parquet(table.frame)
            write_file(path, content)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({error.strerror or error}).") from error
    return [path for *_, path in targets]
