"""The dashboard as its user meets it: a server of its own and a Chromium, which opens the first page and then goes through all of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from playwright.sync_api import sync_playwright

from benchmarks.cases import AGAIN, CHARTS, EMPTY, FIRST_VISIT, HEADING, UP
from benchmarks.process import Taken, Visits, watch
from profiler.trace import open_trace
from tests.support.serving import CHROMIUM_FLAGS, DASHBOARD, at_rest, chromium, server

_LONGEST_S = 900
_AGAIN = 3


def empty_app() -> dict[str, Taken]:
    """The first heading of an app that is nothing but a heading: what Streamlit and the browser take."""
    with tempfile.TemporaryDirectory(prefix="profiler-benchmarks-") as folder:
        script = Path(folder, "app.py")
        script.write_text('import streamlit as st\n\nst.title("Heading")\n')
        with _server({}, (sys.executable, "-m", "streamlit", "run", str(script))) as served, _browser() as page:
            begun = served.clocks()
            page.goto(served.address, wait_until="commit")
            page.locator("h1").first.wait_for()
            return {EMPTY: served.taken(begun)}


def bundled_pair() -> tuple[dict[str, Taken], Visits]:
    """The bundled pair in the server's first session, then every page by a click in the sidebar: once, and several times again."""
    with _server({}) as served, _browser() as page:
        taken = {UP: served.since_start}
        page.add_init_script(
            "addEventListener('click', e => { window.clicked = performance.timeOrigin + e.timeStamp; }, true)"
        )
        begun = served.clocks()
        page.goto(served.address, wait_until="commit")
        page.locator("h1").first.wait_for()
        taken[HEADING] = served.taken(begun)
        taken[CHARTS] = served.at_rest(page, begun)
        titles = [
            link.splitlines()[-1] for link in page.locator(".st-key-navigation a").all_inner_texts()
        ]  # after the icon
        rounds: list[dict[str, Taken]] = [{} for _ in range(1 + _AGAIN)]
        for found in rounds:
            for title in (*titles[1:], titles[0]):
                address = page.url
                begun, at = served.clocks(), time.time()
                page.get_by_role("link", name=title, exact=True).click()
                page.wait_for_url(lambda url, left=address: bool(url != left))
                visit = served.at_rest(page, begun)
                # Playwright looks for the link, scrolls to it and waits until it stands still before it clicks
                found[title] = replace(visit, wall_s=visit.wall_s - (page.evaluate("clicked") / 1000 - at))
    # a page is as slow as it mostly is: the slowest of all visits would be whichever something else delayed
    again = {title: sorted((found[title] for found in rounds[1:]), key=_wall)[_AGAIN // 2] for title in titles}
    taken |= {FIRST_VISIT: max(rounds[0].values(), key=_wall), AGAIN: max(again.values(), key=_wall)}
    return taken, {title: (one, again[title]) for title, one in rounds[0].items()}


def _wall(taken: Taken) -> float:
    return taken.wall_s


def large_pair(before: Path, after: Path, whole: bool) -> Taken:
    """Overview of two traces of one folder, wall time from the request to the last chart; very large ones are excerpts unless ``whole``."""
    with _server({"PROFILER_TRACES": str(before.parent)}) as served, _browser() as page:
        begun = served.clocks()
        query = f"before={quote(f'folder/{before.name}')}&after={quote(f'folder/{after.name}')}{'&whole=1' if whole else ''}"
        page.goto(f"{served.address}/?{query}", wait_until="commit")
        page.locator("h1").first.wait_for()
        return served.at_rest(page, begun)


def opens_as_excerpt(trace: Path) -> bool:
    """Whether the dashboard opens the middle of a trace unless it is asked for the whole."""
    with open_trace(trace) as opened:
        return opened.is_large


class _Server:
    """CPU time and memory are those of the server and what it starts, without the browser."""

    def __init__(self, process: subprocess.Popen[bytes], begun: float, address: str) -> None:
        self.address = address
        self._process = process
        self._peaks = [0]
        threading.Thread(target=watch, args=(process.pid, self._peaks), daemon=True).start()
        self.since_start = self.taken((begun, 0.0))

    def clocks(self) -> tuple[float, float]:
        root = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
        return time.perf_counter(), sum(t.user + t.system + t.children_user + t.children_system for t in times)

    def at_rest(self, page: Any, since: tuple[float, float]) -> Taken:
        """Until the page changed for the last time, which is known only a while later."""
        waited_s = at_rest(page, _LONGEST_S)
        return self.taken(since, waited_s)

    def taken(self, since: tuple[float, float], waited_s: float = 0.0) -> Taken:
        wall, cpu = self.clocks()
        held = max(self._peaks[0], psutil.Process(self._process.pid).memory_info().rss)
        return Taken(wall - since[0] - waited_s, cpu - since[1], held)


@contextmanager
def _server(variables: Mapping[str, str], program: Sequence[str] = DASHBOARD) -> Iterator[_Server]:
    begun = time.perf_counter()
    variables = {**variables, "PYTHONDONTWRITEBYTECODE": ""}  # empty: compiled modules are kept, as by default
    with server(program, variables, seconds=_LONGEST_S) as (process, address):
        yield _Server(process, begun, address)


@contextmanager
def _browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(_LONGEST_S * 1000)
        yield page
        browser.close()
