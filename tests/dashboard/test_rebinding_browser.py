"""The attack that DNS rebinding is, in a real browser: a page of another name that leads to this machine reads nothing, starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.serving import CHROMIUM_FLAGS, chromium, settled

pytestmark = pytest.mark.browser
_EVIL = "evil.example"
_TALK = """address => new Promise(resolve => {
    const socket = new WebSocket(address, ['streamlit', 'PLACEHOLDER_AUTH_TOKEN']);
    socket.onopen = () => resolve('open');
    socket.onerror = socket.onclose = () => resolve('refused');
})"""


@pytest.fixture(scope="module")
def rebound() -> Iterator[Any]:
    """A browser for which the attacker's name leads to this machine, as after its name server has answered anew."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    rules = f"--host-resolver-rules=MAP {_EVIL} 127.0.0.1"
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=executable, args=[*CHROMIUM_FLAGS, rules])
        yield found
        found.close()


class _Attacker(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>attacker</title><iframe id=f></iframe>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def attacker() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Attacker)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{_EVIL}:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_rebound_name_reads_nothing(rebound: Any, address: str) -> None:
    port = urlsplit(address).port
    page = rebound.new_page()
    answer = page.goto(f"http://{_EVIL}:{port}/capture")
    assert answer.status == 403 and "only to localhost" in page.content()
    for path in ("_stcore/health", "_stcore/host-config", "static/index.html", "media/x"):
        found = page.evaluate(
            "async path => { const a = await fetch('/' + path); return [a.status, await a.text()]; }", path
        )
        assert found[0] == 403 and "only to localhost" in found[1], path
    assert page.evaluate(_TALK, f"ws://{_EVIL}:{port}/_stcore/stream") == "refused"
    page.close()


def test_a_page_of_another_site_neither_talks_nor_frames(rebound: Any, address: str, attacker: str) -> None:
    page = rebound.new_page()
    page.goto(attacker)
    assert page.evaluate(_TALK, address.replace("http", "ws") + "/_stcore/stream") == "refused"
    with page.expect_console_message(lambda message: "frame" in message.text, timeout=30_000):  # says what it refuses
        page.evaluate("address => { document.getElementById('f').src = address; }", address)
    assert not [frame for frame in page.frames if frame.url.startswith(address)]
    page.close()


def test_its_own_page_works(rebound: Any, address: str) -> None:
    page = rebound.new_page()
    page.goto(f"{address}/capture")
    settled(page, "Capture")
    assert page.get_by_text("Recording from this page is off").count() == 1
    assert page.evaluate(_TALK, address.replace("http", "ws") + "/_stcore/stream") == "open"
    page.close()
