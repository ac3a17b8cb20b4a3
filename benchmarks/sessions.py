"""Many sessions at once on the bundled traces: ``python -m benchmarks.sessions --sessions 10`` prints response times and memory.

Starts the dashboard and opens so many sessions by its own protocol, as browsers do, without the browsers. All of them visit the pages in
turn at the same time. The response time of a page is that from asking for it to the message that its script has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from tabulate import tabulate
from websockets.asyncio.client import ClientConnection, connect

from tests.support.serving import server

_PAGES = ("", "fusion", "speedup", "kernels", "tensor-cores", "memory", "timeline", "engine", "export")
_TIMEOUT_S = 300


class Session:
    """One browser tab."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self.errors: list[str] = []

    async def visit(self, page: str) -> float:
        """Open a page; seconds until it is there."""
        begun = time.perf_counter()
        request = BackMsg()
        request.rerun_script.query_string = ""
        request.rerun_script.page_name = page
        await self._socket.send(request.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(self._socket.recv(), _TIMEOUT_S))  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                self.errors.append(f"{page or 'overview'}: {message.delta.new_element.exception.message[:200]}")
            if kind == "page_not_found":
                self.errors.append(f"{page}: there is no such page")
            if kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                return time.perf_counter() - begun


async def _measure(origin: str, sessions: int) -> tuple[dict[str, list[float]], list[str]]:
    url = f"{origin.replace('http', 'ws', 1)}/_stcore/stream"
    sockets = [await connect(url, origin=origin, subprotocols=["streamlit"], max_size=None) for _ in range(sessions)]  # type: ignore[arg-type, list-item]
    tabs = [Session(one) for one in sockets]
    times: dict[str, list[float]] = {}
    for turn in ("first visit", "again"):
        for page in _PAGES:
            times[f"{page or 'overview'}, {turn}"] = await asyncio.gather(*(tab.visit(page) for tab in tabs))
    for one in sockets:
        await one.close()
    return times, [error for tab in tabs for error in tab.errors]


def _memory(pid: int) -> int:
    root = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (root, *root.children(recursive=True)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10)
    args = parser.parse_args()
    with server((sys.executable, "-m", "profiler", "dashboard", "--")) as (process, address):
        begun = _memory(process.pid)
        times, errors = asyncio.run(_measure(address, args.sessions))
        held, cpu = _memory(process.pid), sum(psutil.Process(process.pid).cpu_times()[:2])
    rows = [[what, statistics.median(taken), max(taken)] for what, taken in times.items()]
    print(tabulate(rows, headers=("page", "median s", "longest s"), floatfmt=".2f"))
    print(
        f"{args.sessions} sessions at once, {os.cpu_count()} processors; memory of the server {begun / 1e6:,.0f} MB before the first, "
        f"{held / 1e6:,.0f} MB after the last page; {cpu:.1f} s of CPU; errors: {len(errors)}"
    )
    for error in errors[:10]:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
