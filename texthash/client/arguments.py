"""Validation of the clients' arguments, and their conversion to the members of a request.

A string is iterable, and so are a mapping, bytes and a data frame: iterated over they would give letters, keys, numbers
and column names. Each is therefore converted as a whole, or rejected with the form that is expected.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from texthash.api.attributes import read_value, write_value
from texthash.api.missing import is_missing
from texthash.arguments import shown
from texthash.errors import UsageError

_QUERY_MEMBERS = ("text", "code", "id", "vector")
_LARGEST = sys.float_info.max  # also of whole numbers, which Python does not bound


def text(value: object, name: str, *, example: str = "'...'") -> str:
    """Return a valid string unchanged.

    Args:
        value: Argument of a call.
        name: Name of the argument, for the error.
        example: Example of a value, for the error.

    Raises:
        UsageError: The value is not a string, or is not Unicode text (it has a lone surrogate).
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {_described(value)}, not a string.", f"give {name}={example}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{name} is not Unicode text: it has half of a surrogate pair at character {error.start}.",
            "decode the text with the encoding that it was written in.",
        ) from None
    return str(value)  # A subclass such as numpy.str_ becomes a plain string.


def texts(value: object, name: str, *, ordered: bool = False) -> list[str]:
    """Return strings as a list; one string becomes a list of one.

    Args:
        value: A string, or strings in a list, tuple, generator, or column of numpy, pandas or Arrow.
        name: Name of the argument, for the error.
        ordered: True if the order matters; a set is then rejected.

    Raises:
        UsageError: The value is neither, or has a member that is not a string.
    """
    if isinstance(value, str):
        return [text(value, name)]
    members = items(value, name, "['...']", ordered=ordered)
    return [text(item, f"{name}[{position}]") for position, item in members]


def items(value: object, name: str, example: str, *, ordered: bool = True) -> Iterator[tuple[int, Any]]:
    """Return the members of a list, a generator or a column, each with its position.

    Raises:
        UsageError: The value is not a sequence, or has no order although the order matters.
    """
    # numpy, pandas and polars have ``ndim``; the members of a table or a matrix would be columns or rows.
    wrong = isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or getattr(value, "ndim", 1) != 1
    if wrong or not isinstance(value, Iterable):
        raise UsageError(f"{name} is {_described(value)}, not a list.", f"give {name}={example}.")
    if ordered and isinstance(value, (set, frozenset)):
        raise UsageError(f"{name} is a set, whose order is arbitrary.", f"give a list: {name}={example}.")
    return enumerate(_plain(item) for item in value)


def vector(value: object, name: str) -> list[float]:
    """Return a vector as a list of numbers.

    Args:
        value: Numbers in a list, tuple or generator, or a column of numpy, torch, pandas or Arrow.
        name: Name of the argument, for the error.

    Raises:
        UsageError: The value is no sequence of numbers, or one of them is not finite.
    """
    numbers: list[float] = []
    for position, member in items(value, name, "[0.1, ...]"):
        if is_missing(member):
            raise UsageError(f"{name}[{position}] is {_described(member)}, not a finite number.", "give numbers.")
        number = member.item() if getattr(member, "ndim", None) == 0 and hasattr(member, "item") else member
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= _LARGEST:
            raise UsageError(f"{name}[{position}] is {_described(member)}, not a finite number.", "give numbers.")
        numbers.append(float(number))
    return numbers


def vectors(value: object, name: str = "vector") -> list[list[float]]:
    """Return one vector, or several in a list or a matrix, as lists of numbers.

    Raises:
        UsageError: The value is neither.
    """
    several = getattr(value, "ndim", 1) == 2
    if not several and isinstance(value, (list, tuple)) and value:
        several = not isinstance(value[0], (int, float, str)) and getattr(value[0], "ndim", 1) == 1
    if not several or not isinstance(value, Iterable):
        return [vector(value, name)]
    return [vector(row, f"{name}[{position}]") for position, row in enumerate(value)]


def queries(value: object, name: str = "queries") -> list[dict[str, Any]]:
    """Return the queries of a search as members of a request.

    Args:
        value: A text, or a list of texts and of mappings with exactly one of text, code, id and vector.
        name: Name of the argument, for the error.

    Raises:
        UsageError: The value is neither.
    """
    if isinstance(value, str):
        return [{"text": text(value, name)}]
    return [_query(item, f"{name}[{position}]") for position, item in items(value, name, "[{'text': '...'}]")]


def _query(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        example = "'...' or {'text': '...'}, {'code': '...'}, {'id': '...'}, {'vector': [...]}"
        return {"text": text(value, name, example=example)}
    given = {key: member for key, member in value.items() if member is not None}
    if len(given) != 1 or not set(given) <= set(_QUERY_MEMBERS):
        raise UsageError(
            f"{name} has {', '.join(map(str, given)) or 'no member'}, a query has exactly one of "
            f"{', '.join(_QUERY_MEMBERS)}.",
            "give {'text': '...'}, {'code': '...'}, {'id': '...'} or {'vector': [...]}.",
        )
    convert = {"vector": vector}
    return {key: convert.get(key, text)(member, f"{name}[{key!r}]") for key, member in given.items()}


def documents(value: object, name: str = "documents") -> list[dict[str, Any]]:
    """Return documents as members of an upsert request.

    Args:
        value: A list of mappings with ``id``, ``text`` or ``vector`` or both, and optionally ``title``, ``labels`` and
            ``attributes``.
        name: Name of the argument, for the error.

    Raises:
        UsageError: The value is not a list of mappings, or a member of one has another type.
    """
    example = "[{'id': '...', 'text': '...', 'labels': ['...']}]"
    return [_document(item, f"{name}[{position}]") for position, item in items(value, name, example)]


def _document(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is {_described(value)}, not a document.", "give {'id': '...', 'text': '...'}.")
    converted: dict[str, Any] = {}
    for key, member in value.items():
        where = f"{name}[{key!r}]"
        if key == "labels":
            converted[key] = [] if is_missing(member) else texts(member, where)
        elif key in ("title", "vector") and is_missing(member):
            continue
        elif key == "vector":
            converted[key] = vector(member, where)
        elif key == "attributes" and isinstance(member, Mapping):
            converted[key] = {own: value for own, value in member.items() if not is_missing(value)}
        else:
            converted[key] = text(member, where) if key in ("id", "text", "title") else member
    return converted


def filter_of(labels: object, given: object, name: str = "filter") -> dict[str, Any] | None:
    """Return the filter of a request from labels and a mapping, which both have to hold; None without both.

    Raises:
        UsageError: The labels are no texts, or the filter is no mapping.
    """
    own = None if labels is None else {"labels": texts(labels, "labels")}
    if given is None:
        return own
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{name} is {_described(given)}, not a mapping.", "give {'attributes': {'year': {'gte': 2020}}}."
        )
    return dict(given) if own is None else {"all": [own, dict(given)]}


def facets(value: object, name: str = "facets") -> dict[str, Any]:
    """Return facets as members of a request: names alone have the default options.

    Raises:
        UsageError: The value is neither names nor a mapping of names to options.
    """
    if isinstance(value, Mapping):
        return {text(key, f"a key of {name}"): _facet(own, f"{name}[{key!r}]") for key, own in value.items()}
    return {one: {} for one in texts(value, name)}


def _facet(options: object, name: str) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise UsageError(f"{name} is {_described(options)}, not a mapping.", "give {'limit': 10} or {'ranges': 5}.")
    return dict(options or {})


def body_of(body: Mapping[str, Any]) -> bytes:
    """Return a request body as JSON; scalars of numpy become numbers, and dates values of attributes.

    Raises:
        UsageError: A member, which the error names, cannot be written as JSON.
    """
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, default=_number).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        for name, member in body.items():
            try:
                json.dumps(member, ensure_ascii=False, allow_nan=False, default=_number).encode()
            except (TypeError, ValueError, RecursionError):
                raise UsageError(
                    f"{name}={shown(member)} cannot be written as JSON: {error}.",
                    "give strings, finite numbers, booleans, lists and mappings of them.",
                ) from None
        raise


def _number(value: Any) -> Any:
    """Return a scalar of numpy as a Python number, and a date as a value of an attribute."""
    if is_missing(value):
        raise TypeError(f"{value!r} is a missing value: leave it out")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return write_value(read_value(value))
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _plain(value: Any) -> Any:
    """Return a scalar of Arrow as a Python value."""
    return value.as_py() if hasattr(value, "as_py") else value


def _described(value: object) -> str:
    """Describe a value for an error: ``17`` -> ``17 (int)``, ``{"a": 1}`` -> ``{'a': 1} (a mapping)``."""
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        return f"a {type(value).__name__} of shape {shape}"
    kind = "a mapping" if isinstance(value, Mapping) else type(value).__name__
    return f"{shown(value)} ({kind})"
