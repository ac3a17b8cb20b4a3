"""Every table of the pages is drawn here: its texts come from traces, and the reader can save it as CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from profiler.report.kernel_names import short_name
from profiler.report.spreadsheet import cell
from profiler.text import visible

NAME_WIDTH = 215
"""Pixels of a column of kernel or layer names: on a phone and on a laptop the first figures are in view beside it."""
KERNEL, FULL_NAME = "kernel", "full name"
_NAMES = {
    KERNEL: st.column_config.TextColumn(
        width=NAME_WIDTH, help="Kind, type and tile by name, then the name; whole in the last column"
    ),
    FULL_NAME: st.column_config.TextColumn(width="large", help="Demangled name, as nsys recorded it"),
}


def show_table(place: Any, frame: pd.DataFrame, **options: Any) -> Any:
    """Draw a frame at ``place`` (``st``, a column, …); options and result are those of ``st.dataframe``.

    Numbers without a format of their own in ``column_config`` get :func:`number_format`. Kernel names, in a column ``kernel``, are
    shortened to what tells them apart, and stand whole in the last column. Streamlit's own button saves the table as it is shown, so
    the texts are made safe for spreadsheets before.
    """
    given: Mapping[str, Any] = options.pop("column_config", {})
    if KERNEL in frame.columns:
        frame, given = _short_names(frame), {**_NAMES, **given}
    mixed = "unit" in frame.columns  # each row in a unit of its own: no format fits them all
    formats = {} if mixed else {str(name): number_format(column) for name, column in frame.items()}
    config = {name: st.column_config.NumberColumn(format=shown) for name, shown in formats.items() if shown}
    return place.dataframe(safe(frame), column_config={**config, **given}, **options)


def _short_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with short names in its column of kernels, and their full names last: the grid shows no text under the pointer."""
    short = {name: short_name(name) if isinstance(name, str) else None for name in frame[KERNEL].unique()}
    full = frame[KERNEL]
    shown = frame.assign(**{FULL_NAME: full})
    shown[KERNEL] = [short[name] for name in full]
    return shown


def number_format(column: pd.Series) -> str | None:
    """How a column of numbers is written: thousands grouped, as many decimals as give its smaller values three digits, at most four.

    One number of decimals for all rows, so that they can be compared by eye; percentages have two at most. None for other columns.
    """
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return None
    values = column.dropna().to_numpy(dtype=float)
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(sizes) or (sizes == np.floor(sizes)).all():
        return "%,.0f"
    decimals = 2 - math.floor(math.log10(float(np.quantile(sizes, 0.1))))
    return f"%,.{min(max(decimals, 0), 2 if str(column.name).endswith('%') else 4)}f"


def safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts on one line each, without invisible characters, that a spreadsheet does not take for formulas."""
    changed = {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        if isinstance(column.dtype, pd.CategoricalDtype):
            new = [_safe(value) for value in column.cat.categories]
            # two categories may become one, so the column is rebuilt rather than renamed
            if new != list(column.cat.categories):
                changed[name] = column.astype(object).map(_safe)
        elif column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
            changed[name] = column.map(_safe)
    return frame.assign(**changed) if changed else frame


def _safe(value: Any) -> Any:
    return cell(visible(value)) if isinstance(value, str) else value
