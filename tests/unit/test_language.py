"""The English of the sources and of the documentation: no phrase of the list, whoever wrote it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.language import faults
from tests.support.traces import ROOT

SOURCES = sorted(
    p for room in ("profiler", "dashboard") for p in (ROOT / room).rglob("*.py") if "names/rule" not in p.as_posix()
)
DOCUMENTS = [ROOT / "README.md", ROOT / "traces" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file that a reader may see: literals that are not documentation of the code."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    left_out = documentation | inside
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "7" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_texts_in_the_sources(path: Path) -> None:
    assert not [f"{path.name}:{line}: {fault}" for line, text in texts(path) for fault in faults(text, percent=False)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_documents(path: Path) -> None:
    assert not faults(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "1 kernels per inference",
        "The name decides nothing",
        "3.11× less",
        "hold two traces against each other",
        "-3.2 µs",
        "12% of the time",
        "the 2 pieces of GPU work",
    ],
)
def test_the_linter_finds(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text", ["1 kernel, 21 kernels", "3.11× lower", "−3.2 µs, 12 %", "CUDA 12.1 kernels", "more than 3"]
)
def test_the_linter_lets_pass(text: str) -> None:
    assert not faults(text)
