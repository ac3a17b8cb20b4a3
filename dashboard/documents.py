"""The documents of ``docs/`` inside the dashboard, so that their words are written once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from profiler.errors import ProfilerError
from profiler.resources import documentation

FOLDER = documentation()
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://)([^)\s]+)\)")
_HEADING = re.compile(r"^(#{2,4} )", re.MULTILINE)
_ENTRY = re.compile(r"^- \*\*(.+?)\*\*: (.+)$")


def document(name: str) -> str:
    """The Markdown of ``docs/NAME.md`` without its first heading, the others one level lower, as the page has a title.
    Links between documents, which lead nowhere in a page of the dashboard, become the file's name.

    Raises:
        ProfilerError: the file is not there: the installation is not whole.
    """
    path = FOLDER / f"{name}.md"
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ProfilerError(
            f"docs/{name}.md was not found beside the dashboard ({error.strerror or error}).",
            "Reinstall the project: run pip install -e . in a clone, or install its wheel. Both include the folder docs.",
        ) from error
    _, _, body = text.partition("\n")
    return _HEADING.sub(r"#\1", _LINK.sub(_named, body))


def _named(match: re.Match[str]) -> str:
    text, target = match.group(1), match.group(2).partition("#")[0]
    return f"`docs/{target}`" if text == target or not target else f"{text} (`docs/{target}`)"


@dataclass(frozen=True)
class Entry:
    """A word of the glossary: its group, the word or words, what it means (Markdown)."""

    group: str
    word: str
    meaning: str


def glossary() -> list[Entry]:
    """The entries of ``docs/glossary.md`` in their order.

    Raises:
        ProfilerError: the file is not there.
    """
    entries, group = [], ""
    for line in document("glossary").splitlines():
        if line.startswith("### "):
            group = line[4:].strip()
        elif match := _ENTRY.match(line):
            entries.append(Entry(group, match.group(1), match.group(2)))
    return entries
