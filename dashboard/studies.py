"""A study that runs beside the dashboard, and the GPU it runs on. One at a time per dashboard."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from profiler.capture.gpu import find_gpus
from profiler.errors import ProfilerError
from profiler.runtime.telemetry import Telemetry

_TAIL_BYTES = 8_000


class StudyProcess:
    """A running or ended ``python -m profiler study``; its output is kept for the page."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the study
        weakref.finalize(self, self._log.close)
        self._process = subprocess.Popen(
            list(command), stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ask the study to end, as Ctrl-C does: it then ends nsys and removes what is half-written."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def tail(self) -> str:
        """The end of what it printed."""
        size = self._log.seek(0, 2)
        self._log.seek(max(0, size - _TAIL_BYTES))
        text = self._log.read().decode("utf-8", "replace")
        self._log.seek(0, 2)
        return text.replace("\r", "\n") or "(nothing printed yet)"


@st.cache_resource
def _holder() -> dict[str, StudyProcess]:
    return {}


_LOCK = threading.Lock()


def current() -> StudyProcess | None:
    """The study that was started last, if any."""
    return _holder().get("study")


def start(command: Sequence[str], folder: Path) -> StudyProcess:
    """Start a study, unless one is running."""
    with _LOCK:
        study = current()
        if study is None or not study.running:
            study = _holder()["study"] = StudyProcess(command, folder)
        return study


@st.cache_data(ttl=60, show_spinner=False)
def gpus() -> list[str] | str:
    """Names of the GPUs, or why there is none."""
    try:
        return [chip.name for chip in find_gpus()]
    except ProfilerError as error:
        return error.message


def telemetry() -> dict[str, Any]:
    """What the first GPU is doing now, from NVML; figures that cannot be had are None, and ``reason_missing`` says why."""
    with Telemetry() as readings:
        pass
    return readings.summary()
