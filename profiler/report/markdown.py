"""A summary in GitHub's Markdown, for a pull request. The same traces give the same text, byte for byte.

Titles and names come from untrusted files. What could start markup is written as a character reference, which CommonMark
shows as the character and never reads as markup; mentions, references to issues and bare addresses are broken up, as
GitHub links those after it has rendered the Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from profiler.analysis.fusion.decompose import Decomposition
from profiler.report.accuracy import handed_over
from profiler.report.evidence import SIDES, Evidence
from profiler.report.gates import FAILED, UNKNOWN, GateResult
from profiler.report.notices import notices
from profiler.report.story import sentences, title
from profiler.report.words import HEADLINES, change
from profiler.text import number, plural, visible, with_unit

_MARKUP = re.compile(
    r"[&<>`*\[\]|~$\\!@#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=\u200b//)|(?<=www)\.(?=\u200b)", re.IGNORECASE
)
_LINKED_BY_GITHUB = re.compile(r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=www\.)")
_LINE_START = re.compile(r"^(?=[-+=]|\d+[.)]\s)")
_BREAK = "\u200b"  # a space without width
_MAX_TEXT = 300
_MAX_WARNINGS = 20


def escape(text: str) -> str:
    """Untrusted text on one line of Markdown, shown as it is; cut after 300 characters, and then that is to be seen."""
    shown = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
    # GitHub looks for mentions in the text that is left when the references are resolved, so those are broken up as well
    broken = _LINKED_BY_GITHUB.sub(_BREAK, _LINE_START.sub(_BREAK, visible(shown)))
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", broken)


def summary(evidence: Evidence, outcomes: Sequence[GateResult] = ()) -> str:
    """The Markdown document."""
    comparison = evidence.comparison
    lines = [f"## {escape(title(evidence))}", "", escape_sentences(sentences(evidence)), ""]
    if comparison.refusals:
        lines += [f"**Kernel counts are not compared.** {escape(' '.join(comparison.refusals))}", ""]
    if outcomes:
        lines += [*_gates(outcomes), ""]
    lines += ["| per inference | before | after | change |", "|---|--:|--:|--:|"]
    for metric_id in HEADLINES:
        m = comparison.metric(metric_id)
        lines.append(f"| {m.label} | {with_unit(m.before, m.unit)} | {with_unit(m.after, m.unit)} | {change(m)} |")
    lines += ["", *_split(evidence), *_ledger(evidence)]
    if evidence.accuracy is not None:
        lines += [f"**Accuracy.** {escape_sentences(handed_over(evidence.accuracy))}", ""]
    warnings = [n.sentence for n in notices(w for w in comparison.warnings if w not in comparison.refusals)]
    if warnings:
        lines += ["**What to know before quoting these figures**", ""]
        lines += [f"- {escape(w)}" for w in warnings[:_MAX_WARNINGS]]
        if len(warnings) > _MAX_WARNINGS:
            lines.append(f"- ({_MAX_WARNINGS} of {len(warnings)} shown)")
        lines.append("")
    lines += [*_provenance(evidence)]
    return "\n".join(lines).rstrip("\n") + "\n"


def escape_sentences(found: Sequence[str]) -> str:
    return " ".join(escape(s) for s in found)


def _gates(outcomes: Sequence[GateResult]) -> list[str]:
    failed = sum(o.outcome == FAILED for o in outcomes)
    unknown = sum(o.outcome == UNKNOWN for o in outcomes)
    said = f"{failed} failed" if failed else "none failed"
    said += f", {unknown} cannot be decided" if unknown else ""
    lines = [
        f"**{plural(len(outcomes), 'gate')}: {said}**",
        "",
        "| gate | outcome | figure |",
        "|---|---|---|",
    ]
    return [*lines, *(f"| {escape(o.gate.text)} | {o.outcome} | {escape(o.sentence)} |" for o in outcomes)]


def _split(evidence: Evidence) -> list[str]:
    split = evidence.split
    if not isinstance(split, Decomposition):
        return []
    lines = [
        "<details><summary>Where the difference of the latencies is (under nsys, to the nanosecond)</summary>",
        "",
        "| part | before, ns | after, ns | saved, ns |",
        "|---|--:|--:|--:|",
    ]
    for p in split.parts:
        if p.before_ns or p.after_ns:
            lines.append(f"| {p.label} | {number(p.before_ns)} | {number(p.after_ns)} | {number(p.saved_ns)} |")
    saved = split.before_latency_ns - split.after_latency_ns
    lines.append(
        f"| **latency** | **{number(split.before_latency_ns)}** | **{number(split.after_latency_ns)}** | **{number(saved)}** |"
    )
    return [*lines, "", "</details>", ""]


def _ledger(evidence: Evidence) -> list[str]:
    ledger = evidence.ledger
    if ledger is None:
        return [f"No fusion ledger: {escape(evidence.no_ledger or '')}", ""]
    units = ", ".join(f"{n} {status}" for status, n in ledger.by_status.items() if n)
    lines = [f"Units of the model: {units}."]
    for side in SIDES:
        coverage = ledger.coverage(side)
        lines.append(
            f"Explained {side}: {coverage.kernels_explained:,} of {plural(coverage.kernels, 'kernel')}, "
            f"{with_unit(coverage.time_pct, '%')} of the GPU time."
        )
    lines += [escape(f) for f in ledger.findings]
    return [" ".join(lines), ""]


def _provenance(evidence: Evidence) -> list[str]:
    wanted = (
        "file",
        "SHA-256 of the file",
        "nsys",
        "GPU",
        "driver",
        "CUDA",
        "framework",
        "precision",
        "batch",
        "inferences",
    )
    facts = evidence.provenance
    lines = ["<details><summary>Where the figures come from</summary>", "", "| | before | after |", "|---|---|---|"]
    lines += [f"| {name} | {escape(facts['before'][name])} | {escape(facts['after'][name])} |" for name in wanted]
    how = "Latencies and launches were measured with nsys attached, which slows launches. Kinds and Tensor Core verdicts are "
    how += "inferred from kernel names; Tensor Active is sampled. The two are different evidence and are never merged."
    return [*lines, "", "</details>", "", how]
