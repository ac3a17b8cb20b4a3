"""What the GPU was doing meanwhile: memory, power, clocks, temperature and throttling, from NVML on a thread.

NVML's answers differ between machines (a container hides process ids, a virtual GPU hides power), so every figure may be
None, and ``reason_missing`` says why.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

INTERVAL_S = 0.1
# The bits of nvmlDeviceGetCurrentClocksEventReasons: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
THROTTLE_REASONS = {
    0x001: "gpu idle",
    0x002: "application clock setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clock setting",
}


class Telemetry:
    """Sample NVML while a block runs: ``with Telemetry(uuid) as t: …``, then ``t.summary()``.

    Args:
        device: the GPU's UUID (``GPU-…``) or PCI bus id; NVML numbers GPUs otherwise than CUDA does. None: the first.
        interval_s: seconds between samples; each takes some microseconds of a CPU core, and none of the GPU.
        nvml: the ``pynvml`` module, or a stand-in; imported when None.
    """

    def __init__(self, device: str | None = None, interval_s: float = INTERVAL_S, nvml: Any = None) -> None:
        self._device = device
        self._interval_s = interval_s
        self._nvml = nvml
        self._handle: Any = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._samples: dict[str, list[float]] = {}
        self._reasons: set[str] = set()
        self._missing: dict[str, str] = {}
        self._count = 0

    def __enter__(self) -> Telemetry:
        try:
            if self._nvml is None:
                import pynvml  # noqa: PLC0415 - an optional library

                self._nvml = pynvml
            self._nvml.nvmlInit()
            self._handle = self._find(self._device)
        except Exception as error:
            self._missing["all"] = _explain(error)
            return self
        self._sample()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._handle is not None:
            self._sample()
            self._handle = None
            self._nvml.nvmlShutdown()

    def summary(self) -> dict[str, Any]:
        """The document's ``telemetry``: bytes, watts, megahertz, degrees Celsius."""
        return {
            "memory_used_bytes_process": self._last("memory_process"),
            "memory_used_bytes_device": self._last("memory_device"),
            "power_w": self._mean_max("power_w"),
            "power_limit_w": self._last("power_limit_w"),
            "sm_clock_mhz": self._mean_max("sm_clock_mhz"),
            "memory_clock_mhz": self._mean_max("memory_clock_mhz"),
            "temperature_c": self._mean_max("temperature_c"),
            "gpu_utilization_pct": self._mean_max("gpu_utilization_pct"),
            "throttle_reasons": sorted(self._reasons) if "throttle_reasons" in self._samples else None,
            "samples": self._count,
            "interval_s": self._interval_s,
            "reason_missing": "; ".join(f"{k}: {v}" for k, v in sorted(self._missing.items())) or None,
        }

    def _find(self, device: str | None) -> Any:
        if device is None:
            return self._nvml.nvmlDeviceGetHandleByIndex(0)
        if device.upper().startswith(("GPU-", "MIG-")):
            return self._nvml.nvmlDeviceGetHandleByUUID(device)
        return self._nvml.nvmlDeviceGetHandleByPciBusId(device)

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._sample()

    def _sample(self) -> None:
        nvml, handle = self._nvml, self._handle
        self._count += 1
        self._take("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        self._take("power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3)
        self._take("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        self._take("memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM))
        self._take("temperature_c", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        self._take("gpu_utilization_pct", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        self._take("memory_device", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
        self._take("memory_process", self._process_memory)
        self._take("throttle_reasons", self._throttle_bits)

    def _take(self, name: str, read: Callable[[], float]) -> None:
        try:
            self._samples.setdefault(name, []).append(read())
        except Exception as error:  # one figure that NVML withholds must not cost the others
            if not self._samples.get(name):
                self._samples.pop(name, None)
                self._missing[name] = _explain(error)

    def _process_memory(self) -> float:
        processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        for process in processes:
            if process.pid == os.getpid():
                if process.usedGpuMemory is None:
                    raise LookupError("NVML does not report this process's memory")
                return float(process.usedGpuMemory)
        raise LookupError(
            f"this process is not among the {len(processes)} that NVML lists (a container hides process ids)"
        )

    def _throttle_bits(self) -> float:
        nvml = self._nvml
        read = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or getattr(
            nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None
        )
        if read is None:
            raise LookupError("this nvidia-ml-py has no call for it")
        bits = int(read(self._handle))
        self._reasons.update(name for bit, name in THROTTLE_REASONS.items() if bits & bit)
        return float(bits)

    def _last(self, name: str) -> float | int | None:
        values = self._samples.get(name)
        if not values:
            return None
        return int(values[-1]) if name.startswith("memory_") else values[-1]

    def _mean_max(self, name: str) -> dict[str, float] | None:
        values = self._samples.get(name)
        return {"mean": sum(values) / len(values), "max": max(values)} if values else None


def driver_version(nvml: Any = None) -> str | None:
    """The driver's version from NVML, None where it cannot be had."""
    try:
        if nvml is None:
            import pynvml  # noqa: PLC0415 - an optional library

            nvml = pynvml
        nvml.nvmlInit()
        try:
            text = nvml.nvmlSystemGetDriverVersion()
        finally:
            nvml.nvmlShutdown()
    except Exception:
        return None
    return text.decode() if isinstance(text, bytes) else str(text)


def timestamp() -> str:
    """Now, UTC, to the second, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _explain(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "pynvml is not installed (pip install nvidia-ml-py)"
    return " ".join(str(error).split())[:200] or type(error).__name__
