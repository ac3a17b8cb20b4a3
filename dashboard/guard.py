"""Who may ask the dashboard for anything: the browser that opened it, and no page of another site.

A site whose name is pointed at 127.0.0.1 after its page has loaded (DNS rebinding) is "the same origin" to the browser; only the
Host header of its requests tells. So every request, HTTP or WebSocket, is answered only if its Host is this machine's own name for
itself or is named in the configuration, and only if it does not come from another origin. No site may show the dashboard in a frame.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # an address names traces
}
_POLICY_VIOLATION = 1008
_READING = ("GET", "HEAD")


class RequestGuard:
    """ASGI middleware in front of all of Streamlit's routes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        is_socket = scope["type"] == "websocket"
        headers = Headers(scope=scope)
        reason = refusal(
            headers.getlist("host"), headers.getlist("origin"), is_socket or scope["method"] not in _READING
        )
        if reason is None:
            await self.app(scope, receive, send if is_socket else _with_headers(send))
        elif is_socket:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason[:100]})
        else:
            await PlainTextResponse(f"{reason}\n", 403, _HEADERS)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending


def refusal(hosts: list[str], origins: list[str], changes: bool) -> str | None:
    """Why a request is not answered; None when it is.

    Args:
        hosts: its Host headers.
        origins: its Origin headers. Browsers send one with every WebSocket and with what may change something.
        changes: it is a WebSocket, or a request that may change something.
    """
    if len(hosts) != 1 or not _is_known(hosts[0]):
        return (
            "This dashboard answers only to localhost and to the names in its configuration (server.allowedHosts); "
            "the request named another host."
        )
    if changes and origins and not (len(origins) == 1 and _is_own(origins[0], hosts[0])):
        return "This dashboard answers only to its own pages; the request came from another site."
    return None


def _is_known(host: str) -> bool:
    """Whether a Host header names the loopback interface, or what the configuration names."""
    try:
        parsed = urlsplit(f"//{host}")
        name, _ = parsed.hostname, parsed.port
    except ValueError:
        return False
    if name is None or parsed.netloc != host or "@" in host:
        return False
    name = name.removesuffix(".")
    if name == "localhost" or _is_loopback(name):
        return True
    return any(name.endswith(known[1:]) if known.startswith("*.") else name == known for known in _configured())


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _configured() -> list[str]:
    """The names of other than this machine's own loopback: any program here may serve pages under that, at another port."""
    names = [*config.get_option("server.allowedHosts"), config.get_option("browser.serverAddress")]
    listening = config.get_option("server.address")
    if listening not in ("0.0.0.0", "::"):
        names.append(listening)
    lower = [str(name).strip().lower().removesuffix(".") for name in names if name]
    return [name for name in lower if name not in ("*", "localhost") and not _is_loopback(name)]


def _is_own(origin: str, host: str) -> bool:
    """Whether an Origin is the page of this dashboard: the same host and port, or, behind a proxy, a configured name."""
    try:
        parsed = urlsplit(origin)
    except ValueError:
        return False
    if parsed.scheme not in ("http", "https"):
        return False
    return parsed.netloc.lower() == host.lower() or parsed.hostname in _configured()
