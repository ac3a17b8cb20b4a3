"""The auto-tuner's evidence: every tactic that TensorRT timed while it built an engine, out of the verbose log.

Read from 8.5's and 10.x's dialects (and, as they share most lines, those between and before), with any logger's prefix, in UTF-8 or
in UTF-16 (what PowerShell's ``>`` writes):

* 8.5: ``Timing Runner: LAYER (RUNNER)``, ``LAYER Set Tactic Name: KERNEL Tactic: 0x…``, ``Tactic: 0x… Time: 0.31``,
  ``Fastest Tactic: …``, ``>>>… Chose Runner Type: RUNNER Tactic: 0x…``;
* 10.x: ``Timing Runner: LAYER (RUNNER[0x8…])``, ``Tactic Name: KERNEL Tactic: 0x… Time: 0.31``,
  ``LAYER (RUNNER[…]) profiling completed in N seconds. Fastest Tactic: …``;
* Myelin: ``Autotuning op NAME(key: 0x…)``, a table of ``tactic_id, cost(in ms), …, kernel_name, tactic_hash, …``,
  ``The selected tactic is (tactic hash, cost(in ms)):0x…, 0.31``;
* the finished engine: ``Layer(RUNNER): LAYER, Tactic: 0x…, INPUTS -> OUTPUTS``, or with detailed profiling verbosity from 10 on
  ``Name: LAYER, LayerType: RUNNER, Inputs: [ { … }], …, TacticName: KERNEL, TacticValue: 0x…``.

Layers whose configuration was timed before (for an equal layer, or in a timing cache) have no candidates of their own in the log: they are
in :attr:`TacticTable.layers` with ``timed`` false.
"""

from __future__ import annotations

import io
import lzma
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import pandas as pd

from profiler.errors import TraceError
from profiler.trace.engine_file import data_type
from profiler.trace.streams import XZ_MAGIC, open_regular, open_xz

ROW_COLUMNS = ("layer", "runner", "kind", "formats", "kernel", "tactic", "time_ms", "fastest_of_formats", "chosen")
LAYER_COLUMNS = ("layer", "runner", "tactic", "kernel", "inputs", "outputs", "timed")
_MAX_LINE_CHARACTERS = 1 << 16
_MAX_CHARACTERS = 1 << 30
_MAX_ROWS = 5_000_000

# prefixes of loggers: "Severity.VERBOSE: ", "[V] ", "[TRT] [V] ", "[01/31/2026-10:00:00] [V] [TRT] ", "[TensorRT] VERBOSE: "
_PREFIX = re.compile(
    r"^(?:\s*(?:\[[^\]]{1,40}\]|Severity\.\w+:|VERBOSE:|INFO:|WARNING:|ERROR:|\d\d:\d\d:\d\d - \w+ -)\s*)+"
)
# Lines are cut at _MAX_LINE_CHARACTERS, and no pattern has two neighbouring parts that can share out the same characters: a line of nothing
# but blanks or stars would take quadratic time.
_AUTOTUNING = re.compile(r"\*{5} Autotuning (format combination|Reformat):([^*]*)\*{5}")
_TIMING = re.compile(r"-{5} Timing Runner: (.*) \(([A-Za-z_]\w*)(?:\[0x[0-9a-fA-F]+\])?\)$")
_COSTS = re.compile(r"={5} Computing (costs for|reformatting costs)(.*)$")
_TACTIC_NAME = "Tactic Name: "
_NAMED = re.compile(r"^(\S+)(?: numSplitK: .*?)?(?: Time: (\S+))?$")
_TIMED = re.compile(r"^Tactic: (\S+)(?: numSplitK: .*?)? [Tt]ime:? (\S+)$")
_CHOSE = re.compile(r">{5} Chose Runner Type: (\S+) Tactic: (\S+)")
_ENGINE_LAYER = re.compile(r"^Layer\((\w+)\): (.*)$")
_ENGINE_VALUE = re.compile(r", TacticValue: (0x[0-9a-fA-F]+)")
_VECTOR_WIDTHS = {"thirty-two wide": 32, "sixteen wide": 16, "four wide": 4, "two wide": 2}
_CHANNELS = re.compile(r"channel % (\d+) == 0")
_LOG_TYPES = {
    "fp32": "Float", "fp16": "Half", "bf16": "BFloat16", "int8": "Int8", "fp8": "FP8", "int32": "Int32", "int64": "Int64", "bool": "Bool",
}  # fmt: skip
_ENGINE_TACTIC = re.compile(r"^(0x[0-9a-fA-F]+|-?\d+), (.*) -> (.*)$")
_MYELIN = re.compile(r"\(key: 0x[0-9a-fA-F]+\)")
_MYELIN_ROW = re.compile(r"^\s*\d+,\s*([^,\s]+),[^,]*,[^,]*,(.*?),\s*(0x[0-9a-fA-F]+)\s*(?:,|$)")
_MYELIN_CHOSE = re.compile(r"The selected tactic is \(tactic hash, cost\(in ms\)\):\s*(0x[0-9a-fA-F]+)")
_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


@dataclass(frozen=True)
class TacticTable:
    """What the auto-tuner did.

    Attributes:
        rows: one row a timed candidate: ``layer``, ``runner``, ``kind`` (``layer``, ``reformat`` or ``myelin``), ``formats`` (the
            combination of tensor formats that was tried), ``kernel`` (missing where the log does not name it), ``tactic`` (hexadecimal),
            ``time_ms`` (missing where TensorRT wrote ``inf``: the tactic failed), ``fastest_of_formats``, and
            ``chosen``: whether the finished engine uses it (missing where the log does not say, as it was cut off).
        layers: the finished engine's layers, as its last lines list them: ``layer``, ``runner``, ``tactic``, ``kernel`` (by the tactic's
            number, where it was named anywhere), ``inputs``, ``outputs``, ``timed`` (whether ``rows`` has its candidates).
        warnings: what is wrong with the log.
        lines: how many lines were read.
    """

    rows: pd.DataFrame
    layers: pd.DataFrame
    warnings: tuple[str, ...]
    lines: int

    def candidates(self, layer: str) -> pd.DataFrame:
        """The candidates of one layer, the fastest first."""
        found: pd.DataFrame = self.rows[self.rows["layer"] == layer]
        return found.sort_values("time_ms", kind="stable")


def read_build_log(path: Path) -> TacticTable:
    """Parse a verbose build log, plain or xz-compressed. The file is streamed; a log that was cut off is read as far as it goes.

    Raises:
        TraceError: missing, unreadable, not xz inside, or no log of a build.
    """
    cut: list[str] = []
    try:
        with open_regular(path, "a build log (PLAN.build.log.xz, beside the plan)") as file:
            is_xz = file.peek(len(XZ_MAGIC)).startswith(XZ_MAGIC)  # type: ignore[attr-defined]
            table = parse_build_log(_lines(open_xz(file) if is_xz else file, cut, path))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if table.rows.empty:
        raise TraceError(
            f"{path}: no tactic timing in {table.lines:,} lines"
            + (f" ({cut[0]})" if cut else "")
            + (f"; {len(table.layers):,} layers of the finished engine are listed" if len(table.layers) else "")
            + ". Expected a verbose TensorRT build log.",
            "Build with verbose logging and a fresh timing cache; python -m profiler.engine.build does the former. TensorRT-RTX logs no "
            "timings: it selects its kernels at run time.",
        )
    return replace(table, warnings=(*cut, *table.warnings))


def parse_build_log(lines: Iterable[str]) -> TacticTable:
    """Parse the lines of a verbose build log."""
    parser = _Parser()
    count = 0
    for count, line in enumerate(lines, start=1):
        parser.feed(line.rstrip("\r\n"))
        if len(parser.rows) + len(parser.layers) > _MAX_ROWS:
            raise TraceError(
                f"The build log holds more than {_MAX_ROWS:,} candidates by line {count:,}; no build log is that long."
            )
    return parser.finish(count)


def _lines(stream: IO[bytes], cut: list[str], path: Path) -> Iterator[str]:
    buffered = io.BufferedReader(stream)  # type: ignore[type-var]
    read = 0
    try:
        with io.TextIOWrapper(buffered, _encoding(buffered.peek(4)[:4]), "replace", newline="\n") as text:
            while line := text.readline(_MAX_LINE_CHARACTERS):
                read += len(line)
                if read > _MAX_CHARACTERS:
                    raise TraceError(
                        f"{path}: holds more than {_MAX_CHARACTERS:,} characters, which no build log does."
                    )
                yield line
    except (EOFError, lzma.LZMAError) as error:
        cut.append(f"the log is cut off or damaged ({error}); it was read as far as it goes")


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if len(head) == 4 and not head[1] and not head[3] else "utf-8-sig"


@dataclass
class _Row:
    layer: str
    runner: str
    kind: str
    formats: str
    kernel: str | None
    tactic: str
    time_ms: float | None
    group: int
    """The runners that were timed for one layer in one combination of formats."""
    fastest_of_formats: bool = False
    chosen: bool | None = None


@dataclass
class _Parser:
    rows: list[_Row] = field(default_factory=list)
    layers: list[tuple[str, str, str, str, str, str | None]] = field(default_factory=list)
    failures: int = 0
    layer: str = ""
    costs_layer: str = ""
    runner: str = ""
    kind: str = "layer"
    formats: str = ""
    kernel: str | None = None
    kernel_tactic: str | None = None
    group: int = 0
    of_group: dict[tuple[str, str], _Row] = field(default_factory=dict)
    myelin: str = ""
    myelin_start: int = 0

    def feed(self, line: str) -> None:
        prefix = _PREFIX.match(line)
        text = (line[prefix.end() :] if prefix else line)[:_MAX_LINE_CHARACTERS].rstrip()
        # most lines of a log are none of these: look for a word before trying a pattern
        if text.startswith("Name: ") and ", LayerType: " in text:
            self.layers.append(_engine_layer(text))
        elif "Skipping tactic " in text and " due to " in text:
            self.failures += 1
        elif "Tactic" in text:
            self._tactic_line(text)
        elif "Autotuning" in text:
            self._autotuning_line(text)
        elif "Timing Runner: " in text:
            self._timing_line(text)
        elif "Computing " in text:
            found = _COSTS.search(text)
            if found:
                self.costs_layer = _without_rule(found[2].lstrip(" \t:"))
                self.kind = "reformat" if found[1].startswith("reformatting") else "layer"
                self._leave_myelin()
        elif self.myelin:
            self._myelin_line(text)

    def _autotuning_line(self, text: str) -> None:
        found = _AUTOTUNING.search(text)
        if found:
            self.kind = "reformat" if found[1] == "Reformat" else "layer"
            self.formats = found[2].strip()
            self.layer, self.runner = self.costs_layer, ""
            self._new_group()
            self._leave_myelin()
            return
        _, _, operation = text.partition("Autotuning op ")
        found = _MYELIN.search(operation)
        if found:
            onnx = _ONNX_LAYER.search(text)
            self.myelin = onnx[1] if onnx else operation[: found.start()]
            self.myelin_start = len(self.rows)

    def _timing_line(self, text: str) -> None:
        found = _TIMING.search(text)
        if not found:
            return
        if found[1] != self.layer and self.layer and self.runner:
            self._new_group()
        self.layer, self.runner = found[1], found[2]
        self.kernel = self.kernel_tactic = None
        self._leave_myelin()

    def _new_group(self) -> None:
        self.group += 1
        self.of_group = {}
        self.kernel = self.kernel_tactic = None

    def _leave_myelin(self) -> None:
        self.myelin = ""

    def _tactic_line(self, text: str) -> None:
        if text.startswith("Layer("):
            found = _ENGINE_LAYER.match(text)
            if found:
                layer, _, rest = found[2].rpartition(", Tactic: ")
                using = _ENGINE_TACTIC.match(rest)
                if using:
                    self.layers.append((layer, found[1], _number(using[1]), using[2], using[3], None))
            return
        found = _CHOSE.search(text)
        if found:
            row = self.of_group.get((found[1], _number(found[2])))
            if row is not None:
                row.fastest_of_formats = True
            return
        if "Fastest Tactic: " in text:
            return
        found = _TIMED.match(" ".join(text.split())) if text.startswith("Tactic: ") else None
        if found:
            tactic = _number(found[1])
            named = self.kernel if self.kernel_tactic in (None, tactic) else None
            self._add(named, tactic, found[2])
            self.kernel = self.kernel_tactic = None
            return
        before, mark, rest = text.partition(_TACTIC_NAME)
        if mark and self.runner and (not before or before.endswith(" ")):
            kernel, _, timing = rest.partition("Tactic: ")
            found = _NAMED.match(" ".join(timing.split()))
            if found and found[2]:
                self._add(kernel.rstrip(), _number(found[1]), found[2])
            else:
                self.kernel = kernel.rstrip() or None
                self.kernel_tactic = _number(found[1]) if found else None

    def _add(self, kernel: str | None, tactic: str, time: str) -> None:
        if self.runner:
            time_ms = _milliseconds(time)
            row = _Row(self.layer, self.runner, self.kind, self.formats, kernel, tactic, time_ms, self.group)
            self.rows.append(row)
            self.of_group.setdefault((self.runner, tactic), row)

    def _myelin_line(self, text: str) -> None:
        found = _MYELIN_CHOSE.search(text)
        if found:
            tactic = _number(found[1])
            for row in self.rows[self.myelin_start :]:
                row.fastest_of_formats = row.chosen = row.tactic == tactic
            self._leave_myelin()
            return
        found = _MYELIN_ROW.match(text)
        if found:
            time_ms = _milliseconds(found[1])
            kernel = found[2].strip() or None
            self.rows.append(_Row(self.myelin, "Myelin", "myelin", "", kernel, _number(found[3]), time_ms, -1))

    def finish(self, lines: int) -> TacticTable:
        warnings = []
        named: dict[str, str] = {}
        for row in self.rows:
            if row.kernel:
                named.setdefault(row.tactic, row.kernel)
        if self.layers:
            for row in self.rows:
                row.chosen = bool(row.chosen)
            candidates: dict[tuple[str, str, str], list[_Row]] = {}
            for row in self.rows:
                candidates.setdefault((row.layer, row.runner, row.tactic), []).append(row)
            for layer, runner, tactic, inputs, outputs, _ in dict.fromkeys(self.layers):
                _mark_chosen(candidates.get((layer, runner, tactic), []), inputs, outputs)
        elif self.rows and not all(row.kind == "myelin" for row in self.rows):
            warnings.append(
                "the log ends before the list of the engine's layers, so which tactics were chosen is not known"
            )
        if self.failures:
            warnings.append(f"{self.failures} tactics failed while they were timed")
        timed = {row.layer for row in self.rows}
        rows = pd.DataFrame(
            [[getattr(row, name) for name in ROW_COLUMNS] for row in self.rows], columns=list(ROW_COLUMNS)
        ).astype({"time_ms": "float64", "chosen": "boolean"})
        layers = pd.DataFrame(
            [
                (layer, runner, tactic, kernel or named.get(tactic), inputs, outputs, layer in timed)
                for layer, runner, tactic, inputs, outputs, kernel in self.layers
            ],
            columns=list(LAYER_COLUMNS),
        )
        return TacticTable(rows, layers, tuple(warnings), lines)


def _engine_layer(text: str) -> tuple[str, str, str, str, str, str | None]:
    """Layer, runner, tactic, inputs, outputs and kernel out of ``Name: …, LayerType: …, Inputs: [ { … }], …``."""
    name, _, rest = text.removeprefix("Name: ").partition(", LayerType: ")
    runner, _, rest = rest.partition(", ")
    inputs, _, rest = rest.partition(", Outputs: [")
    inputs = inputs.partition(", Constants: [")[0]
    outputs, _, rest = rest.partition("}],")
    value = _ENGINE_VALUE.search(rest)
    kernel = rest.partition("TacticName: ")[2].partition(", TacticValue: ")[0].partition(", StreamId: ")[0]
    return name, runner, _number(value[1]) if value else "", _tensors(inputs), _tensors(outputs), kernel or None


def _tensors(text: str) -> str:
    """``{ Name: x, Dimensions: [1,64,55,55], Format/Datatype: … }`` as the other list writes it: ``x (Half[1,64:8,55,55])``."""
    found = []
    for part in text.split("{ Name: ")[1:]:
        name, _, rest = part.partition(", Dimensions: [")
        dims, _, layout = rest.partition("]")
        kind = _LOG_TYPES.get(data_type(layout.partition("Datatype: ")[2]) or "", "?")
        channels = _CHANNELS.search(layout)
        width = int(channels[1]) if channels else next((w for k, w in _VECTOR_WIDTHS.items() if k in layout.lower()), 1)
        numbers = dims.split(",")
        if width > 1 and len(numbers) > 1:
            numbers[1] += f":{width}"
        found.append(f"{name.partition(', Location: ')[0]} ({kind}[{','.join(numbers)}])")
    return ", ".join(found)


def _mark_chosen(candidates: list[_Row], inputs: str, outputs: str) -> None:
    """Mark, of the candidates with the layer, runner and tactic of an engine's layer, the one whose formats fit best.

    A tactic's number can appear in several combinations of formats (every reformatting kernel's does), and the list of layers gives
    dimensions where the log of the timing gives strides; data type and vector width are in both.
    """
    if not candidates:
        return
    wanted = (_signature(inputs)[:1], _signature(outputs)[:1])

    types = [[kind for kind, _ in tensors] for tensors in wanted]

    def fit(row: _Row) -> tuple[bool, bool, bool, float]:
        left, _, right = row.formats.partition(" -> ")
        mine = (_signature(left)[:1], _signature(right)[:1])
        same_types = [[kind for kind, _ in tensors] for tensors in mine] == types
        time_ms = math.inf if row.time_ms is None else row.time_ms
        return (not same_types, mine != wanted, not row.fastest_of_formats, time_ms)

    min(candidates, key=fit).chosen = True


_FORMAT = re.compile(r"\b(Float|Half|Int8|Int32|Int64|Bool|BFloat16|BF16|FP8|UInt8|INT4)([(\[])([^)\]]{0,400})[)\]]")


def _signature(formats: str) -> list[tuple[str, int]]:
    """Data type and vector width of each tensor: ``Half(50176,1:8,224,1)`` and ``Half[8,64:8,56,56]`` are both (Half, 8)."""
    found = []
    for dtype, _, numbers in _FORMAT.findall(formats):
        width = next((int(part.split(":")[1]) for part in numbers.split(",") if re.fullmatch(r"\s*\d+:\d+", part)), 1)
        found.append((dtype, width))
    return found


def _without_rule(text: str) -> str:
    """Without the ``=====`` at the end of a heading."""
    text = text.rstrip()
    bare = text.rstrip("=")
    return bare.rstrip() if len(text) - len(bare) >= 5 else text


def _number(text: str) -> str:
    """A tactic's number in one spelling: 16 hexadecimal digits as TensorRT 8.5 writes them; decimal ones (before 8.2) converted."""
    cleaned = text.rstrip(",.")
    try:
        value = int(cleaned, 16) if cleaned.lower().startswith("0x") else int(cleaned)
    except ValueError:
        return cleaned
    return f"0x{value & (2**64 - 1):016x}"


def _milliseconds(text: str) -> float | None:
    try:
        value = float(text.rstrip(","))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
