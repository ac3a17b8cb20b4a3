"""Taking a kernel name apart, whoever printed it.

The same kernel is written in several ways: Nsight Systems prints ``<unnamed>``, ``(int)128`` and ``T1 *``
where c++filt prints ``(anonymous namespace)``, ``128`` and the type itself; some tools keep the mangled
``_ZN…`` form; C symbols have no signature at all. :func:`parse` brings them to one shape so that a rule has
to be written once.

Names come from files that anybody may have made, so nothing here raises, and the work is bounded: at most
:data:`HEAD_CHARS` from the front and :data:`TAIL_CHARS` from the end of a name are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_CHARS = 8192
TAIL_CHARS = 1024
_MAX_IDENTIFIERS = 600
_ANONYMOUS = "_anon_"

_INVISIBLE = re.compile("[\x00-\x1f\x7f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_ANONYMOUS_FORMS = re.compile(r"\(anonymous namespace\)|<unnamed>|\{anonymous\}|`anonymous namespace'")
_BOOL_CAST = re.compile(r"\(bool\)([01])")
_INTEGER_CAST = re.compile(r"\((?:(?:un)?signed )?(?:int|long|short|char|long long|bool)\)(?=-?\d)")
_SPACE_BEFORE_CLOSE = re.compile(r" +>")
_HASH = re.compile(r"(?<![0-9A-Za-z])(?:0x[0-9a-f]{8,}|(?=[0-9a-f]*[0-9])[0-9a-f]{16,})(?![0-9A-Za-z])")
_TOKEN = re.compile(r"->|operator *(?:<<=?|>>=?|<=>|<=?|>=?|\(\))|[<>()\[\]{} ]|[^<>()\[\]{} \-]+|-")
_OPEN = frozenset("<([{")
_CLOSE = frozenset(">)]}")
_DIGITS = re.compile(r"\d{1,4}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ParsedName:
    """One kernel name in the shape that rules read.

    Attributes:
        text: the name, cleaned and shortened, with casts of constants, anonymous namespaces and hashes unified.
        base: the qualified name of the function, without template arguments and parameters.
        leaf: the last component of ``base``.
        signature: True for a C++ function (it has a parameter list, template arguments, or was mangled);
            False for a bare symbol.
    """

    text: str
    base: str
    leaf: str
    signature: bool


EMPTY = ParsedName("", "", "", False)


def readable(name: str) -> str:
    """The part of ``name`` that is read: all of it, or its head and its tail."""
    if len(name) <= HEAD_CHARS + TAIL_CHARS:
        return name
    return name[:HEAD_CHARS] + " " + name[-TAIL_CHARS:]


def parse(name: str | None) -> ParsedName:
    """Bring a demangled, nsys-demangled, mangled or bare kernel name to one shape. Never raises."""
    if not name:
        return EMPTY
    text = _INVISIBLE.sub("", readable(name)).strip()
    if not text:
        return EMPTY
    if text.startswith("__nv_static_"):
        text = text[max(0, text.find("__Z") + 1) :]
    if text.startswith("_Z"):
        mangled = _parse_mangled(text)
        if mangled is not None:
            return mangled
    text = _ANONYMOUS_FORMS.sub(_ANONYMOUS, text)
    text = _BOOL_CAST.sub(lambda m: "true" if m.group(1) == "1" else "false", text)
    text = _INTEGER_CAST.sub("", text)
    text = _SPACE_BEFORE_CLOSE.sub(">", text)
    text = _HASH.sub("#", text)  # its digits spell "884" and "f64" by chance
    base, signature = _function_name(text)
    return ParsedName(text, base, base.rsplit("::", 1)[-1], signature)


def _function_name(text: str) -> tuple[str, bool]:
    """The qualified function name in a demangled signature, and whether there was a signature at all."""
    depth = 0
    word: list[str] = []
    previous = ""
    signature = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in _OPEN:
            if depth == 0 and token == "(" and word:
                signature = True
                break
            signature = signature or token == "<"
            depth += 1
        elif token in _CLOSE:
            depth = max(0, depth - 1)
        elif depth == 0:
            if token == " ":
                if word:
                    previous, word = "".join(word), []
            else:
                word.append(token)
    base = "".join(word) or previous
    if not base:
        identifier = _IDENTIFIER.search(text)
        base = identifier.group() if identifier else text
    return base, signature


def _parse_mangled(text: str) -> ParsedName | None:
    """Read the identifiers of an Itanium-mangled name: enough for rules, without a full demangler."""
    position = 2
    nested = text.startswith("N", position)
    if nested:
        position += 1
    while position < len(text) and text[position] in "KVr":
        position += 1
    scope: list[str] = []
    while True:
        found = _identifier_at(text, position)
        if found is None:
            break
        identifier, position = found
        scope.append(_ANONYMOUS if identifier.startswith("_GLOBAL__N") else identifier)
        if not nested:
            break
    if not scope:
        return None
    rest = _identifiers(text, position)
    base = "::".join(scope)
    return ParsedName(f"{base}<{', '.join(rest)}>", base, scope[-1], True)


def _identifier_at(text: str, position: int) -> tuple[str, int] | None:
    digits = _DIGITS.match(text, position)
    if digits is None:
        return None
    end = digits.end() + int(digits.group())
    identifier = text[digits.end() : end]
    if end > len(text) or not _IDENTIFIER.fullmatch(identifier):
        return None
    return identifier, end


def _identifiers(text: str, position: int) -> list[str]:
    """Every length-prefixed identifier from ``position`` on; numbers in literals and substitutions are not."""
    found: list[str] = []
    while len(found) < _MAX_IDENTIFIERS:
        digits = _DIGITS.search(text, position)
        if digits is None:
            break
        start = digits.start()
        before = text[max(0, start - 2) : start]
        literal = len(before) == 2 and before[0] == "L" and before[1].islower()
        if literal or before.endswith(("S", "T")):
            position = digits.end()
            continue
        here = _identifier_at(text, start)
        if here is None:
            position = digits.end()
        else:
            identifier, position = here
            found.append(identifier)
    return found
