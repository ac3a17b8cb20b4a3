from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.tables import safe
from profiler.report.spreadsheet import cell


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "@SUM(A1)",
        "+cmd|'/C calc'!A0",
        "-2+3",
        "-cmd",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\uff1d1",
        "=",
        "-",
        "-1;=2",
    ],
)
def test_what_a_spreadsheet_would_run(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "void k<float>(float *)", "-5", "+3.2 µs", "-1,234.5 ns", "-12 %", "+1e-05", "1=2", "a@b", "'=1", "—"]
)
def test_what_it_would_not(text: str) -> None:
    assert cell(text) == text


@given(st.text())
def test_no_text_starts_like_a_formula(text: str) -> None:
    shown = cell(text)
    assert shown.removeprefix("'") == text.removeprefix("'") or shown == f"'{text}"
    assert shown[:1] not in ("=", "@", "\t", "\r", "\n")


def test_frames_of_every_kind_of_text() -> None:
    frame = pd.DataFrame(
        {
            "o": pd.Series(["=1", None, 5], dtype=object),
            "s": pd.Series(["=1", "b", None], dtype="str"),
            "n": [-1, -2, -3],
        }
    )
    frame["c"] = pd.Categorical(["=1", "'=1", "x"])
    found = safe(frame)
    assert found["o"].tolist() == ["'=1", None, 5]
    assert found["s"].tolist()[:2] == ["'=1", "b"]
    assert found["n"].tolist() == [-1, -2, -3] and found["c"].tolist() == ["'=1", "'=1", "x"]
    assert frame["o"].tolist()[0] == "=1"  # the frame itself is left alone
