"""NVTX ranges in the project's own domain, at little cost: each message is registered once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from profiler.runtime.contract import NVTX_DOMAIN

INSTALL_HINT = "pip install nvtx"


class Ranges(Protocol):
    """Push and pop ranges on the calling thread."""

    def push(self, name: str) -> None:
        """Open a range."""

    def pop(self) -> None:
        """Close the innermost range."""


class NoRanges:
    """Where nothing is recorded, nothing is pushed: the latency must not pay for it."""

    def push(self, name: str) -> None:
        pass

    def pop(self) -> None:
        pass


class NvtxRanges:
    """Ranges in the domain ``profiler``, by the ``nvtx`` package."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain
        self._attributes: dict[str, Any] = {}

    def push(self, name: str) -> None:
        attributes = self._attributes.get(name)
        if attributes is None:
            attributes = self._attributes[name] = self._domain.get_event_attributes(message=name)
        self._domain.push_range(attributes)

    def pop(self) -> None:
        self._domain.pop_range()


class CallableRanges:
    """Ranges by two functions, such as ``torch.cuda.nvtx``'s, which know the default domain only."""

    def __init__(self, push: Callable[[str], Any], pop: Callable[[], Any]) -> None:
        self._push, self._pop = push, pop

    def push(self, name: str) -> None:
        self._push(name)

    def pop(self) -> None:
        self._pop()


def open_ranges(warnings: list[str], fallback: tuple[Callable[[str], Any], Callable[[], Any]] | None = None) -> Ranges:
    """Ranges that a profiler sees; what is missing is appended to ``warnings``."""
    try:
        import nvtx  # noqa: PLC0415 - an optional library
    except ImportError:
        if fallback is not None:
            warnings.append(
                f"the nvtx package is not installed, so ranges are in NVTX's default domain and not in "
                f"{NVTX_DOMAIN!r} ({INSTALL_HINT})"
            )
            return CallableRanges(*fallback)
        warnings.append(f"the nvtx package is not installed, so no NVTX ranges were pushed ({INSTALL_HINT})")
        return NoRanges()
    if not hasattr(nvtx, "get_domain"):  # nvtx 0.2.10 and older
        return CallableRanges(
            lambda name: nvtx.push_range(name, domain=NVTX_DOMAIN), lambda: nvtx.pop_range(domain=NVTX_DOMAIN)
        )
    return NvtxRanges(nvtx.get_domain(NVTX_DOMAIN))
