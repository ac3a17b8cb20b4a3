"""What is fuzzed: each target takes bytes and fails when a parser raises anything but a ProfilerError, or breaks a promise.

The targets know nothing of the fuzzer. Atheris drives them for hours (``tests.fuzz.run``), Hypothesis for a second in the suite
(``test_fuzz_targets``).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from profiler.analysis.fusion.layer_names import parse_layer_name
from profiler.analysis.names.classify import CATEGORIES, CATEGORY_RULES, TENSOR_CORE_RULES, classify, explain
from profiler.analysis.names.parse import parse
from profiler.analysis.names.rules import RuleBook
from profiler.analysis.run.run import Run
from profiler.capture.summary import collect
from profiler.errors import ProfilerError
from profiler.trace import bulk, database, excerpt, open_trace
from profiler.trace.archive import Limits, extract_zip
from profiler.trace.build_log import LAYER_COLUMNS, ROW_COLUMNS, parse_build_log, read_build_log
from profiler.trace.engine_file import onnx_layers, parse_payloads, read_engine_file
from profiler.trace.manifest import find_manifest, manifest_of
from tests.support.exercise import exercise
from tests.support.make_trace import PID, SCHEMA, TID, TraceMaker, simple

_RULES = RuleBook(TENSOR_CORE_RULES, CATEGORY_RULES)
SMS = (None, 61, 70, 75, 80, 86, 89, 90, 100, 120)


def names(data: bytes) -> None:
    """Kernel names and layer names: always a verdict, always explained, the same twice."""
    text = data.decode("utf-8", "surrogateescape")
    sm = SMS[len(data) % len(SMS)]
    found = classify(text, sm=sm)
    assert found.category in CATEGORIES and found.tensor_cores in ("yes", "no", "unknown")
    assert explain(found.rule).reason and explain(found.category_rule).reason
    assert classify(text, sm=sm) == found
    parsed = parse(text)
    by_search = [
        next(rule for rule in rules if rule.matches(parsed, sm)) for rules in (TENSOR_CORE_RULES, CATEGORY_RULES)
    ]
    assert _RULES.decide(parsed, sm) == by_search
    metadata = text[len(text) // 2 :]
    layer = parse_layer_name(text[: len(text) // 2], metadata)
    assert parse_layer_name(text[: len(text) // 2], metadata) == layer
    parse_layer_name(text)


def layers(data: bytes) -> None:
    """Layer JSON: out of an NVTX payload, and as a file."""
    for layer in parse_payloads({1: data.decode("utf-8", "replace")}).values():
        assert isinstance(layer.name, str)
        _ = layer.precision, layer.min_bytes, layer.profile, onnx_layers(layer.metadata or "")
        parse_layer_name(layer.name, layer.metadata)
    for found in _from_file(data, "layers.json", read_engine_file) or ():
        assert found.min_bytes is None or isinstance(found.min_bytes, int)
        parse_layer_name(found.name, found.metadata)


def build_log(data: bytes) -> None:
    """Build logs: no line is fatal, and every candidate keeps its columns."""
    table = parse_build_log(data.decode("utf-8", "replace").splitlines())
    assert list(table.rows.columns) == list(ROW_COLUMNS)
    assert list(table.layers.columns) == list(LAYER_COLUMNS)
    times = table.rows["time_ms"].dropna()
    assert (times.abs() < float("inf")).all()
    _from_file(data, "x.build.log", read_build_log)


def manifest(data: bytes) -> None:
    """Manifests: read or refused, and a trace that it names is in its own folder."""

    def read(path: Path) -> Any:
        trace = path.with_name("trace.sqlite")
        found = find_manifest(trace)
        assert found is None or found.parent == path.parent
        return manifest_of(trace)

    read_one = _from_file(data, "manifest.json", read)
    with _folder() as folder:
        (folder / "run").mkdir()
        (folder / "run" / "manifest.json").write_bytes(data)
        for row in collect(folder):
            assert row["p50_ms"] is None or row["p50_ms"] >= 0 or row["p50_ms"] < 0
    if read_one is not None:
        assert "/" not in read_one.trace


def sqlite_bytes(data: bytes) -> None:
    """The reader on damaged files: an export in which the input says which bytes to overwrite, cut or insert."""
    content = bytearray(_base())
    for at in range(0, len(data) - 6, 7):
        place, length, value = struct.unpack_from("<IBH", data, at)
        place %= len(content)
        match length % 4:
            case 0:
                content[place] = value & 0xFF
            case 1:
                content[place : place + 2] = struct.pack(">H", value)
            case 2:
                content[place] ^= 1 << (value % 8)
            case _ if length > 250:
                del content[place:]
                content = content or bytearray(_base())
            case _:
                content[place : place + 4] = struct.pack(">I", value)
    _from_file(bytes(content), "trace.sqlite", exercise)


def sqlite_raw(data: bytes) -> None:
    """The reader on any file at all: the input is the file."""
    _from_file(data, "trace.sqlite", exercise)


def sqlite_rows(data: bytes) -> None:
    """The reader on any content: a valid database whose tables, columns and values the input chooses."""
    feed = _Feed(data)
    tables = [t for t in SCHEMA if t != "StringIds"]
    maker = TraceMaker(
        without_tables={t for t in tables if feed.one_in(12)},
        without_columns={
            (t, c.split()[0]) for t in tables for c in SCHEMA[t].split(", ") if not feed.empty and feed.one_in(24)
        },
    )
    for table in tables:
        if all((table, c.split()[0]) in maker.without_columns for c in SCHEMA[table].split(", ")):
            maker.without_tables.add(table)  # SQLite has no tables without columns
    for table in ("CUPTI_ACTIVITY_KIND_KERNEL", "NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME", *tables):
        for _ in range(feed.byte() % 6):
            row: dict[str, Any] = {}
            for column in SCHEMA[table].split(", "):
                name, kind = column.split()[:2]
                value = _value(feed, maker, name, kind)
                if value is not None or "NOT NULL" not in column:
                    row[name] = value
            if all(c.split()[0] in row for c in SCHEMA[table].split(", ") if "NOT NULL" in c and "DEFAULT" not in c):
                maker.add(table, **row)
    with _folder() as folder:
        path = maker.write(folder / "trace.sqlite")
        with contextlib.suppress(ProfilerError):
            exercise(path)
        # the same by an excerpt, for which some rows are many here
        with (
            contextlib.suppress(ProfilerError),
            mock.patch.multiple(excerpt, LARGE_ROWS=0, _WANTED_ROWS=8),
            open_trace(path, excerpt=True) as trace,
        ):
            Run(trace).compute_and_release()
        # the same columns, read as those of large tables
        plain = _columns(path)
        with (
            mock.patch.object(database, "_LARGE_TABLE", 0),
            mock.patch.multiple(bulk, _BATCH_ROWS=3, _BATCH_TEXTS=2, _SAMPLED_ROWS=2),
        ):
            assert _columns(path) == plain


def _columns(path: Path) -> list[object]:
    """Kernels, API calls and ranges, or why they cannot be read."""
    found: list[object] = []
    for table in ("kernels", "api_calls", "nvtx_ranges"):
        try:
            with open_trace(path) as trace:
                found.append(getattr(trace.events, table).rows())
        except ProfilerError as error:
            found.append(error.message)
    return found


def archive(data: bytes) -> None:
    """Archives: files below their folder, or nothing at all."""

    def read(path: Path) -> list[Path]:
        into = path.parent / "into"
        into.mkdir()
        outside = {p for p in path.parent.rglob("*") if not p.is_relative_to(into)}
        try:
            found = extract_zip(path, into, Limits(total_bytes=1 << 20))
        except ProfilerError:
            assert not list(into.iterdir())
            raise
        finally:
            assert {p for p in path.parent.rglob("*") if not p.is_relative_to(into)} == outside
        assert all(p.is_relative_to(into) and p.is_file() and not p.is_symlink() for p in found)
        return found

    _from_file(data, "x.zip", read)


class _Feed:
    """Choices out of bytes; zeros when they run out."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def empty(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def one_in(self, n: int) -> bool:
        return self.byte() % n == n - 1

    def integer(self) -> int:
        return int.from_bytes(bytes(self.byte() for _ in range(8)), "little", signed=True)

    def text(self) -> str:
        return bytes(self.byte() for _ in range(self.byte() % 24)).decode("utf-8", "replace")


_TEXTS = (
    "iter0", "iter1", "iter2", "layer1.conv", "layer1.conv", "void k<float>(float *)", "sm80_xmma_fprop_implicit_gemm_x", "TensorRT",
    "ExecutionContext::enqueue", '{"Name": "/layer1/conv/Conv", "LayerType": "Convolution", "Inputs": [{"Dimensions": [1, 3]}]}',
    "cudaLaunchKernel_v7000", "cudaGraphLaunch_v10000", "Tensor Active [Throughput %]", "DRAM Read Bandwidth [Throughput %]", "",
    "PROCESS_0:ENVIRONMENT_VARIABLE", "CUDA_GRAPH_TRACE_OPTIONS:MODE", "node",
)  # fmt: skip


def _value(feed: _Feed, maker: TraceMaker, name: str, kind: str) -> Any:
    choice = feed.byte()
    if choice < 8:
        return None
    if choice < 12:
        return feed.integer()
    if choice < 14:
        return feed.text()
    if choice < 16:
        return feed.integer() / 7
    if choice < 17:
        return feed.text().encode("utf-16")
    if choice < 20:
        return (2**63 - 1, -(2**63), 2**62, -1, 0, 2**53)[feed.byte() % 6]
    if name == "eventType":
        return (59, 60, 34, 75, 70, 71)[choice % 6]
    if kind == "TEXT":
        return _TEXTS[choice % len(_TEXTS)] if choice < 250 else feed.text()
    if name in ("demangledName", "shortName", "mangledName", "nameId", "textId", "jsonTextId"):
        return maker.string(_TEXTS[choice % len(_TEXTS)]) if choice < 250 else choice
    if name in ("globalPid", "globalTid", "endGlobalTid"):
        return (PID if name == "globalPid" else TID) + (choice % 2 << 24)
    if name in ("start", "end", "timestamp", "rawTimestamp"):
        return choice * 10 + feed.byte()
    return choice % 8


@cache
def _base() -> bytes:
    maker = simple(inferences=2, kernels=3)
    maker.metric("Tensor Active [Throughput %]", [(1_000 + i * 500, i % 100) for i in range(20)])
    maker.add("META_DATA_EXPORT", name="EXPORT_SCHEMA_VERSION", value="3.20.3")
    maker.add(
        "CUPTI_ACTIVITY_KIND_MEMCPY", start=1_200, end=1_300, bytes=64, copyKind=1, correlationId=1, globalPid=PID
    )
    maker.range("layer1", 1_050, 5_000)
    with _folder() as folder:
        path = folder / "base.sqlite"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA page_size=1024")  # small pages, so that damage hits every kind of them
        connection.execute("VACUUM")
        connection.close()
        return maker.write(path).read_bytes()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _from_file(data: bytes, name: str, read: Callable[[Path], Any]) -> Any:
    """What a reader makes of a file with this content; None when it refuses."""
    with _folder() as folder:
        path = folder / name
        path.write_bytes(data)
        try:
            return read(path)
        except ProfilerError as error:
            assert error.message
            return None


_BUILD_LOG = """\
[V] [TRT] *************** Autotuning format combination: Half(150528,50176:8,224,1) -> Half(802816,12544:8,112,1) ***************
[V] [TRT] --------------- Timing Runner: /conv1/Conv + /relu/Relu (CaskConvolution[0x80000009])
[V] [TRT] Tactic Name: sm80_xmma_fprop_x Tactic: 0x0000000000000001 Time: 0.31
[V] [TRT] /conv1/Conv + /relu/Relu Set Tactic Name: sm80_xmma_fprop_y Tactic: 0x0000000000000002
[V] [TRT] Tactic: 0x0000000000000002 Time: 0.25
[V] [TRT] /conv1/Conv + /relu/Relu (CaskConvolution[0x80000009]) profiling completed in 0.1 seconds. Fastest Tactic: 0x2 Time: 0.25
[V] [TRT] >>>>>>>>>>>>>>> Chose Runner Type: CaskConvolution Tactic: 0x0000000000000002
[V] [TRT] =============== Computing reformatting costs: Float(1,2) -> Half(1,2) ===============
[V] [TRT] CudnnConvolution has no valid tactics for this config, skipping
[V] [TRT] Skipping CaskDeconvolution: No valid tactics for /conv1/Conv
[V] [TRT] Skipping tactic 0x3 due to insufficient memory
[V] [TRT] Autotuning op conv_0(key: 0x1f): [ONNX Layer: /conv1/Conv]
[V] [TRT]   0, 0.31, 1.0, 0.9, kernel_name, 0x4, x
[V] [TRT] The selected tactic is (tactic hash, cost(in ms)):0x4, 0.31
[V] [TRT] Layer(CaskConvolution): /conv1/Conv + /relu/Relu, Tactic: 0x2, x (Half[8,3:8,224,224]) -> y (Half[8,64:8,112,112])
"""


def seeds(target: str) -> list[bytes]:
    """Inputs to start from."""
    if target == "names":
        return [
            b"void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1>>(int)",
            b"sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x128x32_tensor16x8x16_execute_kernel",
            b"_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_11FillFunctorIfEEEEvi",
            b"PWN(/layer1/relu/Relu, /layer1/add/Add) + Reformatting CopyNode for Input Tensor 0 to {ForeignNode[a...b]}",
            b"nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT",
            b"[ONNX Layer: /conv1/Conv]\x1e[ONNX Layer: /relu/Relu]",
        ]
    if target == "layers":
        layer = {
            "Name": "/conv1/Conv + /relu/Relu", "LayerType": "CaskConvolution", "TacticName": "sm80_x", "TacticValue": "0x1",
            "Inputs": [{"Name": "x", "Dimensions": [8, 3, 224, 224], "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [{"Name": "y", "Dimensions": [8, 64, 112, 112], "Format": "Channel major FP16 format", "Datatype": "Half"}],
            "Weights": {"Type": "Half", "Count": 9408}, "Bias": {"Type": "Float", "Count": 64}, "Metadata": "[ONNX Layer: /conv1/Conv]",
        }  # fmt: skip
        return [
            json.dumps(layer).encode(),
            json.dumps({"Layers": [layer, "a name"], "Bindings": ["x"]}).encode(),
            json.dumps([{"name": "a", "timeMs": 1.0, "percentage": 50}]).encode(),
        ]
    if target == "build_log":
        return [line.encode() for line in _BUILD_LOG.splitlines()] + [_BUILD_LOG.encode()]
    if target == "manifest":
        document = {
            "format": "profiler-run/1",
            "trace": "trace.sqlite",
            "title": "t",
            "batch": 8,
            "input_shape": [8, 3],
            "default": "before",
        }
        return [json.dumps(document).encode(), b'{"format": "profiler-run/1", "trace": "../x"}']
    if target == "archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("run/trace.sqlite", b"SQLite format 3\0" * 8)
            made.writestr("run/manifest.json", b"{}")
        return [buffer.getvalue()]
    if target == "sqlite_raw":
        return [_base()]
    if target == "sqlite_rows":
        return [bytes((i * 37 + j * 11) % 256 for i in range(2_000)) for j in range(4)]
    return [struct.pack("<IBH", 100 + 997 * i, i % 4, 255) * (1 + i % 3) for i in range(20)]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "names": names,
    "layers": layers,
    "build_log": build_log,
    "manifest": manifest,
    "archive": archive,
    "sqlite_bytes": sqlite_bytes,
    "sqlite_raw": sqlite_raw,
    "sqlite_rows": sqlite_rows,
}
