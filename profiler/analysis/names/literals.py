"""What a pattern cannot match without: pieces of plain text of which every match holds at least one.

Looking for a piece takes a hundredth of the time of a search by a regular expression, and most rules do not apply to most names.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

# the parser of "re" itself, so that what is derived here cannot differ from what is searched
_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

_COMMON = ("kernel",)
"""Says nothing, as most names hold it."""
_MOST_TEXTS = 16
_Texts = frozenset[str]
_EMPTY = frozenset({""})


def pieces_of(pattern: str) -> list[_Texts]:
    """Sets of lower-case texts, the most telling first: the lower-case form of any ASCII text that matches holds one of each set."""
    return sorted(_needed(_parser.parse(pattern)), key=_worth, reverse=True)


def _worth(pieces: _Texts) -> tuple[bool, int, int]:
    return not pieces.intersection(_COMMON), min(map(len, pieces)), -len(pieces)


def _needed(sequence: Any) -> list[_Texts]:
    """The same of a part of a pattern."""
    found: list[_Texts] = []
    run = _EMPTY
    for item in sequence:
        longer = _joined(run, _texts(item))
        if longer is None:
            own = _texts(item)
            found += [run, *([] if own else _inside(item))]
            longer = own or _EMPTY
        run = longer
    return [pieces for pieces in map(_least, [*found, run]) if all(pieces)]


def _least(texts: _Texts) -> _Texts:
    """Without those that hold another one."""
    return frozenset(t for t in texts if not any(other != t and other in t for other in texts))


def _joined(first: _Texts, then: _Texts | None) -> _Texts | None:
    if then is None or len(first) * len(then) > _MOST_TEXTS:
        return None
    return frozenset(a + b for a in first for b in then)


def _texts(item: Any) -> _Texts | None:
    """All that an item can match, in lower case; None where that is more than a few texts."""
    kind, value = item
    if kind is _parser.LITERAL:
        return frozenset({chr(value).lower()})
    if kind in (_parser.AT, _parser.ASSERT, _parser.ASSERT_NOT):
        return _EMPTY
    if kind is _parser.IN and all(k is _parser.LITERAL for k, _ in value):
        return frozenset(chr(v).lower() for _, v in value)
    if kind is _parser.SUBPATTERN:
        return _texts_of(value[3])
    if kind in (_parser.MAX_REPEAT, _parser.MIN_REPEAT) and value[:2] == (0, 1):
        once = _texts_of(value[2])
        return once | _EMPTY if once else None
    if kind is _parser.BRANCH:
        choices = [_texts_of(choice) for choice in value[1]]
        known = [choice for choice in choices if choice]
        return frozenset().union(*known) if len(known) == len(choices) else None
    return None


def _texts_of(sequence: Any) -> _Texts | None:
    found: _Texts | None = _EMPTY
    for item in sequence:
        found = _joined(found, _texts(item)) if found is not None else None
    return found


def _inside(item: Any) -> list[_Texts]:
    """What a group, a choice or a repetition needs."""
    kind, value = item
    if kind is _parser.SUBPATTERN:
        return _needed(value[3])
    if kind in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
        return _needed(value[2]) if value[0] else []
    if kind is _parser.BRANCH:  # of each choice its most telling pieces
        choices = [max(_needed(choice), key=_worth, default=None) for choice in value[1]]
        known = [choice for choice in choices if choice]
        return [frozenset().union(*known)] if len(known) == len(choices) else []
    return []
