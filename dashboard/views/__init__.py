"""One file a page. Each has ``TITLE``, ``ICON``, ``URL`` and ``render(selection)``."""

from __future__ import annotations

from types import ModuleType

from dashboard.views import (
    accuracy,
    autotuning,
    capture,
    custom_layer,
    details,
    engine,
    export,
    fleet,
    fusion,
    help,
    kernels,
    memory,
    overview,
    runs,
    speedup,
    tensor_cores,
    timeline,
)

GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "Compare": (overview, fusion, speedup, kernels, tensor_cores, memory, accuracy, timeline),
    "Engine and runs": (engine, autotuning, custom_layer, runs, fleet, capture),
    "Hand over": (export, details, help),
}
PAGES = tuple(view for views in GROUPS.values() for view in views)
