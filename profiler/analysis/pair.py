"""Whether two runs are a pair: the same model and work, in the right order, and which of their figures may be divided.

It is decided here once; the comparison, the report, the gates, the command line and the pages obey.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from profiler.analysis.fusion import ledger
from profiler.analysis.fusion.layer_names import parse_layer_name
from profiler.analysis.fusion.range_names import MODULE, range_name, without_wrappers
from profiler.analysis.run.measured import latency_without_profiler
from profiler.analysis.run.run import Run
from profiler.analysis.run.together import for_each_run
from profiler.errors import NotComparableError
from profiler.files import sha256_of
from profiler.text import number

REFUSE, WARN, NOTE = "refuse", "warn", "note"
_SAME_MODEL = 0.85
_OTHER_MODEL = 0.6
_FEWEST_NAMES = 3
_NVM = re.compile(r"\b(to|from) nvm\b")
_FEWEST_PATHS = 5
_NEARLY_ALL = 0.9
_MATRIX = re.compile(
    r"^(conv\w*|fc\w*|linear\w*|\w*proj\w*|dense\w*|query|key|value|qkv|to_[qkvo]\w*|lm_head|classifier|head)$"
)
_MATRIX_OPS = ("Conv", "Gemm", "MatMul", "ConvTranspose")


@dataclass(frozen=True)
class PairFinding:
    """One thing to know of a pair.

    Attributes:
        code: for programs: "different_model", "reversed", "same_file", …
        severity: "refuse" (no ratio and no ledger), "warn" or "note".
        sentence: for people.
    """

    code: str
    severity: str
    sentence: str


@dataclass(frozen=True)
class PairCheck:
    """What is known of a pair.

    Attributes:
        latency_basis: "without_profiler" when both runs have a latency that was measured without nsys, else "nsys". A ratio of
            latencies is made of two of this kind, never of one of each.
    """

    findings: tuple[PairFinding, ...]
    latency_basis: str

    @property
    def is_comparable(self) -> bool:
        return self.refusal is None

    @property
    def refusal(self) -> str | None:
        """Why there is no ratio of the two, in one sentence; None when there is."""
        return next((f.sentence for f in self.findings if f.severity == REFUSE), None)

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(f.code for f in self.findings)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f.sentence for f in self.findings if f.severity == WARN)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f.sentence for f in self.findings if f.severity == NOTE)

    def require(self) -> None:
        """Raise unless the two are comparable.

        Raises:
            NotComparableError: with the one sentence.
        """
        if self.refusal:
            raise NotComparableError(self.refusal, "Compare two runs of the same model.")


def check_pair(before: Run, after: Run) -> PairCheck:
    """Look at model, order, identity, precision, batch, input shape, GPU, and how each latency was had."""
    found = [
        *_identity(before, after),
        *_model(before, after),
        *_order(before, after),
        *_work(before, after),
        *_dla(before, after),
    ]
    clean = [latency_without_profiler(side.facts) is not None for side in (before, after)]
    if clean[0] != clean[1]:
        has, lacks = ("before", "after") if clean[0] else ("after", "before")
        sentence = (
            f"Only {has} has a latency that was measured without nsys, and {lacks} has none: both latencies here are those under "
            "nsys, which slows launches."
        )
        found.append(PairFinding("one_clean_latency", NOTE, sentence))
    if before.inferences.count and after.inferences.count:
        marked = [side.inferences.origin in ("ranges", "pattern") for side in (before, after)]
        if marked[0] != marked[1]:
            mine, theirs = (side.inferences.origin for side in (before, after))
            sentence = (
                f"The inferences are marked differently (before: {mine}; after: {theirs}), so the latencies do not begin and end at "
                "the same point of the program. GPU span and kernel time can be compared."
            )
            found.append(PairFinding("different_marks", WARN, sentence))
    return PairCheck(tuple(found), "without_profiler" if all(clean) else "nsys")


def fusion(
    before: Run, after: Run, before_engine: Path | None = None, after_engine: Path | None = None
) -> ledger.Ledger:
    """The fusion ledger of two runs of one model, see :func:`profiler.analysis.fusion.ledger.fusion`.

    Raises:
        NotComparableError: they are of different models, or one side hides its kernels, or their order makes no sense.
        TraceError: one side has no inferences or no kernels.
    """
    for_each_run(ledger.read_ahead, (before, after), (before_engine, after_engine))
    check_pair(before, after).require()
    return ledger.fusion(before, after, before_engine, after_engine)


def _identity(before: Run, after: Run) -> list[PairFinding]:
    first, second = before.trace.path, after.trace.path
    if first.resolve() == second.resolve():
        return [PairFinding("same_file", WARN, "Before and after are the same file.")]
    try:
        equal = first.stat().st_size == second.stat().st_size and sha256_of(first) == sha256_of(second)
    except OSError:
        equal = False
    if equal:
        sentence = f"Before and after are copies of the same file: {before.trace.label} and {after.trace.label}."
        return [PairFinding("same_file", WARN, sentence)]
    return []


def _model(before: Run, after: Run) -> list[PairFinding]:
    b, a = before.facts.model, after.facts.model
    if b is not None and a is not None:
        if _plain(b) == _plain(a):
            return []
        sentence = f"The two runs are of different models, {b} before and {a} after, so their figures are not compared."
        return [PairFinding("different_model", REFUSE, sentence)]
    share = _shared_names(before, after)
    if share is None:
        sentence = (
            "Whether both runs are of the same model is not known: no manifest and no names of modules and layers tell it. State the "
            "model in a manifest beside each trace."
        )
        return [PairFinding("unknown_model", WARN, sentence)]
    if share >= _SAME_MODEL:
        return []
    said = f"{number(100 * share)} % of the convolutions and matrix products have the same names on both sides"
    if share < _OTHER_MODEL:
        sentence = (
            f"The two runs are of different models by the names of their modules and layers ({said}), so their figures are not "
            "compared."
        )
        return [PairFinding("different_model", REFUSE, sentence)]
    sentence = f"The two runs may not be of the same model: only {said}."
    return [PairFinding("similar_model", WARN, sentence)]


def _plain(model: str) -> str:
    """ "ResNet-50" and "resnet50" are one name."""
    return re.sub(r"[^a-z0-9,]", "", model.lower())


def _order(before: Run, after: Run) -> list[PairFinding]:
    if (before.facts.framework, after.facts.framework) != ("TensorRT", "PyTorch"):
        return []
    return [PairFinding("reversed", WARN, f"TensorRT is before and PyTorch after. {ledger.REVERSED}")]


def _work(before: Run, after: Run) -> list[PairFinding]:
    found = []
    for what, name in (("GPU", "gpu"), ("batch size", "batch"), ("input shape", "input_shape")):
        b, a = getattr(before.facts, name), getattr(after.facts, name)
        unknown = [side for side, value in (("before", b), ("after", a)) if value is None]
        if unknown:
            sentence = f"The {what} of {' and '.join(unknown)} is not known, so it may differ. State it in a manifest beside the trace."
            found.append(PairFinding(f"unknown_{name}", WARN, sentence))
        elif b != a:
            sentence = f"The {what} differs: {_shown(b)} before, {_shown(a)} after. The figures compare different work."
            found.append(PairFinding(f"different_{name}", WARN, sentence))
    b, a = before.facts.precision, after.facts.precision
    if b is not None and a is not None and b != a:
        sentence = f"The precision differs: {b} before, {a} after. A part of the difference is arithmetic."
        found.append(PairFinding("different_precision", NOTE, sentence))
    return found


def _dla(before: Run, after: Run) -> list[PairFinding]:
    """Work on the deep-learning accelerator of a Jetson or DRIVE: nsys records none of it as kernels."""
    sides = {"before": before, "after": after}
    found = [
        name
        for name, side in sides.items()
        if any(domain == "TensorRT" and _NVM.search(text) for domain, text in side.range_texts)
    ]
    if not found:
        return []
    sentence = (
        f"A part of the engine ({' and '.join(found)}) runs on the DLA, which nsys records no kernels of: kernels and their time are "
        "not the model's, so they have no ratio."
    )
    return [PairFinding("dla", WARN, sentence)]


def _shown(value: object) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class _Names:
    """Paths of modules in a trace: all, those of convolutions and matrix products, and whether that list is whole."""

    every: frozenset[str]
    matrix: frozenset[str]
    is_whole: bool


def _shared_names(before: Run, after: Run) -> float | None:
    """The smaller of the shares of each side's convolutions and products that the other side names; None when that is not known."""
    b, a = _names(before), _names(after)
    found = []
    for one, other in ((b, a), (a, b)):
        if len(one.matrix) >= _FEWEST_NAMES and len(other.every) >= _FEWEST_NAMES and other.is_whole:
            bare, others = _without_common(one.matrix), _without_common(other.every)
            found.append(max(len(x & y) / len(x) for x in (one.matrix, bare) for y in (other.every, others)))
    return min(found, default=None)


def _without_common(names: frozenset[str]) -> frozenset[str]:
    """The names without the leading parts that nearly all of them have: a wrapper around the model."""
    for _ in range(3):
        heads = Counter(name.partition(".")[0] for name in names if "." in name)
        head, often = next(iter(heads.most_common(1)), ("", 0))
        if often < _NEARLY_ALL * len(names):
            break
        names = frozenset(name.removeprefix(f"{head}.") for name in names)
    return names


def _names(run: Run) -> _Names:
    every: set[str] = set()
    matrix: set[str] = set()
    modules: set[str] = set()
    is_whole = True
    for domain, text in run.range_texts:
        if domain == "TensorRT":
            layer = parse_layer_name(text)
            is_whole &= layer.region is None
            for node in layer.operations:
                if node.module:
                    path = without_wrappers(node.module)
                    every.add(path)
                    if node.op in _MATRIX_OPS:
                        matrix.add(path)
            continue
        named = range_name(text)
        if named is None or named.what != MODULE or named.phase:
            continue
        modules.add(named.name)
    if sum("." in name for name in modules) < _FEWEST_PATHS:
        modules = set()  # names of other things than modules
    containers = {name[:at] for name in modules for at, c in enumerate(name) if c == "."}
    matrix |= {name for name in modules - containers if _MATRIX.match(name.rpartition(".")[2])}
    return _Names(frozenset(every | modules), frozenset(matrix), is_whole)
