"""Draws figures as files, in a process of its own: ``python -m profiler.charts.drawing FOLDER`` reads a job from standard input.

Kaleido leaves threads and sometimes a Chromium behind when a browser fails under it; a process that ends takes them along, where the
command line would wait for them for ever and the dashboard would gather them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil

_TIMEOUT_EACH_S = 60


async def draw(job: dict[str, Any], folder: Path) -> None:
    """Write ``0.pdf`` and so on, a file for each figure and kind.

    Args:
        job: ``browser`` (path of the Chromium), ``figures`` (Plotly's JSON), ``files`` (options of Kaleido by ending), ``seconds`` that
            it may take; Kaleido ends its browser then.
    """
    import kaleido  # noqa: PLC0415 - optional, and slow to import

    # without mathjax=False it fetches MathJax from elsewhere
    async with kaleido.Kaleido(n=1, timeout=_TIMEOUT_EACH_S, mathjax=False, path=job["browser"]) as drawer:
        for place, figure in enumerate(job["figures"]):
            for kind, options in job["files"].items():
                drawn = await drawer.calc_fig(
                    figure, opts={"format": kind, "height": figure["layout"]["height"], **options}
                )
                folder.joinpath(f"{place}.{kind}").write_bytes(drawn)


def main() -> None:
    status = 1
    try:
        job = json.load(sys.stdin)
        asyncio.run(asyncio.wait_for(draw(job, Path(sys.argv[1])), job["seconds"]))
        status = 0
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(map(str, error.args))}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        for left in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                left.kill()
        os._exit(status)  # without waiting for threads


if __name__ == "__main__":
    main()
