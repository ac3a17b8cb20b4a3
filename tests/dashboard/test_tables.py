"""Numbers in the tables of the pages: written so that they can be read, and compared by eye."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.tables import number_format
from tests.support.pages import app


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("before, kB", [30544.64, 51380.736, 12861.44], "%,.0f"),
        ("time, µs", [7.8343, 8.1361, 85.2], "%,.2f"),
        ("p50, ms", [0.2861, 2.4636, 4.3816], "%,.3f"),
        ("kernel time, %", [46.6228, 0.0031], "%,.2f"),
        ("kernels", [174, 56], "%,.0f"),
        ("inference", [0.0, 1.0, None], "%,.0f"),
        ("all zero", [0.0, 0.0], "%,.0f"),
        ("nothing known", [math.nan, math.nan], "%,.0f"),
        ("tiny", [1e-9, 2e-9], "%,.4f"),
        ("chosen", [True, False], None),
        ("kernel", ["a", "b"], None),
    ],
)
def test_format_of_a_column(name: str, values: list[Any], shown: str | None) -> None:
    assert number_format(pd.Series(values, name=name)) == shown


@given(st.lists(st.floats(), max_size=20), st.text(max_size=5))
def test_any_column_of_numbers_has_a_format(values: list[float], name: str) -> None:
    shown = number_format(pd.Series(values, name=name, dtype=float))
    assert shown is not None and 0 <= int(shown.removeprefix("%,.").removesuffix("f")) <= 4


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        ("memory", {"before, kB": "%,.0f", "after, kB": "%,.0f"}),
        ("engine", {"time, µs": "%,.2f", "min. kB": "%,.0f"}),
        ("tensor-cores", {"kernel time, %": "%,.2f", "time, µs": "%,.0f"}),
        ("runs", {"p50, ms": "%,.3f", "images/s": "%,.0f", "batch": "%,.0f"}),
    ],
)
def test_the_pages_write_numbers_so(page: str, columns: dict[str, str]) -> None:
    test = app(page, before="torch-fp32-eager-b8", after="trt-int8-stream-b8").run()
    table = next(d for d in test.dataframe if set(columns) <= set(d.value.columns))
    config = json.loads(table.proto.columns)
    assert {name: config[name]["type_config"]["format"] for name in columns} == columns


def test_a_table_of_several_units_is_left_as_it_is() -> None:
    test = app("export").run()
    table = next(d for d in test.dataframe if "unit" in d.value.columns)
    assert not any("type_config" in column for column in json.loads(table.proto.columns).values())
