"""What a worker of an existing cluster can do. Sent to it as code, as it may not have this project: standard library only."""

from __future__ import annotations

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
    import os
    import platform

    unseen = []
    for name, size in sizes.items():
        try:
            same = os.stat(os.path.join(folder, name)).st_size == size
        except OSError:
            same = False
        if not same:
            unseen.append(name)
    found: dict[str, Any] = {"host": platform.node(), "unseen": unseen, "code": None, "reason": None}
    try:
        from profiler.fleet.code import code_digest

        import profiler.fleet.measure

        found["code"] = code_digest()
    except Exception as error:  # whatever keeps it from being imported there is the answer
        found["reason"] = f"{type(error).__name__}: {error}"
    return found
