"""Who is answered: requests for localhost, or for what the configuration names, from the dashboard's own pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from streamlit import config

from dashboard.guard import RequestGuard, refusal


@dataclass(frozen=True)
class Answer:
    status: int | None
    """HTTP status; of a WebSocket 101 when it was accepted, None when it was closed instead."""
    headers: dict[str, str]
    text: str


def ask(path: str = "/", method: str = "GET", socket: bool = False, **headers: str) -> Answer:
    """Send a request to the guard, with a server behind it that answers "figures" to everything."""

    async def server(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"figures"})

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect" if socket else "http.request"}

    scope = {
        "type": "websocket" if socket else "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    asyncio.run(RequestGuard(server)(scope, receive, send))
    if socket:
        return Answer(101 if sent[0]["type"] == "websocket.accept" else None, {}, "")
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent).decode())


@pytest.fixture
def configured() -> Iterator[None]:
    config.set_option("server.allowedHosts", ["Evidence.example.com", "*.lab.example"])
    yield
    config.set_option("server.allowedHosts", [])


OWN = [
    "localhost",
    "localhost:8501",
    "LOCALHOST:8501",
    "localhost.",
    "127.0.0.1:8501",
    "127.8.9.1",
    "[::1]:8501",
    "[::1]",
]
FOREIGN = [
    "evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost", "localhost@evil.example",
    "evil.example@localhost", "localhost/evil", "localhost#x", "localhost?x", "localhost:99999", "localhost:x", "192.0.2.1", "0.0.0.0", "",
    "[::ffff:192.0.2.1]", "[::1", "*", "evidence.example.com",
]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_own_names_are_answered_and_never_framed(host: str) -> None:
    answer = ask(host=host)
    assert answer.text == "figures"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["x-frame-options"] == "DENY"
    assert ask("/_stcore/stream", socket=True, host=host).status == 101


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/media/x", "/static/index.js"])
def test_another_host_gets_nothing_of_any_route(host: str, path: str) -> None:
    answer = ask(path, host=host)
    assert answer.status == 403 and "figures" not in answer.text
    assert ask("/_stcore/stream", socket=True, host=host).status is None


@pytest.mark.parametrize(
    "host", ["evidence.example.com", "EVIDENCE.example.com:443", "a.lab.example", "b.a.lab.example"]
)
def test_configured_names_are_answered(configured: None, host: str) -> None:
    assert ask(host=host).text == "figures"
    for near in ("lab.example", "evillab.example", "xevidence.example.com", "evidence.example.com.evil"):
        assert ask(host=near).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1:8501",
        "file://",
        "x",
        "",
        "http://[::1",
    ],
)
def test_another_origin_neither_talks_nor_sends(origin: str) -> None:
    assert ask("/_stcore/upload_file/x", "PUT", host="localhost:8501", origin=origin).status == 403
    assert ask("/_stcore/stream", socket=True, host="localhost:8501", origin=origin).status is None


def test_the_own_origin_talks_and_sends() -> None:
    headers = {"host": "localhost:8501", "origin": "http://localhost:8501"}
    assert ask("/_stcore/upload_file/x", "PUT", **headers).text == "figures"
    assert ask("/_stcore/stream", socket=True, **headers).status == 101


def test_behind_a_proxy_the_configured_name_is_the_own_origin(configured: None) -> None:
    assert refusal(["127.0.0.1:8501"], ["https://evidence.example.com"], True) is None
    assert refusal(["127.0.0.1:8501"], ["https://evil.example"], True) is not None
    assert refusal(["localhost", "evil.example"], [], False) is not None
    assert refusal([], [], False) is not None
