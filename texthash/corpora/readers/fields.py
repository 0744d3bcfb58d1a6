"""Values of rows: what one cell means as a text, a name or a list of names, in whatever format it was written.

What is missing is missing: null, NaN, NA, an empty cell. What could be read in several ways is refused. Integers keep
their digits: pandas makes a column of integers with a gap one of floats, so a float without a fraction is an integer
as far as a float tells integers apart.
"""

from __future__ import annotations

import re
from decimal import Decimal
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any

from texthash.corpora.document import SPLITS, split_named

# Up to here a float stands for one integer; beyond, for several.
_EXACT = 2**53
_NOT_AVAILABLE = ("NAType", "NaTType")  # of pandas, which who reads files need not import
_LISTS = (list, tuple)
# Lists as Python, JSON or numpy write them: quoted names, or numbers, in brackets.
_WRITTEN_LIST = re.compile(
    r"""\s*([\[({]\s*['"].*['"],?\s*[\])}]|\[[-+\d.,\s]*\]|[({][-+\d.\s]+,[-+\d.,\s]*[)}])\s*""", re.DOTALL
)
_KINDS = {bool: "the boolean", dict: "an object", list: "a list", tuple: "a list", bytes: "bytes"}


class FieldError(ValueError):
    """A value that its field cannot have; the message goes on from the name of the field."""


def is_missing(value: Any) -> bool:
    """Return whether a cell holds nothing: None, NaN, NA, NaT or the empty text."""
    if isinstance(value, str):
        return not value
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or type(value).__name__ in _NOT_AVAILABLE or (isinstance(value, Real) and bool(value != value))


def text(value: Any) -> str:
    """Return a text as it stands; what is missing is empty. Raises :class:`FieldError`."""
    if isinstance(value, str):
        return unicode(value)
    if is_missing(value):
        return ""
    raise FieldError(f"is {described(value)}, not text")


def name(value: Any) -> str:
    """Return the name that a text or a whole number is; raises :class:`FieldError` for anything else."""
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
    """Return the one name that a text or a number is, or the names of a list; none for what is missing.

    Raises:
        FieldError: for another value, one within a list, or text that looks like a list.
    """
    value = _plain(value)
    if isinstance(value, _LISTS):
        return tuple(name(member) for member in map(_plain, value) if not is_missing(member))
    if is_missing(value):
        return ()
    _refuse_written_list(value)
    return (name(value),)


def names(value: Any) -> tuple[str, ...]:
    """Return as :func:`single`, where a text may hold several names joined by ``|``."""
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


def unicode(value: str) -> str:
    """Return a text; raises :class:`FieldError` where it holds half of a surrogate pair, which nothing can store."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FieldError(f"holds half a character (a lone surrogate at character {error.start})") from None
    return value


def described(value: Any) -> str:
    """Return what a value is, in the words of an error."""
    kind = next((words for type_, words in _KINDS.items() if isinstance(value, type_)), None)
    if kind is None and isinstance(value, (Real, Decimal)):
        kind = "the number"
    return f"{kind or type(value).__name__} {shortened(value)}"


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy as those of Python."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError as error:  # thousands of digits
        raise FieldError("is a number of too many digits") from error


def _refuse_written_list(value: Any) -> None:
    if isinstance(value, str) and _WRITTEN_LIST.fullmatch(value):
        raise FieldError(f"is text that looks like a list, {shortened(value)}: join the names by |")
