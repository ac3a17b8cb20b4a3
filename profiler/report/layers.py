"""The layers of a TensorRT engine as a table."""

from __future__ import annotations

import pandas as pd

from profiler.analysis.fusion.layers import engine_side
from profiler.analysis.fusion.ledger import engine_file_of
from profiler.analysis.run.run import Run
from profiler.analysis.run.work import gpu_work


def engine_layers(analysis: Run) -> pd.DataFrame | None:
    """A row a layer of the engine behind a trace, in order of execution; None when it describes no layers.

    Columns: ``layer``, ``type``, ``precision``, ``kernels`` and ``time_ns`` (per inference: sums ÷ inferences), ``min_bytes``
    (computed minimum), ``formats_in``, ``formats_out``, ``tactic``.

    Raises:
        TraceError: the engine's description beside the trace cannot be read.
    """
    trace, inferences = analysis.trace, analysis.inferences
    if not inferences.count:
        return None
    engine = engine_side(trace, inferences, gpu_work(trace, inferences), engine_file_of(analysis))
    if engine is None:
        return None
    n, places = inferences.count, range(len(engine.layers))
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
