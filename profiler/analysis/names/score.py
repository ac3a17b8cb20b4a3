"""How good the classification is on names whose truth is known.

Truth is a table of kernel names with a label from machine code: whether the kernel's SASS holds a Tensor Core
instruction. Columns, tab-separated with a header: ``library version sm demangled short tensor opcodes conflict``;
``tensor`` is 1 or 0, ``conflict`` is 1 where the same name has different labels on different GPUs.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from profiler.analysis.names.classify import classify
from profiler.errors import TraceError, UsageError
from profiler.text import number, plural

COLUMNS = ("library", "version", "sm", "demangled", "short", "tensor", "opcodes", "conflict")
_SHOWN_WRONG = 20
_SHOWN_CHARS = 160


@dataclass(frozen=True)
class LabelledName:
    """One row of truth: a kernel name, the GPU it was compiled for, and whether its SASS holds an MMA."""

    library: str
    version: str
    sm: int | None
    name: str
    short_name: str
    tensor: bool
    conflict: bool


@dataclass(frozen=True)
class WrongName:
    """A name that was judged wrongly, with the rule to blame."""

    library: str
    sm: int | None
    name: str
    truth: str
    verdict: str
    rule: str


@dataclass(frozen=True)
class Score:
    """Counts of verdicts against truth; every ratio is None where its denominator is 0.

    Attributes:
        yes_as_yes: Tensor Core kernels judged "yes"; the other five fields are named alike (truth first).
    """

    yes_as_yes: int = 0
    yes_as_no: int = 0
    yes_as_unknown: int = 0
    no_as_yes: int = 0
    no_as_no: int = 0
    no_as_unknown: int = 0

    @property
    def names(self) -> int:
        """Number of names scored."""
        return (
            self.yes_as_yes + self.yes_as_no + self.yes_as_unknown + self.no_as_yes + self.no_as_no + self.no_as_unknown
        )

    @property
    def yes_precision(self) -> float | None:
        """Share of the "yes" verdicts that are right."""
        return _ratio(self.yes_as_yes, self.yes_as_yes + self.no_as_yes)

    @property
    def yes_recall(self) -> float | None:
        """Share of the Tensor Core kernels that got "yes"."""
        return _ratio(self.yes_as_yes, self.yes_as_yes + self.yes_as_no + self.yes_as_unknown)

    @property
    def no_precision(self) -> float | None:
        """Share of the "no" verdicts that are right."""
        return _ratio(self.no_as_no, self.no_as_no + self.yes_as_no)

    @property
    def no_recall(self) -> float | None:
        """Share of the other kernels that got "no"."""
        return _ratio(self.no_as_no, self.no_as_no + self.no_as_yes + self.no_as_unknown)

    @property
    def unknown_share(self) -> float | None:
        """Share of all names that got "unknown"."""
        return _ratio(self.yes_as_unknown + self.no_as_unknown, self.names)


@dataclass(frozen=True)
class ScoreReport:
    """The scores of one table of labelled names.

    Attributes:
        overall: over the names whose label is the same on every GPU.
        conflicting: over the names whose label turns on the GPU.
        by_library: over the names without conflict, for each library.
        wrong: wrong verdicts among the names without conflict, in file order.
        wrong_conflicting: wrong verdicts among the others.
    """

    overall: Score
    conflicting: Score
    by_library: Mapping[str, Score]
    wrong: tuple[WrongName, ...]
    wrong_conflicting: tuple[WrongName, ...]


def score(path: str | Path) -> ScoreReport:
    """Judge every name of a labelled table (``.tsv`` or ``.tsv.xz``) and compare.

    Raises:
        TraceError: the file is missing, unreadable, not UTF-8, or a row does not fit the columns.
        UsageError: the header lacks a column.
    """
    counts: dict[str, int] = {}
    conflicting: dict[str, int] = {}
    libraries: dict[str, dict[str, int]] = {}
    wrong: list[WrongName] = []
    wrong_conflicting: list[WrongName] = []
    for row in read_labelled(path):
        found = classify(row.name, row.short_name, row.sm)
        truth = "yes" if row.tensor else "no"
        cell = f"{truth}_as_{found.tensor_cores}"
        tables = [conflicting] if row.conflict else [counts, libraries.setdefault(row.library, {})]
        for table in tables:
            table[cell] = table.get(cell, 0) + 1
        if found.tensor_cores not in (truth, "unknown"):
            (wrong_conflicting if row.conflict else wrong).append(
                WrongName(row.library, row.sm, row.name, truth, found.tensor_cores, found.rule)
            )
    return ScoreReport(
        overall=Score(**counts),
        conflicting=Score(**conflicting),
        by_library={library: Score(**table) for library, table in sorted(libraries.items())},
        wrong=tuple(wrong),
        wrong_conflicting=tuple(wrong_conflicting),
    )


def read_labelled(path: str | Path) -> Iterator[LabelledName]:
    """The rows of a labelled table; the errors are those of :func:`score`."""
    file = Path(path)
    try:
        with (
            lzma.open(file, "rt", encoding="utf-8", newline="\n")
            if file.suffix == ".xz"
            else file.open(encoding="utf-8", newline="\n") as lines
        ):
            header = lines.readline().rstrip("\n").split("\t")
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise UsageError(
                    f"{file}: the header lacks {', '.join(missing)}; found {', '.join(header[:12])}.",
                    f"Expected tab-separated columns: {' '.join(COLUMNS)}.",
                )
            position = {column: header.index(column) for column in COLUMNS}
            for number, line in enumerate(lines, start=2):
                cells = line.rstrip("\n").split("\t")
                if cells != [""]:
                    yield _row(file, number, cells, position, len(header))
    except (OSError, UnicodeError, lzma.LZMAError, EOFError) as error:
        raise TraceError(
            f"{file}: cannot be read as a table of labelled names: {error}.", "Give a .tsv or .tsv.xz file."
        ) from error


def _row(file: Path, number: int, cells: list[str], position: Mapping[str, int], width: int) -> LabelledName:
    if len(cells) != width or cells[position["tensor"]] not in ("0", "1"):
        raise TraceError(
            f"{file}, line {number}: expected {width} cells with tensor 0 or 1, found {len(cells)} cells.",
            "Check that names hold no tabs or line breaks.",
        )
    sm = cells[position["sm"]]
    return LabelledName(
        library=cells[position["library"]],
        version=cells[position["version"]],
        sm=int(sm) if sm.isdecimal() else None,
        name=cells[position["demangled"]],
        short_name=cells[position["short"]],
        tensor=cells[position["tensor"]] == "1",
        conflict=cells[position["conflict"]] == "1",
    )


def render(report: ScoreReport) -> str:
    """A text table of the scores, with the wrong names below it."""
    header = f"{'':32} {'names':>7} {'yes prec.':>9} {'yes recall':>10} {'no prec.':>9} {'no recall':>9} {'unknown':>8}"
    lines = [header, "-" * len(header)]
    lines += [_line(library, one) for library, one in report.by_library.items()]
    lines += ["-" * len(header), _line("all, label same on every GPU", report.overall)]
    if report.conflicting.names:
        lines.append(_line("label turns on the GPU", report.conflicting))
    lines += _wrong_lines("Wrong", report.wrong)
    lines += _wrong_lines("Wrong, label turns on the GPU", report.wrong_conflicting)
    return "\n".join(lines)


def _line(label: str, one: Score) -> str:
    return (
        f"{label[:32]:32} {one.names:7d} {_percent(one.yes_precision):>9} {_percent(one.yes_recall):>10} "
        f"{_percent(one.no_precision):>9} {_percent(one.no_recall):>9} {_percent(one.unknown_share):>8}"
    )


def _wrong_lines(title: str, names: tuple[WrongName, ...]) -> list[str]:
    if not names:
        return []
    lines = ["", f"{title}: {plural(len(names), 'name')} ({min(len(names), _SHOWN_WRONG)} shown)"]
    lines += [
        f"  {one.verdict}, is {one.truth} ({one.rule}, {one.library}, sm {one.sm}): {one.name[:_SHOWN_CHARS]}"
        for one in names[:_SHOWN_WRONG]
    ]
    return lines


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{number(100 * value, digits=4)} %"
