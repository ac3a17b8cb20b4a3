from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.runtime.telemetry import Telemetry, driver_version


class FakeNvml:
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, pid: int | None = None) -> None:
        self.open, self.asked, self.pid = 0, "", pid if pid is not None else os.getpid()
        self.watts = iter(range(100, 10_000, 100))

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked = uuid
        return "handle"

    def nvmlDeviceGetHandleByPciBusId(self, bus: str) -> str:
        self.asked = bus
        return "handle"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.asked = str(index)
        return "handle"

    def nvmlDeviceGetPowerUsage(self, _: str) -> int:
        return next(self.watts) * 1000

    def nvmlDeviceGetEnforcedPowerLimit(self, _: str) -> int:
        return 700_000

    def nvmlDeviceGetClockInfo(self, _: str, which: int) -> int:
        return {1: 1980, 2: 3201}[which]

    def nvmlDeviceGetTemperature(self, *_: Any) -> int:
        raise RuntimeError("Not Supported")

    def nvmlDeviceGetUtilizationRates(self, _: str) -> Any:
        return SimpleNamespace(gpu=97)

    def nvmlDeviceGetMemoryInfo(self, _: str) -> Any:
        return SimpleNamespace(used=5 << 30)

    def nvmlDeviceGetComputeRunningProcesses(self, _: str) -> list[Any]:
        return [
            SimpleNamespace(pid=1, usedGpuMemory=1),
            SimpleNamespace(pid=self.pid, usedGpuMemory=3 << 30),
        ]

    def nvmlDeviceGetCurrentClocksEventReasons(self, _: str) -> int:
        return 0x4 | 0x40

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.1"


def test_a_summary() -> None:
    nvml = FakeNvml()
    with Telemetry("GPU-1234", interval_s=0.005, nvml=nvml) as telemetry:
        time.sleep(0.05)
    found = telemetry.summary()
    assert nvml.asked == "GPU-1234" and nvml.open == 0
    assert found["memory_used_bytes_process"] == 3 << 30 and found["memory_used_bytes_device"] == 5 << 30
    assert found["samples"] >= 3
    count = found["samples"]
    assert found["power_w"] == {"mean": pytest.approx(50 * (count + 1)), "max": 100 * count}
    assert found["sm_clock_mhz"] == {"mean": 1980, "max": 1980} and found["power_limit_w"] == 700
    assert found["throttle_reasons"] == ["hardware thermal slowdown", "software power cap"]
    assert found["temperature_c"] is None and "temperature_c: Not Supported" in found["reason_missing"]


def test_a_bus_id_and_no_device() -> None:
    nvml = FakeNvml()
    with Telemetry("0000:1b:00.0", nvml=nvml):
        assert nvml.asked == "0000:1b:00.0"
    with Telemetry(None, nvml=nvml):
        assert nvml.asked == "0"


def test_a_process_that_nvml_does_not_list() -> None:
    with Telemetry(nvml=FakeNvml(pid=2)) as telemetry:
        pass
    found = telemetry.summary()
    assert found["memory_used_bytes_process"] is None
    assert "container hides process ids" in found["reason_missing"]
    assert found["samples"] == 2


def test_no_nvml_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Telemetry() as telemetry:
        pass
    found = telemetry.summary()
    assert found["power_w"] is None and found["throttle_reasons"] is None and found["samples"] == 0
    assert "pip install nvidia-ml-py" in found["reason_missing"]
    assert driver_version() is None


def test_driver_version() -> None:
    assert driver_version(FakeNvml()) == "580.1"
