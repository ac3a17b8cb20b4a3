"""Which unit of one side is which of the other: by name where names meet, else by kind and order.

Where names do not meet, convolutions, matrix products and attentions are the fixed points (*anchors*). They are aligned over the whole
model at once, so that as many as possible of equal kind (and shape, where both sides tell it) stand opposite each other. A pair counts
only if it stands in *every* best alignment: where one anchor too many could be any of several, none of them is claimed. What lies
between two anchors is aligned in the same way, by kind.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.operators import NORMALISATION, Kinds, are_alike, is_heavy, kinds_of
from profiler.analysis.fusion.placement import Holding, Placement

_Key = TypeVar("_Key", bound=Hashable)
_Traits = tuple[Kinds, tuple[int, ...] | None]
_Anchor = tuple[Unit | None, _Traits]
"""What it is called on both sides where its name says so, and its traits."""
BY_NAME, BY_ORDER = "by name", "by order and kind"
_MOST_CELLS = 4_000_000
_LEAST_SHARE = 0.5  # of the anchors, for sides of which one has no names
_LEAST_SHARE_OTHER_NAMES = 0.95  # for sides whose names differ: another model is likely, so nearly all must agree
_SHARED_PREFIX = 0.8


@dataclass(frozen=True)
class Match:
    """The units of two sides, matched.

    Attributes:
        pairs: unit before → unit after.
        how: unit before → "by name" or "by order and kind".
        anchors_agreed, anchors: convolutions, products and attentions that stand opposite one, and how many there are (of the side
            that has more).
        statement: how the sides were matched, in words; what does not meet with an example of each.
    """

    pairs: dict[Unit, Unit]
    how: dict[Unit, str]
    anchors_agreed: int
    anchors: int
    statement: str


def certain_pairs(first: Sequence[_Key], second: Sequence[_Key], score: Callable[[_Key, _Key], int]) -> dict[int, int]:
    """The pairs of places that stand in every best global alignment of two sequences; ``score`` of two elements, 0: not alike.

    Needleman and Wunsch's recurrence without gap costs, from both ends: a pair lies on a best alignment if the best of what is
    before it, its own score and the best of what follows add up to the total; it is certain if for neither of its two elements
    another pair or a gap does.
    """
    m, n = len(first), len(second)
    if not m or not n or m * n > _MOST_CELLS:
        return {}
    ours, theirs = dict.fromkeys(first), dict.fromkeys(second)
    table = np.asarray([[score(a, b) for b in theirs] for a in ours], dtype=np.int32)
    rows, columns = ({key: k for k, key in enumerate(kinds)} for kinds in (ours, theirs))
    scores = table[np.ix_([rows[a] for a in first], [columns[b] for b in second])]
    before, after = _best(scores), _best(scores[::-1, ::-1])[::-1, ::-1]
    total = int(before[m, n])
    on_path = (scores > 0) & (before[:m, :n] + scores + after[1:, 1:] == total)
    row_gap = (before[:m, :] + after[1:, :] == total).any(axis=1)
    column_gap = (before[:, :n] + after[:, 1:] == total).any(axis=0)
    alone = on_path & (on_path.sum(axis=1, keepdims=True) == 1) & (on_path.sum(axis=0, keepdims=True) == 1)
    alone &= ~row_gap[:, None] & ~column_gap[None, :]
    return {int(i): int(j) for i, j in np.argwhere(alone)}


def _best(scores: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    m, n = scores.shape
    best = np.zeros((m + 1, n + 1), dtype=np.int32)
    for i in range(m):
        with_this = np.maximum(best[i, 1:], np.where(scores[i] > 0, best[i, :n] + scores[i], 0))
        best[i + 1, 1:] = np.maximum.accumulate(with_this)
    return best


def match_units(first: Placement, second: Placement) -> Match:
    """Match the units of two sides."""
    by_name = _by_name(first, second)
    by_name.update(_operations_of_blocks(first, second, by_name))
    how = dict.fromkeys(by_name, BY_NAME)
    anchors = [[u for u in side.order if is_heavy(side.holdings[u].kinds)] for side in (first, second)]
    named = sum(u in by_name for u in anchors[0])
    most = max(map(len, anchors))
    pairs = dict(by_name)
    aligned = _aligned_anchors(anchors[0], anchors[1], first, second, by_name)
    agreed = len({**{a: by_name[a] for a in anchors[0] if a in by_name}, **aligned})
    speaks = bool(first.paths and second.paths)
    meets = speaks and named >= _LEAST_SHARE * min(map(len, anchors)) and bool(by_name)
    least = _LEAST_SHARE if meets or not speaks else _LEAST_SHARE_OTHER_NAMES
    enough = most > 0 and agreed >= least * most and (meets or not speaks or agreed >= 3)
    if enough:
        pairs |= aligned
        how |= dict.fromkeys(aligned.keys() - by_name.keys(), BY_ORDER)
    if enough or meets:
        between = _between(first, second, pairs, [a for a in anchors[0] if a in pairs])
        pairs |= between
        how |= dict.fromkeys(between, BY_ORDER)
    return Match(pairs, how, agreed, most, _statement(first, second, pairs, how, enough or meets, agreed, most))


def _statement(
    first: Placement,
    second: Placement,
    pairs: dict[Unit, Unit],
    how: dict[Unit, str],
    accepted: bool,
    agreed: int,
    most: int,
) -> str:
    ordered = sum(w == BY_ORDER for w in how.values())
    named = len(pairs) - ordered
    counted = f"{agreed} of {most} anchors agree (convolutions, matrix products, attentions)"
    example = _examples(first, second)
    if named and not ordered:
        return f"by name: {named} units are named alike on both sides"
    if named:
        return f"by name: {named} units; {ordered} more by order and kind between them: {counted}"
    if accepted:
        return f"by order and kind: {counted}{example}"
    if most:
        return f"not matched: only {counted}{example}"
    return f"not matched: neither names nor kinds of work meet{example}"


def _examples(first: Placement, second: Placement) -> str:
    shown = []
    for side in (first, second):
        unit = next((u for u in side.order if is_heavy(side.holdings[u].kinds)), next(iter(side.order), None))
        layer = (
            side.layers[side.holdings[unit].layers[0]].name if unit is not None and side.holdings[unit].layers else None
        )
        shown.append(layer or (unit.label if unit is not None else "nothing"))
    return f"; names do not meet: “{shown[0][:80]}” against “{shown[1][:80]}”"


@dataclass(frozen=True)
class _Names:
    """How one side's paths are read so that they meet the other's."""

    prefix: str = ""
    flat: bool = False

    def key(self, path: str) -> str:
        inner = path.removeprefix(self.prefix)
        if path == self.prefix.rstrip("."):
            inner = ""
        return inner.replace(".", "_") if self.flat else inner


def shared_names(first: frozenset[str], second: frozenset[str]) -> tuple[_Names, _Names]:
    """Prefixes to leave out ("model.", "module.") so that most paths of two sides are the same; none where they need none."""
    best: tuple[tuple[int, int], _Names, _Names] | None = None
    for flat in (False, True):
        for a in _prefixes(first):
            for b in _prefixes(second):
                one, other = _Names(a, flat), _Names(b, flat)
                common = len({one.key(p) for p in first} & {other.key(p) for p in second})
                changed = a.count(".") + b.count(".") + flat
                # as they are, unless most of the names meet only so: a prefix of a part of the model can be on both sides
                rank = (common if changed else 2 * common, -changed)
                if best is None or rank > best[0]:
                    best = rank, one, other
    assert best is not None
    return best[1], best[2]


def _prefixes(paths: frozenset[str]) -> list[str]:
    found = [""]
    for depth in (1, 2, 3):
        heads = Counter(".".join(p.split(".")[:depth]) + "." for p in paths if p.count(".") >= depth)
        if not heads:
            break
        prefix, count = heads.most_common(1)[0]
        if count < _SHARED_PREFIX * len(paths) or not prefix.startswith(found[-1]):
            break
        found.append(prefix)
    return found


def as_the_other_names(paths: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """Paths of one side as the other side writes them, where the two differ by a prefix only."""
    mine, theirs = shared_names(paths, other)
    return frozenset(theirs.prefix + p.removeprefix(mine.prefix) for p in paths)


def _by_name(first: Placement, second: Placement) -> dict[Unit, Unit]:
    if not first.paths or not second.paths:
        return {}
    mine, theirs = shared_names(first.paths, second.paths)
    known = {(mine.key(u.module), u.call, u.op): u for u in first.holdings if u not in first.nameless}
    found: dict[Unit, Unit] = {}
    for unit in second.holdings:
        key = theirs.key(unit.module), unit.call, unit.op
        if unit not in second.nameless and key in known:
            found[known[key]] = unit
    return found


def _operations_of_blocks(first: Placement, second: Placement, paired: dict[Unit, Unit]) -> dict[Unit, Unit]:
    """Operations of a block (a residual addition) that the two sides place in different blocks, or name differently.

    The framework's side knows such an operation by the modules around it; the engine's side by its block. The innermost block
    around the neighbours that has an unmatched operation of the same kind is taken, in order of execution.
    """
    if not first.paths or not second.paths:
        return {}
    mine, theirs = shared_names(first.paths, second.paths)
    taken = set(paired.values())
    free: dict[str, list[Unit]] = {}
    for other in second.order:
        if other.op is not None and other not in taken and other not in second.nameless:
            free.setdefault(theirs.key(other.module), []).append(other)
    found: dict[Unit, Unit] = {}
    for unit in first.order:
        if unit.op is None or unit in paired or unit in first.nameless:
            continue
        around = [unit.module, *first.neighbours.get(unit, ())]
        blocks = sorted(dict.fromkeys(b for m in around for b in ancestors(m)), key=len, reverse=True)
        for block in blocks:
            there = free.get(mine.key(block), [])
            twin = next((f for f in there if _can_be(unit, first, f, second)), None)
            if twin is not None:
                there.remove(twin)
                found[unit] = twin
                break
    return found


def _can_be(unit: Unit, first: Placement, other: Unit, second: Placement) -> bool:
    """Whether two operations of a block can be one: of one name; or of one kind, where the framework's kernel does not tell the name."""
    if unit.op != "operation":
        return unit.op == other.op
    kinds = first.holdings[unit].kinds, second.holdings[other].kinds
    return not all(kinds) or are_alike(*kinds) or (is_heavy(kinds[0]) and is_heavy(kinds[1]))


def ancestors(module: str) -> list[str]:
    """The module and every block around it, the model ("") last."""
    parts = module.split(".") if module else []
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)] + [""]


def _aligned_anchors(
    before: Sequence[Unit], after: Sequence[Unit], first: Placement, second: Placement, named: dict[Unit, Unit]
) -> dict[Unit, Unit]:
    backwards = {b: a for a, b in named.items()}

    def score(one: _Anchor, other: _Anchor) -> int:
        if one[0] is not None or other[0] is not None:
            return 20 if one[0] == other[0] else 0
        return _score(one[1], other[1])

    ours: list[_Anchor] = [(a if a in named else None, _traits(first.holdings[a])) for a in before]
    theirs: list[_Anchor] = [(backwards.get(b), _traits(second.holdings[b])) for b in after]
    return {before[i]: after[j] for i, j in certain_pairs(ours, theirs, score).items()}


def _traits(held: Holding) -> _Traits:
    """What an alignment looks at: kinds of operator, and the shape without the batch, whatever the order of the dimensions."""
    return held.kinds, tuple(sorted(held.shape[1:])) if held.shape else None


def _score(one: _Traits, other: _Traits) -> int:
    if not are_alike(one[0], other[0]):
        return 0
    points = 6 if one[0] == other[0] else 5
    if one[1] is not None and other[1] is not None:
        points += 2 if one[1] == other[1] else -2
    return points


def _between(first: Placement, second: Placement, pairs: dict[Unit, Unit], anchors: Sequence[Unit]) -> dict[Unit, Unit]:
    """What lies between two anchors, by kind and order."""
    found: dict[Unit, Unit] = {}
    taken = set(pairs.values())
    for before, after in segments(first.order, second.order, pairs, anchors):
        ours = [u for u in before if u not in pairs and not is_heavy(first.holdings[u].kinds)]
        theirs = [u for u in after if u not in taken and not is_heavy(second.holdings[u].kinds)]
        traits = [_traits(first.holdings[u]) for u in ours], [_traits(second.holdings[u]) for u in theirs]
        found |= {ours[i]: theirs[j] for i, j in certain_pairs(*traits, _score).items()}
    return found


def segments(
    before: Sequence[Unit], after: Sequence[Unit], pairs: dict[Unit, Unit], anchors: Sequence[Unit]
) -> list[tuple[list[Unit], list[Unit]]]:
    """Both orders, cut behind each anchor that stands in the same order on both sides: (units before, units after) of each piece."""
    place = {u: k for k, u in enumerate(after)}
    here = {u: k for k, u in enumerate(before)}
    rising = _longest_rising([(here[a], place[pairs[a]]) for a in anchors if a in pairs and pairs[a] in place])
    cuts = [(-1, -1), *rising, (len(before), len(after))]
    return [(list(before[a + 1 : c]), list(after[b + 1 : d])) for (a, b), (c, d) in itertools.pairwise(cuts)]


def _longest_rising(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of points (by their first number) whose second numbers rise."""
    ends: list[int] = []  # of the runs of each length, the one with the smallest last number
    lasts: list[int] = []
    previous = [-1] * len(points)
    for i, (_, height) in enumerate(points):
        k = bisect_left(lasts, height)
        previous[i] = ends[k - 1] if k else -1
        ends[k : k + 1] = [i]
        lasts[k : k + 1] = [height]
    at = ends[-1] if ends else -1
    found = []
    while at >= 0:
        found.append(points[at])
        at = previous[at]
    return found[::-1]


@dataclass
class _Naming:
    """Gives units names that are unique on both sides."""

    taken: set[Unit] = field(default_factory=set)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter)

    def free(self, module: str, op: str) -> Unit:
        while Unit(module, self._numbers[module, op], op) in self.taken:
            self._numbers[module, op] += 1
        return Unit(module, self._numbers[module, op], op)


def named_alike(first: Placement, second: Placement, match: Match) -> tuple[Placement, Placement, dict[Unit, str]]:
    """Both sides with one name for what is one unit, and how each unit was matched.

    A matched unit has the name of the side that knows its place in the model, the framework's first. A nameless one that is matched
    to none is an operation of the block of the anchor before it.
    """
    first, second = _with_matched_mains(first, set(match.pairs)), _with_matched_mains(second, set(match.pairs.values()))
    naming = _Naming()
    ours: dict[Unit, Unit] = {}
    theirs: dict[Unit, Unit] = {}
    how: dict[Unit, str] = {}
    both = bool(first.paths and second.paths)
    mine, its = shared_names(first.paths, second.paths) if both else (_Names(), _Names())
    for unit in first.order:
        other = match.pairs.get(unit)
        if unit not in first.nameless:
            ours[unit] = replace(unit, module=unit.module.removeprefix(mine.prefix))
        elif other is not None and other not in second.nameless:
            ours[unit] = other
        if unit in ours:
            naming.taken.add(ours[unit])
    _name_the_rest(first, ours, naming)
    for unit, other in match.pairs.items():
        theirs[other] = ours[unit]
        how[ours[unit]] = match.how[unit]
    for unit in second.order:
        if unit not in theirs and unit not in second.nameless:
            bare = replace(unit, module=unit.module.removeprefix(its.prefix))
            theirs[unit] = bare if bare not in naming.taken else naming.free(bare.module, bare.op or "operation")
            naming.taken.add(theirs[unit])
    _name_the_rest(second, theirs, naming)
    return renamed(first, ours), renamed(second, theirs), how


def named_by_modules(side: Placement, modules: Sequence[Mapping[str, Any]]) -> Placement:
    """A side without names, its units named by the modules that the run's manifest lists in order of execution.

    Only where all anchors agree: then the list is that of this model, and each product stands for one of its modules.
    """
    listed: dict[Unit, Holding] = {}
    for module in modules:
        name, call, inputs = module.get("name"), module.get("call", 0), module.get("inputs")
        if isinstance(name, str) and isinstance(call, int):
            shape = inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], list) else None
            listed[Unit(name, call)] = Holding(
                kinds=kinds_of(str(module.get("type"))), shape=tuple(shape) if shape else None
            )
    reference = replace(
        side, holdings=listed, order=tuple(listed), nameless=frozenset(), paths=frozenset(u.module for u in listed)
    )
    match = match_units(reference, side)
    if match.anchors < 3 or match.anchors_agreed < match.anchors:
        return side
    named = {other: unit for unit, other in match.pairs.items()}
    found = renamed(_with_matched_mains(side, set(named)), named)
    agree = f"{match.anchors_agreed} of {match.anchors} convolutions and products agree"
    return replace(
        found,
        nameless=found.nameless - set(named.values()),
        paths=frozenset(u.module for u in named.values()),
        source=f"{side.source}, named by the manifest's list of modules ({agree})",
    )


def _with_matched_mains(side: Placement, matched: set[Unit]) -> Placement:
    """A kernel or layer that computes several units stands in the row of one that the other side has, unless it is a product's
    or a normalisation's."""
    holdings = dict(side.holdings)
    mains = dict(side.mains)
    inside: dict[Unit, list[Unit]] = {}
    for unit, held in holdings.items():
        if held.inside is not None:
            inside.setdefault(held.inside, []).append(unit)
    for unit in side.order:
        held = holdings[unit]
        main = held.inside
        if (
            unit not in matched
            or main is None
            or main in matched
            or is_heavy(holdings[main].kinds)
            or NORMALISATION in holdings[main].kinds
        ):
            continue
        carried = holdings[main]
        if carried.inside is not None:
            continue
        inside[unit] = inside.pop(main)
        for other in inside[unit]:
            holdings[other] = replace(holdings[other], inside=unit)
        inside[unit] = [other for other in inside[unit] if other != unit] + [main]
        holdings[main] = Holding(inside=unit, kinds=carried.kinds)
        holdings[unit] = replace(carried, kinds=held.kinds, inside=None)
        mains.update((place, unit) for place in carried.layers)
    return replace(side, holdings=holdings, mains=mains)


def _name_the_rest(side: Placement, names: dict[Unit, Unit], naming: _Naming) -> None:
    block = ""
    for unit in side.order:
        if unit not in names:
            names[unit] = naming.free(block, unit.op or "operation")
            naming.taken.add(names[unit])
        elif is_heavy(side.holdings[unit].kinds):
            block = block_of(names[unit].module) if "." in names[unit].module else ""


def renamed(side: Placement, names: dict[Unit, Unit]) -> Placement:
    """A side whose units have other names."""

    def new(unit: Unit) -> Unit:
        return names.get(unit, unit)

    holdings = {
        new(u): replace(h, inside=new(h.inside) if h.inside is not None else None) for u, h in side.holdings.items()
    }
    return replace(
        side,
        holdings=holdings,
        order=tuple(new(u) for u in side.order),
        mains={k: new(u) for k, u in side.mains.items()},
        regions=tuple((k, new(a), new(b)) for k, a, b in side.regions),
        neighbours={new(u): around for u, around in side.neighbours.items()},
        nameless=frozenset(new(u) for u in side.nameless),
    )


def block_of(module: str) -> str:
    """The block of a module: its path up to the first run of numbers ("layer3.0.conv1" → "layer3.0")."""
    parts = module.split(".")
    first = next((i for i, p in enumerate(parts) if p.isdigit()), None)
    if first is None:
        return parts[0]
    last = first
    while last + 1 < len(parts) and parts[last + 1].isdigit():
        last += 1
    return ".".join(parts[: last + 1])


def stage_of(block: str) -> str:
    """The stage of a block: what is left without its last number ("layer3.0" → "layer3")."""
    head, _, tail = block.rpartition(".")
    return head if head and tail.isdigit() else block
