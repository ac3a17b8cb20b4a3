"""The dashboard as a process, and a Chromium to open it with: for the browser tests and for the pictures of the README."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.traces import ROOT

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def chromium() -> str | None:
    """A Chromium or Chrome on the PATH."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def serving(
    program: Sequence[str] = ("-m", "streamlit"), environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Start the dashboard on a free port; yield its address once it answers, and end it.

    Args:
        program: how Python starts Streamlit.
        environment: variables beside those of this process.

    Raises:
        TimeoutError: it did not answer within a minute.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *program, "run", "dashboard"]
    command += ["--server.headless", "true", "--server.port", str(port)]
    quiet = subprocess.DEVNULL
    variables = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=quiet, stderr=quiet, stdin=quiet)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise TimeoutError("the dashboard did not start within a minute")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def settled(page: Any, heading: str) -> None:
    """Wait until a page of the browser shows its heading, and is at rest; no exception may be on it."""
    page.get_by_role("heading", name=heading, level=1).wait_for(timeout=30_000)
    page.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden", timeout=30_000)
    page.wait_for_timeout(700)
    assert page.locator('[data-testid="stException"]').count() == 0
