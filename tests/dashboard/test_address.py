"""Where the dashboard listens, and what it tells: this machine only, and nobody, from whatever folder it is started."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.traces import ROOT


def _own_address() -> str | None:
    """An address of this machine that others could reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found: str = probe.getsockname()[0]
    return None if found.startswith("127.") else found


@pytest.mark.parametrize("inside", [True, False], ids=["from its own folder", "from another folder"])
def test_it_listens_on_this_machine_only(inside: bool, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(ROOT / "dashboard"),
        "--server.headless",
        "true",
        "--server.port",
        str(port),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT if inside else tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("localhost", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail("the dashboard did not start within a minute")
        other = _own_address()
        if other is not None:
            with pytest.raises(OSError):
                socket.create_connection((other, port), timeout=2).close()
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert "Network URL" not in said and "External URL" not in said and "usage statistics" not in said


def test_the_settings() -> None:
    text = (ROOT / "dashboard" / ".streamlit" / "config.toml").read_text()
    assert re.search(r'^address = "localhost"$', text, re.MULTILINE)
    assert re.search(r"^gatherUsageStats = false$", text, re.MULTILINE)
    assert re.search(r"^maxUploadSize = \d+$", text, re.MULTILINE)
    assert (
        "enableStaticServing" not in text and "enableCORS" not in text and "enableXsrfProtection" not in text
    )  # off, on, on
