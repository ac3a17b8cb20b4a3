"""One file a page. Each has ``TITLE``, ``ICON``, ``URL`` and ``render(pair)``."""

from dashboard.views import details, fusion, kernels, memory, overview, speedup, tensor_cores, timeline

PAGES = (overview, fusion, speedup, kernels, tensor_cores, memory, timeline, details)
