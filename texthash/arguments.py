"""Checks of arguments that are given by hand: an error names the argument, its value and what is right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from texthash.errors import UsageError


def check_whole(name: str, value: Any, least: int | None = None, unit: str = "") -> None:
    """Check that an argument is a whole number, of Python or NumPy, and not below another.

    Raises:
        UsageError: It is not.
    """
    remedy = "give a whole number" + (f" of {unit}" if unit else "") + ("." if least is None else f" from {least}.")
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"the {name} is {value!r}, a {type(value).__name__}.", remedy)
    if least is not None and value < least:
        raise UsageError(f"the {name} is {value}.", remedy)


def check_strings(name: str, values: Iterable[Any]) -> None:
    """Check that the members of a list are strings.

    Raises:
        UsageError: One is not; the error names its position.
    """
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise UsageError(
                f"{name}[{place}] is {value!r}, a {type(value).__name__}.", "give strings; leave out what is missing."
            )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that an argument is one of several words.

    Raises:
        UsageError: It is not.
    """
    if value not in choices:
        raise UsageError(f"{name}={value!r} is not known.", f"give one of {', '.join(choices)}.")
