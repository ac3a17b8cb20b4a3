"""Types for argparse. Standard library only: the verbs use them, and the processes that they start in other interpreters."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping


def positive(text: str) -> int:
    """A whole number above zero."""
    return _whole(text, 1, "expected a whole number above zero")


def not_negative(text: str) -> int:
    """A whole number, zero included."""
    return _whole(text, 0, "expected a whole number, zero or more")


def _whole(text: str, minimum: int, expected: str) -> int:
    # digits and nothing else: int() also takes "1_000", other scripts' digits, and (from 3.11 on) refuses 5,000 digits by a ValueError
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= minimum):
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: {expected}")
    return int(text)


def positive_number(text: str) -> float:
    """A number above zero and below 10⁹."""
    value = _number(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: expected a number above zero")
    return value


def seconds(text: str) -> float:
    """A duration in seconds, at most a day, zero included."""
    value = _number(text)
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: expected seconds between 0 and 86400")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def image_shape(text: str) -> tuple[int, int, int]:
    """One image: ``C,H,W`` or ``CxHxW``."""
    try:
        channels, height, width = (positive(part.strip()) for part in text.replace("x", ",").split(","))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r}: expected channels, height and width, each above zero, such as 3,224,224"
        ) from None
    return channels, height, width


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas, each once."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError("expected words separated by commas")
    return found


def as_argv(options: Mapping[str, object]) -> list[str]:
    """Options of a command by name: True stands alone, a list repeats its option; None, False and empty lists are left out."""
    argv: list[str] = []
    for name, value in options.items():
        if value is True:
            argv.append(name)
        elif value is not None and value is not False:
            for item in value if isinstance(value, list) else [value]:
                argv += [name, str(item)]
    return argv


def listed(values: Iterable[object]) -> str:
    """A list as options take it: separated by commas."""
    return ",".join(map(str, values))
