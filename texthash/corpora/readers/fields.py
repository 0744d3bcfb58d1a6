"""Values of rows: the interpretation of a cell as a text, a name or a list of names, in any file format.

Null, NaN, NA and an empty cell are missing values. Ambiguous values are rejected. Integers keep their digits: pandas
turns a column of integers with missing values into floats, so a float without a fraction is read as an integer, up to
the largest that a float represents exactly.
"""

from __future__ import annotations

import re
import reprlib
import sys
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from texthash.api.missing import is_missing as is_none
from texthash.arguments import shown
from texthash.corpora.document import SPLITS, split_named

# Up to this limit a float represents a single integer.
_EXACT = 2**53
_LISTS = (list, tuple)
# Lists in the notation of Python, JSON or NumPy: quoted names, or numbers, in brackets.
_WRITTEN_LIST = re.compile(
    r"""\s*([\[({]\s*['"].*['"],?\s*[\])}]|\[[-+\d.,\s]*\]|[({][-+\d.\s]+,[-+\d.,\s]*[)}])\s*""", re.DOTALL
)
_KINDS: dict[type, str] = {
    type(None): "the value",
    str: "the text",
    bool: "the boolean",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    bytes: "bytes",
}


class FieldError(ValueError):
    """Invalid value of a field; the message continues the name of the field.

    Args:
        problem: Rest of the sentence that the name of the field begins.
        remedy: What to do; empty where an example of a valid row says it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, NA, NaT or the empty text."""
    if isinstance(value, str):
        return not value
    if isinstance(value, Decimal):
        return value.is_nan()
    return is_none(value)


def text(value: Any) -> str:
    """Return a text unchanged; a missing value is the empty text. Raises :class:`FieldError`."""
    if isinstance(value, str):
        return unicode(value)
    if is_missing(value):
        return ""
    raise FieldError(f"is {described(value)}, not text")


def name(value: Any) -> str:
    """Return a text or a whole number as a name; raises :class:`FieldError` for anything else."""
    if isinstance(value, str):
        return unicode(value)
    value = _plain(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return _digits(int(value))
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return _digits(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return _digits(int(value))
    raise FieldError(f"is {described(value)}, not text or a whole number")


def single(value: Any) -> tuple[str, ...]:
    """Return a text or number as one name, or the names of a list; none for a missing value.

    Raises:
        FieldError: The value, or a member of the list, is neither text nor a whole number, or is text that looks like
            a list.
    """
    value = _plain(value)
    if isinstance(value, _LISTS):
        return tuple(name(member) for member in map(_plain, value) if not is_missing(member))
    if is_missing(value):
        return ()
    _refuse_written_list(value)
    return (name(value),)


def names(value: Any) -> tuple[str, ...]:
    """Return the names of a value like :func:`single`, where a text may be several names joined by ``|``."""
    if not isinstance(value, str):
        return single(value)
    _refuse_written_list(value)
    return tuple(part.strip() for part in unicode(value).split("|") if part.strip())


def split(value: Any) -> str:
    """Return the split that a text names, the empty string for none; raises :class:`FieldError`."""
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise FieldError(f"is {described(value)}, not the name of a split")
    found = split_named(unicode(value))
    if found is None:
        raise FieldError(f"names no split: {shortened(value)} is none of {', '.join(SPLITS)}")
    return found


def numbers(value: Any) -> list[float]:
    """Return a list of numbers unchanged; raises :class:`FieldError` for anything else."""
    if isinstance(value, list) and value and all(type(member) in (int, float) for member in value):
        if any(type(member) is int and abs(member) > sys.float_info.max for member in value):
            raise FieldError("has a whole number that is larger than any float")
        return value
    raise FieldError(f"is {'absent' if value is None else described(value)}, not a list of numbers")


def unicode(value: str) -> str:
    """Return a text; raises :class:`FieldError` for half of a surrogate pair, which cannot be stored."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FieldError(f"holds half a character (a lone surrogate at character {error.start})") from None
    return value


def described(value: Any) -> str:
    """Return a description of a value for an error message."""
    kind = next((words for type_, words in _KINDS.items() if isinstance(value, type_)), None)
    if kind is None and isinstance(value, (Real, Decimal)):
        kind = "the number"
    return f"{kind or type(value).__name__} {shortened(value)}"


def shortened(value: Any) -> str:
    """Return a value as an error shows it, with the first members of a list or an object."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits.
        return shown(value)


def _plain(value: Any) -> Any:
    """Convert arrays and numbers of NumPy to those of Python."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError as error:  # thousands of digits
        raise FieldError("is a number of too many digits") from error


def _refuse_written_list(value: Any) -> None:
    if isinstance(value, str) and _WRITTEN_LIST.fullmatch(value):
        raise FieldError(f"is text that looks like a list, {shortened(value)}: join the names by |")
