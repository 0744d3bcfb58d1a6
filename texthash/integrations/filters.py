"""Conditions on metadata in the form of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from texthash.api.attributes import attribute_name
from texthash.errors import UsageError

Filter = dict[str, Any]
NOTHING: Filter = {"ids": [""]}
"""Filter that no document passes, as none has an empty id."""
EVERYTHING: Filter = {"not": NOTHING}
_MEMBERS = ("labels", "ids", "attributes", "all", "any", "not")
_OPERATORS = {"==": "eq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "in": "in"}


def compare(name: str, operator: str, value: Any) -> Filter:
    """Return the condition that a value of metadata compares to another.

    Args:
        name: Name of the metadata.
        operator: One of ``== != > >= < <= in`` and ``not in``. As in other stores, ``!=`` and ``not in`` hold for
            documents without the value, all others do not.
        value: Value, or list of values; None stands for a missing one.

    Raises:
        UsageError: There is no such operator, or no document can have an attribute of that name.
    """
    if operator in ("!=", "not in"):
        return negate(compare(name, "==" if operator == "!=" else "in", value))
    if operator not in _OPERATORS:
        raise UsageError(f"there is no operator {operator!r}.", f"use {', '.join(_OPERATORS)}, != or not in.")
    if name == "labels":
        return _labels(operator, value)
    try:
        attribute_name(name)
    except ValueError as error:
        raise UsageError(f"metadata {name!r} cannot be filtered by: {error}.", "store it under another name.") from None
    if value is None:
        return negate({"attributes": {name: {"exists": True}}}) if operator == "==" else NOTHING
    if operator == "in":
        if not isinstance(value, list):
            raise UsageError(f"the values of {name!r} are {value!r}, not a list.", "give a list.")
        return {"attributes": {name: {"in": value}}} if value else NOTHING
    return {"attributes": {name: {_OPERATORS[operator]: value}}}


def negate(given: Filter) -> Filter:
    """Return the filter that holds where another does not."""
    return given["not"] if list(given) == ["not"] else {"not": given}


def every(given: Sequence[Filter]) -> Filter:
    """Return the filter that holds where all of some hold."""
    return given[0] if len(given) == 1 else {"all": list(given)}


def some(given: Sequence[Filter]) -> Filter:
    """Return the filter that holds where one of some holds."""
    return given[0] if len(given) == 1 else {"any": list(given)}


def of_mapping(given: Mapping[str, Any] | None) -> Filter | None:
    """Return the filter of a mapping, which is one already or has the values of metadata by name; None without one.

    A mapping whose members are all of ``labels ids attributes all any not`` is a filter in the form of the HTTP API. In
    any other, a value is equal, a list holds the equal one, and a mapping is a condition such as ``{"gte": 2020}``.

    Raises:
        UsageError: It is no mapping, or no document can have an attribute of such a name.
    """
    if not given:
        return None
    if not isinstance(given, Mapping):
        raise UsageError(f"filter is {given!r}, not a mapping.", "give {'source': 'a.txt'} or {'year': {'gte': 2020}}.")
    if set(given) <= set(_MEMBERS):
        return dict(given)
    return every([_member(name, value) for name, value in given.items()])


def _member(name: str, value: Any) -> Filter:
    if isinstance(value, Mapping):
        return {"attributes": {name: dict(value)}}
    return compare(name, "in" if isinstance(value, list) else "==", value)


def _labels(operator: str, value: Any) -> Filter:
    if operator not in ("==", "in") or value is None:
        raise UsageError(f"labels do not compare by {operator!r} to {value!r}.", "use == or in, and their negations.")
    return {"labels": list(value) if isinstance(value, (list, tuple)) else [value]}
