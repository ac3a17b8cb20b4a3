"""The rows of NVTX_EVENTS that are ranges, their texts, and the names of the domains: of a large table in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profiler.trace.arrays import MISSING, PROCESS_MASK, IntArray, encode
from profiler.trace.columns import Labels, labelled
from profiler.trace.database import Database
from profiler.trace.nvtx import DOMAIN, KINDS
from profiler.trace.schema import NVTX

_FEW_TEXTS = 500
_Texts = tuple[IntArray, list[str]]
"""As of :meth:`Database.texts`."""


@dataclass(frozen=True)
class NvtxRows:
    """What NVTX_EVENTS holds of ranges.

    Attributes:
        columns: of the ranges, in row order; NULL and columns that are not there are :data:`MISSING`.
        texts: of the ranges.
        domains: names by process and domain id.
    """

    columns: dict[str, IntArray]
    texts: Labels
    domains: dict[tuple[int, int], str]


def is_range(database: Database) -> str:
    """SQL that is true for the ranges; empty where all rows are."""
    return f"eventType IN ({','.join(map(str, KINDS))})" if database.has(NVTX, "eventType") else ""


def read_ranges(database: Database, columns: Sequence[str]) -> NvtxRows:
    """Read the ranges, with these columns; ``textId`` is read, too, and made into the texts."""
    names = [*columns, "textId"]
    found = _in_one_pass(database, names) if database.has(NVTX, "eventType", "domainId", "globalTid", "text") else None
    if found is None:
        where = is_range(database)
        ranges = database.integers(NVTX, names, where)
        return NvtxRows(ranges, _texts(database, ranges.pop("textId"), _own(database, where)), _domains(database))
    ranges, own, domains = found
    return NvtxRows(ranges, _texts(database, ranges.pop("textId"), own), domains)


def _in_one_pass(
    database: Database, names: list[str]
) -> tuple[dict[str, IntArray], _Texts, dict[tuple[int, int], str]] | None:
    present = [c for c in dict.fromkeys([*names, "eventType", "domainId", "globalTid"]) if database.has(NVTX, c)]
    where = f"{is_range(database)} OR eventType = {DOMAIN}"
    read = database.with_text_places(NVTX, present, "text", where, ("eventType", DOMAIN))
    if read is None:
        return None
    ranges, others = read
    n = len(ranges["eventType"])
    for name in set(names) - set(present):
        ranges[name] = np.broadcast_to(np.int64(MISSING), n)
        others[name] = np.full(len(others["text"]), MISSING)
    given = others["text"] != MISSING
    if np.count_nonzero(given) > _FEW_TEXTS:
        return None
    domains = _named(database, others, _placed(given, database.texts_at(NVTX, "text", others["text"][given])))
    places = ranges.pop("text")
    given = places != MISSING
    rowids = places[given]
    if not len(rowids):
        return ranges, (rowids, []), domains
    if len(rowids) > _FEW_TEXTS:
        return ranges, _own(database, is_range(database)), domains
    return ranges, _placed(given, database.texts_at(NVTX, "text", rowids)), domains


def _placed(given: np.ndarray, texts: list[str]) -> _Texts:
    codes = np.full(len(given), -1, dtype=np.int32)
    codes[given] = np.arange(len(texts))
    return codes, texts


def _own(database: Database, where: str) -> _Texts:
    """The texts that rows have themselves."""
    return database.texts(NVTX, "text", where) if database.has(NVTX, "text") else (np.empty(0, np.int32), [])


def _texts(database: Database, text_ids: IntArray, own: _Texts) -> Labels:
    """The text of each row: its own, or the registered one."""
    codes, distinct = encode(text_ids)
    registered = database.strings(distinct)
    labels = [registered.get(int(i), "") for i in distinct]
    own_codes, texts = own
    if not texts:
        return labelled(codes, labels)
    # codes of inline texts come after those of the registered ones
    both = np.where(own_codes >= 0, own_codes.astype(np.int32) + len(labels), codes)
    return labelled(both, [*labels, *texts])


def _domains(database: Database) -> dict[tuple[int, int], str]:
    if not database.has(NVTX, "eventType", "domainId", "globalTid"):
        return {}
    where = f"eventType = {DOMAIN}"
    return _named(database, database.integers(NVTX, ["globalTid", "domainId", "textId"], where), _own(database, where))


def _named(database: Database, rows: Mapping[str, IntArray], own: _Texts) -> dict[tuple[int, int], str]:
    texts = _texts(database, rows["textId"], own)
    return {
        (int(t) & PROCESS_MASK, int(d)): str(text)
        for t, d, text in zip(rows["globalTid"], rows["domainId"], texts.to_list())
    }
