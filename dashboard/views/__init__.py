"""One file a page. Each has ``TITLE``, ``ICON``, ``URL`` and ``render(selection)``."""

from dashboard.views import (
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

PAGES = (
    overview,
    fusion,
    speedup,
    kernels,
    tensor_cores,
    memory,
    timeline,
    engine,
    custom_layer,
    export,
    runs,
    fleet,
    capture,
    details,
    help,
)
