"""Making plugins known to TensorRT before a model is parsed or a plan is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profiler.errors import ProfilerError
from profiler.plugins import library
from profiler.runtime import contract


def load_plugins(trt: Any, plugins: Sequence[Path], logger: Any) -> None:
    """Load plugin libraries, and register TensorRT's own plugins.

    Raises:
        ProfilerError: a library is missing or does not load, or says that it could not register itself.
    """
    for path in plugins:
        contract.check_file(path, "a shared library with a TensorRT plugin")
        loaded = library.load(path)
        status = library.status(loaded)
        if status is not None and status != library.REGISTERED:
            built = library.compiled_for(loaded)
            raise ProfilerError(
                f"{path}: the plugin could not be registered with TensorRT {trt.__version__}: "
                + (status if built else "it was compiled without TensorRT's headers")
                + ".",
                f"Compile it for this version: python -m profiler plugin build --tensorrt-include (headers of {trt.__version__}) …",
            )
    trt.init_libnvinfer_plugins(logger, "")


def check_plugins(plan: Path, record: dict[str, Any] | None, given: Sequence[Path]) -> None:
    """Refuse a plan that its build record says needs plugins, when none is given.

    Raises:
        ProfilerError: it names them.
    """
    recorded = (record or {}).get("plugins")
    needed = [str(name) for name in recorded] if isinstance(recorded, list) else []
    if needed and not given:
        raise ProfilerError(
            f"{plan}: was built with the plugin library {', '.join(needed)}, and no plugin was given.",
            f"Give it with --plugin: --plugin {needed[0]}",
        )
