"""One HTML file that holds everything: figures, tables, provenance, warnings, methods. It works without a network.

The file's own policy (a Content-Security-Policy) lets nothing be fetched and no script run but the two that are in it, which
it names by their hashes. Names come from untrusted traces: the template (templates/report.html) escapes every text, makes
unprintable characters visible, and in the figures' JSON no ``<`` is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from profiler.report.accuracy import handed_over
from profiler.report.evidence import SIDES, Evidence
from profiler.report.gates import GateResult
from profiler.report.notices import notices
from profiler.report.spreadsheet import FORMULA, QUANTITY
from profiler.report.story import sentences, story
from profiler.report.story import title as headline_of
from profiler.report.tables import Table
from profiler.report.words import HEADLINES, before_after, change, spread
from profiler.text import number, plural, visible

_MAX_ROWS = 1_000
_MAX_TEXT = 1_000
_LONG_CELL = 60
_METHODS = (
    ("Inferences", "are NVTX ranges. GPU work belongs to the inference in which it was launched, whenever it ran."),
    (
        "Latency",
        "is host time with nsys attached, which slows every launch: not the latency in production. Where a manifest holds a "
        "latency measured without nsys, the provenance table gives it.",
    ),
    (
        "Kernel kinds and Tensor Cores by name",
        "are inferred from kernel names by ordered rules; the rule is beside each verdict, and “unknown” means that it is "
        "undetermined from the name.",
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


class _Card(NamedTuple):
    """A headline figure of both sides."""

    label: str
    before: str
    after: str
    notes: list[str]


def render(
    evidence: Evidence,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    plotly_js: str,
    gates: Sequence[GateResult] = (),
    version: str | None = None,
) -> str:
    """The whole document.

    Args:
        plotly_js: the source of plotly.js, which is put into the file once.
        gates: what the gates said, if there were any.
        version: of this project, for the foot of the page.
    """
    own = _resource("report.js")
    library = plotly_js.replace("</script", "<\\/script")  # in a string of its own source, where it means the same
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(own)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    comparison = evidence.comparison
    return (
        _environment()
        .get_template("report.html")
        .render(
            policy=policy,
            title=f"{comparison.before.facts.title} → {comparison.after.facts.title}",
            style=Markup(_resource("report.css")),
            library=Markup(library),
            script=Markup(own),
            formula=FORMULA.pattern,
            quantity=QUANTITY.pattern,
            headline=headline_of(evidence),
            summary=" ".join(sentences(evidence)),
            refusals=(*comparison.refusals, *([comparison.pair.refusal] if comparison.pair.refusal else ())),
            cards=_cards(evidence),
            claims=story(evidence),
            accuracy=handed_over(evidence.accuracy) if evidence.accuracy else (),
            gates=gates,
            warnings=_warnings(evidence),
            figures=figures,
            tables=tables,
            methods=_METHODS,
            version=version,
        )
    )


@cache
def _environment() -> Environment:
    """Every expression of the template is escaped; before that, what is not markup of ours is made visible. So are cells, below."""
    environment = Environment(
        loader=PackageLoader("profiler.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters.update(cut=_cut, cells=_cells, rows_shown=_rows_shown, json_in_html=_json_in_html)
    environment.tests["numeric"] = pd.api.types.is_numeric_dtype
    return environment


def _resource(name: str) -> str:
    return files("profiler.report").joinpath(name).read_text("utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json_in_html(text: str) -> Markup:
    """JSON that no HTML parser can take for markup."""
    text = text.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs, as JSON writes them
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _cut(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({plural(len(text), 'character')})"


def _cards(evidence: Evidence) -> Iterator[_Card]:
    for metric_id in HEADLINES:
        m = evidence.comparison.metric(metric_id)
        ranges = [f"{side}: {found}" for side in SIDES if (found := spread(m, side))]
        yield _Card(m.label, *before_after(m), [change(m), *ranges, m.source, *([m.reason] if m.reason else [])])


def _warnings(evidence: Evidence) -> list[str]:
    missing = {
        "No fusion ledger": evidence.no_ledger,
        "No split of the latency": evidence.split if isinstance(evidence.split, str) else None,
    }
    comparison = evidence.comparison
    found = [n.details or n.sentence for n in notices(w for w in comparison.warnings if w not in comparison.refusals)]
    return found + [f"{what}: {why}" for what, why in missing.items() if why]


def _rows_shown(frame: pd.DataFrame) -> str:
    if len(frame) <= _MAX_ROWS:
        return f"{plural(len(frame), 'row')}."
    return f"{number(_MAX_ROWS)} of {plural(len(frame), 'row')}; the CSV of the table has all."


def _cells(frame: pd.DataFrame) -> Iterator[Markup]:
    """The cells of each row. Made here, as the template takes longer for tens of thousands of them."""
    shown = frame.head(_MAX_ROWS)
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns]
    for row in zip(*(shown[c].tolist() for c in frame.columns)):
        yield Markup("".join(_cell(value, is_number) for value, is_number in zip(row, numeric)))


def _cell(value: Any, is_number: bool) -> str:
    """A cell as HTML; of a number with its JSON, by which the table is sorted and saved."""
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 - NaN
        return "<td></td>"
    if is_number and not isinstance(value, bool):
        return f'<td class="number" data-v="{json.dumps(value)}">{number(float(value), digits=4)}</td>'
    text = str(value)
    start = '<td class="long">' if len(text) > _LONG_CELL else "<td>"
    return f"{start}{escape(visible(_cut(text)))}</td>"
