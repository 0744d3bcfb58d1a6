"""Filters and attributes that a program gives, with errors that name the member."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from texthash.api.facets import FacetOptions, Facets
from texthash.api.filters import BoundedFilter, Filter
from texthash.arguments import check_strings, shown
from texthash.errors import UsageError, as_sentence
from texthash.member_errors import explain_first

_FILTER: TypeAdapter[Filter] = TypeAdapter(BoundedFilter)
_FACETS: TypeAdapter[dict[str, FacetOptions]] = TypeAdapter(Facets)
_EXAMPLE = "give a filter such as {'attributes': {'year': {'gte': 2020}}, 'labels': ['news']}."


def filter_of(given: Mapping[str, Any] | Filter | None, name: str = "filter") -> Filter | None:
    """Return a filter of the API from a mapping; None without one.

    Args:
        given: Mapping in the form of the API, whose dates may be those of Python.
        name: Name of the argument, for the error.

    Raises:
        UsageError: It is no such filter; the error names the member.
    """
    if given is None or isinstance(given, Filter):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} is {shown(given)}, not a mapping.", _EXAMPLE)
    try:
        return _FILTER.validate_python(dict(given))
    except ValidationError as error:
        raise UsageError(as_sentence(explain_first(error, Filter, name)), _EXAMPLE) from None


def facets_of(given: str | Iterable[str] | Mapping[str, Any], name: str = "facets") -> dict[str, FacetOptions]:
    """Return facets of the API.

    Args:
        given: Name of an attribute or ``labels``, several of them, or a mapping of names to options.
        name: Name of the argument, for the error.

    Raises:
        UsageError: They are no such facets; the error names the member.
    """
    remedy = "give names, or a mapping such as {'year': {'ranges': 5}, 'labels': {}}."
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1:
        raise UsageError(f"{name} is a {type(given).__name__}, not a list of names.", remedy)
    if isinstance(given, Mapping):
        own = {key: {} if value is None else value for key, value in given.items()}
    else:
        names = [given] if isinstance(given, str) else list(given)
        check_strings(name, names)
        own = {one: {} for one in names}
    try:
        return _FACETS.validate_python(own)
    except ValidationError as error:
        raise UsageError(as_sentence(explain_first(error, dict[str, FacetOptions], name)), remedy) from None


def filter_of_options(labels: Sequence[str] | None, text: str | None) -> dict[str, Any] | None:
    """Return the mapping of labels and of a filter that is written as JSON, which both have to hold; None without both.

    Raises:
        UsageError: The text is not JSON, or no filter.
    """
    own = {"labels": list(labels)} if labels else None
    if text is None:
        return own
    try:
        found = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--filter is not JSON: {error}.", """write it as '{"attributes": {"year": {"gte": 2020}}}'."""
        ) from None
    if found is None:
        raise UsageError("--filter is null, not a mapping.", _EXAMPLE)
    filter_of(found, "--filter")
    return dict(found) if own is None else {"all": [own, found]}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; a member that occurs twice is refused, since only one of both would count."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the member {repeated!r} occurs twice in one object")
    return found
