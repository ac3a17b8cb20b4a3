"""The Capture page: with a GPU it starts a study and follows it, without one it gives the command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard import settings, studies
from tests.support.pages import app, text


@pytest.fixture(autouse=True)
def no_study() -> Iterator[None]:
    studies._holder().clear()
    studies.gpus.clear()
    yield
    study = studies.current()
    if study is not None:
        study.stop(5.0)
    studies._holder().clear()
    studies.gpus.clear()


def _wait(study: studies.StudyProcess) -> None:
    for _ in range(600):
        if not study.running:
            return
        time.sleep(0.1)
    pytest.fail("the study did not end")


def test_without_a_gpu_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.CAPTURE_VARIABLE, "1")
    monkeypatch.setattr(studies, "gpus", lambda: "nvidia-smi is not on the PATH.")
    test = app("capture").run()
    assert not test.exception
    assert "No GPU can be used on this machine" in text(test)
    assert "python -m profiler study -o runs --models resnet50 --batches 1,8,64" in test.code[0].value
    test.text_input(key="capture_folder").input("my runs; rm -rf x").run()
    assert "-o 'my runs; rm -rf x'" in test.code[0].value
    assert not [b for b in test.button if b.label == "Start"]


def test_with_a_gpu_a_study_is_started_and_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(settings.CAPTURE_VARIABLE, "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(studies, "gpus", lambda: ["A GPU"])
    test = app("capture").run()
    for box, value in (("capture_folder", "../elsewhere"), ("capture_model", "os:abort"), ("capture_model", "--help")):
        before = test.text_input(key=box).value
        test.text_input(key=box).input(value).run()
        assert next(b for b in test.button if b.label == "Start").disabled, value
        test.text_input(key=box).input(before).run()
    test.text_input(key="capture_folder").input(str(tmp_path / "runs")).run()
    next(b for b in test.button if b.label == "Start").click().run()
    study = studies.current()
    assert study is not None and study.folder == tmp_path / "runs"
    _wait(study)  # a real one: this machine has no GPU, or it is not what the form asked for, so it ends by itself
    test.run()
    assert not test.exception
    assert f"ended with exit status {study.returncode}" in text(test)
    assert study.tail().strip() in [c.value for c in test.code]


def test_a_server_that_was_not_started_to_record_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.CAPTURE_VARIABLE, raising=False)
    monkeypatch.setattr(studies, "gpus", lambda: ["A GPU"])
    test = app("capture").run()
    assert not test.exception and not [b for b in test.button if b.label in ("Start", "Stop")]
    assert "Recording from this page is off" in text(test) and "python -m profiler study" in test.code[0].value


def test_interpreters_are_those_that_the_server_was_started_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "python-trt"
    other.symlink_to(sys.executable)
    monkeypatch.setenv(settings.PYTHONS_VARIABLE, f"{other}{os.pathsep}/no/such/python")
    box = app("capture").run().selectbox(key="capture_python")
    assert box.options == [sys.executable, str(other)]


def test_a_running_study_is_stopped_as_ctrl_c_would(tmp_path: Path) -> None:
    code = "import time\ntry:\n  print('working', flush=True); time.sleep(60)\nexcept KeyboardInterrupt:\n  print('cleaned up')"
    study = studies.start([sys.executable, "-c", code], tmp_path)
    for _ in range(100):
        if "working" in study.tail():
            break
        time.sleep(0.05)
    assert studies.start(["never run"], tmp_path) is study  # one at a time
    study.stop()
    assert not study.running and "cleaned up" in study.tail()


def test_readings_or_the_reason_why_not() -> None:
    found = studies.telemetry()
    assert found["reason_missing"] or found["memory_used_bytes_device"] > 0
