"""The dashboard as a process, and a Chromium to open it with: for the browser tests and for the pictures of the README."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
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


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


DASHBOARD = (sys.executable, "-m", "streamlit", "run", "dashboard")


@contextmanager
def server(
    program: Sequence[str] = DASHBOARD,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    seconds: float = 60,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the dashboard on a free port; yield the process and its address once it answers, and end it.

    Args:
        program: the command; Streamlit's options follow.
        environment: variables beside those of this process.

    Raises:
        TimeoutError: it did not answer in time, or has ended.
    """
    quiet = subprocess.DEVNULL
    port = free_port()
    options = ["--server.headless", "true", "--server.port", str(port)]
    variables = {**os.environ, **(environment or {})}
    until = time.monotonic() + seconds
    process = subprocess.Popen([*program, *options], cwd=cwd, env=variables, stdout=quiet, stderr=quiet, stdin=quiet)
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > until:
                raise TimeoutError("the dashboard did not start")
            time.sleep(0.02)
        yield process, f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def serving(
    program: Sequence[str] = DASHBOARD, environment: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[str]:
    """As :func:`server`; yields only the address."""
    with server(program, environment, cwd) as (_, address):
        yield address


_QUIET_S = 0.25
_AT_REST = """([seconds, quiet]) => new Promise((resolve, reject) => {
    const begun = performance.now();
    let changed = begun;
    const drawn = change => change.target.nodeName !== 'CANVAS' && !change.target.parentElement?.closest('canvas');
    const changes = new MutationObserver(list => { if (list.some(drawn)) changed = performance.now(); });
    changes.observe(document, {childList: true, characterData: true, subtree: true});
    const moves = animation => animation.playState === 'running' && animation.effect.getComputedTiming().endTime !== Infinity;
    const look = () => {
        const now = performance.now(), app = document.querySelector('[data-testid=stApp]');
        const waits = app?.dataset.testScriptState !== 'notRunning' || app.dataset.testConnectionState !== 'CONNECTED'
            || document.querySelector('[data-testid=stSkeleton], [data-testid=stAppSkeleton], [data-testid=stSpinner]')
            || document.getAnimations().some(moves);
        if (waits) changed = now;
        if (now - changed > quiet || now - begun > 1000 * seconds) {
            changes.disconnect();
            if (waits) reject(new Error('the page does not come to rest'));
            else if (document.querySelector('[data-testid=stException]')) reject(new Error('there is an exception on the page'));
            else resolve((performance.now() - changed) / 1000);
        } else setTimeout(look, 10);
    };
    look();
})"""
"""The script has ended, nothing is being loaded or moves, and for a quarter of a second nothing of the page has changed.

What a table holds inside its canvas, for screen readers, comes later and is not waited for."""


def at_rest(page: Any, seconds: float = 60) -> float:
    """Wait until a page of the browser is at rest; no exception may be on it. Returns for how long, in s, nothing has changed."""
    since: float = page.evaluate(_AT_REST, [seconds, 1000 * _QUIET_S])
    return since


def settled(page: Any, heading: str) -> None:
    """Wait until a page of the browser shows its heading, and is at rest; no exception may be on it."""
    page.get_by_role("heading", name=heading, level=1).wait_for(timeout=30_000)
    at_rest(page)
