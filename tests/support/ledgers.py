"""Traces for the fusion ledger, a model's and an engine's, and what holds of every ledger."""

from __future__ import annotations

import json

from profiler.analysis.fusion.ledger import Ledger, grouped
from tests.support.make_trace import TraceMaker


def framework(model: list[tuple[str, str | None, int]], inferences: int = 2, containers: bool = False) -> TraceMaker:
    """A PyTorch-like trace: per inference a range per module (None as kernel: launches nothing; "" as module: outside every range)."""
    maker = TraceMaker()
    maker.gpu()
    for i in range(inferences):
        begin = i * 1_000_000
        maker.range(f"iter{i}", begin, begin + 900_000)
        if containers:
            maker.range("block", begin + 50, begin + 50 + 1_000 * (len(model) + 1))
        for place, (module, kernel, duration) in enumerate(model):
            at = begin + 100 + 1_000 * place
            if module:
                maker.range(module, at, at + 500)
            if kernel:
                maker.kernel(begin + 500_000 + 2_000 * place, duration, kernel, launched=at + 10)
    return maker


def engine(
    layers: list[tuple[str, list[tuple[str, int]]]],
    inferences: int = 2,
    kinds: dict[str, str] | None = None,
    ranges: bool = True,
) -> TraceMaker:
    """A TensorRT-like trace: per inference a range with a JSON payload per layer, and its kernels."""
    maker = TraceMaker()
    maker.gpu()
    maker.range("TensorRT", -5, None, kind=75, domainId=1)
    for i in range(inferences):
        begin = i * 1_000_000
        maker.range(f"iter{i}", begin, begin + 900_000)
        graph = None if ranges else maker.launch(begin + 20, name="cudaGraphLaunch_v10000")
        for place, (name, kernels) in enumerate(layers):
            at = begin + 100 + 1_000 * place
            if ranges:
                maker.range(
                    name, at, at + 900, domainId=1, jsonTextId=maker.string(json.dumps(description(name, kinds)))
                )
            for order, (kernel, duration) in enumerate(kernels):
                start = begin + 500_000 + 2_000 * place + 500 * order
                if ranges:
                    maker.kernel(start, duration, kernel, launched=at + 10 + order)
                else:
                    maker.kernel(start, duration, kernel, correlation=graph, graphNodeId=place)
    return maker


def description(name: str, kinds: dict[str, str] | None = None) -> dict:
    tensor = {"Dimensions": [2, 8, 4, 4], "Format/Datatype": "Row major linear FP16"}
    return {
        "Name": name,
        "LayerType": (kinds or {}).get(name, "CaskConvolution"),
        "Inputs": [{"Name": "x", **tensor}],
        "Outputs": [{"Name": f"{name}_y", **tensor}],
        "Weights": {"Type": "Half", "Count": 100},
        "Bias": {"Type": "Float", "Count": 8},
    }


def check_sums(ledger: Ledger) -> None:
    """Every kernel, copy and nanosecond of both sides is in exactly one row."""
    for side in ("before", "after"):
        work = getattr(ledger, f"{side}_placement").work
        rows = [i for r in ledger.rows if getattr(r, side) is not None for i in getattr(r, side).rows]
        assert sorted(rows) == list(range(len(work)))
        coverage = ledger.coverage(side)
        assert coverage.kernels == int((work["kind"] == "kernel").sum())
        assert coverage.time_ns == int(work["duration_ns"].sum())
        for by in ("block", "stage"):
            groups = grouped(ledger.rows, by)
            assert sum(getattr(g, f"{side}_kernels") for g in groups) == coverage.kernels
            assert sum(getattr(g, f"{side}_time_ns") for g in groups) == coverage.time_ns
