"""Every verb on a hostile run, in every format: nothing of it reaches the terminal, a spreadsheet or a JSON reader as more than text."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from profiler.cli import main
from profiler.cli.output import FORMATS
from tests.support.hostile import MARK, hostile_run
from tests.support.traces import bundled

TORCH = str(bundled("torch-fp16-b8"))
VERBS = {
    "info": ["info", "{run}/trace.sqlite"],
    "kernels": ["kernels", "{run}/trace.sqlite"],
    "kernels by category": ["kernels", "{run}/trace.sqlite", "--by", "category"],
    "tensor-cores": ["tensor-cores", "{run}/trace.sqlite"],
    "compare": ["compare", "{run}/trace.sqlite", "{run}/trace.sqlite"],
    "compare with PyTorch": ["compare", TORCH, "{run}/trace.sqlite"],
    "fusion": ["fusion", TORCH, "{run}/trace.sqlite"],
    "fusion by block": ["fusion", TORCH, "{run}/trace.sqlite", "--by", "block"],
    "decompose": ["decompose", TORCH, "{run}/trace.sqlite"],
    "tactics": ["tactics", "{run}/x.build.log.xz"],
    "classify": ["classify", "{run}/names.txt"],
    "an error about a range": ["kernels", "{run}/trace.sqlite", "--nvtx", "no such range \x1b[31m"],
    "an error about a file": ["info", "{run}/\x1b[31m=cmd\u202e.sqlite"],
    "an error about a manifest": ["info", "{run}/broken/trace.sqlite"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    hostile_run(folder)
    (folder / "names.txt").write_text("\x1b]0;" + MARK + "\x07\n=cmd|' /C calc'!A0\n\u202e" + MARK + "\n@SUM(1)\n")
    hostile_run(folder / "broken")
    (folder / "broken" / "manifest.json").write_text(json.dumps({"format": "\x1b[31m" + MARK, "trace": "trace.sqlite"}))
    return folder


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("verb", VERBS)
def test_hostile_texts_stay_texts(verb: str, form: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main.main([*(a.format(run=run) for a in VERBS[verb]), "--format", form])
    out, err = capsys.readouterr()
    assert "should not have happened" not in err
    assert status == 0 or err.startswith(("error: ", "warning: "))
    for text in (out if form == "table" else "", err):
        assert not [c for c in text if not c.isprintable() and c != "\n"], (verb, text[:500])
    if status == 0 and form == "json":
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    if status == 0 and form == "csv":
        cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
        assert cells
        assert not [c for c in cells if re.match(r"[\s\0]*[=@\uff1d]|[\t\r\n]|[+-](?![\d.,e+-]*$)", c)]


def test_the_attacks_are_in_the_results(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("info", "kernels", "fusion", "tactics", "compare"):
        for form in FORMATS:
            main.main([*(a.format(run=run) for a in VERBS[verb]), "--format", form])
            out, err = capsys.readouterr()
            if not (verb == "compare" and form == "csv"):
                assert MARK in out + err, (verb, form)


@pytest.mark.parametrize("before", [TORCH, "{run}/trace.sqlite"], ids=["PyTorch", "itself"])
def test_a_hand_over_of_a_hostile_run(
    before: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [str(tmp_path / name) for name in ("r.html", "r.md", "tables")]
    pair = [before.format(run=run), f"{run}/trace.sqlite"]
    assert main.main(["report", *pair, "-o", made[0], "--markdown", made[1], "--tables", made[2]]) == 0
    out, err = capsys.readouterr()
    assert not [c for c in out + err if not c.isprintable() and c != "\n"]
    html = (tmp_path / "r.html").read_text("utf-8")
    assert MARK in html and "Content-Security-Policy" in html
    assert not re.search(rf"<(?:script|img|a|b|i|span)\b[^<>]*{MARK}", html)
    assert not re.search(r"<(?:script|img)\b[^<>]*(?:evil|javascript:)", html)
    assert "<script>document.title=" not in html and "\u202e" not in html
    markdown = (tmp_path / "r.md").read_text("utf-8")
    assert MARK in markdown
    left = re.sub(r"\\.", "", markdown)
    assert not re.search(
        rf"<(?:script|img|a|b|i)\b|\]\((?:javascript|http://evil)|!\[|`{MARK}`|(?<!\*)\*\*{MARK}\*\*", left
    )
    assert not [
        c for c in markdown if not c.isprintable() and c not in "\n\u200b"
    ]  # put in to part what would become a link
    for table in (tmp_path / "tables").glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [c for c in cells if re.match(r"[\s\0]*[=@\uff1d]|[\t\r\n]|[+-](?![\d.,e+-]*( ?[\w%×/]+)?$)", c)], (
            table
        )


def test_an_export_of_the_timeline_of_a_hostile_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main.main(["timeline", f"{run}/trace.sqlite", "-o", str(tmp_path / "t.json")])
    _, err = capsys.readouterr()
    assert status == 0, err
    text = (tmp_path / "t.json").read_text("utf-8")
    assert MARK in text and json.loads(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
