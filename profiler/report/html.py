"""One HTML file that holds everything: figures, tables, provenance, warnings, methods. It works without a network.

The file's own policy (a Content-Security-Policy) lets nothing be fetched and no script run but the two that are in it, which
it names by their hashes. Names come from untrusted traces: they are escaped as text, and in the figures' JSON no ``<`` is left.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd

from profiler.report.evidence import SIDES, Evidence
from profiler.report.gates import Outcome
from profiler.report.story import Claim, sentences, story
from profiler.report.tables import Table
from profiler.report.words import HEADLINES, before_after, change, spread
from profiler.text import number

_MAX_ROWS = 1_000
_MAX_TEXT = 1_000
_METHODS = (
    ("Inferences", "are NVTX ranges. GPU work belongs to the inference in which it was launched, whenever it ran."),
    (
        "Latency",
        "is host time with nsys attached, which slows every launch: not the latency in production. Where a manifest holds a "
        "latency measured without nsys, the provenance table gives it.",
    ),
    (
        "Kernel kinds and Tensor Cores by name",
        "are inferred from kernel names by ordered rules; the rule is beside each verdict, and “unknown” means that the name "
        "decides nothing.",
    ),
    (
        "Tensor Active",
        "is a sampled hardware counter, stored by nsys as whole percents: how busy the Tensor pipes were. It is other evidence "
        "than the names and is never merged with it.",
    ),
    (
        "The fusion ledger",
        "puts every kernel of the inferences in exactly one row: the module whose range launched it before, the layer whose "
        "range launched it after. What is not explained is a row of its own.",
    ),
    (
        "Memory traffic",
        "is a computed minimum from tensor shapes and types, inputs, weights and outputs once each; sampled DRAM traffic is "
        "another figure.",
    ),
    ("A figure that cannot be had", "is empty, with the reason beside it. It is never 0."),
)


@dataclass(frozen=True)
class Figure:
    """A figure as Plotly's JSON (``data`` and ``layout``), which this module does not draw."""

    id: str
    title: str
    caption: str
    json: str


def render(
    evidence: Evidence,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    plotly_js: str,
    outcomes: Sequence[Outcome] = (),
    version: str | None = None,
) -> str:
    """The whole document.

    Args:
        plotly_js: the source of plotly.js, which is put into the file once.
        outcomes: of the gates, if there were any.
        version: of this project, for the foot of the page.
    """
    own = _resource("report.js")
    library = plotly_js.replace("</script", "<\\/script")  # in a string of its own source, where it means the same
    scripts = f"{_hash(library)} {_hash(own)}"
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )
    comparison = evidence.comparison
    title = f"{comparison.before.facts.title} → {comparison.after.facts.title}"
    body = "\n".join(
        [
            _head(evidence),
            _argument(story(evidence)),
            _gates(outcomes),
            _warnings(evidence),
            '<h2 id="figures">Figures</h2>',
            *map(_figure, figures),
            '<h2 id="tables">Tables</h2>',
            *map(_table, tables),
            _methods(version),
        ]
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy, quote=True)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{_resource('report.css')}</style></head><body>",
            f'<div class="page">{_contents(figures, tables, bool(outcomes))}<main>',
            body,
            "</main></div>",
            *(
                f'<script type="application/json" id="figure-{f.id}-data">{_safe_json(f.json)}</script>'
                for f in figures
            ),
            f"<script>{library}</script>",
            f"<script>{own}</script>",
            "</body></html>\n",
        ]
    )


def _resource(name: str) -> str:
    return files("profiler.report").joinpath(name).read_text("utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _safe_json(text: str) -> str:
    """JSON that no HTML parser can take for markup."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(text: str, limit: int = _MAX_TEXT) -> str:
    """Untrusted text for HTML: control and direction characters made visible, cut when it is very long."""
    cut = text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)
    return html.escape(shown, quote=True)


def _contents(figures: Sequence[Figure], tables: Sequence[Table], gates: bool) -> str:
    def items(prefix: str, found: Sequence[Figure] | Sequence[Table]) -> str:
        return "".join(f'<li><a href="#{prefix}-{f.id}">{_text(f.title)}</a></li>' for f in found)

    return (
        '<nav aria-label="Contents"><ol><li><a href="#summary">Summary</a></li><li><a href="#argument">The argument</a></li>'
        + ('<li><a href="#gates">Gates</a></li>' if gates else "")
        + '<li><a href="#warnings">Warnings</a></li>'
        + f'<li><a href="#figures">Figures</a><ol>{items("picture", figures)}</ol></li>'
        + f'<li><a href="#tables">Tables</a><ol>{items("rows", tables)}</ol></li>'
        + '<li><a href="#methods">Methods and limits</a></li></ol></nav>'
    )


def _head(evidence: Evidence) -> str:
    comparison, said = evidence.comparison, sentences(evidence)
    cards = []
    for metric_id in HEADLINES:
        m = comparison.metric(metric_id)
        ranges = [f"{side}: {found}" for side in SIDES if (found := spread(m, side))]
        before, after = before_after(m)
        notes = [change(m), *ranges, m.source, *([m.reason] if m.reason else [])]
        cards.append(
            f'<div class="card">{_text(m.label)}<b><span class="before">{_text(before)}</span> → '
            f'<span class="after">{_text(after)}</span></b>'
            + "".join(f"<small>{_text(n)}</small>" for n in notes)
            + "</div>"
        )
    refusals = "".join(f'<p class="note">{_text(r)}</p>' for r in comparison.refusals)
    return (
        f'<h1 id="summary">What TensorRT did to the model</h1><p>{_text(" ".join(said), 4 * _MAX_TEXT)}</p>{refusals}'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _argument(claims: Sequence[Claim]) -> str:
    """The questions with their answers; how we know is folded away beneath each."""
    parts = []
    for claim in claims:
        said = "".join(f"<p>{_text(s, 4 * _MAX_TEXT)}</p>" for s in claim.sentences)
        how = "".join(f"<li>{_text(h, 4 * _MAX_TEXT)}</li>" for h in claim.how)
        parts.append(
            f"<section><h3>{_text(claim.question)}</h3>{said}<details><summary>How we know</summary><ul>{how}</ul></details></section>"
        )
    return f'<h2 id="argument">The argument</h2>{"".join(parts)}'


def _gates(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    rows = "".join(
        f'<tr><td>{_text(o.gate.text)}</td><td class="{o.outcome}">{o.outcome}</td><td>{_text(o.sentence)}</td></tr>'
        for o in outcomes
    )
    heads = "".join(f'<th class="plain" scope="col">{name}</th>' for name in ("gate", "outcome", "figure"))
    return (
        f'<h2 id="gates">Gates</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _warnings(evidence: Evidence) -> str:
    found = [w for w in evidence.comparison.warnings if w not in evidence.comparison.refusals]
    missing = [
        ("No fusion ledger", evidence.no_ledger),
        ("No split of the latency", evidence.split if isinstance(evidence.split, str) else None),
    ]
    found += [f"{what}: {why}" for what, why in missing if why]
    items = "".join(f"<li>{_text(w)}</li>" for w in found)
    heading = '<h2 id="warnings">What to know before quoting these figures</h2>'
    return heading + (f'<div class="note"><ul>{items}</ul></div>' if items else "<p>Nothing was noticed.</p>")


def _figure(figure: Figure) -> str:
    return (
        f'<figure id="picture-{figure.id}"><h3>{_text(figure.title)}</h3>'
        f'<div class="plot" id="figure-{figure.id}" role="img" aria-label="{_text(figure.title)}"></div>'
        f"<figcaption>{_text(figure.caption, 4 * _MAX_TEXT)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    frame = table.frame.head(_MAX_ROWS)
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns]
    heads = "".join(
        f'<th scope="col"{" class=number" if is_number else ""}><button type="button">{_text(str(c))}</button></th>'
        for c, is_number in zip(frame.columns, numeric)
    )
    columns = [frame[c].tolist() for c in frame.columns]
    rows = "".join("<tr>" + "".join(_cell(v, n) for v, n in zip(row, numeric)) + "</tr>" for row in zip(*columns))
    total = len(table.frame)
    shown = (
        f"{total:,} rows."
        if len(frame) == total
        else f"{len(frame):,} of {total:,} rows; the CSV of the table has all."
    )
    return (
        f'<section id="rows-{table.id}"><h3>{_text(table.title)}</h3><p class="quiet">{_text(table.note)} {shown}</p>'
        f'<button type="button" class="save" data-name="{table.id}">Save as CSV</button>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}">'
        f'<table class="sortable" id="table-{table.id}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _cell(value: Any, is_number: bool) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "<td></td>"
    if is_number and not isinstance(value, bool):
        return f'<td class="number" data-v="{json.dumps(value)}">{number(float(value), digits=4)}</td>'
    text = str(value)
    return f"<td{' class=long' if len(text) > 60 else ''}>{_text(text)}</td>"


def _methods(version: str | None) -> str:
    items = "".join(f"<p><b>{_text(what)}</b> {_text(said)}</p>" for what, said in _METHODS)
    made = f"TensorRT evidence {version}" if version else "TensorRT evidence"
    return (
        f'<h2 id="methods">Methods and limits</h2>{items}<p class="quiet">Made by {_text(made)} with python -m profiler report. '
        "The same traces give the same file. This file needs no network and asks for none.</p>"
    )
