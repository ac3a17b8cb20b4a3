"""The documentation holds together: its navigation, its links, its commands, its glossary, its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from dashboard.documents import document, glossary
from dashboard.views import PAGES
from profiler.errors import UsageError
from tests.support.commands import check, in_blocks
from tests.support.traces import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "traces" / "README.md", *DOCS]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_navigation_lists_every_document_once() -> None:
    listed = re.findall(r"^\s+- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == [p.name for p in DOCS]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCED.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_file() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
        if path in DOCS and not file.is_relative_to(ROOT / "docs"):
            broken.append(f"{target}: outside the site")
    assert not broken


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_are_known_to_the_command_line(path: Path) -> None:
    found = in_blocks(path.read_text("utf-8"))
    assert found or path.name not in ("README.md", "capture.md", "report.md") or path.parent.name == "traces"
    for command in found:
        check(command)


def test_an_unknown_command_is_noticed() -> None:
    for wrong in ("compare A", "studdy -o X", "study -o X --no-such-option", "report A B --fail-if nonsense"):
        with pytest.raises((AssertionError, UsageError)):
            check(wrong)


def test_readme_has_a_way_in_for_everybody() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for heading in ("On a laptop", "On a GPU server", "On Colab", "In CI"):
        assert re.search(rf"^## {heading}", text, re.MULTILINE), heading
    assert "pip install -e . && streamlit run dashboard" in text


def test_reading_guide_names_every_page_and_no_other() -> None:
    named = re.findall(r"^\| [^|]+\? \| ([^|]+) \|$", document("reading"), re.MULTILINE)
    assert sorted(named) == sorted(p.TITLE for p in PAGES)


def test_glossary_is_read_whole_and_says_each_word_once() -> None:
    entries = glossary()
    lines = [line for line in document("glossary").splitlines() if line.startswith("- ")]
    assert len(entries) == len(lines) > 50
    assert all(e.group and e.meaning.rstrip().endswith((".", ")")) for e in entries)
    words = [w.strip().lower() for e in entries for w in e.word.split(",")]
    assert len(words) == len(set(words))


def test_documents_in_the_dashboard_hold_no_dead_link() -> None:
    for name in ("reading", "glossary", "limits", "methods"):
        assert not [t for t in _LINK.findall(document(name)) if not t.startswith("https://")]


@pytest.mark.parametrize("name", ["overview", "fusion", "timeline"])
def test_pictures_are_there_and_small(name: str) -> None:
    path = ROOT / "docs" / "images" / f"{name}.png"
    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width >= 1000


def test_what_the_architecture_names_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    names = {n.rstrip("/") for n in re.findall(r"`([\w*/]+(?:/|\.py))`", text)}
    places = [
        p.relative_to(ROOT).as_posix()
        for f in ("profiler", "dashboard", "tests")
        for p in [ROOT / f, *(ROOT / f).rglob("*")]
    ]
    missing = [n for n in names if not any(re.search(rf"(^|/){n.replace('*', '[a-z_]+')}$", p) for p in places)]
    assert len(names) > 30 and not missing
