"""What the results that are tables have in common: a frame, a short repr, and a table in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 20


class Tabular:
    """A result that can be seen as one table. A dataclass that is one says ``repr=False``: its fields may be millions of rows."""

    @property
    def summary(self) -> str:
        """One line on what it holds."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The table; columns carry their units."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"

    def _repr_html_(self) -> str:
        """For a notebook: the line and the first rows. Names come from untrusted traces, so everything is escaped."""
        frame = self.to_frame()
        table: str = frame.head(SHOWN_ROWS).to_html(index=False, escape=True, border=0, max_cols=20, na_rep="—")
        more = f"<p>{SHOWN_ROWS} of {len(frame):,} rows: to_frame() has all.</p>" if len(frame) > SHOWN_ROWS else ""
        return f"<p>{html.escape(type(self).__name__)}: {html.escape(self.summary)}</p>{table}{more}"
