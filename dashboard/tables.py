"""Every table of the pages is drawn here: its texts come from traces, and the reader can save it as CSV."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dashboard.text import visible
from profiler.report.spreadsheet import cell


def show_table(place: Any, frame: pd.DataFrame, **options: Any) -> Any:
    """Draw a frame at ``place`` (``st``, a column, …); options and result are those of ``st.dataframe``.

    Streamlit's own button saves the table as it is shown, so the texts are made safe for spreadsheets before.
    """
    return place.dataframe(safe(frame), **options)


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
