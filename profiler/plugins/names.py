"""What the custom layer is called: in ONNX models, in TensorRT, and on the command line. Imports nothing; runs on CPython 3.9 too."""

from __future__ import annotations

DOMAIN = "profiler"
OP_TYPE = "ProfilerQuickGelu"
ALPHA = 1.702
PLUGIN_VERSION = "1"
PLUGIN_NAMESPACE = ""

FORMS = ("operators", "plugin")
"""How a model holds the activation: as stock operators, or as the plugin's node."""

KERNEL = "kernel"
EAGER = "PyTorch's three operators"
COPY = "copy"
COPY_STREAM = "copy, without a graph"
"""What ``plugin measure`` compares."""
