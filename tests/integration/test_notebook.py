"""The notebook for Colab: it is well formed, its commands are the command line's, and it runs where there is no GPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import check, commands
from tests.support.traces import ROOT

nbformat = pytest.importorskip("nbformat")
PATH = ROOT / "notebooks" / "colab_t4.ipynb"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(PATH, as_version=4)


def _source(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_it_is_valid_and_holds_no_output(notebook: Any) -> None:
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code
    assert not any(c.outputs or c.execution_count for c in code)
    assert all(c.source.strip() for c in notebook.cells)


def test_every_command_is_known_to_the_command_line(notebook: Any) -> None:
    found = commands(_source(notebook))
    assert {c.split()[0] for c in found} >= {"doctor", "study", "compare", "fusion", "report"}
    for command in found:
        check(command)


def test_what_is_recorded_is_what_is_announced_and_fits_a_t4(notebook: Any) -> None:
    announced, recorded = (c for c in commands(_source(notebook)) if c.startswith("study"))
    assert announced == f"{recorded} --dry-run"
    assert "tf32" not in recorded and "bf16" not in recorded


def test_it_says_that_it_was_not_run_on_colab(notebook: Any) -> None:
    assert "Not run on Colab" in notebook.cells[0].source


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="the dry run is for a machine without a GPU")
def test_it_runs_without_a_gpu_on_the_bundled_traces(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    skipped = [c for c in notebook.cells if "installs" in c.metadata.get("tags", [])]
    assert len(skipped) == 2
    notebook.cells = [c for c in notebook.cells if c not in skipped]
    for cell in notebook.cells:  # a command that fails stops the run, which `!` alone does not
        if "!python" in cell.get("source", "") and not cell.source.startswith("if GPU"):
            cell.source += "\nassert _exit_code == 0"
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    assert "GPU: none" in printed
    assert "rtx-fp16-stream-b8" in printed  # the study's plan
    (work,) = tmp_path.glob("evidence-*")
    assert {p.name for p in work.iterdir()} == {"report.html", "summary.md"}
    shown = notebook.cells[[c.id for c in notebook.cells].index("show")].outputs[0].data["text/html"]
    assert "srcdoc=" in shown and len(shown) > 1_000_000
