"""What the custom layer is called: in ONNX models, in TensorRT, and on the command line. Imports nothing; runs on CPython 3.9 too."""

from __future__ import annotations

from pathlib import Path

DOMAIN = "profiler"
OP_TYPE = "ProfilerQuickGelu"
ALPHA = 1.702
PLUGIN_VERSION = "1"
PLUGIN_NAMESPACE = ""
"""The C++ plugin's."""

PYTHON_NAMESPACE = "profiler"
"""The Python plugin's: tensorrt.plugin refuses the empty one. So both may be registered in one process."""

PYTHON_ROUTE = "python"
"""``--plugin python``: the plugin is made by tensorrt.plugin, and not by a library."""

FORMS = ("operators", "plugin", "python-plugin")
"""How a model holds the activation: stock operators, the C++ plugin's node, the Python plugin's node."""


def is_python(plugin: Path) -> bool:
    """Whether a value of ``--plugin`` means the Python route. (A library of that name is given with a suffix or a folder.)"""
    return str(plugin) == PYTHON_ROUTE


def form(plugins: tuple[Path, ...]) -> str:
    """The form that a model needs for these values of ``--plugin``."""
    if not plugins:
        return FORMS[0]
    return FORMS[2] if any(is_python(plugin) for plugin in plugins) else FORMS[1]
