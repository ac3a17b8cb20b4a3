"""A machine made of scripts: nvidia-smi, nsys and an interpreter that stand in for a GPU."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.make_trace import TraceMaker

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """Where the stand-ins lie, and what they were called with."""

    folder: Path
    python: str
    nsys: Path

    def calls(self, log: str = "python") -> list[list[str]]:
        path = self.folder / f"{log}.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def environment(self) -> dict[str, str]:
        """The variables that lead to the stand-ins."""
        return {
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "PROFILER_NSYS": str(self.nsys),
            "FAKE_NSYS_REPORT": str(self.folder / "report.sqlite"),
            "FAKE_NSYS_LOG": str(self.folder / "nsys.log"),
            "FAKE_LOG": str(self.folder / "python.log"),
        }

    def modules(self) -> list[str]:
        """Modules that the interpreter ran, in order."""
        return [call[1] for call in self.calls() if call[:1] == ["-m"]]


def recorded(path: Path, inferences: int = 10, kernels: int = 4) -> Path:
    """A recording as our workloads leave it: "inference N" in the domain "profiler"."""
    maker = TraceMaker()
    maker.gpu()
    maker.range("profiler", 10, None, kind=75, domainId=1)
    for i in range(inferences):
        begin = 1_000 + i * 100_000
        maker.range(f"inference {i}", begin, begin + 90_000, domainId=1)
        for k in range(kernels):
            maker.kernel(
                begin + 500 + k * 1_000,
                100 + 10 * k,
                name=f"void kernel{k}<float>(float *)",
                launched=begin + 100 + k * 200,
            )
    maker.metric("Tensor Active [Throughput %]", [(2_000 + 50_000 * i, i % 100) for i in range(20)])
    maker.add("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value="2025.3.2.0")
    maker.add("META_DATA_EXPORT", name="EXPORT_HOST", value="secret-hostname")
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:COMMAND", value="/home/somebody/venv/bin/python")
    return maker.write(path)


def install(name: str, folder: Path, target: str) -> Path:
    """A script as an executable that this interpreter runs."""
    path = folder / target
    body = (HERE / name).read_text().split("\n", 1)[1]
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return path


def stand_ins(folder: Path) -> Machine:
    """Put the scripts and the report that nsys will leave into a new folder."""
    folder.mkdir()
    python = install("fake_python.py", folder, "fake-python")
    nsys = install("fake_nsys.py", folder, "nsys")
    install("fake_nvidia_smi.py", folder, "nvidia-smi")
    recorded(folder / "report.sqlite")
    return Machine(folder, str(python), nsys)


def listing(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def remove(path: Path) -> None:
    shutil.rmtree(path)


def contents(path: Path) -> str:
    """What a file of /proc says; nothing once its process has ended."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
