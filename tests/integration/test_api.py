"""The public API: the examples of the documentation run, and its results are short to print and tables to use."""

from __future__ import annotations

import contextlib
import io
import re

import pandas as pd
import pytest

import profiler
from tests.support.traces import ROOT, bundled

_PYTHON = re.compile(r"```python\n(.*?)```", re.S)


def test_the_examples_of_the_documentation_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = _PYTHON.findall((ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, {})
    assert "<Inferences: 10: " in printed.getvalue()
    assert str(174 / 56) in printed.getvalue()


def test_every_public_name_is_there() -> None:
    for name in profiler.__all__:
        assert getattr(profiler, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = profiler.nothing


def test_results_are_tables_with_a_short_repr() -> None:
    with (
        profiler.open_run(bundled("torch-fp32-b8")) as before,
        profiler.open_run(bundled("trt-int8-stream-b8")) as after,
    ):
        ledger = profiler.fusion(before, after)
        comparison = profiler.compare(before, after)
        results = [before.inferences, before.kernels, before.tensor_cores, before.launches, comparison, ledger]
        for result in [*results, profiler.decompose(ledger)]:
            frame = result.to_frame()
            assert isinstance(frame, pd.DataFrame) and len(frame)
            assert len(repr(result)) < 400
            shown = result._repr_html_()
            assert "<table" in shown and shown.count("<tr") <= 21
        counts = ledger.to_frame()[["kernels_before", "kernels_after"]].sum()
        assert counts.tolist() == [1740, 560]
        with pytest.raises(KeyError, match=r"no metric 'typo'.*kernels_per_inference"):
            comparison.metric("typo")
    assert len(repr(before)) < 400


def test_names_are_escaped_in_a_notebook() -> None:
    with profiler.open_run(bundled("torch-fp32-b8")) as run:
        frame = run.kernels.to_frame()
        assert frame["name"].str.contains("<").any()
        shown = run.kernels._repr_html_()
        assert "<float" not in shown and "&lt;float" in shown
