"""Inferences that are not like the others: warm-up, and what a recording cut off. They are set aside, by name and with the reason."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np

from profiler.analysis.run.range_kinds import WARM_UP, family
from profiler.analysis.statistics import count_codes, sum_by_code
from profiler.text import duration, plural
from profiler.trace import Trace
from profiler.trace.columns import Table

if TYPE_CHECKING:
    from profiler.analysis.run.inferences import Inferences

_MAX_ODD = 0.34
_MUCH_LONGER = 2.0
_FEW = 0.1
"""A difference of less than a tenth, in kernels and in time, is stated and nothing is set aside."""


def inside_warm_up(trace: Trace, ranges: Table) -> dict[int, str]:
    """The inferences whose range lies in one that is named as a warm-up, and the text of that."""
    texts = trace.events.nvtx_ranges["text"]
    families = [family(text) for text in texts.texts]
    says = {text: bool(WARM_UP.search(text)) for text in set(families)}
    named = np.asarray([says[text] for text in families], dtype=bool)
    if not named.any():
        return {}
    codes, parent = texts.codes, trace.nvtx_index.parent
    found = {}
    for place, row in enumerate(ranges["row"].tolist()):
        at = int(parent[row]) if row >= 0 else -1
        while at >= 0 and not named[codes[at]]:
            at = int(parent[at])
        if at >= 0:
            found[place] = texts.texts[codes[at]]
    return found


def odd_ones(inferences: Inferences, known: Container[int]) -> dict[int, str]:
    """Inferences with clearly more or fewer kernels than most, where they are few; of two, the first when it looks like a warm-up."""
    n = inferences.count
    events = inferences.trace.events
    work, of = (
        (events.kernels, inferences.of_kernel)
        if len(events.kernels)
        else (events.graph_traces, inferences.of_graph_trace)
    )
    counts = count_codes(of, n)
    times = sum_by_code(of, work["duration_ns"], n)
    places = np.asarray([k for k in range(n) if k not in known])
    if len(places) < 2:
        return {}
    if len(places) == 2:
        first, second = (int(p) for p in places)
        if counts[first] > counts[second] or (
            counts[first] == counts[second] and times[first] >= _MUCH_LONGER * max(int(times[second]), 1)
        ):
            looks, other = (f"{plural(int(counts[k]), 'kernel')} in {duration(int(times[k]))}" for k in (first, second))
            return {first: f"a warm-up by its looks: {looks}, the other {other}"}
        return {}
    values, often = np.unique(counts[places], return_counts=True)
    usual = int(values[np.argmax(often)])
    middle = float(np.median(times[places]))
    unlike = np.abs(counts[places] - usual) > _FEW * usual
    unlike |= (counts[places] != usual) & (np.abs(times[places] - middle) > _FEW * middle)
    odd = places[unlike]
    if not len(odd) or len(odd) > _MAX_ODD * len(places):
        return {}
    return {int(k): f"{plural(int(counts[k]), 'kernel')}, and most of the others have {usual:,}" for k in odd}
