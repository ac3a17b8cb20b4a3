"""Tables of a trace as columns: NumPy arrays, and texts as codes. They become pandas frames where one is asked for.

Importing pandas takes longer than analysing most traces does, so what runs for every verb works on these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from profiler.trace.arrays import IntArray, Rows, encode, gathered, in_pieces, is_constant, take

if TYPE_CHECKING:
    import pandas as pd

_FEW_ROWS = 50_000


class Labels:
    """A column of texts.

    Attributes:
        codes: for each row the place of its text, -1 where it has none.
        texts: the distinct texts.
    """

    def __init__(self, codes: IntArray, texts: Iterable[str]) -> None:
        self.codes, self.texts = codes, list(texts)

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, row: int) -> str:
        """The text of one row."""
        return self.texts[int(self.codes[row])]

    def take(self, rows: Rows | None) -> Labels:
        return Labels(take(self.codes, rows), self.texts)

    def are(self, *texts: str) -> npt.NDArray[np.bool_]:
        """For each row whether its text is one of these."""
        wanted = np.asarray([text in texts for text in self.texts], dtype=bool)
        if not len(self.texts):
            return np.zeros(len(self.codes), dtype=bool)
        return gathered(len(self.codes), bool, lambda piece: wanted[self.codes[piece]])

    def to_list(self) -> list[str]:
        """The text of each row."""
        return [self.texts[code] for code in self.codes.tolist()]

    def to_pandas(self) -> pd.Categorical:
        import pandas as pd  # noqa: PLC0415 - see above

        return pd.Categorical.from_codes(self.codes, categories=pd.Index(self.texts, dtype=object))


class Table(Mapping[str, Any]):
    """Columns of equal length by name: arrays, :class:`Labels` of texts, or, where there are few rows, lists.

    Args:
        columns: at least one.
        later: columns that are made when one of them is first asked for: what makes them of the table, by their names.
        order: of all columns.
    """

    def __init__(
        self,
        columns: dict[str, Any],
        later: Mapping[tuple[str, ...], Callable[[Table], Mapping[str, Any]]] | None = None,
        order: Iterable[str] | None = None,
    ) -> None:
        self._columns = columns
        self._later = {name: make for names, make in (later or {}).items() for name in names}
        self._order = tuple(order or (*columns, *self._later))
        self._frame: pd.DataFrame | None = None
        if self._later and len(self) < _FEW_ROWS:  # costs nothing, and is there when the trace is closed
            for name in self._order:
                _ = self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self._columns:
            self._columns.update(self._later[name](self))
        return self._columns[name]

    def __iter__(self) -> Any:
        return iter(self._order)

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self._columns.values())))

    def forget(self, name: str, again: Callable[[Table], Mapping[str, Any]]) -> None:
        """Give up a column of a large table, which is made again where it is asked for."""
        if len(self) >= _FEW_ROWS and self._columns.pop(name, None) is not None:
            self._later[name] = again

    def take(self, rows: Rows, names: Iterable[str] | None = None) -> Table:
        """Some of the rows, of some of the columns."""
        return Table({name: _taken(self[name], rows) for name in names or self})

    def rows(self) -> list[dict[str, Any]]:
        """Rows as dictionaries of plain Python values, missing ones None."""
        return [dict(zip(self, values)) for values in zip(*(_listed(self[name]) for name in self))]

    def frame(self) -> pd.DataFrame:
        """The table as a frame, whose columns share memory with it."""
        if self._frame is None:
            import pandas as pd  # noqa: PLC0415 - see above

            columns = {name: v.to_pandas() if isinstance(v := self[name], Labels) else v for name in self}
            self._frame = pd.DataFrame(columns, copy=False)
        return self._frame


def _taken(column: Any, rows: Rows) -> Any:
    if isinstance(column, Labels):
        return column.take(rows)
    return [column[row] for row in np.arange(len(column))[rows]] if isinstance(column, list) else column[rows]


def _listed(column: Any) -> list[Any]:
    if isinstance(column, list):
        return column
    if isinstance(column, Labels):
        return column.to_list()
    values: list[Any] = column.tolist()
    return [None if math.isnan(value) else value for value in values] if column.dtype.kind == "f" else values


def labelled(codes: IntArray, labels: list[str]) -> Labels:
    """``labels[code]`` of each row, where several codes may have the same label. Unused labels are left out."""
    places: dict[str, int] = {}
    remap = np.full(max(len(labels), 1), -1, dtype=np.int64)
    used = np.zeros(max(len(labels), 1), dtype=bool)
    in_pieces(len(codes), lambda piece: used.__setitem__(codes[piece], True))
    for code in np.flatnonzero(used):
        remap[code] = places.setdefault(labels[code], len(places))
    kind = np.int8 if len(places) < 128 else np.int16 if len(places) < 32_768 else np.int32
    remap = remap.astype(kind)
    if is_constant(codes):
        return Labels(np.broadcast_to(remap[codes[0]], len(codes)), places)
    return Labels(gathered(len(codes), kind, lambda piece: remap[codes[piece]]), places)


def categorical(values: IntArray, label: Callable[[int], str]) -> Labels:
    codes, distinct = encode(values)
    return labelled(codes, [label(int(v)) for v in distinct])


def pairs_of(first: Labels, second: Labels) -> tuple[IntArray, list[tuple[str, str]]]:
    """For each row which pair of texts it has, as a code, and the pairs."""
    width = max(len(second.texts), 1)
    if is_constant(first.codes):
        codes, found = encode(second.codes)
        found = found + int(first.codes[0]) * width
    else:
        codes, found = encode(first.codes.astype(np.int64) * width + second.codes)
    return codes, [(first.texts[pair // width], second.texts[pair % width]) for pair in found.tolist()]
