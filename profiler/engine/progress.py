"""Signs of life from a build that takes minutes: elapsed time everywhere, the builder's own phases from 10 on."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

from profiler.engine.logger import BuildLog

INTERVAL_S = 10.0
_NAME_WIDTH = 60


class Ticker:
    """Print a line every ``interval_s`` seconds while a block runs."""

    def __init__(
        self,
        log: BuildLog,
        stream: TextIO | None = None,
        interval_s: float = INTERVAL_S,
        quiet: bool = False,
    ) -> None:
        self._log = log
        self._stream = stream
        self._interval_s = interval_s
        self._quiet = quiet
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._started_s = 0.0
        self.phase = ""

    def __enter__(self) -> Ticker:
        self._started_s = time.monotonic()
        if not self._quiet:
            self._thread = threading.Thread(target=self._loop, name="build-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            print(self.line(), file=self._stream or sys.stderr, flush=True)

    def line(self) -> str:
        """What is printed: seconds, runners timed, and what is being done."""
        doing = self.phase or self._log.layer
        shown = doing if len(doing) <= _NAME_WIDTH else f"{doing[: _NAME_WIDTH - 1]}…"
        elapsed = time.monotonic() - self._started_s
        return f"building: {elapsed:.0f} s, {self._log.timed} runners timed" + (f", at {shown}" if shown else "")


def attach_monitor(trt: Any, config: Any, ticker: Ticker) -> Any:
    """Let the builder report its phases to the ticker, where it can (10 and later).

    Returns:
        the monitor, which must outlive the build; None before 10.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None
    return _attach_monitor_v10(trt, config, ticker)


def _attach_monitor_v10(trt: Any, config: Any, ticker: Ticker) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._steps: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._steps[phase_name] = (0, num_steps)
            self._show(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                _, total = self._steps.get(phase_name, (0, step + 1))
                self._steps[phase_name] = (step + 1, total)
            self._show(phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._steps.pop(phase_name, None)

        def _show(self, phase_name: str) -> None:
            done, total = self._steps.get(phase_name, (0, 0))
            ticker.phase = f"{phase_name} {done}/{total}"

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
