"""Making plugins known to TensorRT before a model is parsed or a plan is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profiler.errors import MissingToolError, ProfilerError
from profiler.plugins import library, names, python_route
from profiler.runtime import contract


def load_plugins(trt: Any, plugins: Sequence[Path], logger: Any, build_for: int | None = None) -> dict[str, Any] | None:
    """Load plugin libraries, register the Python plugin if it is among them, and register TensorRT's own plugins.

    Args:
        plugins: libraries, or ``python`` for the Python route.
        build_for: the GPU's compute capability (90 for 9.0) where an engine is to be built: the Python plugin's kernel is compiled
            for it. A plan holds its kernel, so running it needs none.

    Returns:
        how the Python plugin was made, for the build record; None without one.

    Raises:
        MissingToolError: the Python plugin's kernel is to be compiled, and there is no nvcc.
        ProfilerError: a library is missing or does not load, or says that it could not register itself; TensorRT is too old for the
            Python route; its kernel does not compile.
    """
    made = None
    for path in plugins:
        if names.is_python(path):
            python_route.check_version(str(trt.__version__))
            kernel = None if build_for is None else python_route.compile_kernel(build_for)
            register(trt, logger, kernel)
            made = kernel.record() if kernel else None
            continue
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
    return made


def register(trt: Any, logger: Any, kernel: python_route.Kernel | None, lazily: bool = False) -> None:
    """Make the plugin known to this process's TensorRT. Once a process.

    Args:
        logger: gets the reasons for which the plugin refuses a node: TensorRT itself only says that it failed.
        kernel: None where no engine is built.
        lazily: not to TensorRT's registry: for checking against bindings without TensorRT behind them.

    Raises:
        MissingToolError: this TensorRT has no module tensorrt.plugin, or it does not load.
        ProfilerError: it is older than 10.9.
    """
    python_route.check_version(str(trt.__version__))
    try:
        python_plugin = importlib.import_module("profiler.plugins.python_plugin")
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingToolError(
            f"--plugin {names.PYTHON_ROUTE}: tensorrt.plugin cannot be imported ({' '.join(str(error).split())[:300]}).",
            "Install the tensorrt package of this version whole; or use the C++ plugin: --plugin FILE.so.",
        ) from error
    python_plugin.define(logger, kernel, lazily)


def check_plugins_form(onnx: Path, record: dict[str, Any] | None, plugins: Sequence[Path]) -> None:
    """Refuse a model whose custom nodes its export record says are for the other kind of plugin.

    Raises:
        ProfilerError: it says how to export it.
    """
    made = (record or {}).get("activation_as")
    needed = names.form(tuple(plugins))
    if made in names.FORMS[1:] and needed in names.FORMS[1:] and made != needed:
        raise ProfilerError(
            f"{onnx}: was exported --activation-as {made}, and --plugin {plugins[0]} needs {needed}.",
            f"Export it again: python -m profiler.engine.export --activation-as {needed} …",
        )


def check_plugins(plan: Path, record: dict[str, Any] | None, given: Sequence[Path]) -> None:
    """Refuse a plan that its build record says needs plugins, when none is given.

    Raises:
        ProfilerError: it names them.
    """
    recorded = (record or {}).get("plugins")
    # the Python plugin's kernel is in the plan
    needed = [str(name) for name in recorded if name != names.PYTHON_ROUTE] if isinstance(recorded, list) else []
    if needed and not given:
        raise ProfilerError(
            f"{plan}: was built with the plugin library {', '.join(needed)}, and no plugin was given.",
            f"Give it with --plugin: --plugin {needed[0]}",
        )
