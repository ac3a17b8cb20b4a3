"""Every TensorRT name, enum member and call in the code exists in the real bindings of 8.5, 10 and 11.

The bindings of 10 and 11 are imported over stub libraries whose few functions return null: no TensorRT and no GPU is needed. 8.5's are
too large to fetch for a test, so the surface of the parts in use was written down once, from the real 8.5.3.1 wheel:

    PYTHON39 tests/support/bindings_surface.py > surface.json
    PYTHONPATH=. python tests/unit/engine/test_bindings.py surface.json > tests/data/bindings/tensorrt-8.5.3.1.json

So was that of TensorRT-RTX, from the wheels tensorrt-rtx-cu13-bindings and -libs 1.6.1.120 (bindings_surface.py tensorrt_rtx_bindings).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.engine.versions import RTX_GENERATION
from tests.support.trt_bindings import VERSIONS, stub_libraries, unpacked_wheel

sys.path.insert(0, str(Path(__file__).parent))
from tests.support.trt_usage import RECEIVERS, Use, problems, uses_in

REPOSITORY = Path(__file__).parents[3]
SURFACE_8 = REPOSITORY / "tests/data/bindings/tensorrt-8.5.3.1.json"
SURFACE_RTX = REPOSITORY / "tests/data/bindings/tensorrt-rtx-1.6.1.120.json"


def all_uses() -> list[Use]:
    folders = ("engine", "workloads", "plugins", "runtime")
    paths = [p for folder in folders for p in sorted((REPOSITORY / "profiler" / folder).rglob("*.py"))]
    return [use for path in paths for use in uses_in(path)]


@pytest.fixture(params=VERSIONS, scope="module")
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    version: str = request.param
    wheel = unpacked_wheel(version)
    stubs = tmp_path_factory.mktemp("stubs")
    stub_libraries(stubs, version.split(".", maxsplit=1)[0])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(wheel)}
    script = REPOSITORY / "tests/support/bindings_surface.py"
    done = subprocess.run(
        [sys.executable, str(script), "tensorrt_bindings"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["version"] == version
    return document


def test_code_fits_the_bindings_of_10_and_11(bindings: dict[str, Any]) -> None:
    major = int(bindings["version"].split(".")[0])
    assert problems(all_uses(), bindings["names"], major) == []


def test_code_fits_the_bindings_of_8_5() -> None:
    document = json.loads(SURFACE_8.read_text("utf-8"))
    assert document["version"].startswith("8.5.3")
    assert problems(all_uses(), document["names"], 8) == []


def test_code_fits_the_bindings_of_rtx() -> None:
    document = json.loads(SURFACE_RTX.read_text("utf-8"))
    assert document["version"].startswith("1.6.1")
    assert problems(all_uses(), document["names"], RTX_GENERATION, rtx=True) == []


def test_the_scan_sees_what_the_code_does() -> None:
    seen = {(use.owner, use.name) for use in all_uses()}
    assert {
        (None, "Builder"),
        ("BuilderFlag", "TF32"),
        ("ProfilingVerbosity", "DETAILED"),
        ("Builder", "build_serialized_network"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
        ("ICudaEngine", "get_tensor_profile_shape"),
        ("IBuilderConfig", "progress_monitor"),
        ("OnnxParser", "parse"),
    } <= seen
    assert len(seen) > 60


def test_what_a_version_lacks_is_found() -> None:
    names: dict[str, Any] = {
        "Builder": {
            "__init__": ["__init__(self: t.Builder, logger: t.ILogger) -> None"],
            "f": ["f(self: t.Builder, a: List[int, int], b: int = 0) -> bool"],
            "p": "r",
        }
    }

    def check(**changes: Any) -> list[str]:
        use = {"where": "x.py:1", "versions": "", "owner": "Builder", "name": "f", "positional": 1, **changes}
        return problems([Use(**use)], names, 10)

    assert check() == []
    assert check(positional=1, keywords=("b",)) == []
    assert check(name="gone")
    assert check(positional=3)
    assert check(positional=0)
    assert check(keywords=("c",))
    assert check(name="p", positional=None, stored=True)
    assert check(name="gone", versions="v8") == []
    assert check(owner=None, name="Builder") == []
    assert check(owner=None, name="Builder", positional=2)


def needed(surface: dict[str, Any]) -> dict[str, Any]:
    """The part of a surface that the code uses: what is written down for 8.5."""
    uses = all_uses()
    owners = {use.owner for use in uses if use.owner} | {use.name for use in uses if use.owner is None}
    wanted = owners | set(RECEIVERS.values())
    kept = {name: entry for name, entry in surface["names"].items() if name in wanted}
    return {"version": surface["version"], "names": kept}


if __name__ == "__main__":
    json.dump(needed(json.loads(Path(sys.argv[1]).read_text("utf-8"))), sys.stdout, indent=1, sort_keys=True)
    print()
