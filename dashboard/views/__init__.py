"""One file a page. Each has ``TITLE``, ``ICON``, ``URL`` and ``render(pair)``."""

from dashboard.views import details, kernels, overview, tensor_cores, timeline

PAGES = (overview, kernels, tensor_cores, timeline, details)
