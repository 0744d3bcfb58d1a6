"""Checks of arguments that are given by hand: an error names the argument, its value and what is right."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from texthash.errors import UsageError

_SHOWN = 60


def shown(value: Any, most: int = _SHOWN) -> str:
    """Return a value as an error shows it: its form in Python, cut to a number of characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits.
        number = "a number of thousands of digits"
        text = number if isinstance(value, int) else f"a {type(value).__name__} with {number}"
    return text if len(text) <= most else text[: most - 1] + "…"


def is_between(value: Any, least: float, most: float) -> bool:
    """Return whether a value is a number, of Python or NumPy, in a range; an array or a missing value is none."""
    number: Any = value
    return isinstance(value, Real) and not isinstance(value, bool) and bool(least <= number <= most)


def check_whole(name: str, value: Any, least: int | None = None, unit: str = "") -> None:
    """Check that an argument is a whole number of 64 bits, of Python or NumPy, and not below another.

    Raises:
        UsageError: It is not.
    """
    remedy = "give a whole number" + (f" of {unit}" if unit else "") + ("." if least is None else f" from {least}.")
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"the {name} is {shown(value)}, a {type(value).__name__}.", remedy)
    if (least is not None and value < least) or int(value) > sys.maxsize:
        raise UsageError(f"the {name} is {shown(value)}.", remedy)


def check_strings(name: str, values: Iterable[Any]) -> None:
    """Check that the members of a list are strings.

    Raises:
        UsageError: One is not; the error names its position.
    """
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise UsageError(
                f"{name}[{place}] is {shown(value)}, a {type(value).__name__}.",
                "give strings; leave out what is missing.",
            )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that an argument is one of several words.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise UsageError(f"{name}={shown(value)} is not known.", f"give one of {', '.join(choices)}.")
