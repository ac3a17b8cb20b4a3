"""The layers of a TensorRT engine as a table."""

from __future__ import annotations

import pandas as pd

from profiler.analysis.fusion.layers import EngineSide
from profiler.analysis.fusion.ledger import work_source
from profiler.analysis.run.run import Run


def engine_layers(analysis: Run) -> pd.DataFrame | None:
    """A row a layer of the engine behind a trace, in order of execution; None when it describes no layers.

    Columns: ``layer``, ``type``, ``precision``, ``kernels`` and ``time_ns`` (per inference: sums ÷ inferences), ``min_bytes``
    (computed minimum), ``formats_in``, ``formats_out``, ``tactic``.

    Raises:
        TraceError: the engine's description beside the trace cannot be read.
    """
    n = analysis.inferences.count
    engine = work_source(analysis).by if n else None
    if not isinstance(engine, EngineSide):
        return None
    places = range(len(engine.layers))
    times = engine.work.groupby("layer")["duration_ns"].sum()
    kernels = engine.work[engine.work["kind"] == "kernel"].groupby("layer").size()
    return pd.DataFrame(
        {
            "layer": [la.name for la in engine.layers],
            "type": [la.kind for la in engine.layers],
            "precision": [la.precision for la in engine.layers],
            "kernels": [float(kernels.get(i, 0)) / n for i in places],
            "time_ns": [float(times.get(i, 0)) / n for i in places],
            "min_bytes": [la.min_bytes for la in engine.layers],
            "formats_in": [" | ".join(t.format or "?" for t in la.inputs) for la in engine.layers],
            "formats_out": [" | ".join(t.format or "?" for t in la.outputs) for la in engine.layers],
            "tactic": [la.tactic for la in engine.layers],
        }
    )
