"""The documentation builds as a site without a warning, and its pages ask nobody for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.traces import ROOT

pytest.importorskip("mkdocs", reason="pip install -r requirements-docs.txt")
pytest.importorskip("material", reason="pip install -r requirements-docs.txt")
# what a browser loads by itself; links that a reader follows may lead elsewhere
_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)", re.IGNORECASE)


def test_strict_build(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert {p.stem for p in pages} == {"404", *(d.stem for d in (ROOT / "docs").glob("*.md"))}
    for page in pages:
        assert not _LOADED.findall(page.read_text("utf-8")), page.name
    assert not list((tmp_path / "site").rglob("*.py"))
