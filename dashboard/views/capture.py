"""Capture: record a study on this machine's GPU, or get the command for a machine that has one."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import streamlit as st

from dashboard import settings, studies
from dashboard.data import Selection
from dashboard.show import card, cards
from profiler.capture.matrix import TORCH_PRECISIONS, TRT_PRECISIONS
from profiler.capture.spec import PRECISIONS
from profiler.runtime.arguments import as_argv, listed
from profiler.text import markdown, number, number_of_bytes

TITLE = "Capture"
ICON = ":material/radio_button_checked:"
URL = "capture"

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


def render(selection: Selection) -> None:
    del selection
    st.title("Capture")
    st.caption(
        "Builds the engines, measures latency without a profiler, and records PyTorch and TensorRT with Nsight Systems into one folder "
        "that this dashboard opens. Completed runs are skipped."
    )
    gpus = studies.gpus()
    arguments = _form()
    command = [sys.executable, "-m", "profiler", "study", *arguments]
    shown = shlex.join(["python", *command[1:]])
    if not settings.may_capture():
        st.info(
            "Recording from this page is off, so it only shows the command. To turn it on, start the dashboard with "
            f"`tensorrt-evidence dashboard --capture` on the machine with the GPU, or set {settings.CAPTURE_VARIABLE}=1. List other Python "
            f"interpreters in {settings.PYTHONS_VARIABLE}.",
            icon=":material/lock:",
        )
        st.code(shown, language="bash", wrap_lines=True)
        return
    if isinstance(gpus, str):
        st.info(
            f"No GPU can be used on this machine: {markdown(gpus)} Run this command on a machine with a GPU, then open its folder here:",
            icon=":material/info:",
        )
        st.code(shown, language="bash", wrap_lines=True)
        return
    st.success(f"GPU: {markdown(', '.join(gpus))}", icon=":material/check_circle:")
    st.code(shown, language="bash", wrap_lines=True)
    study = studies.current()
    wrong = _refused(arguments)
    if wrong:
        st.error(markdown(wrong))
    left, right = st.columns(2)
    busy = study is not None and study.running
    if left.button("Start", type="primary", disabled=busy or wrong is not None, width="stretch"):
        studies.start(command, Path(arguments[1]))
        st.rerun()
    if right.button("Stop", disabled=study is None or not study.running, width="stretch") and study is not None:
        study.stop()
        st.rerun()
    if study is not None:
        _progress()


def _form() -> list[str]:
    """The study's arguments; the first two are ``-o DIR``."""
    # rows of two: four precisions fit a laptop, and a phone shows them in this order
    left, right = st.columns(2)
    folder = left.text_input("Folder", "runs", key="capture_folder")
    model = right.text_input(
        "Model", "resnet50", key="capture_model", help="A torchvision name; on the command line also MODULE:FUNCTION"
    )
    left, right = st.columns(2)
    torch = left.multiselect("PyTorch", PRECISIONS["pytorch"], TORCH_PRECISIONS, key="capture_torch")
    trt = right.multiselect("TensorRT", PRECISIONS["tensorrt"], TRT_PRECISIONS, key="capture_trt")
    left, right = st.columns(2)
    batches = left.multiselect("Batches", [1, 2, 4, 8, 16, 32, 64, 128, 256], [1, 8, 64], key="capture_batches")
    python = right.selectbox(
        "Python of the TensorRT environment",
        settings.pythons(),
        key="capture_python",
        help=f"The dashboard's own, and those listed in {settings.PYTHONS_VARIABLE}.",
    )
    frameworks = [name for name, chosen in (("pytorch", torch), ("tensorrt", trt)) if chosen]
    options = {
        "-o": folder or "runs",
        "--models": model or "resnet50",
        "--batches": listed(batches or [8]),
        "--frameworks": listed(frameworks or ["pytorch"]),
        "--torch-precisions": listed(torch) or None,
        "--trt-precisions": listed(trt) or None,
        "--trt-python": None if python == sys.executable else python,
    }
    return as_argv(options)


def _refused(arguments: list[str]) -> str | None:
    """Why a recording may not be started from a page; the command line has no such limits."""
    folder, model = arguments[1], arguments[3]
    if not settings.is_readable_from(Path(folder)):
        return f"The folder must be inside {' or '.join(map(str, settings.roots()))}."
    if not _MODEL_NAME.fullmatch(model):
        return "This page records torchvision models by name only: MODULE:FUNCTION could run any code on this machine."
    return None


@st.fragment(run_every=2.0)
def _progress() -> None:
    study = studies.current()
    if study is None:
        return
    readings = studies.telemetry()
    memory = readings["memory_used_bytes_device"]
    if memory is None:
        st.caption(f"No readings from NVML: {markdown(str(readings['reason_missing']))}")
    else:
        row = cards("capture")
        card(row, "GPU memory used", number_of_bytes(memory))
        for label, key, unit in (
            ("Power", "power_w", "W"),
            ("SM clock", "sm_clock_mhz", "MHz"),
            ("Temperature", "temperature_c", "°C"),
        ):
            card(row, label, number((readings[key] or {}).get("mean"), unit))
    state = "running" if study.running else f"ended with exit status {study.returncode}"
    st.markdown(f"Study in `{study.folder.name}`: **{state}**")
    st.code(study.tail(), language=None)
    if not study.running:
        st.caption("To view it, enter the folder in the sidebar under “Open your own traces”.")
