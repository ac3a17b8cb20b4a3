"""What a worker of an existing cluster can do. Sent to it as code, as it may not have this project: standard library only."""

from __future__ import annotations

import platform
from importlib import import_module
from pathlib import Path
from typing import Any


def probe(folder: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Look around on a worker.

    Args:
        folder: the folder of all traces, as the client names it.
        sizes: file size by relative name, as the client sees it.

    Returns:
        ``host``; ``unseen``: files that are not there or of another size; ``code``: digest of this project's source there, or
        None with ``reason``.
    """
    found: dict[str, Any] = {
        "host": platform.node(),
        "unseen": [name for name, size in sizes.items() if _size(Path(folder) / name) != size],
        "code": None,
        "reason": None,
    }
    try:
        import_module("profiler.fleet.measure")
        found["code"] = import_module("profiler.fleet.code").code_digest()
    except Exception as error:  # whatever keeps it from being imported there is the answer
        found["reason"] = f"{type(error).__name__}: {error}"
    return found


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
