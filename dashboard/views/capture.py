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
from profiler.text import markdown, number, number_of_bytes

TITLE = "Capture"
ICON = ":material/radio_button_checked:"
URL = "capture"

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_TORCH, _TRT = ("fp32", "tf32", "fp16", "bf16"), ("fp32", "tf32", "fp16", "int8")


def render(selection: Selection) -> None:
    del selection
    st.title("Capture")
    st.caption(
        "Builds the engines, measures latency without a profiler, and records PyTorch and TensorRT under Nsight "
        "Systems into one folder that this dashboard opens. What is done is not done again."
    )
    gpus = studies.gpus()
    arguments = _form()
    command = [sys.executable, "-m", "profiler", "study", *arguments]
    shown = shlex.join(["python", *command[1:]])
    if not settings.may_capture():
        st.info(
            "This dashboard was not started to record, so it shows the command only. To record from this page, start it on the machine "
            f"with the GPU by `tensorrt-evidence dashboard --capture`, or with {settings.CAPTURE_VARIABLE}=1. Other interpreters are "
            f"named in {settings.PYTHONS_VARIABLE}.",
            icon=":material/lock:",
        )
        st.code(shown, language="bash", wrap_lines=True)
        return
    if isinstance(gpus, str):
        why = f"No GPU can be used on this machine: {markdown(gpus)}"
        st.info(f"{why} Run this where there is one, and open the folder here:", icon=":material/info:")
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
        "Model", "resnet50", key="capture_model", help="A name of torchvision; in the command also MODULE:FUNCTION"
    )
    left, right = st.columns(2)
    torch = left.multiselect("PyTorch", _TORCH, ["fp32", "tf32", "fp16"], key="capture_torch")
    trt = right.multiselect("TensorRT", _TRT, list(_TRT), key="capture_trt")
    left, right = st.columns(2)
    batches = left.multiselect("Batches", [1, 2, 4, 8, 16, 32, 64, 128, 256], [1, 8, 64], key="capture_batches")
    python = right.selectbox(
        "Python of the TensorRT environment",
        settings.pythons(),
        key="capture_python",
        help=f"This dashboard's own, and those that {settings.PYTHONS_VARIABLE} names.",
    )
    arguments = [
        "-o",
        folder or "runs",
        "--models",
        model or "resnet50",
        "--batches",
        ",".join(map(str, batches or [8])),
    ]
    frameworks = [name for name, chosen in (("pytorch", torch), ("tensorrt", trt)) if chosen]
    arguments += ["--frameworks", ",".join(frameworks or ["pytorch"])]
    if torch:
        arguments += ["--torch-precisions", ",".join(torch)]
    if trt:
        arguments += ["--trt-precisions", ",".join(trt)]
    return arguments if python == sys.executable else [*arguments, "--trt-python", str(python)]


def _refused(arguments: list[str]) -> str | None:
    """Why a recording may not be started from a page; the command line has no such limits."""
    folder, model = arguments[1], arguments[3]
    if not settings.is_readable_from(Path(folder)):
        return f"The folder must lie inside {' or '.join(map(str, settings.roots()))}."
    if not _MODEL_NAME.fullmatch(model):
        return "From this page only models of torchvision can be recorded, by name: MODULE:FUNCTION would run any code of this machine."
    return None


@st.fragment(run_every=2.0)
def _progress() -> None:
    study = studies.current()
    if study is None:
        return
    readings = studies.telemetry()
    if isinstance(readings, str):
        st.caption(f"NVML: {markdown(readings)}")
    else:
        row = cards("capture")
        card(row, "GPU memory used", number_of_bytes(readings["memory_used_bytes"]))
        card(row, "Power", number(readings["power_w"], "W"))
        card(row, "SM clock", number(readings["sm_clock_mhz"], "MHz"))
        card(row, "Temperature", number(readings["temperature_c"], "°C"))
    state = "running" if study.running else f"ended with exit status {study.returncode}"
    st.markdown(f"Study in `{study.folder.name}`: **{state}**")
    st.code(study.tail(), language=None)
    if not study.running:
        st.caption("Name the folder in the sidebar under “Open your own traces” to look at it.")
